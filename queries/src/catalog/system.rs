//! The server described as tables: streams, series, partitions, segments, and what the engine runs.
//!
//! Promise: each table is computed from the log when it is scanned; nothing here is kept.

use super::Sources;
use super::snapshot::SnapshotTable;
use arrow::array::{
    ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::error::{DataFusionError, Result};
use std::fmt::Debug;
use std::sync::Arc;
use weir_engine::alarms::StaleAlarms;
use weir_engine::tables::reference::{ReferenceTables, TableError};
use weir_ingest::log::{HeldBy, InternalLog, Log, Partition, PartitionState, SegmentInfo, Stream};
use weir_ingest::model::{EventTime, Retention};

/// What only the running engine knows, as batches; each call returns the present.
/// A batch's schema must not change while the process runs.
pub trait SystemSource: Debug + Send + Sync {
    /// By rule, the alarms that rest on sensors which have fallen silent.
    fn stale_alarms(&self) -> Vec<(String, StaleAlarms)>;
    /// `system.rules`.
    fn rules(&self) -> RecordBatch;
    /// `system.watermarks`.
    fn watermarks(&self) -> RecordBatch;
    /// `system.subscriptions`.
    fn subscriptions(&self) -> RecordBatch;
}

/// A log without an engine, as `weir query --data` opens it: the tables are there and empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSystem;

impl SystemSource for NoSystem {
    fn stale_alarms(&self) -> Vec<(String, StaleAlarms)> {
        Vec::new()
    }

    fn rules(&self) -> RecordBatch {
        empty(&["rule", "status", "text"])
    }

    fn watermarks(&self) -> RecordBatch {
        empty(&["rule", "stream"])
    }

    fn subscriptions(&self) -> RecordBatch {
        empty(&["subscription", "target"])
    }
}

fn empty(columns: &[&str]) -> RecordBatch {
    let fields: Vec<_> = columns.iter().map(|c| Field::new(*c, DataType::Utf8, false)).collect();
    RecordBatch::new_empty(Arc::new(Schema::new(fields)))
}

/// Names of the tables in the schema `system`.
pub(super) const TABLES: [&str; 8] = [
    "partitions",
    "rules",
    "segments",
    "series",
    "streams",
    "subscriptions",
    "tables",
    "watermarks",
];

/// The table `system.<name>`.
pub(super) fn table(sources: &Sources, name: &str) -> Option<SnapshotTable> {
    let log = Arc::clone(&sources.log);
    let system = Arc::clone(&sources.system);
    Some(match name {
        "streams" => SnapshotTable::new(streams_schema(), move || streams(&log)),
        "series" => SnapshotTable::new(series_schema(), move || series(&log)),
        "partitions" => SnapshotTable::new(partitions_schema(), move || partitions(&log)),
        "segments" => SnapshotTable::new(segments_schema(), move || segments(&log)),
        "tables" => {
            let references = Arc::clone(&sources.references);
            let now = move || EventTime(log.append_clock().floor().0);
            SnapshotTable::new(tables_schema(), move || tables(&references, now()))
        }
        "rules" => SnapshotTable::new(system.rules().schema(), move || Ok(system.rules())),
        "watermarks" => {
            SnapshotTable::new(system.watermarks().schema(), move || Ok(system.watermarks()))
        }
        "subscriptions" => {
            SnapshotTable::new(system.subscriptions().schema(), move || Ok(system.subscriptions()))
        }
        _ => return None,
    })
}

fn schema_of(columns: &[(&str, DataType, Nulls)]) -> SchemaRef {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, kind, nulls)| Field::new(*name, kind.clone(), *nulls == Nulls::Allowed))
        .collect();
    Arc::new(Schema::new(fields))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Allowed,
    Never,
}
use Nulls::{Allowed, Never};

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn text<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn count(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn number(values: impl IntoIterator<Item = u32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values.into_iter().map(u32::cast_signed)))
}

fn seconds(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<Float64Array>())
}

fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    let times = values.into_iter().collect::<TimestampMicrosecondArray>();
    Arc::new(times.with_timezone("UTC"))
}

fn streams_schema() -> SchemaRef {
    schema_of(&[
        ("stream", DataType::Utf8, Never),
        ("template", DataType::Utf8, Never),
        ("columns", DataType::Utf8, Never),
        ("partitions", DataType::Int32, Never),
        ("series", DataType::UInt64, Never),
        ("bytes", DataType::UInt64, Never),
        ("lateness_s", DataType::Float64, Never),
        ("interval_s", DataType::Float64, Allowed),
        ("unknown_fields", DataType::Utf8, Never),
    ])
}

