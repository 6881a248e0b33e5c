//! Windowed aggregates over DataFusion's group values and accumulators: the general path.
//!
//! Promise: a partial is kept per (window, lane) and folded in lane order when the window is emitted, so
//! a result does not depend on how partitions interleave; nothing is emitted in hash order.
//! Elsewhere: which rows are late and when a window is due is the runner's; here they are only counted.

use super::pipeline::{Pipeline, row_column, with_rows};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, lexsort_to_indices, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use weir_ingest::model::Offset;

/// Size and alignment of a tumbling window, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tumble {
    /// Its length.
    pub size_us: i64,
    /// Distance of its grid from the UTC epoch.
    pub offset_us: i64,
}

impl Tumble {
    /// Start of the window that holds `time`.
    pub fn start(self, time: i64) -> i64 {
        (time - self.offset_us).div_euclid(self.size_us) * self.size_us + self.offset_us
    }

    /// End of the window that holds `time`.
    pub fn end(self, time: i64) -> i64 {
        self.start(time) + self.size_us
    }
}

/// One aggregate of the SELECT.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The function and its arguments.
    pub function: Arc<AggregateFunctionExpr>,
    /// Its FILTER (WHERE ...).
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Aggregate {
    fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.function.groups_accumulator_supported() {
            return self.function.create_groups_accumulator();
        }
        let function = Arc::clone(&self.function);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())))
    }

    fn arguments(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let ordering = self.function.order_bys().iter().map(|sort| Arc::clone(&sort.expr));
        let expressions = self.function.expressions();
        expressions
            .iter()
            .cloned()
            .chain(ordering)
            .map(|e| e.evaluate(batch)?.into_array(batch.num_rows()))
            .collect()
    }

    fn filter(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let keep = filter.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(Some(as_boolean_array(&keep)?.clone()))
    }
}

/// GROUP BY and aggregates of a windowed SELECT.
#[derive(Debug, Clone)]
pub struct Aggregation {
    /// The window.
    pub window: Tumble,
    /// The group columns, `window_start` and `window_end` among them.
    pub group: Vec<Arc<dyn PhysicalExpr>>,
    /// Their types.
    pub group_schema: SchemaRef,
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

#[derive(Debug)]
struct Pane {
    groups: Groups,
    evidence: LaneEvidence,
}

struct Groups {
    values: Box<dyn GroupValues>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    series: HashSet<(usize, u64)>,
    indices: Vec<usize>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("len", &self.values.len()).finish_non_exhaustive()
    }
}

/// The open windows of a rule.
#[derive(Debug)]
pub struct Windows {
    aggregation: Arc<Aggregation>,
    open: BTreeMap<i64, Window>,
}

#[derive(Debug, Default)]
struct Window {
    panes: BTreeMap<usize, Pane>,
    late: u64,
}

/// Rows of one lane and one window, on their way into a pane.
#[derive(Debug)]
pub struct Slice<'r> {
    /// The lane.
    pub lane: usize,
    /// Start of the window.
    pub start: i64,
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
        Self { aggregation, open: BTreeMap::new() }
    }

    /// Adds rows that are not late for their window.
    /// # Errors
    /// What an expression cannot evaluate; nothing was added then.
    pub fn add(&mut self, slice: &Slice<'_>) -> Result<()> {
        let prepared = Prepared::new(&self.aggregation, &slice.batch)?;
        let window = self.open.entry(slice.start).or_default();
        let pane = match window.panes.entry(slice.lane) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Pane {
                groups: Groups::new(&self.aggregation)?,
                evidence: LaneEvidence {
                    lane: slice.lane,
                    first: slice.offsets.0,
                    last: slice.offsets.1,
                    watermark_before: slice.watermark_before,
                },
            }),
        };
        pane.evidence.first = pane.evidence.first.min(slice.offsets.0);
        pane.evidence.last = pane.evidence.last.max(slice.offsets.1);
        pane.groups.update(&prepared, slice.series)
    }

    /// Counts a reading that came too late for the window, if that is still open in another lane.
    pub fn note_late(&mut self, start: i64) {
        if let Some(window) = self.open.get_mut(&start) {
            window.late += 1;
        }
    }

    /// End of the first open window.
    pub fn next_end(&self) -> Option<i64> {
        self.open.keys().next().map(|start| start + self.aggregation.window.size_us)
    }

    /// The latest end of the open windows.
    pub fn last_end(&self) -> Option<i64> {
        self.open.keys().next_back().map(|start| start + self.aggregation.window.size_us)
    }

    /// Takes the first open window out if it ends by `closed`.
    /// # Errors
    /// What an aggregate cannot evaluate; the window is gone then.
    pub fn close_next(&mut self, closed: i64) -> Option<Result<Closed>> {
        let end = self.next_end().filter(|end| *end <= closed)?;
        let (start, window) = self.open.pop_first().expect("next_end saw it");
        Some(finish(&self.aggregation, start, end, window))
    }

    /// The open windows as they stand, in order, without closing them.
    /// # Errors
    /// What an aggregate cannot evaluate.
    pub fn drain_open(&mut self) -> Vec<Result<Closed>> {
        let size = self.aggregation.window.size_us;
        std::mem::take(&mut self.open)
            .into_iter()
            .map(|(start, window)| finish(&self.aggregation, start, start + size, window))
            .collect()
    }

    /// Number of open windows.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

