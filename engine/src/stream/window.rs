//! Windowed aggregates: on the dense path by series, on the general path over DataFusion's group
//! values and accumulators.
//!
//! Promise: a partial is kept per (lane, pane) and folded in that order when a window is emitted, so a
//! result depends neither on how partitions interleave nor on batches; nothing comes in hash order.
//! Rows that came too late for the first windows of their pane stand apart, under the first window
//! that was still open to them: what a closed window has seen never changes (S4).
//! Both paths give the same answers (P7).
//! Elsewhere: which rows are late and when a window is due is the runner's; here they are only counted.

pub mod dense;
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
use dense::{DensePanes, DensePlan, DenseState};
use groups::{Groups, Partial, Prepared};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{Offset, SeriesSnapshot};

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
}

/// How a windowed SELECT is worked out.
#[derive(Debug, Clone)]
pub enum Path {
    /// By series.
    Dense(Arc<DensePlan>),
    /// Over DataFusion's accumulators, for this reason.
    General(String),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// What should have come for a row of a closed window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    /// Series expected.
    pub sensors: u32,
    /// The share of their readings that came, where that is known.
    pub coverage: Option<f64>,
}

impl LaneEvidence {
    /// With what the same lane gave to another part of the window. The watermark stays that before the
    /// first of all offsets.
    fn absorb(&mut self, other: &Self) {
        if other.first < self.first {
            (self.first, self.watermark_before) = (other.first, other.watermark_before);
        }
        self.last = self.last.max(other.last);
    }
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
    /// What should be behind each row, where the rule asks.
    pub expects: Option<Vec<Expectation>>,
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

#[derive(Debug)]
enum Panes {
    General(BTreeMap<PaneKey, Pane>),
    Dense(Box<DensePanes>),
}

impl Panes {
    /// The pane and first window of each that is kept.
    fn kept(&self) -> Box<dyn Iterator<Item = (PaneIndex, PaneIndex)> + '_> {
        match self {
            Self::General(panes) => Box::new(panes.keys().map(|key| (key.pane, key.first_window))),
            Self::Dense(panes) => Box::new(panes.kept()),
        }
    }

    fn retain(&mut self, keep: impl Fn(PaneIndex) -> bool) {
        match self {
            Self::General(panes) => panes.retain(|key, _| keep(key.pane)),
            Self::Dense(panes) => panes.retain(keep),
        }
    }
}

/// What a checkpoint keeps of the windows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WindowsState {
    panes: PanesState,
    closed: Option<PaneIndex>,
    late: Vec<(PaneIndex, u64)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum PanesState {
    Dense(DenseState),
    /// Accumulators of any function cannot be put back bit for bit: their rows are read again, from
    /// the first of each lane on.
    Refill(Vec<LaneEvidence>),
}

/// The first row of each lane that is in a pane.
fn first_of_lanes(panes: &BTreeMap<PaneKey, Pane>) -> Vec<LaneEvidence> {
    let mut first: BTreeMap<usize, LaneEvidence> = BTreeMap::new();
    for evidence in panes.values().map(|pane| pane.evidence) {
        let known = first.entry(evidence.lane).or_insert(evidence);
        if evidence.first < known.first {
            *known = evidence;
        }
    }
    first.into_values().collect()
}

