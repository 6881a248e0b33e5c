//! Windowed aggregates over DataFusion's group values and accumulators: the general path.
//!
//! Promise: a partial is kept per (lane, pane) and folded in that order when a window is emitted, so a
//! result depends neither on how partitions interleave nor on batches; nothing comes in hash order.
//! Rows that came too late for the first windows of their pane stand apart, under the first window
//! that was still open to them: what a closed window has seen never changes (S4).
//! Elsewhere: which rows are late and when a window is due is the runner's; here they are only counted.

mod groups;
mod kept;
pub mod session;

use super::grid::{Grid, PaneIndex};
use super::pipeline::{Pipeline, row_column, with_rows};
use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{SortColumn, lexsort_to_indices, take};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use groups::{Groups, Partial, Prepared};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::Offset;

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
    /// The aggregates.
    pub aggregates: Vec<Aggregate>,
    /// Group columns, then aggregates.
    pub schema: SchemaRef,
    /// What follows: HAVING and the SELECT list.
    pub after: Pipeline,
}

/// What one lane gave to a window: for the receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneEvidence {
    /// Lane index.
    pub lane: usize,
    /// First offset used.
    pub first: Offset,
    /// Last offset used.
    pub last: Offset,
    /// Watermark of the lane before the first.
    pub watermark_before: i64,
}

/// A closed window: its rows as [`Aggregation::schema`], sorted by group, with the row lane.
#[derive(Debug)]
pub struct Closed {
    /// Start, microseconds.
    pub start: i64,
    /// End, microseconds.
    pub end: i64,
    /// One row per group.
    pub rows: RecordBatch,
    /// Distinct series behind each row.
    pub sensors: Vec<u32>,
    /// Which offsets went in.
    pub evidence: Vec<LaneEvidence>,
    /// Readings that came too late for it while it was open elsewhere.
    pub late: u64,
}

/// Where rows go: a pane of a lane, and the first window that was still open to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaneKey {
    /// The lane.
    pub lane: usize,
    /// The pane.
    pub pane: PaneIndex,
    /// The first window they count in.
    pub first_window: PaneIndex,
}

#[derive(Debug)]
struct Pane {
    partial: Partial,
    evidence: LaneEvidence,
}

/// The open windows of a rule.
#[derive(Debug)]
pub struct Windows {
    aggregation: Arc<Aggregation>,
    panes: BTreeMap<PaneKey, Pane>,
    /// The newest window that was closed.
    closed: Option<PaneIndex>,
    late: BTreeMap<PaneIndex, u64>,
}

/// Rows of one pane on their way into it.
#[derive(Debug)]
pub struct Slice<'r> {
    /// Where they go.
    pub key: PaneKey,
    /// The rows, with the row lane.
    pub batch: RecordBatch,
    /// Series of each row, unique over the rule's streams.
    pub series: &'r [u64],
    /// Offset of the first and last row.
    pub offsets: (Offset, Offset),
    /// Watermark of the lane before the first row.
    pub watermark_before: i64,
}

impl Windows {
    /// No window open.
    pub fn new(aggregation: Arc<Aggregation>) -> Self {
        Self { aggregation, panes: BTreeMap::new(), closed: None, late: BTreeMap::new() }
    }

