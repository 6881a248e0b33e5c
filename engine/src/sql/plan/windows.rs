//! The windows under the aggregate of a rule, and how GROUP BY speaks of them.

use super::nested::{self, is_inner};
use super::session::SessionNode;
use super::walk::{Result, WalkError};
use crate::sql::SqlError;
use crate::sql::functions::grid::{self, GridFunction};
use crate::stream::grid::Grid;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{self, Expr, LogicalPlan};

pub(super) fn group_columns(aggregate: &logical_expr::Aggregate) -> Result<Vec<String>> {
    let names: Vec<String> = aggregate
        .group_expr
        .iter()
        .map(|expr| match expr {
            Expr::Column(column) => column.name.clone(),
            Expr::Alias(alias) => alias.name.clone(),
            other => other.schema_name().to_string(),
        })
        .collect();
    for needed in ["window_start", "window_end"] {
        if !names.iter().any(|name| name == needed) {
            return Err(lacks_window(&format!("GROUP BY lacks {needed}")));
        }
    }
    Ok(names.into_iter().filter(|n| n != "window_start" && n != "window_end").collect())
}

pub(super) fn lacks_window(what: &str) -> WalkError {
    SqlError::new(what)
        .with_detail("a rule's state must be bounded: a group ends when its window ends")
        .with_hint(
            "write FROM TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) ... \
             GROUP BY ..., window_start, window_end",
        )
        .into()
}

/// Finds the windows under an aggregate; all branches must have the same.
pub(super) fn window_of(plan: &LogicalPlan) -> Result<Grid> {
    let mut found: Vec<Grid> = Vec::new();
    plan.apply(|node| {
        if is_inner(node) {
            return Ok(TreeNodeRecursion::Jump);
        }
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Some((GridFunction::StartOf | GridFunction::StartsOf, grid)) = grid::of(e) {
                    found.push(grid);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(nested::below(node))
    })?;
    found.dedup();
    match found.as_slice() {
        [window] => Ok(*window),
        [] => Err(lacks_window("GROUP BY needs a window")),
        _ => Err(SqlError::new("a rule aggregates over one window")
            .with_hint("use the same lengths in every TUMBLE or HOP, or make two rules")
            .into()),
    }
}

/// Whether `expr` is an edge of windows.
pub(super) fn has_window(expr: &Expr) -> bool {
    grid::of(unaliased(expr)).is_some()
}

/// Whether `expr` is an edge of HOP's windows, which a row has many of.
pub(super) fn of_hop(expr: &Expr) -> bool {
    let edge = grid::of(unaliased(expr));
    matches!(edge, Some((GridFunction::StartsOf | GridFunction::EndsAt, _)))
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

pub(super) fn column_name(expr: &Expr) -> Option<&str> {
    match unaliased(expr) {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// Below the aggregate of a HOP a row does not stand in one window yet, below that of a SESSION its
/// window is not known.
pub(super) fn refuse_window_columns(
    aggregate: &logical_expr::Aggregate,
    function: &str,
) -> Result<()> {
    let mut used = None;
    let mut look = |expr: &Expr| {
        if column_name(expr).is_none() && !of_hop(expr) {
            let edges = ["window_start", "window_end"];
            let columns = expr.column_refs();
            used = used.or(columns.iter().find_map(|c| edges.into_iter().find(|e| c.name == *e)));
        }
    };
    aggregate.group_expr.iter().chain(&aggregate.aggr_expr).for_each(&mut look);
    aggregate.input.apply(|node| {
        if is_inner(node) {
            return Ok(TreeNodeRecursion::Jump);
        }
        // What SESSION reads has its time from the windows below, if there are any.
        if !matches!(node, LogicalPlan::Unnest(_)) && SessionNode::of(node).is_none() {
            node.apply_expressions(|expr| {
                look(expr);
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match used {
        None => Ok(()),
        Some(name) => Err(SqlError::new(format!(
            "a rule cannot use {name} of a {function} before its GROUP BY"
        ))
        .with_detail("a reading is taken before its windows are over, once for all of them")
        .with_hint("use it in the SELECT list, in HAVING or in RAISE WHEN")
        .into()),
    }
}
