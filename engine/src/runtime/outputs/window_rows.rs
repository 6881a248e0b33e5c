//! The rows of a closed window, in columns until somebody wants them one by one.
//!
//! Promise: what one row says (its id, its receipt) does not depend on when it is taken out.

use super::json_rows;
use crate::alarms::{Evidence, KeyValue, Place, Receipt, ResultRow, RowSource, Transition, Window};
use crate::stream::window::Expectation;
use arrow::array::RecordBatch;
use std::sync::Arc;
use weir_ingest::model::AppendTime;

/// Rows of one closed window of a rule without RAISE WHEN.
#[derive(Debug, Clone)]
pub struct WindowRows {
    /// The rule.
    pub source: Arc<RowSource>,
    /// Ordinal of the first; they are dense.
    pub first_ordinal: u64,
    /// The window.
    pub window: Window,
    /// The columns of the SELECT, and the row lane.
    pub batch: RecordBatch,
    /// Columns of `batch` that are the key.
    pub key: Vec<usize>,
    /// Sensors behind each row.
    pub sensors: Vec<u32>,
    /// What should be behind each row; empty where the rule does not ask.
    pub expects: Vec<Expectation>,
    /// The receipt of each but for its sensors.
    pub receipt: Receipt,
    /// When the window was closed.
    pub appended: AppendTime,
}

impl WindowRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Key values of each row.
    pub fn keys(&self) -> Vec<Vec<KeyValue>> {
        let columns: Vec<_> =
            self.key.iter().map(|column| super::texts(self.batch.column(*column))).collect();
        let key = |row: usize| columns.iter().map(|column| column[row].clone()).collect();
        (0..self.len()).map(key).collect()
    }

    /// Each row as an event.
    pub fn transitions(&self) -> impl Iterator<Item = Transition> {
        let place = Place::Window(self.window);
        let rows = self.keys().into_iter().zip(json_rows(&self.batch)).zip(&self.sensors);
        (self.first_ordinal..).zip(rows).map(move |(ordinal, ((key, values), sensors))| {
            let receipt = self.receipt_of(ordinal, *sensors);
            let result = ResultRow { key: &key, at: self.window.end, place };
            let evidence = Evidence { values, receipt: Some(receipt) };
            self.source.transition(result, ordinal, 0, self.appended, evidence)
        })
    }

    fn receipt_of(&self, ordinal: u64, sensors: u32) -> Receipt {
        let row = usize::try_from(ordinal - self.first_ordinal).unwrap_or(usize::MAX);
        let expected = self.expects.get(row).map(|expects| u64::from(expects.sensors));
        let sensors_used = u64::from(sensors);
        Receipt { sensors_used, sensors_expected: expected, ..self.receipt.clone() }
    }
}