struct Prepared {
    group: Vec<ArrayRef>,
    arguments: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<BooleanArray>>,
}

impl Prepared {
    fn new(aggregation: &Aggregation, batch: &RecordBatch) -> Result<Self> {
        let group = aggregation
            .group
            .iter()
            .map(|e| e.evaluate(batch)?.into_array(batch.num_rows()))
            .collect::<Result<_>>()?;
        let arguments =
            aggregation.aggregates.iter().map(|a| a.arguments(batch)).collect::<Result<_>>()?;
        let filters =
            aggregation.aggregates.iter().map(|a| a.filter(batch)).collect::<Result<_>>()?;
        Ok(Self { group, arguments, filters })
    }
}

impl Groups {
    fn new(aggregation: &Aggregation) -> Result<Self> {
        Ok(Self {
            values: new_group_values(Arc::clone(&aggregation.group_schema), &GroupOrdering::None)?,
            accumulators: aggregation
                .aggregates
                .iter()
                .map(Aggregate::accumulator)
                .collect::<Result<_>>()?,
            series: HashSet::new(),
            indices: Vec::new(),
        })
    }

    fn update(&mut self, prepared: &Prepared, series: &[u64]) -> Result<()> {
        self.values.intern(&prepared.group, &mut self.indices)?;
        let total = self.values.len();
        for ((accumulator, arguments), filter) in
            self.accumulators.iter_mut().zip(&prepared.arguments).zip(&prepared.filters)
        {
            accumulator.update_batch(arguments, &self.indices, filter.as_ref(), total)?;
        }
        self.series.extend(self.indices.iter().copied().zip(series.iter().copied()));
        Ok(())
    }

    fn merge(&mut self, mut other: Self) -> Result<()> {
        let group = other.values.emit(EmitTo::All)?;
        self.values.intern(&group, &mut self.indices)?;
        let total = self.values.len();
        for (accumulator, partial) in self.accumulators.iter_mut().zip(&mut other.accumulators) {
            let state = partial.state(EmitTo::All)?;
            accumulator.merge_batch(&state, &self.indices, total)?;
        }
        let indices = &self.indices;
        self.series.extend(other.series.into_iter().map(|(group, s)| (indices[group], s)));
        Ok(())
    }
}

fn finish(aggregation: &Aggregation, start: i64, end: i64, window: Window) -> Result<Closed> {
    let mut merged = Groups::new(aggregation)?;
    let mut evidence = Vec::new();
    for pane in window.panes.into_values() {
        evidence.push(pane.evidence);
        merged.merge(pane.groups)?;
    }
    let groups = merged.values.len();
    let mut sensors = vec![0_u32; groups];
    for (group, _) in &merged.series {
        sensors[*group] += 1;
    }
    let mut columns = merged.values.emit(EmitTo::All)?;
    let order = order_of(&columns)?;
    for accumulator in &mut merged.accumulators {
        columns.push(accumulator.evaluate(EmitTo::All)?);
    }
    let columns = columns.iter().map(|c| take(c, &order, None)).collect::<Result<Vec<_>, _>>()?;
    let lane = UInt32Array::from_iter_values(0..u32::try_from(groups).expect("groups fit u32"));
    Ok(Closed {
        start,
        end,
        rows: with_rows(&aggregation.schema, columns, lane)?,
        sensors: order.values().iter().map(|i| sensors[*i as usize]).collect(),
        evidence,
        late: window.late,
    })
}

fn order_of(columns: &[ArrayRef]) -> Result<UInt32Array> {
    let sort: Vec<SortColumn> = columns
        .iter()
        .map(|column| SortColumn { values: Arc::clone(column), options: None })
        .collect();
    Ok(lexsort_to_indices(&sort, None)?)
}

/// The sensors behind each row of `rows`, which came out of `closed` through its `after` pipeline.
pub fn sensors_of(closed: &Closed, rows: &RecordBatch) -> Vec<u32> {
    row_column(rows).values().iter().map(|row| closed.sensors[*row as usize]).collect()
}
