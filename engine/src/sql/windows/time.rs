//! The time that a window follows: `time` of a stream, or the last instant of windows below.
//!
//! Promise: a row of a window that has no `time` of its own has `window_end - 1 us`, as it would have in a
//! stream made of the same SELECT.

use super::arguments;
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{ScalarValue, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr, Ident};

pub(super) fn time_column(
    descriptor: &SqlExpr,
    input: &LogicalPlan,
    context: &mut dyn RelationPlannerContext,
) -> Result<Expr> {
    let column = match descriptor {
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("descriptor") => {
            match arguments(call) {
                Some([FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))]) => expr.clone(),
                _ => return plan_err!("DESCRIPTOR takes one column: DESCRIPTOR(time)"),
            }
        }
        other => other.clone(),
    };
    let has = |name: &str| input.schema().columns().iter().any(|column| column.name == name);
    match &column {
        SqlExpr::Identifier(Ident { value, .. })
            if ["time", "window_time"].iter().any(|time| value.eq_ignore_ascii_case(time))
                && !has("time")
                && has("window_end") =>
        {
            return end_of_window(input);
        }
        SqlExpr::Identifier(Ident { value, .. })
            if value.eq_ignore_ascii_case("time")
                && !has("time")
                && is_select_of_windows(input) =>
        {
            return plan_err!(
                "the SELECT inside the window returns neither time nor window_end; add window_end to its \
                 SELECT list: its rows have the time window_end - 1 us"
            );
        }
        SqlExpr::Identifier(Ident { value, .. }) if value.eq_ignore_ascii_case("time") => {}
        other => {
            return plan_err!(
                "windows follow the event time: write DESCRIPTOR(time), not DESCRIPTOR({other})"
            );
        }
    }
    context.sql_to_expr(column, input.schema())
}

/// Rows of windows have the time of the last instant of their window.
fn end_of_window(input: &LogicalPlan) -> Result<Expr> {
    let columns = input.schema().columns();
    let end = columns.into_iter().find(|column| column.name == "window_end");
    let end = end.ok_or_else(|| plan_datafusion_err!("the SELECT returns no window_end"))?;
    let instant = IntervalMonthDayNano::new(0, 0, 1_000);
    let instant = Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(instant)), None);
    Ok(Expr::Column(end) - instant)
}

fn is_select_of_windows(input: &LogicalPlan) -> bool {
    input.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_)))).unwrap_or(false)
}
