//! The stream these tests write: one BIGINT a reading, unique, so that a row is known by its value.

use arrow::array::{
    ArrayRef, AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
    UInt32Array, new_null_array,
};
use arrow::datatypes::Int64Type;
use std::sync::Arc;
use weir_ingest::log::{EntryBody, Log, Partition, Stream};
use weir_ingest::model::reading::{Hidden, stored_schema};
use weir_ingest::model::{Column, ColumnType, StreamDefinition, StreamOptions, TopicTemplate};

/// Partitions of the stream.
pub(crate) const PARTITIONS: u32 = 2;

/// The log with the stream in it, declared if it is not there yet.
pub(crate) fn with_stream(log: Arc<Log>) -> Result<Arc<Log>, String> {
    if log.streams().get("climate").is_none() {
        let column =
            Column { name: "value".to_owned(), column_type: ColumnType::Bigint, unit: None };
        let options = StreamOptions { partitions: PARTITIONS, ..StreamOptions::default() };
        let template = TopicTemplate::parse("/room/{room}").map_err(|e| e.to_string())?;
        let definition = StreamDefinition::new("climate", vec![column], template, options)
            .map_err(|e| e.to_string())?;
        log.create_stream(definition).map_err(|e| e.to_string())?;
    }
    Ok(log)
}

/// The stream.
pub(crate) fn stream(log: &Log) -> Result<Arc<Stream>, String> {
    log.streams().get("climate").ok_or_else(|| "the stream is gone".to_owned())
}

/// A batch as the decoder makes it: the newest schema, other columns null.
pub(crate) fn rows(stream: &Stream, series: u32, values: &[u64], now: i64) -> RecordBatch {
    batch(stream, series, values, now, Hidden::default())
}

/// As [`rows`], each with an id that follows from its value.
pub(crate) fn rows_with_ids(stream: &Stream, series: u32, values: &[u64], now: i64) -> RecordBatch {
    batch(stream, series, values, now, Hidden { dedupe: true, source_time: false })
}

fn batch(stream: &Stream, series: u32, values: &[u64], now: i64, hidden: Hidden) -> RecordBatch {
    let schema = stored_schema(&stream.definition(), hidden);
    let n = values.len();
    let time = TimestampMicrosecondArray::from(vec![now; n]).with_timezone("UTC");
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(time),
        Arc::new(UInt32Array::from(vec![series; n])),
        Arc::new(Int64Array::from_iter_values(values.iter().map(|v| v.cast_signed()))),
    ];
    let others = schema.fields().len() - usize::from(hidden.dedupe);
    columns.extend(schema.fields()[3..others].iter().map(|f| new_null_array(f.data_type(), n)));
    if hidden.dedupe {
        let ids = values.iter().map(|value| u128::from(*value).to_le_bytes());
        columns.push(Arc::new(FixedSizeBinaryArray::try_from_iter(ids).expect("sixteen each")));
    }
    RecordBatch::try_new(schema, columns).expect("the columns are the schema's")
}

/// The values of a batch that was read.
pub(crate) fn values(batch: &RecordBatch) -> Vec<u64> {
    let column = batch.column_by_name("value").expect("the stream has it");
    column.as_primitive::<Int64Type>().values().iter().map(|v| v.cast_unsigned()).collect()
}

/// Every durable row of a partition that starts at offset 0, by offset.
pub(crate) fn all_values(partition: &Arc<Partition>) -> Result<Vec<u64>, String> {
    match kept_values(partition)? {
        (0, rows) => Ok(rows),
        (start, _) => Err(format!("L3: it starts at {start}")),
    }
}

/// The offset a partition starts at, and every durable row from there on.
pub(crate) fn kept_values(partition: &Arc<Partition>) -> Result<(u64, Vec<u64>), String> {
    let start = partition.ends().log_start;
    let mut reader = partition.reader(start);
    let mut rows = Vec::new();
    while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
        if let EntryBody::Rows(batch) = &entry.body {
            if entry.base_offset != start.plus(rows.len() as u64) {
                let end = start.0 + rows.len() as u64;
                return Err(format!("L2: {} after {end}", entry.base_offset));
            }
            rows.extend(values(batch));
        }
    }
    Ok((start.0, rows))
}
