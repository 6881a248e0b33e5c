//! Rows of the log as what leaves by a door.
//!
//! Promise: one stored reading is `{"topic":...,"time":...,<fields that are not null>}`, the same at every
//! door.

use crate::model::{EventTime, reading};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, SecondsFormat};
use serde_json::Value;
use std::fmt::Write;

/// The JSON text of row `row` of a stored batch.
pub fn reading_json(batch: &RecordBatch, row: usize, topic: &str) -> String {
    let time = rfc3339(EventTime(reading::time_column(batch)[row]));
    let mut json = format!("{{\"topic\":{},\"time\":\"{time}\"", Value::from(topic));
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()).skip(2) {
        let hidden = [reading::SOURCE_TIME, reading::DEDUPE].contains(&field.name().as_str());
        if hidden || column.is_null(row) {
            continue;
        }
        let value = cell(column.as_ref(), row);
        write!(json, ",{}:{value}", Value::from(field.name().as_str()))
            .expect("writing to a String cannot fail");
    }
    json.push('}');
    json
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