    /// Adds rows to a pane.
    /// # Errors
    /// What an expression cannot evaluate; nothing was added then.
    pub fn add(&mut self, slice: &Slice<'_>) -> Result<()> {
        let prepared = Prepared::new(&self.aggregation, &slice.batch)?;
        let (first, last) = slice.offsets;
        let pane = match self.panes.entry(slice.key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let watermark_before = slice.watermark_before;
                let evidence = LaneEvidence { lane: slice.key.lane, first, last, watermark_before };
                entry.insert(Pane { partial: Partial::new(&self.aggregation)?, evidence })
            }
        };
        pane.evidence.first = pane.evidence.first.min(first);
        pane.evidence.last = pane.evidence.last.max(last);
        pane.partial.update(&prepared, slice.series)
    }

    /// Counts a reading that came too late for a window, if that is not emitted yet.
    pub fn note_late(&mut self, window: PaneIndex) {
        if self.closed.is_none_or(|closed| window > closed) {
            *self.late.entry(window).or_default() += 1;
        }
    }

    /// The first open window.
    fn next(&self) -> Option<PaneIndex> {
        let grid = self.aggregation.grid;
        let first = |key: &PaneKey| key.first_window.max(grid.next_window(self.closed, key.pane));
        self.panes.keys().map(first).min()
    }

    /// End of the first open window.
    pub fn next_end(&self) -> Option<i64> {
        self.next().map(|window| self.aggregation.grid.end(window))
    }

    /// The latest end of the open windows.
    pub fn last_end(&self) -> Option<i64> {
        let grid = self.aggregation.grid;
        let last = self.panes.keys().map(|key| grid.last_window(key.pane)).max();
        last.map(|window| grid.end(window))
    }

    /// Closes the first open window if it ends by `until`.
    /// # Errors
    /// What an aggregate cannot evaluate; the window is closed then, too.
    pub fn close_next(&mut self, until: i64) -> Option<Result<Closed>> {
        let grid = self.aggregation.grid;
        let window = self.next().filter(|window| grid.end(*window) <= until)?;
        let closed = self.finish(window);
        self.closed = Some(window);
        self.panes.retain(|key, _| grid.last_window(key.pane) > window);
        self.late.retain(|late, _| *late > window);
        Some(closed)
    }

    /// Number of panes kept.
    pub fn len(&self) -> usize {
        self.panes.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }

    fn finish(&mut self, window: PaneIndex) -> Result<Closed> {
        let grid = self.aggregation.grid;
        let panes = window..window + grid.panes_per_window();
        let mut groups = Groups::new(&self.aggregation)?;
        let mut evidence: Vec<LaneEvidence> = Vec::new();
        for (key, pane) in &mut self.panes {
            if !panes.contains(&key.pane) || key.first_window > window {
                continue;
            }
            match evidence.last_mut().filter(|last| last.lane == key.lane) {
                Some(lane) => {
                    lane.first = lane.first.min(pane.evidence.first);
                    lane.last = lane.last.max(pane.evidence.last);
                }
                None => evidence.push(pane.evidence),
            }
            groups.merge(pane.partial.frozen()?)?;
        }
        let late = self.late.get(&window).copied().unwrap_or(0);
        let (start, end) = (grid.edge(window), grid.end(window));
        let (rows, sensors) = result(&self.aggregation, groups, start, end)?;
        Ok(Closed { start, end, rows, sensors, evidence, late })
    }
}

/// The groups of a window as rows, sorted, and how many sensors are behind each.
fn result(
    aggregation: &Grouping,
    groups: Groups,
    start: i64,
    end: i64,
) -> Result<(RecordBatch, Vec<u32>)> {
    let sensors = groups.sensors();
    let (keys, values) = groups.evaluate()?;
    let order = order_of(&keys, sensors.len())?;
    let sorted = |column: &ArrayRef| take(column, &order, None);
    let mut keys = keys.iter();
    let constant = |time: i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(vec![time; order.len()]).with_timezone("UTC"))
    };
    let mut columns = Vec::with_capacity(aggregation.schema.fields().len());
    for column in &aggregation.group {
        columns.push(match column {
            GroupColumn::Key(_) => sorted(keys.next().expect("a column for each key"))?,
            GroupColumn::WindowStart => constant(start),
            GroupColumn::WindowEnd => constant(end),
        });
    }
    for value in &values {
        columns.push(sorted(value)?);
    }
    let lane = UInt32Array::from_iter_values(0..u32::try_from(order.len()).expect("groups fit"));
    let rows = with_rows(&aggregation.schema, columns, lane)?;
    Ok((rows, order.values().iter().map(|group| sensors[*group as usize]).collect()))
}

fn order_of(keys: &[ArrayRef], groups: usize) -> Result<UInt32Array> {
    if keys.is_empty() {
        let groups = u32::try_from(groups).expect("groups fit u32");
        return Ok(UInt32Array::from_iter_values(0..groups));
    }
    let sort: Vec<SortColumn> = keys
        .iter()
        .map(|column| SortColumn { values: Arc::clone(column), options: None })
        .collect();
    Ok(lexsort_to_indices(&sort, None)?)
}

/// The sensors behind each row of `rows`, which came out of `closed` through its `after` pipeline.
pub fn sensors_of(closed: &Closed, rows: &RecordBatch) -> Vec<u32> {
    row_column(rows).values().iter().map(|row| closed.sensors[*row as usize]).collect()
}