/// The open windows of a rule.
#[derive(Debug)]
pub struct Windows {
    aggregation: Arc<Aggregation>,
    panes: Panes,
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
        let panes = match &aggregation.path {
            Path::Dense(plan) => Panes::Dense(Box::new(DensePanes::new(Arc::clone(plan)))),
            Path::General(_) => Panes::General(BTreeMap::new()),
        };
        Self { aggregation, panes, closed: None, late: BTreeMap::new() }
    }

    /// The panes of the dense path, if it is taken.
    pub fn dense(&mut self) -> Option<&mut DensePanes> {
        match &mut self.panes {
            Panes::Dense(panes) => Some(panes),
            Panes::General(_) => None,
        }
    }

    /// For a checkpoint.
    pub fn state(&self) -> WindowsState {
        let panes = match &self.panes {
            Panes::Dense(panes) => PanesState::Dense(panes.state()),
            Panes::General(panes) => PanesState::Refill(first_of_lanes(panes)),
        };
        let late = self.late.iter().map(|(window, late)| (*window, *late)).collect();
        WindowsState { panes, closed: self.closed, late }
    }

    /// Goes on from a checkpoint. On the general path the panes are to be filled again: rows from the
    /// first of each lane on; then [`Self::refilled`].
    /// # Errors
    /// The state is of another plan.
    pub fn restore(
        &mut self,
        state: WindowsState,
        series: &Arc<SeriesSnapshot>,
    ) -> std::result::Result<Vec<LaneEvidence>, String> {
        let WindowsState { panes, closed, late } = state;
        self.closed = closed;
        self.late = late.into_iter().collect();
        match (&mut self.panes, panes) {
            (Panes::Dense(ours), PanesState::Dense(state)) => {
                ours.restore(state, series).map(|()| Vec::new())
            }
            (Panes::General(_), PanesState::Refill(lanes)) => Ok(lanes),
            _ => Err("it was made on another path".to_owned()),
        }
    }

    /// Forgets the panes of windows that were closed, and late readings that were counted twice.
    pub fn refilled(&mut self, late: BTreeMap<PaneIndex, u64>) {
        let (grid, closed) = (self.aggregation.grid, self.closed);
        self.panes.retain(|pane| closed.is_none_or(|closed| grid.last_window(pane) > closed));
        self.late = late;
    }

    /// Late readings by window.
    pub fn late(&self) -> &BTreeMap<PaneIndex, u64> {
        &self.late
    }

    /// Adds rows to a pane of the general path.
    /// # Errors
    /// What an expression cannot evaluate; nothing was added then.
    pub fn add(&mut self, slice: &Slice<'_>) -> Result<()> {
        let prepared = Prepared::new(&self.aggregation, &slice.batch)?;
        let (first, last) = slice.offsets;
        let Panes::General(panes) = &mut self.panes else { return Ok(()) };
        let pane = match panes.entry(slice.key) {
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
        let first =
            |(pane, first): (PaneIndex, PaneIndex)| first.max(grid.next_window(self.closed, pane));
        self.panes.kept().map(first).min()
    }

    /// End of the first open window.
    pub fn next_end(&self) -> Option<i64> {
        self.next().map(|window| self.aggregation.grid.end(window))
    }

    /// The latest end of the open windows.
    pub fn last_end(&self) -> Option<i64> {
        let grid = self.aggregation.grid;
        let last = self.panes.kept().map(|(pane, _)| grid.last_window(pane)).max();
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
        self.panes.retain(|pane| grid.last_window(pane) > window);
        self.late.retain(|late, _| *late > window);
        Some(closed)
    }

    fn finish(&mut self, window: PaneIndex) -> Result<Closed> {
        let grid = self.aggregation.grid;
        let panes = window..window + grid.panes_per_window();
        let late = self.late.get(&window).copied().unwrap_or(0);
        let closed = match &mut self.panes {
            Panes::Dense(dense) => dense.finish(&self.aggregation, window, panes)?,
            Panes::General(kept) => finish(&self.aggregation, kept, window, panes)?,
        };
        Ok(Closed { late, ..closed })
    }
}

fn finish(
    aggregation: &Aggregation,
    kept: &mut BTreeMap<PaneKey, Pane>,
    window: PaneIndex,
    panes: std::ops::Range<PaneIndex>,
) -> Result<Closed> {
    let mut groups = Groups::new(aggregation)?;
    let mut evidence: Vec<LaneEvidence> = Vec::new();
    for (key, pane) in kept {
        if !panes.contains(&key.pane) || key.first_window > window {
            continue;
        }
        match evidence.last_mut().filter(|last| last.lane == key.lane) {
            Some(lane) => lane.absorb(&pane.evidence),
            None => evidence.push(pane.evidence),
        }
        groups.merge(pane.partial.frozen()?)?;
    }
    let (start, end) = (aggregation.grid.edge(window), aggregation.grid.end(window));
    let (rows, sensors) = result(aggregation, groups, start, end)?;
    Ok(Closed { start, end, rows, sensors, expects: None, evidence, late: 0 })
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
    let sorted = |columns: Vec<ArrayRef>| {
        let columns = columns.iter().map(|column| take(column, &order, None));
        columns.collect::<std::result::Result<Vec<_>, _>>()
    };
    let keyed = Keyed { keys: sorted(keys)?, values: sorted(values)?, rows: order.len() };
    let rows = keyed.rows(aggregation, start, end)?;
    Ok((rows, order.values().iter().map(|group| sensors[*group as usize]).collect()))
}

/// The groups of a closed window, sorted by key.
struct Keyed {
    keys: Vec<ArrayRef>,
    values: Vec<ArrayRef>,
    rows: usize,
}

impl Keyed {
    /// As [`Grouping::schema`], with the row lane.
    fn rows(self, grouping: &Grouping, start: i64, end: i64) -> Result<RecordBatch> {
        let constant = |time: i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(vec![time; self.rows]).with_timezone("UTC"))
        };
        let mut keys = self.keys.into_iter();
        let mut columns = Vec::with_capacity(grouping.schema.fields().len());
        for column in &grouping.group {
            columns.push(match column {
                GroupColumn::Key(_) => keys.next().expect("a column for each key"),
                GroupColumn::WindowStart => constant(start),
                GroupColumn::WindowEnd => constant(end),
            });
        }
        columns.extend(self.values);
        let lane = UInt32Array::from_iter_values(0..u32::try_from(self.rows).expect("groups fit"));
        with_rows(&grouping.schema, columns, lane)
    }
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

/// What should be behind each row of `rows`, which came out of `closed` through its `after` pipeline.
pub fn expectations_of(closed: &Closed, rows: &RecordBatch) -> Option<Vec<Expectation>> {
    let expects = closed.expects.as_ref()?;
    Some(row_column(rows).values().iter().map(|row| expects[*row as usize]).collect())
}

/// The sensors behind each row of `rows`, which came out of `closed` through its `after` pipeline.
pub fn sensors_of(closed: &Closed, rows: &RecordBatch) -> Vec<u32> {
    row_column(rows).values().iter().map(|row| closed.sensors[*row as usize]).collect()
}
