//! `SESSION(stream, DESCRIPTOR(time), key => DESCRIPTOR(room), gap => INTERVAL '5' MINUTE)` in FROM.
//!
//! Promise: as for every window function, only `window_start` and `window_end` are added: the time of
//! the session's first reading, and the gap after its last one.

use super::{Call, Source, arguments};
use crate::sql::functions::session::{Edge, call as edge, column};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr};

const EXAMPLE: &str =
    "SESSION(stream, DESCRIPTOR(time), key => DESCRIPTOR(room), gap => INTERVAL '5' MINUTE)";

pub(super) fn plan(
    call: &Call,
    context: &mut dyn RelationPlannerContext,
) -> Result<RelationPlanning> {
    call.refuse_unknown(&["data", "timecol", "key", "gap"])?;
    if call.args.len() > 4 {
        return plan_err!(
            "SESSION takes a stream, DESCRIPTOR(time), a key and a gap: {EXAMPLE}; several key columns \
             stand in one DESCRIPTOR(room, floor)"
        );
    }
    let source = Source::of(call, EXAMPLE, context)?;
    let (key, gap) = key_and_gap(call)?;
    let gap_us = source.length(gap, "gap", context)?;
    let key = key.map(|key| key_columns(key, &source, context)).transpose()?.unwrap_or_default();
    let mut columns = source.columns();
    let [start, end] =
        [Edge::Start, Edge::End].map(|which| edge(which, source.time.clone(), gap_us, &key));
    columns.push(column(&start).alias("window_start"));
    columns.push(column(&end).alias("window_end"));
    let plan =
        LogicalPlanBuilder::from(source.input).window([start, end])?.project(columns)?.build()?;
    Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, call.alias.clone()))))
}

/// Without names: `key, gap`, or `gap` alone.
fn key_and_gap(call: &Call) -> Result<(Option<&SqlExpr>, &SqlExpr)> {
    let third_is_unnamed = matches!(call.args.get(2), Some(FunctionArg::Unnamed(_)));
    match (call.argument(2, "key"), call.argument(3, "gap")) {
        (key, Some(gap)) => Ok((key, gap)),
        (Some(gap), None) if third_is_unnamed && descriptor(gap).is_none() => Ok((None, gap)),
        (_, None) => Err(call.lacks("a gap", EXAMPLE)),
    }
}

fn descriptor(expr: &SqlExpr) -> Option<&[FunctionArg]> {
    match expr {
        SqlExpr::Function(call) if call.name.to_string().eq_ignore_ascii_case("descriptor") => {
            arguments(call)
        }
        _ => None,
    }
}

fn key_columns(
    key: &SqlExpr,
    source: &Source,
    context: &mut dyn RelationPlannerContext,
) -> Result<Vec<Expr>> {
    let named: Vec<&SqlExpr> = match descriptor(key) {
        Some(columns) => columns
            .iter()
            .filter_map(|column| match column {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            })
            .collect(),
        None => vec![key],
    };
    let mut columns = Vec::new();
    for expr in named {
        if !matches!(expr, SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)) {
            return plan_err!(
                "the key of a session is made of columns, '{expr}' is none: write SESSION((SELECT *, \
                 {expr} AS name FROM stream), DESCRIPTOR(time), key => DESCRIPTOR(name), gap => ...)"
            );
        }
        columns.push(context.sql_to_expr(expr.clone(), source.input.schema())?);
    }
    if columns.is_empty() {
        return plan_err!(
            "DESCRIPTOR names no key: write key => DESCRIPTOR(room), or leave key out"
        );
    }
    Ok(columns)
}
