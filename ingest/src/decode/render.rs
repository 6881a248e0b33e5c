//! Rows of the log as what leaves it: the way back from columns to JSON.
//!
//! Promise: one stored reading is `{"topic":...,"time":...,<fields that are not null>}`, the same at every
//! door; what goes into a log that others read decodes to the same row again.

use crate::model::{EventTime, reading};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, SecondsFormat};
use serde_json::Value;
use std::fmt::Write;

/// The JSON text of row `row` of a stored batch.
pub fn reading_json(batch: &RecordBatch, row: usize, topic: &str) -> String {
    let time = EventTime(reading::time_column(batch)[row]);
    written(batch, row, topic, ("time", time))
}

/// As [`reading_json`], as its sender wrote it: the time that was sent, under the stream's name for it.
#[cfg(feature = "kafka")]
pub(crate) fn sent_json(batch: &RecordBatch, row: usize, topic: &str, time_field: &str) -> String {
    let stamped = batch.column_by_name(reading::SOURCE_TIME).filter(|c| c.is_valid(row));
    let sent = stamped.map(|c| c.as_primitive::<TimestampMicrosecondType>().value(row));
    let time = sent.unwrap_or_else(|| reading::time_column(batch)[row]);
    written(batch, row, topic, (time_field, EventTime(time)))
}

/// The fields of a row alone, as the data of an event.
pub fn fields_json(batch: &RecordBatch, row: usize) -> String {
    let mut json = String::new();
    write_fields(batch, row, &mut json);
    // Each begins with a comma.
    if json.is_empty() { "{}".to_owned() } else { format!("{{{}}}", &json[1..]) }
}

/// The event time of a row as RFC 3339 UTC.
pub fn event_time(batch: &RecordBatch, row: usize) -> String {
    rfc3339(EventTime(reading::time_column(batch)[row]))
}

fn written(batch: &RecordBatch, row: usize, topic: &str, time: (&str, EventTime)) -> String {
    let (time_field, time) = (Value::from(time.0), rfc3339(time.1));
    let mut json = format!("{{\"topic\":{},{time_field}:\"{time}\"", Value::from(topic));
    write_fields(batch, row, &mut json);
    json.push('}');
    json
}

fn write_fields(batch: &RecordBatch, row: usize, json: &mut String) {
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()).skip(2) {
        let hidden = [reading::SOURCE_TIME, reading::DEDUPE].contains(&field.name().as_str());
        if hidden || column.is_null(row) {
            continue;
        }
        let value = cell(column.as_ref(), row);
        write!(json, ",{}:{value}", Value::from(field.name().as_str()))
            .expect("writing to a String cannot fail");
    }
}

fn cell(column: &dyn Array, row: usize) -> Value {
    match column.data_type() {
        DataType::Float64 => Value::from(column.as_primitive::<Float64Type>().value(row)),
        DataType::Int64 => Value::from(column.as_primitive::<Int64Type>().value(row)),
        DataType::Boolean => Value::from(column.as_boolean().value(row)),
        DataType::Utf8 => Value::from(column.as_string::<i32>().value(row)),
        DataType::Timestamp(_, _) => {
            let time = column.as_primitive::<TimestampMicrosecondType>().value(row);
            Value::from(rfc3339(EventTime(time)))
        }
        _ => Value::Null,
    }
}

/// Microseconds since 1970 as RFC 3339 UTC.
fn rfc3339(time: EventTime) -> String {
    match DateTime::from_timestamp_micros(time.0) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{} us", time.0),
    }
}
