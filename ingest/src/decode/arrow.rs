//! Arrow batches into columns of the streams.
//!
//! Promise: columns are converted whole, never value by value; a bad row is refused alone.
//! Elsewhere: the stream's lengths are checked in `ipc` before anything is allocated by them.

mod convert;
mod ipc;
mod texts;

pub(super) use ipc::decode_stream;

use super::cells::{against_clock, bad_time, wrong};
use super::columns::Head;
use super::dedupe::dedupe_hash;
use super::json::{Decoder, stream_of};
use super::{DECODED_BYTES_MAX, DecodedRows, time};
use crate::log::{Route, Stream};
use crate::model::reading::{Hidden, PUBLISHER, stored_schema};
use crate::model::{
    AppendTime, EventTime, Limits, MissingTime, PartitionId, RESERVED_COLUMNS, RefusalReason,
    StreamDefinition, UnknownFields,
};
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, RecordBatch, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use convert::Converted;
use std::collections::BTreeMap;
use std::sync::Arc;
use texts::Texts;

/// Rows taken together: a slice of a batch becomes at most one append per partition.
const ROWS_MAX: usize = 64 * 1024;

/// Where a batch keeps what every reading has.
struct Envelope<'b> {
    topics: Result<Texts, RefusalReason>,
    ids: Option<Texts>,
    sources: Option<Texts>,
    batch: &'b RecordBatch,
}

/// One stream's view of a batch.
struct Target {
    stream: Arc<Stream>,
    definition: Arc<StreamDefinition>,
    columns: Vec<Option<Converted>>,
    times: Option<Times>,
    unknown: Vec<String>,
    /// Whether `id` and `source` are the reading's and not columns of the stream.
    has_id: bool,
    has_source: bool,
    accepted: BTreeMap<PartitionId, Vec<(u32, Head)>>,
}

/// A time column.
enum Times {
    /// Microseconds.
    Micros(TimestampMicrosecondArray),
    /// To be read in the stream's unit.
    Epochs(arrow::array::Int64Array),
    /// Something else, by name.
    Wrong(String),
}

impl Decoder<'_> {
    /// The rows of an Arrow batch: `topic`, the stream's time field, fields by name, optionally `id`
    /// and `source`. `first_index` is the position of its first row in the request. Stops where the
    /// bound is passed; the caller then refuses the request.
    pub(super) fn push_arrow(&mut self, batch: &RecordBatch, first_index: u32, now: AppendTime) {
        let mut from = 0;
        while from < batch.num_rows() && self.bytes() <= DECODED_BYTES_MAX {
            let rows = (batch.num_rows() - from).min(ROWS_MAX);
            let first = first_index + u32::try_from(from).expect("rows are counted in 32 bits");
            self.push_slice(&batch.slice(from, rows), first, now);
            from += rows;
        }
    }

    fn push_slice(&mut self, batch: &RecordBatch, first_index: u32, now: AppendTime) {
        let envelope = Envelope::of(batch);
        let mut targets: Vec<Target> = Vec::new();
        for row in 0..batch.num_rows() {
            let index = first_index + u32::try_from(row).expect("at most ROWS_MAX");
            if let Err(reason) = self.take_row(&envelope, &mut targets, row, index, now) {
                self.refuse(index, reason, &as_json(batch, row));
            }
        }
        for target in targets {
            for rows in target.finish() {
                self.keep(rows);
            }
        }
    }

    fn take_row(
        &self,
        envelope: &Envelope<'_>,
        targets: &mut Vec<Target>,
        row: usize,
        index: u32,
        now: AppendTime,
    ) -> Result<(), RefusalReason> {
        let topics = envelope.topics.as_ref().map_err(Clone::clone)?;
        let topic = topics.get(row).ok_or(RefusalReason::MissingTopic)?;
        let found = self.streams.find(topic);
        let stream = match &found {
            Some(route) => {
                route.stream.check_door(topic)?;
                Arc::clone(&route.stream)
            }
            None => stream_of(self.streams, topic)?,
        };
        let position = targets.iter().position(|t| t.stream.uid() == stream.uid());
        let number = position.unwrap_or_else(|| {
            targets.push(Target::new(stream, envelope.batch));
            targets.len() - 1
        });
        let target = &mut targets[number];
        let (time, source_time) = target.check(row, now)?;
        let dedupe = target.dedupe(envelope, topic, row)?;
        let Route { series, partition, .. } = match found {
            Some(route) => route,
            None => self.streams.route(topic)?,
        };
        let head = Head { time, series, source_time, dedupe, index };
        let row = u32::try_from(row).expect("at most ROWS_MAX");
        target.accepted.entry(partition).or_default().push((row, head));
        Ok(())
    }
}

