//! Rows of a reference table, each with the event times at which it holds.
//!
//! Promise: at one event time exactly the rows hold that were inserted with a `valid_from` up to then,
//! with a primary key the last of each; their order does not depend on when one asks.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

/// All versions of a table's content in one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct DatedRows {
    rows: RecordBatch,
    from: Vec<i64>,
    until: Vec<i64>,
}

impl DatedRows {
    /// `rows`, the n-th of which holds in `[from[n], until[n])`, microseconds.
    /// # Panics
    /// If these are not equally many: a bug of ours.
    pub fn new(rows: RecordBatch, from: Vec<i64>, until: Vec<i64>) -> Self {
        assert_eq!((rows.num_rows(), from.len()), (from.len(), until.len()), "a span for each row");
        Self { rows, from, until }
    }

    /// No rows.
    pub fn empty(schema: SchemaRef) -> Self {
        Self::new(RecordBatch::new_empty(schema), Vec::new(), Vec::new())
    }

    /// The rows of all versions.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// What it takes.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + 2 * size_of::<i64>() * self.from.len()
    }

    /// From when each holds.
    pub fn from(&self) -> &[i64] {
        &self.from
    }

    /// Until when each holds; `i64::MAX`: for ever.
    pub fn until(&self) -> &[i64] {
        &self.until
    }

    /// Whether a row holds at this event time.
    pub fn holds(&self, row: usize, time: i64) -> bool {
        self.from[row] <= time && time < self.until[row]
    }

    /// The version at this event time.
    /// # Errors
    /// Arrow's, for columns it cannot filter.
    pub fn at(&self, time: i64) -> Result<RecordBatch, ArrowError> {
        let rows = 0..self.rows.num_rows();
        let keep: BooleanArray = rows.map(|row| Some(self.holds(row, time))).collect();
        filter_record_batch(&self.rows, &keep)
    }
}
