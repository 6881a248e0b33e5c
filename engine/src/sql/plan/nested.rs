//! Windows over windows: an aggregate below the aggregate of a rule.
//!
//! Promise: the SELECT below becomes a rule of its own, whose rows are readings of a stream that exists in
//! memory alone; what the SELECT above sees has the names and types that a batch query would give it.

use super::derivation::{Derivation, held};
use super::walk::{Result, WalkError, Walked};
use super::windows::{column_name, has_window};
use super::{Branch, Key, RulePlan, Shape};
use crate::sql::SqlError;
use crate::stream::grid::Grid;
use crate::stream::pipeline::{Pipeline, Stage};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column as PhysicalColumn};
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::model::{Column, StreamDefinition, StreamOptions, TopicTemplate, reading};

/// A rule over windows of windows.
#[derive(Debug)]
pub struct Nested {
    /// The SELECT below; it writes the stream that [`Self::outer`] reads.
    pub inner: Arc<RulePlan>,
    /// Columns of its output that tell its rows apart beside their window.
    pub key: Vec<usize>,
    /// The SELECT above, and the verdict.
    pub outer: RulePlan,
}

/// The SELECT below, on its way into a plan.
pub(super) struct Inner {
    pub(super) walked: Box<Walked>,
    output: SchemaRef,
    derivation: Derivation,
    explained: String,
}

/// Whether a plan has an aggregate.
pub(super) fn has_aggregate(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_)))).unwrap_or(false)
}

/// Whether `plan` is a SELECT with an aggregate of its own, below any window.
pub(super) fn is_inner(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) => true,
        LogicalPlan::Projection(projection) if !projection.expr.iter().any(has_window) => {
            is_inner(&projection.input)
        }
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => is_inner(plan.inputs()[0]),
        _ => false,
    }
}

/// How to go on from a node of the SELECT above: not into the one below.
pub(super) fn below(node: &LogicalPlan) -> TreeNodeRecursion {
    if is_inner(node) { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue }
}

/// Something else is read beside the SELECT below.
pub(super) fn not_alone() -> WalkError {
    SqlError::new("a window over windows reads one SELECT")
        .with_hint(
            "make the inner SELECT a stream: CREATE STREAM x TOPIC '...' AS SELECT ..., and put the streams \
             together inside the window",
        )
        .into()
}

/// The SELECT above has no windows of its own, and cannot have those of the one below.
pub(super) fn needs_a_window() -> WalkError {
    SqlError::new("the outer SELECT groups by no window")
        .with_detail("it has the windows of the inner one where that is over TUMBLE and returns them")
        .with_hint(
            "write FROM TUMBLE((SELECT ..., window_end FROM ... GROUP BY ...), DESCRIPTOR(time), size => \
             INTERVAL '1' HOUR) ... GROUP BY ..., window_start, window_end",
        )
        .into()
}

/// The windows of the SELECT below, where the one above groups by the same: those of TUMBLE.
pub(super) fn same_windows(plan: &LogicalPlan, inner: &Inner) -> Option<Grid> {
    let Shape::Windowed(aggregation) = &inner.walked.shape else { return None };
    let edges = ["window_start", "window_end"];
    let same = edges.iter().all(|edge| keeps(plan, edge));
    let grid = aggregation.grid;
    (same && grid.size_us == grid.slide_us && inner.derivation.time.is_none()).then_some(grid)
}

/// Whether the column `edge` of a plan is that of the aggregate below.
fn keeps(plan: &LogicalPlan, edge: &str) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) => true,
        LogicalPlan::Projection(projection) => {
            let at = projection.schema.index_of_column_by_name(None, edge);
            let expr = at.and_then(|at| projection.expr.get(at));
            expr.and_then(column_name) == Some(edge) && keeps(&projection.input, edge)
        }
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => keeps(plan.inputs()[0], edge),
        _ => false,
    }
}

