//! A windowed SELECT: its windows, its groups, and how they are worked out.
//!
//! Promise: made by the planner; nothing in it changes while a rule runs.

use super::by_series::{BySeriesPlan, RowColumns};
use super::dense::DensePlan;
use super::series::SeriesPlan;
use crate::stream::grid::Grid;
use crate::stream::pipeline::Pipeline;
use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use std::sync::Arc;

/// One aggregate of the SELECT.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The function and its arguments.
    pub function: Arc<AggregateFunctionExpr>,
    /// Its FILTER (WHERE ...).
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

/// One column of GROUP BY.
#[derive(Debug, Clone)]
pub enum GroupColumn {
    /// An expression over the rows.
    Key(Arc<dyn PhysicalExpr>),
    /// `window_start`.
    WindowStart,
    /// `window_end`.
    WindowEnd,
}

/// A windowed SELECT over TUMBLE or HOP: its grouping, over a grid.
#[derive(Debug, Clone)]
pub struct Aggregation {
    /// The windows.
    pub grid: Grid,
    /// GROUP BY and aggregates.
    pub grouping: Grouping,
    /// How they are worked out.
    pub path: Path,
    /// Of a rule that asks for coverage, by stream what depends on its series alone; else none.
    pub census: Vec<(usize, Arc<SeriesPlan>)>,
}

/// How a windowed SELECT is worked out.
#[derive(Debug, Clone)]
pub enum Path {
    /// Numbers are added up by series.
    Dense(Arc<DensePlan>),
    /// Over DataFusion's accumulators, groups told by series, for this reason.
    BySeries(Arc<BySeriesPlan>, String),
    /// Over DataFusion's accumulators, keys worked out row by row, for this reason.
    General(String),
}

impl Path {
    /// How the values of a batch are had, where series tell the groups.
    pub fn columns(&self) -> Option<&RowColumns> {
        match self {
            Self::Dense(plan) => Some(&plan.columns),
            Self::BySeries(plan, _) => Some(&plan.columns),
            Self::General(_) => None,
        }
    }
}

impl std::ops::Deref for Aggregation {
    type Target = Grouping;

    fn deref(&self) -> &Grouping {
        &self.grouping
    }
}

/// GROUP BY and aggregates of a windowed SELECT, whatever its windows are.
#[derive(Debug, Clone)]
pub struct Grouping {
    /// The group columns, in order.
    pub group: Vec<GroupColumn>,
    /// Types of those that are keys.
    pub key_schema: SchemaRef,
    /// The aggregates but for [`Self::counted`].
    pub aggregates: Vec<Aggregate>,
    /// `coverage()` and its kind, each with its place among all aggregates; they grow.
    pub counted: Vec<(usize, CountedKind)>,
    /// Group columns, then aggregates.
    pub schema: SchemaRef,
    /// What follows: HAVING and the SELECT list.
    pub after: Pipeline,
}

/// What counts series, not values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedKind {
    /// `coverage()`.
    Coverage,
    /// `sensors_reporting()`.
    Reporting,
    /// `sensors_expected()`.
    Expected,
}
