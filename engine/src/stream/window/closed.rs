//! Windows that are over: their rows, and what is behind each.
//!
//! Promise: rows are sorted by their group, NULLs first, whatever path and however partials came about.

use super::{GroupColumn, Grouping};
use crate::stream::pipeline::{row_column, with_rows};
use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{SortColumn, lexsort_to_indices, take};
use datafusion::error::Result;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weir_ingest::model::Offset;

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
    pub fn absorb(&mut self, other: &Self) {
        if other.first < self.first {
            (self.first, self.watermark_before) = (other.first, other.watermark_before);
        }
        self.last = self.last.max(other.last);
    }
}

/// A closed window: its rows as [`Grouping::schema`], sorted by group, with the row lane.
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

/// The groups of a closed window, sorted by key.
pub(super) struct Keyed {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) values: Vec<ArrayRef>,
    pub(super) rows: usize,
}

impl Keyed {
    /// As [`Grouping::schema`], with the row lane.
    pub(super) fn rows(self, grouping: &Grouping, start: i64, end: i64) -> Result<RecordBatch> {
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

/// The places of groups in the order of their keys.
pub(super) fn order_of(keys: &[ArrayRef], groups: usize) -> Result<UInt32Array> {
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

/// These rows of each column.
pub(super) fn taken(columns: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
    let columns = columns.iter().map(|column| take(column, rows, None));
    Ok(columns.collect::<std::result::Result<_, _>>()?)
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
