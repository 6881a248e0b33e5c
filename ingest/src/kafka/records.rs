//! Records as readings: one record is one reading, its key the topic path.
//!
//! Promise: a row that was written reads as it was; a record of any other producer is a reading in JSON or
//! a CloudEvent, or is passed over with the sentence that says why, and its offset with it.

use super::partition::KafkaPartition;
use super::topic::{KafkaTopic, KeyedBy};
use crate::decode::{DecodedRows, Decoder, Published, sent_json};
use crate::log::{EntryBody, LogEntry, Stream};
use crate::model::{
    AppendTime, EventTime, Offset, PartitionId, Refusal, RefusalReason, SeriesId, partition_of,
    reading,
};
use arrow::array::RecordBatch;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, Headers};
use std::ops::Range;

/// Header of the content type, and what those of a CloudEvent's attributes begin with.
const CONTENT_TYPE: &str = "content-type";
const ATTRIBUTE: &str = "ce_";

/// A reading as a record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: String,
    pub(super) value: String,
}

/// The rows of a batch, each as a record.
pub(super) fn written(topic: &KafkaTopic, stream: &Stream, batch: &RecordBatch) -> Vec<Record> {
    let (definition, series) = (stream.definition(), stream.series().snapshot());
    let time_field = definition.options().time_field.as_str();
    let ids = reading::series_column(batch).values();
    let record = |(row, id): (usize, &u32)| {
        let path = series.topic(SeriesId(*id));
        let key = topic.key(&definition, path).expect("a series matches its stream's template");
        Record { key: key.into_owned(), value: sent_json(batch, row, path, time_field) }
    };
    ids.iter().enumerate().map(record).collect()
}

/// A record that is no reading of the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Unread {
    /// Its offset.
    pub offset: Offset,
    /// Its key, as far as it is text.
    pub key: Option<String>,
    /// Why not, with the record's value.
    pub refusal: Refusal,
}

/// What records turned out to be.
#[derive(Debug, Default)]
pub(super) struct Readings {
    /// Of rows at consecutive offsets that came at one time; in the order of the offsets.
    pub(super) entries: Vec<LogEntry>,
    pub(super) unread: Vec<Unread>,
    /// Rows whose key belongs into another partition as weir counts.
    pub(super) misplaced: usize,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    offset: Offset,
    time: AppendTime,
}

