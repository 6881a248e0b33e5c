//! The readings of the suite: one of each type, known by their value.

use crate::subject::Subject;
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::Int64Type;
use std::sync::Arc;
use weir_ingest::log::{EntryBody, Log, LogEntry, Stream, TickKind};
use weir_ingest::model::reading::{Hidden, stored_schema};
use weir_ingest::model::{
    Column, ColumnType, Offset, StreamDefinition, StreamOptions, TopicTemplate,
};

/// When the first reading was taken, microseconds.
const BEGIN: i64 = 1_700_000_000_000_000;
/// The topics of the readings, in turn.
const TOPICS: [&str; 2] = ["/room/1", "/room/ä \"2\""];

/// What a reader gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Row(Offset, RecordBatch),
    Tick(Offset, i64, TickKind),
    Gap(Offset, Offset),
}

/// The stream of one partition, declared in `log`, and the series of its topics.
pub(crate) fn stream_in(log: &Log) -> (Arc<Stream>, [u32; 2]) {
    let columns = [
        ("value", ColumnType::Bigint),
        ("celsius", ColumnType::Double),
        ("alarm", ColumnType::Boolean),
        ("note", ColumnType::Text),
        ("calibrated", ColumnType::Timestamp),
    ];
    let columns = columns
        .map(|(name, column_type)| Column { name: name.to_owned(), column_type, unit: None })
        .to_vec();
    let options = StreamOptions { partitions: 1, ..StreamOptions::default() };
    let template = TopicTemplate::parse("/room/{room}").expect("a template");
    let definition = StreamDefinition::new("climate", columns, template, options);
    let stream = log.create_stream(definition.expect("a stream")).expect("an empty log");
    let series = TOPICS.map(|topic| log.streams().route(topic).expect("of the stream").series.0);
    (stream, series)
}

/// Readings with these values, in stored form; every other column is null in some of them.
pub(crate) fn rows(subject: &Subject, values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values: Vec<i64> = values.into_iter().collect();
    let of = |f: fn(i64) -> i64| values.iter().map(move |v| f(*v));
    let some = |v: i64, by: i64| (v % by != 0).then_some(v);
    let series = values.iter().map(|v| subject.series[usize::from(v % 3 == 0)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(of(at)).with_timezone("UTC")),
        Arc::new(UInt32Array::from_iter_values(series)),
        Arc::new(Int64Array::from_iter_values(of(|v| v))),
        Arc::new(Float64Array::from_iter(values.iter().map(|v| Some(some(*v, 2)? as f64 / 7.0)))),
        Arc::new(BooleanArray::from_iter(values.iter().map(|v| Some(some(*v, 5)? % 2 == 0)))),
        Arc::new(StringArray::from_iter(values.iter().map(|v| Some(note(some(*v, 4)?))))),
        Arc::new(
            TimestampMicrosecondArray::from_iter(values.iter().map(|v| Some(at(some(*v, 7)?) + 1)))
                .with_timezone("UTC"),
        ),
    ];
    let schema = stored_schema(&subject.stream.definition(), Hidden::default());
    RecordBatch::try_new(schema, columns).expect("the columns are the stream's")
}

fn at(value: i64) -> i64 {
    BEGIN + value * 1_001
}

fn note(value: i64) -> String {
    format!("line {value}\n\"ü\" \\ \u{1f321}\u{0}")
}

/// What an entry holds, row by row, without rows before `from`.
pub(crate) fn seen(entry: &LogEntry, from: Offset) -> Vec<Seen> {
    match &entry.body {
        EntryBody::Rows(batch) => {
            let rows = (0..batch.num_rows())
                .map(|row| Seen::Row(entry.base_offset.plus(row as u64), batch.slice(row, 1)));
            rows.filter(|row| !matches!(row, Seen::Row(offset, _) if *offset < from)).collect()
        }
        EntryBody::Tick { event_time, kind } => {
            vec![Seen::Tick(entry.base_offset, event_time.0, *kind)]
        }
        EntryBody::Gap { from, to } => vec![Seen::Gap(*from, *to)],
        // Which process had the log open is not what the suite is about.
        EntryBody::Restart { .. } => Vec::new(),
    }
}

/// The values of the rows among them.
pub(crate) fn values(seen: &[Seen]) -> Vec<i64> {
    let value = |batch: &RecordBatch| batch.column(2).as_primitive::<Int64Type>().value(0);
    let rows = seen.iter().filter_map(|seen| match seen {
        Seen::Row(_, batch) => Some(value(batch)),
        Seen::Tick(..) | Seen::Gap(..) => None,
    });
    rows.collect()
}

/// The offsets of the rows among them.
pub(crate) fn offsets(seen: &[Seen]) -> Vec<Offset> {
    let rows = seen.iter().filter_map(|seen| match seen {
        Seen::Row(offset, _) => Some(*offset),
        Seen::Tick(..) | Seen::Gap(..) => None,
    });
    rows.collect()
}
