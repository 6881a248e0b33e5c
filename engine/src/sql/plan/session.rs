//! SESSION under the aggregate of a rule.
//!
//! Promise: sessions are closed one by one, so rows of two of them never meet in a group: the key of
//! the session is among the GROUP BY columns, followed down through aliases and sub-SELECTs.

use super::Branch;
use super::nested;
use super::walk::{Result, WalkError};
use super::windows::column_name;
use crate::sql::SqlError;
use crate::sql::functions::session;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{self, Expr, LogicalPlan};

/// The place of a SESSION in a plan.
pub(super) struct SessionNode<'p> {
    pub(super) gap_us: i64,
    /// Columns of `input`.
    pub(super) key: &'p [Expr],
    /// What it reads.
    pub(super) input: &'p LogicalPlan,
}

impl<'p> SessionNode<'p> {
    /// If `plan` is one.
    pub(super) fn of(plan: &'p LogicalPlan) -> Option<Self> {
        let LogicalPlan::Window(window) = plan else { return None };
        let (gap_us, key) = session::of(window.window_expr.first()?)?;
        Some(Self { gap_us, key, input: &window.input })
    }

    /// The one under an aggregate, through which all its branches go.
    pub(super) fn find(plan: &'p LogicalPlan, branches: &[Branch]) -> Result<Option<Self>> {
        let mut found = Vec::new();
        plan.apply(|node| {
            found.extend(Self::of(node));
            Ok(nested::below(node))
        })?;
        let around = branches.iter().any(|branch| branch.before_session.is_none());
        if found.len() > 1 || (found.len() == 1 && around) {
            return Err(SqlError::new("a rule aggregates over one SESSION")
                .with_hint("put the streams together inside it: SESSION((SELECT ... UNION ALL SELECT ...), DESCRIPTOR(time), ...)")
                .into());
        }
        Ok(found.pop())
    }

    /// Its key in the order of GROUP BY.
    pub(super) fn key_in_group(&self, aggregate: &logical_expr::Aggregate) -> Result<Vec<Expr>> {
        let grouped: Vec<Column> = aggregate
            .group_expr
            .iter()
            .filter_map(|expr| origin(&aggregate.input, column_of(expr)?))
            .collect();
        let mut key = Vec::new();
        for expr in self.key {
            let position = column_of(expr).and_then(|c| grouped.iter().position(|g| g == c));
            match position {
                Some(position) => key.push((position, expr.clone())),
                None => return Err(lacks(expr)),
            }
        }
        key.sort_by_key(|(position, _)| *position);
        Ok(key.into_iter().map(|(_, expr)| expr).collect())
    }
}

fn lacks(key: &Expr) -> WalkError {
    let name = column_name(key).unwrap_or("key");
    SqlError::new(format!("GROUP BY lacks {name}, which is in the key of the session"))
        .with_detail("each key has sessions of its own, so each is a group of its own")
        .with_hint(format!("write GROUP BY {name}, ..., window_start, window_end, or take {name} out of key => DESCRIPTOR(...)"))
        .into()
}

fn column_of(expr: &Expr) -> Option<&Column> {
    match expr {
        Expr::Alias(alias) => column_of(&alias.expr),
        Expr::Column(column) => Some(column),
        _ => None,
    }
}

/// The column that SESSION reads under the name that `column` has above it.
fn origin(plan: &LogicalPlan, column: &Column) -> Option<Column> {
    let index = |schema: &DFSchema| schema.maybe_index_of_column(column);
    let below = |input: &LogicalPlan, index: usize| {
        let (qualifier, field) = input.schema().qualified_field(index);
        origin(input, &Column::new(qualifier.cloned(), field.name()))
    };
    match plan {
        LogicalPlan::Projection(projection) => {
            let expr = projection.expr.get(index(&projection.schema)?)?;
            origin(&projection.input, column_of(expr)?)
        }
        LogicalPlan::SubqueryAlias(alias) => below(&alias.input, index(&alias.schema)?),
        LogicalPlan::Filter(filter) => origin(&filter.input, column),
        LogicalPlan::Join(join) => {
            let left = join.left.schema();
            let side = if index(left).is_some() { &join.left } else { &join.right };
            origin(side, column)
        }
        LogicalPlan::Window(window) => index(window.input.schema()).map(|_| column.clone()),
        _ => None,
    }
}
