//! The latest reading of each series: the one with the largest (time, append time, offset).
//!
//! Promise: columnar state, one slot per series id; applying a batch allocates for new series and
//! for TEXT only. Reading entries twice changes nothing.
//! Elsewhere: who feeds it for SQL is `tables::latest`, for a rule `stream::latest`.

mod column;
mod rows;

pub use rows::LatestRows;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use column::{LatestColumn, LatestValue};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weir_ingest::model::reading::{self, Position};
use weir_ingest::model::{AppendTime, SeriesSnapshot, StreamDefinition};

/// The column that `latest.<stream>` has beyond the stream's own: seconds since the event time.
pub const AGE: &str = "age";

/// The schema of `latest.<stream>`: the stream's table columns, then `age` in seconds.
pub fn latest_schema(stream: &StreamDefinition) -> SchemaRef {
    let table = reading::table_schema(stream);
    let mut fields: Vec<_> = table.fields().iter().map(Arc::clone).collect();
    fields.push(Arc::new(Field::new(AGE, DataType::Float64, false)));
    Arc::new(Schema::new(fields))
}

/// One row per series of one stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LatestIndex {
    /// By series id; `NEVER` where no reading came yet.
    times: Vec<i64>,
    appended: Vec<i64>,
    partitions: Vec<i32>,
    offsets: Vec<u64>,
    sent: Vec<Option<i64>>,
    fields: Vec<LatestColumn>,
}

/// The newest reading of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestRow {
    time: i64,
    appended: i64,
    partition: i32,
    offset: u64,
    sent: Option<i64>,
    fields: Box<[LatestValue]>,
}

/// The time of a series without a reading.
const NEVER: i64 = i64::MIN;

impl LatestIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of series that have a reading.
    pub fn len(&self) -> usize {
        self.times.iter().filter(|time| **time != NEVER).count()
    }

    /// Whether no series has a reading.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in a stored batch of `stream` that lies at `at`.
    pub fn apply(&mut self, stream: &StreamDefinition, at: Position, stored: &RecordBatch) {
        if stored.num_rows() == 0 {
            return;
        }
        let series = reading::series_column(stored).values();
        let highest = series.iter().copied().max().unwrap_or(0) as usize;
        self.grow(stream, highest + 1);
        let winners = self.winners(at, series, reading::time_column(stored));
        for (column, field) in self.fields.iter_mut().zip(stream.columns()) {
            match stored.column_by_name(&field.name) {
                Some(values) => column.set(values, &winners),
                None => column.clear(&winners),
            }
        }
        self.set_sent(stored, &winners);
    }

    /// What it holds, to be read; `now` makes `age`.
    pub fn rows<'i>(
        &'i self,
        stream: &'i StreamDefinition,
        series: &'i SeriesSnapshot,
        now: AppendTime,
    ) -> LatestRows<'i> {
        LatestRows { index: self, stream, series, now }
    }

    /// The reading of a series, if it has one.
    pub fn row(&self, series: u32) -> Option<LatestRow> {
        let slot = series as usize;
        self.has(series).then(|| LatestRow {
            time: self.times[slot],
            appended: self.appended[slot],
            partition: self.partitions[slot],
            offset: self.offsets[slot],
            sent: self.sent[slot],
            fields: self.fields.iter().map(|column| column.get(slot)).collect(),
        })
    }

    /// Puts another reading, or none, in the place of one that it has.
    pub fn put(&mut self, series: u32, row: Option<&LatestRow>) {
        let slot = series as usize;
        if slot >= self.times.len() {
            return;
        }
        self.times[slot] = row.map_or(NEVER, |row| row.time);
        self.appended[slot] = row.map_or(NEVER, |row| row.appended);
        self.partitions[slot] = row.map_or(0, |row| row.partition);
        self.offsets[slot] = row.map_or(0, |row| row.offset);
        self.sent[slot] = row.and_then(|row| row.sent);
        for (field, column) in self.fields.iter_mut().enumerate() {
            column.put(slot, row.and_then(|row| row.fields.get(field)));
        }
    }

    /// Whether a series has a reading.
    pub fn has(&self, series: u32) -> bool {
        self.times.get(series as usize).is_some_and(|time| *time != NEVER)
    }

    /// About what it takes.
    pub fn bytes(&self) -> usize {
        44 * self.times.len() + self.fields.iter().map(LatestColumn::bytes).sum::<usize>()
    }

    fn grow(&mut self, stream: &StreamDefinition, series: usize) {
        for column in stream.columns().iter().skip(self.fields.len()) {
            self.fields.push(LatestColumn::new(column.column_type));
        }
        let series = series.max(self.times.len());
        self.times.resize(series, NEVER);
        self.appended.resize(series, NEVER);
        self.partitions.resize(series, 0);
        self.offsets.resize(series, 0);
        self.sent.resize(series, None);
        for column in &mut self.fields {
            column.grow(series);
        }
    }

    /// (series, row) of each row that is newer than what its series has, in row order.
    fn winners(&mut self, at: Position, series: &[u32], times: &[i64]) -> Vec<(u32, u32)> {
        let mut winners = Vec::with_capacity(series.len());
        for (row, (id, time)) in (0u32..).zip(series.iter().zip(times)) {
            let slot = *id as usize;
            let offset = at.base_offset.0 + u64::from(row);
            let new = (*time, at.append_time.0, offset);
            if new > (self.times[slot], self.appended[slot], self.offsets[slot]) {
                self.times[slot] = *time;
                self.appended[slot] = at.append_time.0;
                self.partitions[slot] = at.partition.0.cast_signed();
                self.offsets[slot] = offset;
                winners.push((*id, row));
            }
        }
        winners
    }

    fn set_sent(&mut self, stored: &RecordBatch, winners: &[(u32, u32)]) {
        let sent = stored
            .column_by_name(reading::SOURCE_TIME)
            .map(|column| column.as_primitive::<TimestampMicrosecondType>());
        for (series, row) in winners {
            let row = *row as usize;
            let value = sent.filter(|sent| sent.is_valid(row)).map(|sent| sent.value(row));
            self.sent[*series as usize] = value;
        }
    }
}

#[cfg(test)]
mod tests;