fn streams(log: &Log) -> Result<RecordBatch> {
    let streams = log.streams().all();
    let definitions: Vec<_> = streams.iter().map(|stream| stream.definition()).collect();
    let columns = definitions.iter().map(|definition| {
        let columns = definition.columns().iter();
        columns
            .map(|c| format!("{} {}", c.name, c.column_type.sql_name()))
            .collect::<Vec<_>>()
            .join(", ")
    });
    let unknown = streams.iter().map(|stream| {
        let list = stream.unknown_fields().list();
        list.iter().map(|(name, n)| format!("{name}: {n}")).collect::<Vec<_>>().join(", ")
    });
    let options = || definitions.iter().map(|definition| definition.options());
    let bytes = |stream: &Arc<Stream>| stream.partitions().iter().map(|p| bytes_of(p)).sum();
    Ok(RecordBatch::try_new(
        streams_schema(),
        vec![
            text(definitions.iter().map(|d| d.name())),
            text(definitions.iter().map(|d| d.template().as_str())),
            text(columns),
            number(options().map(|o| o.partitions)),
            count(streams.iter().map(|s| s.series().len() as u64)),
            count(streams.iter().map(bytes)),
            seconds(options().map(|o| Some(o.lateness.as_secs_f64()))),
            seconds(options().map(|o| o.interval.map(|i| i.as_secs_f64()))),
            text(unknown),
        ],
    )?)
}

fn bytes_of(partition: &Partition) -> u64 {
    partition.segments().iter().map(|segment| segment.bytes).sum()
}

fn series_schema() -> SchemaRef {
    schema_of(&[
        ("stream", DataType::Utf8, Never),
        ("series", DataType::UInt64, Never),
        ("topic", DataType::Utf8, Never),
    ])
}

fn series(log: &Log) -> Result<RecordBatch> {
    let (mut names, mut ids, mut topics) = (Vec::new(), Vec::new(), Vec::new());
    for stream in log.streams().all() {
        let definition = stream.definition();
        let snapshot = stream.series().snapshot();
        for id in (0u32..).take(snapshot.len()) {
            names.push(definition.name().to_owned());
            ids.push(u64::from(id));
            topics.push(snapshot.topic(weir_ingest::model::SeriesId(id)).to_owned());
        }
    }
    Ok(RecordBatch::try_new(series_schema(), vec![text(names), count(ids), text(topics)])?)
}

/// Every partition of every stream, with the stream's name.
fn all_partitions(log: &Log) -> Vec<(String, Arc<Partition>)> {
    let streams = log.streams().all();
    streams
        .iter()
        .flat_map(|stream| {
            let definition = stream.definition();
            let named = move |p: &Arc<Partition>| (definition.name().to_owned(), Arc::clone(p));
            stream.partitions().iter().map(named).collect::<Vec<_>>()
        })
        .collect()
}

fn tables_schema() -> SchemaRef {
    schema_of(&[
        ("table", DataType::Utf8, Never),
        ("rows", DataType::UInt64, Never),
        ("primary_key", DataType::Utf8, Never),
        ("changed_at", timestamp(), Allowed),
        ("text", DataType::Utf8, Never),
    ])
}

fn tables(references: &ReferenceTables, now: EventTime) -> Result<RecordBatch> {
    let all = references.list();
    let rows = all.iter().map(|t| Ok(t.at(now)?.num_rows() as u64));
    let rows: Vec<u64> = rows
        .collect::<std::result::Result<_, TableError>>()
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(RecordBatch::try_new(
        tables_schema(),
        vec![
            text(all.iter().map(|t| t.definition.name())),
            count(rows.iter().copied()),
            text(all.iter().map(|t| t.primary_key().join(", "))),
            times(all.iter().map(|t| Some(t.changed_at.0))),
            text(all.iter().map(|t| t.definition.text())),
        ],
    )?)
}

