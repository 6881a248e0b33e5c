//! Windows written in GROUP BY, rewritten into FROM.
//!
//! Promise: `GROUP BY tumble(time, INTERVAL '1 minute')` and Azure's `TumblingWindow(minute, 1)` give
//! the same tree as `FROM TUMBLE(stream, DESCRIPTOR(time), size => ...) GROUP BY window_start,
//! window_end`; nothing after this knows of them.

use super::error::SqlError;
use super::refusals::{place, plain_name};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgOperator, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, Interval, ObjectName, ObjectNamePart, Select,
    TableAlias, TableFactor, TableFunctionArgs, Value, VisitorMut,
};
use std::ops::ControlFlow;

/// Rewrites every SELECT that groups by a window call.
pub(super) struct WindowCalls;

impl VisitorMut for WindowCalls {
    type Break = Box<SqlError>;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<SqlError>> {
        match rewrite(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// A window call: the column of its time and how long it is.
struct WindowCall {
    time: Ident,
    size: Expr,
}

fn rewrite(select: &mut Select) -> Result<(), SqlError> {
    let GroupByExpr::Expressions(groups, _) = &mut select.group_by else { return Ok(()) };
    let Some(index) = groups.iter().position(is_window_call) else { return Ok(()) };
    let Expr::Function(function) = &groups[index] else { return Ok(()) };
    let call = window_call(function)?;
    let misplaced = SqlError::new("a window in GROUP BY needs exactly one stream in FROM")
        .with_hint("write FROM TUMBLE(stream, DESCRIPTOR(time), size => ...) and GROUP BY ..., window_start, window_end");
    let misplaced = match place(&function.name) {
        Some(at) => misplaced.at(at),
        None => misplaced,
    };
    let [from] = select.from.as_mut_slice() else { return Err(misplaced) };
    if !from.joins.is_empty() || !into_tumble(&mut from.relation, call) {
        return Err(misplaced);
    }
    groups.remove(index);
    for column in ["window_end", "window_start"] {
        let column = Expr::Identifier(Ident::new(column));
        if !groups.contains(&column) {
            groups.insert(index.min(groups.len()), column);
        }
    }
    Ok(())
}

fn is_window_call(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function)
        if matches!(plain_name(&function.name).as_str(), "tumble" | "tumblingwindow"))
}

/// Makes `stream [AS alias]` into `TUMBLE(stream, DESCRIPTOR(time), size => ...) AS alias`.
fn into_tumble(relation: &mut TableFactor, call: WindowCall) -> bool {
    let TableFactor::Table { name, alias, args: args @ None, .. } = relation else { return false };
    let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident().cloned()).collect();
    let Some(last) = parts.last().cloned() else { return false };
    let stream = match parts.len() {
        1 => Expr::Identifier(last.clone()),
        _ => Expr::CompoundIdentifier(parts),
    };
    let arguments = vec![
        FunctionArg::Unnamed(FunctionArgExpr::Expr(stream)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(descriptor(call.time))),
        FunctionArg::Named {
            name: Ident::new("size"),
            arg: FunctionArgExpr::Expr(call.size),
            operator: FunctionArgOperator::RightArrow,
        },
    ];
    *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("TUMBLE"))]);
    *args = Some(TableFunctionArgs { args: arguments, settings: None });
    // So that `stream.column` still finds its column.
    alias.get_or_insert(TableAlias { explicit: true, name: last, columns: Vec::new(), at: None });
    true
}

fn descriptor(time: Ident) -> Expr {
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(time)));
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("DESCRIPTOR"))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![argument],
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn window_call(function: &Function) -> Result<WindowCall, SqlError> {
    let arguments = plain_arguments(function);
    let call = match plain_name(&function.name).as_str() {
        "tumble" => tumble(&arguments),
        _ => tumbling_window(&arguments),
    };
    call.ok_or_else(|| {
        let error = SqlError::new("this is not how a window is written in GROUP BY").with_hint(
            "write GROUP BY tumble(time, INTERVAL '5 minutes'), or GROUP BY TumblingWindow(minute, 5)",
        );
        match place(&function.name) {
            Some(at) => error.at(at),
            None => error,
        }
    })
}

fn plain_arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let plain = |arg| match arg {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
        _ => None,
    };
    // A named argument makes the list too short, and the call is refused.
    list.args.iter().filter_map(plain).collect()
}

/// `tumble(time, INTERVAL '5 minutes')`
fn tumble(arguments: &[&Expr]) -> Option<WindowCall> {
    let [time, size @ Expr::Interval(_)] = arguments else { return None };
    let time = match time {
        Expr::Identifier(ident) => ident.clone(),
        Expr::CompoundIdentifier(parts) => parts.last()?.clone(),
        _ => return None,
    };
    Some(WindowCall { time, size: (*size).clone() })
}

/// `TumblingWindow(minute, 5)` or `TumblingWindow(Duration(minute, 5))`
fn tumbling_window(arguments: &[&Expr]) -> Option<WindowCall> {
    if let [Expr::Function(duration)] = arguments
        && plain_name(&duration.name) == "duration"
    {
        return tumbling_window(&plain_arguments(duration));
    }
    let [Expr::Identifier(unit), Expr::Value(count)] = arguments else { return None };
    let Value::Number(count, _) = &count.value else { return None };
    let text = format!("{count} {}", unit.value.to_lowercase());
    super::duration::parse_duration(&text).ok()?;
    let value = Expr::Value(Value::SingleQuotedString(text).into());
    let size = Expr::Interval(Interval {
        value: Box::new(value),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    });
    Some(WindowCall { time: Ident::new("time"), size })
}