impl<'b> Envelope<'b> {
    fn of(batch: &'b RecordBatch) -> Self {
        let texts = |name| batch.column_by_name(name).and_then(Texts::of);
        let topics = match batch.column_by_name("topic") {
            None => Err(RefusalReason::MissingTopic),
            Some(column) => Texts::of(column)
                .ok_or_else(|| wrong("topic", "a text column", type_name(column.data_type()))),
        };
        Self { topics, ids: texts("id"), sources: texts("source"), batch }
    }
}

impl Target {
    fn new(stream: Arc<Stream>, batch: &RecordBatch) -> Self {
        let definition = stream.definition();
        let options = definition.options();
        let columns: Vec<_> = definition
            .columns()
            .iter()
            .map(|c| batch.column_by_name(&c.name).map(|a| Converted::new(a, c, options)))
            .collect();
        let is_column = |name: &str| definition.columns().iter().any(|c| c.name == name);
        let known = |name: &str| {
            let field = !RESERVED_COLUMNS.contains(&name)
                && (is_column(name) || name == "id" || name == "source");
            name == "topic" || name == options.time_field || field
        };
        let schema = batch.schema_ref();
        let names = schema.fields().iter().map(|f| f.name());
        let unknown = names.filter(|name| !known(name)).cloned().collect();
        let times = batch.column_by_name(&options.time_field).map(Times::of);
        let (has_id, has_source) = (!is_column("id"), !is_column("source"));
        let accepted = BTreeMap::new();
        Self { stream, definition, columns, times, unknown, has_id, has_source, accepted }
    }

    /// Event time and sent time of a row that is good.
    fn check(
        &self,
        row: usize,
        now: AppendTime,
    ) -> Result<(EventTime, Option<EventTime>), RefusalReason> {
        let options = self.definition.options();
        if options.unknown_fields == UnknownFields::Refuse
            && let Some(field) = self.unknown.first()
        {
            let stream = self.definition.name().to_owned();
            return Err(RefusalReason::UnknownField { stream, field: field.clone() });
        }
        let field = options.time_field.as_str();
        let sent = match &self.times {
            None => None,
            Some(times) => {
                times.get(row, options.time_unit).map_err(|detail| bad_time(field, detail))?
            }
        };
        let (time, source_time) = match (sent, options.time) {
            (Some(time), _) => against_clock(time, options, now)?,
            (None, MissingTime::Arrival) => (EventTime(now.0), None),
            (None, MissingTime::Required) => {
                return Err(RefusalReason::MissingTime(field.to_owned()));
            }
        };
        for (converted, column) in self.columns.iter().zip(self.definition.columns()) {
            if let Some(converted) = converted {
                converted.check(row, column)?;
            }
        }
        Ok((time, source_time))
    }

    fn dedupe(
        &self,
        envelope: &Envelope<'_>,
        topic: &str,
        row: usize,
    ) -> Result<Option<[u8; 16]>, RefusalReason> {
        if !self.has_id || self.definition.options().dedupe.is_zero() {
            return Ok(None);
        }
        let get = |texts: &Option<Texts>, name| match texts.as_ref().and_then(|t| t.get(row)) {
            Some("") => Err(wrong(name, "a text that is not empty", "the text \"\"".to_owned())),
            Some(text) => Ok(Some(text.to_owned())),
            None => Ok(None),
        };
        let Some(id) = get(&envelope.ids, "id")? else {
            return Ok(None);
        };
        let source = if self.has_source { get(&envelope.sources, "source")? } else { None };
        Ok(Some(dedupe_hash(PUBLISHER, source.as_deref().unwrap_or(topic), &id)))
    }

    fn finish(self) -> Vec<DecodedRows> {
        let rows: usize = self.accepted.values().map(Vec::len).sum();
        for name in self.unknown.iter().filter(|_| rows > 0) {
            self.stream.unknown_fields().add(name, rows as u64);
        }
        let mut all = Vec::new();
        for (partition, rows) in &self.accepted {
            for part in self.parts(rows) {
                all.push(self.rows_of(*partition, part));
            }
        }
        all
    }

