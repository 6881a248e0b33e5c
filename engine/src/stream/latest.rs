//! The latest values of a stream, as the readings of a rule see them.
//!
//! Promise: of each series the reading with the largest event time, of equal ones the last in the input
//! order, among those that were taken before; a function of the inputs in their order (P6).

pub mod index;

use super::input::{Lane, Rows};
use super::window::{KeyedSeries, SeriesPlan};
use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use datafusion::error::Result;
use index::{AGE, LatestIndex, LatestRow, latest_schema};
use std::sync::Arc;
use weir_ingest::model::reading::{self, Position};
use weir_ingest::model::{AppendTime, SeriesSnapshot, StreamDefinition};

/// See the module.
#[derive(Debug)]
pub struct LatestValues {
    stream: usize,
    definition: Arc<StreamDefinition>,
    index: LatestIndex,
    snapshot: Option<Arc<SeriesSnapshot>>,
    joins: Vec<KeyedSeries>,
}

impl LatestValues {
    /// Of a stream of which nothing was taken yet, joined on these.
    pub fn new(
        stream: usize,
        definition: &Arc<StreamDefinition>,
        joins: &[Arc<SeriesPlan>],
    ) -> Self {
        Self {
            stream,
            definition: Arc::clone(definition),
            index: LatestIndex::new(),
            snapshot: None,
            joins: joins.iter().map(KeyedSeries::new).collect(),
        }
    }

    /// Position of its stream among the rule's.
    pub fn stream(&self) -> usize {
        self.stream
    }

    /// About what it takes.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
    }

    /// For a checkpoint; of some series it is what they had `before`.
    pub fn state<'r>(
        &self,
        before: impl Iterator<Item = (u32, Option<&'r LatestRow>)>,
    ) -> LatestIndex {
        let mut index = self.index.clone();
        before.for_each(|(series, row)| index.put(series, row));
        index
    }

    /// The newest reading of a series.
    pub fn row(&self, series: u32) -> Option<LatestRow> {
        self.index.row(series)
    }

    /// Goes on from a checkpoint; `snapshot` covers every series in it.
    pub fn restore(&mut self, index: LatestIndex, snapshot: &Arc<SeriesSnapshot>) {
        self.index = index;
        self.knows(snapshot);
    }

    /// Takes in readings.
    pub fn take(&mut self, rows: &Rows) {
        self.knows(&rows.series);
        let single =
            !matches!((&rows.append_times, &rows.partitions), (Lane::Same(_), Lane::Same(_)));
        if single && rows.len() > 1 {
            (0..rows.len()).for_each(|row| self.take(&rows.slice(row, 1)));
            return;
        }
        let at = Position {
            partition: rows.partition(0),
            base_offset: rows.offset(0),
            append_time: rows.appended(0),
        };
        self.index.apply(&self.definition, at, &rows.batch);
    }

    fn knows(&mut self, snapshot: &Arc<SeriesSnapshot>) {
        if self.snapshot.as_ref().is_none_or(|known| known.len() < snapshot.len()) {
            self.joins.iter_mut().for_each(|join| join.cover(snapshot));
            self.snapshot = Some(Arc::clone(snapshot));
        }
    }

    /// The series that each row of these key columns is joined with.
    pub(super) fn find(&self, join: usize, keys: &[ArrayRef], rows: usize) -> Result<Vec<&[u32]>> {
        self.joins[join].find(keys, rows)
    }

    /// Whether a series has a reading.
    pub(super) fn has(&self, series: u32) -> bool {
        self.index.has(series)
    }

    /// The newest reading of each of these series, whose ages are told at these times.
    pub(super) fn rows(&self, series: &[u32], times: &[i64]) -> Option<RecordBatch> {
        let snapshot = self.snapshot.as_ref()?;
        let columns: Vec<usize> = (0..latest_schema(&self.definition).fields().len()).collect();
        let latest = self.index.rows(&self.definition, snapshot, AppendTime(0));
        let latest = latest.columns(series, &columns);
        let age = latest.schema_ref().index_of(AGE).ok()?;
        let newest = reading::time_column(&latest);
        let ages = newest.iter().zip(times).map(|(newest, now)| seconds(now - newest));
        let mut columns = latest.columns().to_vec();
        columns[age] = Arc::new(Float64Array::from_iter_values(ages));
        RecordBatch::try_new(latest.schema(), columns).ok()
    }
}

fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