impl Inner {
    /// `walked`, which stands for `plan`.
    pub(super) fn new(walked: Walked, plan: &LogicalPlan) -> Result<Self> {
        if matches!(walked.shape, Shape::PerReading) {
            return Err(SqlError::new("the SELECT inside the window has no window").into());
        }
        let output = Arc::clone(plan.schema().inner());
        let derivation = derivation(&output)?;
        let explained = plan.display_indent().to_string();
        Ok(Self { walked: Box::new(walked), output, derivation, explained })
    }

    /// The stream that its rows go into.
    pub(super) fn stream(&self) -> &Arc<StreamDefinition> {
        &self.derivation.stream
    }

    /// The rows of that stream, as the output of the SELECT.
    pub(super) fn branch(&self) -> Branch {
        let table = reading::table_schema(self.stream());
        let stored = |at: usize| -> Arc<dyn PhysicalExpr> {
            let name = name_of(at);
            let index = table.index_of(&name).expect("the stream was made with it");
            let column: Arc<dyn PhysicalExpr> = Arc::new(PhysicalColumn::new(&name, index));
            let wanted = self.output.field(at).data_type();
            match table.field(index).data_type() == wanted {
                true => column,
                false => Arc::new(CastExpr::new(column, wanted.clone(), None)),
            }
        };
        let expressions = (0..self.output.fields().len()).map(stored).collect();
        let schema = Arc::clone(&self.output);
        let pipeline = Pipeline::new(vec![Stage::Project { expressions, schema }]);
        Branch { stream: 0, along: None, before_session: None, pipeline }
    }

    /// Its windows are read without its `time`.
    pub(super) fn at_window_ends(&mut self) {
        self.derivation.time = None;
    }

    /// The rule of both; `outer` reads [`Self::stream`].
    pub(super) fn over(self, outer: RulePlan) -> RulePlan {
        let walked = *self.walked;
        let key = walked.group.iter().flatten();
        let key = key.filter_map(|name| self.output.index_of(name).ok()).collect();
        let inner = RulePlan {
            streams: walked.streams,
            branches: walked.branches,
            shape: walked.shape,
            output: self.output,
            key: Key::Columns(Vec::new()),
            raise: None,
            clear: None,
            suppress: None,
            coverage: None,
            tables: walked.tables,
            latest: walked.latest,
            into: Some(Arc::new(self.derivation)),
            explained: self.explained,
            fingerprint: String::new(),
            nested: None,
        };
        let inner = Arc::new(match walked.inner {
            Some(below) => below.over(inner),
            None => inner,
        });
        let mut tables: Vec<String> = inner.tables.iter().chain(&outer.tables).cloned().collect();
        tables.sort();
        tables.dedup();
        RulePlan {
            streams: inner.streams.clone(),
            branches: inner.branches.clone(),
            latest: inner.latest.clone(),
            tables,
            nested: Some(Arc::new(Nested { inner, key, outer: outer.clone() })),
            ..outer
        }
    }
}

/// The place of a column of the SELECT is its name in the stream.
fn name_of(at: usize) -> String {
    format!("c{at}")
}

fn derivation(output: &Schema) -> Result<Derivation> {
    let mut columns = Vec::new();
    for (at, field) in output.fields().iter().enumerate() {
        let Some(column_type) = held(field.data_type()) else {
            return Err(SqlError::new(format!(
                "'{}' of the SELECT inside the window is {}, which cannot be kept until the window is over",
                field.name(),
                field.data_type()
            ))
            .with_hint("CAST it to DOUBLE, BIGINT, BOOLEAN, TEXT or TIMESTAMP")
            .into());
        };
        columns.push(Column { name: name_of(at), column_type, unit: None });
    }
    let options =
        StreamOptions { partitions: 1, lateness: Duration::ZERO, ..StreamOptions::default() };
    let template = TopicTemplate::parse("/{row}").expect("a template");
    let stream = StreamDefinition::new("inner_windows", columns, template, options)
        .map_err(|error| SqlError::new(error.to_string()))?;
    Ok(Derivation {
        stream: Arc::new(stream.fed_by_rule()),
        levels: Vec::new(),
        fields: (0..output.fields().len()).collect(),
        time: output.column_with_name("time").map(|(at, _)| at),
    })
}