fn partitions_schema() -> SchemaRef {
    schema_of(&[
        ("stream", DataType::Utf8, Never),
        ("partition", DataType::Int32, Never),
        ("log_start", DataType::UInt64, Never),
        ("durable_end", DataType::UInt64, Never),
        ("state", DataType::Utf8, Never),
        ("segments", DataType::UInt64, Never),
        ("bytes", DataType::UInt64, Never),
        ("dedupe_window_s", DataType::Float64, Allowed),
        ("retention_s", DataType::Float64, Allowed),
        ("retention_bytes", DataType::UInt64, Allowed),
        ("held_by", DataType::Utf8, Allowed),
        ("held_from", DataType::UInt64, Allowed),
    ])
}

fn partitions(log: &Log) -> Result<RecordBatch> {
    let of_streams = all_partitions(log).into_iter().map(|(stream, partition)| {
        let definition = log.streams().get(&stream).map(|stream| stream.definition());
        let retention = definition.map(|d| d.options().retention).unwrap_or_default();
        (stream, partition, retention)
    });
    let internal = InternalLog::ALL.into_iter().map(|which| {
        let name = format!("internal/{}", which.name());
        (name, Arc::clone(log.internal(which)), log.retention_of(which))
    });
    let all: Vec<(String, Arc<Partition>, Retention)> = of_streams.chain(internal).collect();
    let each = || all.iter().map(|(_, partition, _)| partition);
    let kept = || all.iter().map(|(_, _, retention)| retention);
    let held: Vec<Option<HeldBy>> = each().map(|p| p.held_by()).collect();
    let held_by: StringArray = held.iter().map(|h| h.as_ref().map(|h| h.name.as_str())).collect();
    let held_from: UInt64Array = held.iter().map(|h| h.as_ref().map(|h| h.from.0)).collect();
    Ok(RecordBatch::try_new(
        partitions_schema(),
        vec![
            text(all.iter().map(|(stream, ..)| stream)),
            number(each().map(|p| p.id().0)),
            count(each().map(|p| p.ends().log_start.0)),
            count(each().map(|p| p.ends().durable_end.0)),
            text(each().map(|p| state_text(&p.state()))),
            count(each().map(|p| p.segments().len() as u64)),
            count(each().map(|p| bytes_of(p))),
            seconds(each().map(|p| p.dedupe_window().map(|window| window.as_secs_f64()))),
            seconds(kept().map(|retention| retention.age.map(|age| age.as_secs_f64()))),
            Arc::new(kept().map(|retention| retention.bytes).collect::<UInt64Array>()),
            Arc::new(held_by),
            Arc::new(held_from),
        ],
    )?)
}

fn state_text(state: &PartitionState) -> String {
    match state {
        PartitionState::Ready => "ready".to_owned(),
        PartitionState::ReadOnlyFull => "read-only: the disk is full".to_owned(),
        PartitionState::Failed(why) => format!("failed: {why}"),
        PartitionState::Corrupt(why) => format!("corrupt: {why}"),
    }
}

fn segments_schema() -> SchemaRef {
    schema_of(&[
        ("stream", DataType::Utf8, Never),
        ("partition", DataType::Int32, Never),
        ("base_offset", DataType::UInt64, Never),
        ("end_offset", DataType::UInt64, Never),
        ("bytes", DataType::UInt64, Never),
        ("min_time", timestamp(), Allowed),
        ("max_time", timestamp(), Allowed),
        ("state", DataType::Utf8, Never),
    ])
}

fn segments(log: &Log) -> Result<RecordBatch> {
    let all: Vec<_> = all_partitions(log)
        .into_iter()
        .flat_map(|(stream, partition)| {
            let id = partition.id();
            partition.segments().into_iter().map(move |segment| (stream.clone(), id, segment))
        })
        .collect();
    let each = || all.iter().map(|(_, _, segment)| segment);

    // A segment without rows has no span: its earliest time is above its latest.
    let rows = |s: &&SegmentInfo| s.min_time <= s.max_time;
    Ok(RecordBatch::try_new(
        segments_schema(),
        vec![
            text(all.iter().map(|(stream, _, _)| stream)),
            number(all.iter().map(|(_, id, _)| id.0)),
            count(each().map(|s| s.base_offset.0)),
            count(each().map(|s| s.end_offset.0)),
            count(each().map(|s| s.bytes)),
            times(each().map(|s| Some(s).filter(rows).map(|s| s.min_time.0))),
            times(each().map(|s| Some(s).filter(rows).map(|s| s.max_time.0))),
            text(each().map(|s| if s.sealed { "sealed" } else { "open" })),
        ],
    )?)
}
