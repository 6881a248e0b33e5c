//! `lag(x)` and `rate(x)` without OVER: along the series, in the order of event time.
//!
//! Promise: they become window functions OVER (PARTITION BY topic ORDER BY time, received_at, offset),
//! under the name that was written; with OVER, `lag` is DataFusion's.

use super::super::error::SqlError;
use super::super::functions::along;
use super::super::refusals::{place, plain_name};
use super::plain_arguments;
use crate::stream::along::AlongFunction;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, OrderByExpr, Select, SelectItem, VisitMut, VisitorMut, WindowSpec, WindowType,
    visit_expressions,
};
use std::ops::ControlFlow;

/// Rewrites every call.
pub(in crate::sql) struct SeriesCalls;

impl VisitorMut for SeriesCalls {
    type Break = Box<SqlError>;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<SqlError>> {
        for filter in [&select.selection, &select.having].into_iter().flatten() {
            visit_expressions(filter, |expr| match expr {
                Expr::Function(function) if call_of(function).is_some() => {
                    ControlFlow::Break(Box::new(filtered(function)))
                }
                _ => ControlFlow::Continue(()),
            })?;
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item {
                let written = expr.to_string();
                let mut calls = Calls(0);
                VisitMut::visit(expr, &mut calls)?;
                if calls.0 > 0 {
                    let alias = Ident::with_quote('"', written);
                    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<SqlError>> {
        rewritten(expr)
            .map_or_else(|error| ControlFlow::Break(Box::new(error)), |_| ControlFlow::Continue(()))
    }
}

struct Calls(usize);

impl VisitorMut for Calls {
    type Break = Box<SqlError>;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<SqlError>> {
        match rewritten(expr) {
            Ok(calls) => {
                self.0 += calls;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

/// The call that `function` is.
pub(in crate::sql) fn call_of(function: &Function) -> Option<AlongFunction> {
    match (plain_name(&function.name).as_str(), &function.over) {
        ("lag", None) => Some(AlongFunction::Lag),
        ("rate", None) => Some(AlongFunction::Rate),
        _ => None,
    }
}

/// Rewrites `expr` if it is a call; how many it was.
fn rewritten(expr: &mut Expr) -> Result<usize, SqlError> {
    let Expr::Function(function) = expr else { return Ok(0) };
    let Some(which) = call_of(function) else { return Ok(0) };
    let of = match plain_arguments(function).as_slice() {
        [x] => (*x).clone(),
        _ => return Err(refused(function)),
    };
    let column = |name: &str| match qualifier(&of) {
        Some(relation) => Expr::CompoundIdentifier(vec![relation, Ident::new(name)]),
        None => Expr::Identifier(Ident::new(name)),
    };
    let FunctionArguments::List(list) = &mut function.args else { return Err(refused(function)) };
    list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(column("time"))));
    function.over = Some(WindowType::WindowSpec(WindowSpec {
        window_name: None,
        partition_by: vec![column("topic")],
        order_by: ["time", "received_at", "offset"].map(|name| ordered(column(name))).to_vec(),
        window_frame: None,
    }));
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(along::name(which)))]);
    Ok(1)
}

fn ordered(expr: Expr) -> OrderByExpr {
    let mut by = OrderByExpr::from(Ident::new("time"));
    by.expr = expr;
    by
}

/// The relation of the first column in `expr` that names one.
fn qualifier(expr: &Expr) -> Option<Ident> {
    match expr {
        Expr::CompoundIdentifier(parts) => parts.first().cloned(),
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => qualifier(inner),
        _ => None,
    }
}

/// SQL asks WHERE before it makes such a column.
fn filtered(function: &Function) -> SqlError {
    let name = plain_name(&function.name);
    let error = SqlError::new(format!("{name}() stands in the SELECT list, not in WHERE"))
        .with_hint(format!(
            "put a SELECT around it: SELECT ... FROM (SELECT *, {name}(x) AS v FROM stream) WHERE v > 1"
        ));
    match place(&function.name) {
        Some(at) => error.at(at),
        None => error,
    }
}

fn refused(function: &Function) -> SqlError {
    let name = plain_name(&function.name);
    let error = SqlError::new(format!("{name} takes one value: {name}(x)")).with_hint(
        "it goes along the series in the order of event time; for other orders ask with lag(x, n) OVER (PARTITION BY ... ORDER BY ...)",
    );
    match place(&function.name) {
        Some(at) => error.at(at),
        None => error,
    }
}
