use super::LatestIndex;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::datatypes::Float64Type;
use std::sync::Arc;
use weir_ingest::model::reading::{Hidden, Position, stored_schema};
use weir_ingest::model::{
    AppendTime, Column, ColumnType, Offset, PartitionId, SeriesDirectory, SeriesId,
    StreamDefinition, StreamOptions, TopicTemplate,
};

fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.to_owned(), column_type, unit: None }
}

fn stream() -> StreamDefinition {
    let template = TopicTemplate::parse("/plant/{device}/climate").unwrap();
    let columns =
        vec![column("temperature", ColumnType::Double), column("firmware", ColumnType::Text)];
    StreamDefinition::new("climate", columns, template, StreamOptions::default()).unwrap()
}

fn directory(stream: &StreamDefinition, devices: &[&str]) -> SeriesDirectory {
    let directory = SeriesDirectory::new(stream.template().clone());
    for (id, device) in (0u32..).zip(devices) {
        directory.push(SeriesId(id), format!("/plant/{device}/climate").into());
    }
    directory
}

/// (series, event time in seconds, temperature, firmware)
type Row = (u32, i64, Option<f64>, Option<&'static str>);

fn stored(stream: &StreamDefinition, rows: &[Row]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.1 * 1_000_000));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(rows.iter().map(|r| r.2).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|r| r.3).collect::<StringArray>()),
    ];
    RecordBatch::try_new(stored_schema(stream, Hidden::default()), columns).unwrap()
}

fn at(offset: u64, append_seconds: i64) -> Position {
    Position {
        partition: PartitionId(0),
        base_offset: Offset(offset),
        append_time: AppendTime(append_seconds * 1_000_000),
    }
}

fn check(batches: &[(Position, &[Row])], expected: &[(&str, i64, Option<f64>, Option<&str>)]) {
    let stream = stream();
    let mut index = LatestIndex::new();
    for (position, rows) in batches {
        index.apply(&stream, *position, &stored(&stream, rows));
    }
    let series = directory(&stream, &["a", "b", "c"]).snapshot();
    let batch = index.rows(&stream, &series, AppendTime(100_000_000)).all();
    let got: Vec<_> = (0..batch.num_rows()).map(|row| describe(&batch, row)).collect();
    let expected: Vec<_> =
        expected.iter().map(|e| (e.0.to_owned(), e.1, e.2, e.3.map(ToOwned::to_owned))).collect();
    assert_eq!(got, expected);
}

fn describe(batch: &RecordBatch, row: usize) -> (String, i64, Option<f64>, Option<String>) {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let topics = arrow::compute::cast(column("topic"), &arrow::datatypes::DataType::Utf8).unwrap();
    let age = column("age").as_primitive::<Float64Type>().value(row);
    let temperature = column("temperature").as_primitive::<Float64Type>();
    let firmware = column("firmware").as_string::<i32>();
    let device = topics.as_string::<i32>().value(row).split('/').nth(2).unwrap().to_owned();
    #[expect(clippy::cast_possible_truncation)]
    (
        device,
        100 - age as i64,
        temperature.is_valid(row).then(|| temperature.value(row)),
        firmware.is_valid(row).then(|| firmware.value(row).to_owned()),
    )
}

#[test]
fn the_reading_with_the_largest_event_time_wins_whatever_the_order() {
    check(
        &[
            (at(0, 50), &[(0, 30, Some(1.0), None), (1, 10, Some(2.0), Some("1.0"))]),
            (at(2, 51), &[(0, 20, Some(3.0), None), (1, 40, Some(4.0), None)]),
        ],
        &[("a", 30, Some(1.0), None), ("b", 40, Some(4.0), None)],
    );
}

#[test]
fn equal_event_times_are_decided_by_append_time_and_then_offset() {
    check(
        &[
            (at(0, 50), &[(0, 30, Some(1.0), None), (0, 30, Some(2.0), None)]),
            (at(2, 51), &[(1, 30, Some(3.0), None)]),
            (at(3, 49), &[(1, 30, Some(4.0), None)]),
        ],
        &[("a", 30, Some(2.0), None), ("b", 30, Some(3.0), None)],
    );
}

#[test]
fn a_series_without_a_reading_has_no_row() {
    check(&[(at(0, 50), &[(2, 30, None, Some("2.1"))])], &[("c", 30, None, Some("2.1"))]);
}

#[test]
fn applying_an_entry_twice_changes_nothing() {
    let rows: &[Row] = &[(0, 30, Some(1.0), None)];
    check(&[(at(0, 50), rows), (at(0, 50), rows)], &[("a", 30, Some(1.0), None)]);
}

#[test]
fn a_column_added_later_is_null_for_older_readings() {
    let old = stream();
    let mut index = LatestIndex::new();
    index.apply(&old, at(0, 50), &stored(&old, &[(0, 30, Some(1.0), None)]));
    let new = old.with_column(column("co2", ColumnType::Double)).unwrap();
    let series = directory(&old, &["a"]).snapshot();
    let batch = index.rows(&new, &series, AppendTime(100_000_000)).all();
    assert!(batch.column_by_name("co2").unwrap().is_null(0));
}
