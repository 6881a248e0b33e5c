//! `GROUP BY room, session(time, INTERVAL '5' MINUTE)` and Azure's `SessionWindow(minute, 5)`.
//!
//! Promise: the other GROUP BY columns are the session's key, and WHERE chooses the readings that
//! sessions are made of, as it chooses those of any other window.

use super::{WindowCall, column, interval, length, stream};
use crate::sql::error::SqlError;
use crate::sql::refusals::place;
use crate::sql::tokens::position;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, Ident, Query, SetExpr, Spanned, TableFactor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

const EXAMPLE: &str = "FROM SESSION(stream, DESCRIPTOR(time), key => DESCRIPTOR(room), gap => INTERVAL \
                       '5' MINUTE) and GROUP BY room, window_start, window_end";

/// `session(time, INTERVAL '5 minutes')`
pub(super) fn session(arguments: &[&Expr]) -> Option<WindowCall> {
    let [time, gap @ Expr::Interval(_)] = arguments else { return None };
    Some(of(column(time)?, (*gap).clone()))
}

/// `SessionWindow(minute, 5)` or `SessionWindow(Duration(minute, 5))`
pub(super) fn session_window(
    function: &Function,
    arguments: &[&Expr],
) -> Result<WindowCall, SqlError> {
    let refused = |what: &str, hint: &str| {
        let error = SqlError::new(what).with_hint(hint);
        match place(&function.name) {
            Some(at) => error.at(at),
            None => error,
        }
    };
    if function.over.is_some() {
        return Err(refused(
            "OVER (PARTITION BY ...) is Azure Stream Analytics' way to name a session's key",
            "leave OVER out: the other GROUP BY columns are the key, GROUP BY room, SessionWindow(minute, 5)",
        ));
    }
    let gap = match arguments {
        [duration] => length(duration),
        [unit, gap] => interval(unit, gap),
        [_, _, _] => {
            return Err(refused(
                "SessionWindow's third argument, the longest a session may be, is not taken",
                "write SessionWindow(minute, 5): a session ends when no reading came for that long",
            ));
        }
        _ => None,
    };
    let gap = gap.ok_or_else(|| {
        refused(
            "this is not how a session is written in GROUP BY",
            "write GROUP BY room, SessionWindow(minute, 5) or GROUP BY room, session(time, INTERVAL '5 minutes')",
        )
    })?;
    Ok(of(Ident::new("time"), gap))
}

fn of(time: Ident, gap: Expr) -> WindowCall {
    WindowCall { function: "SESSION", time, lengths: vec![("gap", gap)] }
}

/// The other columns of GROUP BY.
pub(super) fn key(groups: &[Expr]) -> Result<Vec<Ident>, SqlError> {
    let mut key = Vec::new();
    for group in groups {
        match column(group) {
            Some(edge) if edge.value == "window_start" || edge.value == "window_end" => {}
            Some(column) => key.push(column),
            None => {
                return Err(SqlError::new(format!(
                    "a session in GROUP BY has the other columns for a key, and '{group}' is no column"
                ))
                .with_hint(format!("write {EXAMPLE}"))
                .at(position(group.span().start)));
            }
        }
    }
    Ok(key)
}

/// What sessions are made of: `stream`, or `(SELECT * FROM stream WHERE ...)`.
pub(super) fn readings(relation: &TableFactor, chosen: Option<Expr>) -> Option<Expr> {
    let name = stream(relation)?;
    let Some(chosen) = chosen else { return Some(name) };
    let mut query = select_all()?;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.from.first_mut()?.relation = relation.clone();
    select.selection = Some(chosen);
    Some(Expr::Subquery(Box::new(query)))
}

fn select_all() -> Option<Query> {
    let parser = Parser::new(&GenericDialect {}).try_with_sql("SELECT * FROM stream");
    Some(*parser.and_then(|mut parser| parser.parse_query()).ok()?)
}