/// Reads records of one partition, which are in the order of their offsets. `last` is the append time
/// before them; theirs are not less.
pub(super) fn read(
    partition: &KafkaPartition,
    records: &[BorrowedMessage<'_>],
    last: &mut AppendTime,
) -> Readings {
    let (stream, id) = (partition.stream(), partition.id_of());
    let mut decoder = Decoder::new(partition.streams());
    let mut at = Vec::with_capacity(records.len());
    let mut readings = Readings::default();
    for (index, record) in (0..).zip(records) {
        *last = (*last).max(timestamp(record));
        at.push(At { offset: Offset(record.offset().max(0).cast_unsigned()), time: *last });
        readings.misplaced += usize::from(is_misplaced(partition, record));
        push(&mut decoder, partition, record, index, *last);
    }
    let decoded = decoder.finish();
    let unread = |refusal: Refusal| {
        let index = refusal.index as usize;
        Unread { offset: at[index].offset, key: key(&records[index]), refusal }
    };
    readings.unread.extend(decoded.refused.into_iter().map(unread));
    for rows in decoded.rows {
        if rows.stream.uid() == stream.uid() {
            readings.entries.extend(runs(&rows, &at).map(|run| entry(&rows, run, id, &at)));
        } else {
            let other = |index: &u32| {
                let record = &records[*index as usize];
                unread(of_another_stream(*index, record))
            };
            readings.unread.extend(rows.indexes.iter().map(other));
        }
    }
    readings.entries.sort_by_key(|entry| entry.base_offset);
    readings
}

/// Whether the key belongs into another partition, as the Java client counts and weir's doors do.
fn is_misplaced(partition: &KafkaPartition, record: &BorrowedMessage<'_>) -> bool {
    let key = record.key().and_then(|key| std::str::from_utf8(key).ok());
    key.is_some_and(|key| partition_of(key, partition.topic().partitions) != partition.id_of().0)
}

/// When the cluster, or the producer, says that the record was made.
pub(super) fn timestamp(record: &BorrowedMessage<'_>) -> AppendTime {
    AppendTime(record.timestamp().to_millis().unwrap_or(0).saturating_mul(1000))
}

fn push(
    decoder: &mut Decoder<'_>,
    partition: &KafkaPartition,
    record: &BorrowedMessage<'_>,
    index: u32,
    now: AppendTime,
) {
    let Some(payload) = record.payload() else {
        return decoder.refuse(index, RefusalReason::NotAnObject("a record without a value"), &[]);
    };
    if payload.trim_ascii_start().starts_with(b"[") {
        let reason = RefusalReason::NotAnObject("an array: one record is one reading");
        return decoder.refuse(index, reason, payload);
    }
    let key = record.key().and_then(|key| std::str::from_utf8(key).ok());
    let (KeyedBy::Topic, Some(topic)) = (&partition.topic().keyed_by, key) else {
        return decoder.push_json(payload, index, now);
    };
    if partition.stream().definition().template().match_path(topic).is_none() {
        return decoder.refuse(index, RefusalReason::NoStream(topic.to_owned()), payload);
    }
    let header = |name: &str| headers(record).find(|(n, _)| *n == name).map(|(_, value)| value);
    let attribute = |name: &str| {
        let mut all = headers(record).filter_map(|(n, v)| Some((n.strip_prefix(ATTRIBUTE)?, v)));
        all.find(|(n, _)| *n == name).map(|(_, value)| value)
    };
    let (topic, content_type) = (Some(topic), header(CONTENT_TYPE));
    let published = Published { topic, payload, content_type, attribute };
    decoder.push_published(&published, index, now);
}

/// Those headers of a record that are text.
fn headers<'r>(record: &'r BorrowedMessage<'_>) -> impl Iterator<Item = (&'r str, &'r str)> {
    let text =
        |header: Header<'r, &'r [u8]>| Some((header.key, std::str::from_utf8(header.value?).ok()?));
    record.headers().into_iter().flat_map(Headers::iter).filter_map(text)
}

fn key(record: &BorrowedMessage<'_>) -> Option<String> {
    record.key().map(|key| String::from_utf8_lossy(key).into_owned())
}

fn of_another_stream(index: u32, record: &BorrowedMessage<'_>) -> Refusal {
    let payload = record.payload().unwrap_or_default();
    let topic = crate::decode::topic_of(payload).unwrap_or_default();
    Refusal { index, reason: RefusalReason::NoStream(topic), payload: payload.to_vec() }
}

/// The rows that make up an entry each: at consecutive offsets, of one time.
fn runs(rows: &DecodedRows, at: &[At]) -> impl Iterator<Item = Range<usize>> {
    let follows = |row: usize| {
        let (before, this) = (at[rows.indexes[row - 1] as usize], at[rows.indexes[row] as usize]);
        this.offset == before.offset.plus(1) && this.time == before.time
    };
    let n = rows.indexes.len();
    let mut ends: Vec<usize> = (1..n).filter(|row| !follows(*row)).collect();
    ends.push(n);
    let mut begin = 0;
    ends.into_iter().map(move |end| std::mem::replace(&mut begin, end)..end)
}

fn entry(rows: &DecodedRows, run: Range<usize>, partition: PartitionId, at: &[At]) -> LogEntry {
    let batch = rows.batch.slice(run.start, run.len());
    let first = at[rows.indexes[run.start] as usize];
    let times = reading::time_column(&batch);
    let min_time = EventTime(times.iter().copied().min().unwrap_or(i64::MAX));
    let max_time = EventTime(times.iter().copied().max().unwrap_or(i64::MIN));
    LogEntry {
        partition,
        base_offset: first.offset,
        append_time: first.time,
        min_time,
        max_time,
        body: EntryBody::Rows(batch),
    }
}