    /// `rows` cut so that each part fits a frame.
    fn parts<'r>(&self, rows: &'r [(u32, Head)]) -> Vec<&'r [(u32, Head)]> {
        let weight = |row: u32| -> usize {
            let texts = self.columns.iter().flatten().map(|c| c.text_bytes(row as usize));
            super::columns::row_bytes(self.columns.len()) + texts.sum::<usize>()
        };
        let (mut parts, mut from, mut bytes) = (Vec::new(), 0, 0);
        for (at, (row, _)) in rows.iter().enumerate() {
            let row_bytes = weight(*row);
            if bytes + row_bytes > Limits::GROUP_BYTES_MAX && at > from {
                parts.push(&rows[from..at]);
                (from, bytes) = (at, 0);
            }
            bytes += row_bytes;
        }
        parts.push(&rows[from..]);
        parts
    }

    fn rows_of(&self, partition: PartitionId, rows: &[(u32, Head)]) -> DecodedRows {
        let heads = || rows.iter().map(|(_, head)| head);
        let picked = UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row));
        let micros = TimestampMicrosecondArray::from_iter_values(heads().map(|h| h.time.0));
        let series = UInt32Array::from_iter_values(heads().map(|h| h.series.0));
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(micros.with_timezone("UTC")), Arc::new(series)];
        for (converted, column) in self.columns.iter().zip(self.definition.columns()) {
            columns.push(match converted.as_ref().and_then(Converted::array) {
                Some(array) => take(array, &picked, None).expect("rows of this batch"),
                None => arrow::array::new_null_array(&column.column_type.data_type(), rows.len()),
            });
        }
        let hidden = Hidden {
            source_time: heads().any(|h| h.source_time.is_some()),
            dedupe: heads().any(|h| h.dedupe.is_some()),
        };
        if hidden.source_time {
            let sent = heads().map(|h| h.source_time.map(|t| t.0));
            columns.push(Arc::new(TimestampMicrosecondArray::from_iter(sent).with_timezone("UTC")));
        }
        if hidden.dedupe {
            columns.push(hashes(heads().map(|h| h.dedupe), rows.len()));
        }
        let batch = RecordBatch::try_new(stored_schema(&self.definition, hidden), columns)
            .expect("converted to the stored schema");
        let indexes = heads().map(|h| h.index).collect();
        DecodedRows { stream: Arc::clone(&self.stream), partition, batch, indexes }
    }
}

fn hashes(hashes: impl Iterator<Item = Option<[u8; 16]>>, rows: usize) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(rows, 16);
    for hash in hashes {
        match hash {
            Some(hash) => builder.append_value(hash).expect("16 bytes into 16"),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

impl Times {
    fn of(column: &ArrayRef) -> Self {
        match column.data_type() {
            DataType::Int64 => Self::Epochs(column.as_primitive::<Int64Type>().clone()),
            DataType::Timestamp(_, _) => {
                // A time zone only says how to show it; without one it is taken as UTC.
                let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                match arrow::compute::cast(column, &micros) {
                    Ok(cast) => {
                        Self::Micros(cast.as_primitive::<TimestampMicrosecondType>().clone())
                    }
                    Err(_) => Self::Wrong(type_name(column.data_type())),
                }
            }
            other => Self::Wrong(type_name(other)),
        }
    }

    fn get(
        &self,
        row: usize,
        unit: Option<crate::model::TimeUnit>,
    ) -> Result<Option<EventTime>, String> {
        match self {
            Self::Wrong(found) => Err(format!("this is {found}")),
            Self::Epochs(column) if column.is_null(row) => Ok(None),
            Self::Epochs(column) => time::epoch(column.value(row), unit).map(Some),
            Self::Micros(column) if column.is_null(row) => Ok(None),
            Self::Micros(column) if column.value(row) < 0 => {
                Err(format!("{} is before 1970", time::show(column.value(row))))
            }
            Self::Micros(column) => Ok(Some(EventTime(column.value(row)))),
        }
    }
}

/// For a sentence.
fn type_name(data_type: &DataType) -> String {
    format!("a column of the Arrow type {data_type}")
}

/// A row for the dead letters.
fn as_json(batch: &RecordBatch, row: usize) -> Vec<u8> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    match writer.write(&batch.slice(row, 1)).and_then(|()| writer.finish()) {
        Ok(()) => writer.into_inner(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
