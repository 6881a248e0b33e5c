//! The climate readings: 10,000 rooms, as text and as the columns the log stores.

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use std::fmt::Write as _;
use std::sync::Arc;
use weir_ingest::io::{RealClock, RealDisk};
use weir_ingest::log::{Log, LogConfig, Stream};
use weir_ingest::model::reading::{Hidden, stored_schema};
use weir_ingest::model::{
    AppendTime, Column, ColumnType, SeriesId, StreamDefinition, StreamOptions, TopicTemplate,
};

/// Rooms, each a series.
pub(crate) const ROOMS: usize = 10_000;
/// Rows of a batch and of a body.
pub(crate) const ROWS: usize = 1_000;
/// 2026-01-01T01:00:00Z, a little after the readings.
pub(crate) const NOW: AppendTime = AppendTime(1_767_229_200_000_000);
const TEMPLATE: &str = "/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/climate";

/// A log whose committers are threads, as in the server.
pub(crate) fn running(config: LogConfig) -> Arc<Log> {
    Log::open(Arc::new(RealDisk), Arc::new(RealClock::new()), config).expect("a log")
}

/// A log that the caller pumps.
pub(crate) fn pumped(config: LogConfig) -> Arc<Log> {
    Log::open_manual(Arc::new(RealDisk), Arc::new(RealClock::new()), config).expect("a log")
}

/// The stream with that many partitions, all its series known and durable.
pub(crate) fn climate(log: &Log, partitions: u32) -> Arc<Stream> {
    let stream = log.create_stream(definition(partitions)).expect("a stream");
    for room in 0..ROOMS {
        log.streams().route(&topic(room)).expect("a topic of the stream");
    }
    stream
}

fn definition(partitions: u32) -> StreamDefinition {
    let column = |name: &str, column_type| Column { name: name.into(), column_type, unit: None };
    let columns = vec![
        column("temperature", ColumnType::Double),
        column("humidity", ColumnType::Double),
        column("co2", ColumnType::Double),
        column("occupied", ColumnType::Boolean),
    ];
    let template = TopicTemplate::parse(TEMPLATE).expect("a template");
    let options = StreamOptions { time_field: "ts".into(), partitions, ..StreamOptions::default() };
    StreamDefinition::new("climate", columns, template, options).expect("a stream")
}

/// `count` batches of [`ROWS`] rows for one partition, of its own series in turn.
pub(crate) fn batches(
    log: &Log,
    stream: &Stream,
    partition: u32,
    count: usize,
) -> Vec<RecordBatch> {
    let routes = (0..ROOMS).map(|room| log.streams().route(&topic(room)).expect("known"));
    let series: Vec<SeriesId> =
        routes.filter(|route| route.partition.0 == partition).map(|route| route.series).collect();
    (0..count).map(|n| batch(stream, &series, n * ROWS, ROWS)).collect()
}

/// `rows` rows from the `first` reading on.
pub(crate) fn batch(
    stream: &Stream,
    series: &[SeriesId],
    first: usize,
    rows: usize,
) -> RecordBatch {
    let readings = first..first + rows;
    let hour_us = NOW.0 - 3_600_000_000;
    let time = |n: usize| hour_us + (n as i64 * 7_919) % 2_000_000 + n as i64 * 1_000;
    let times = TimestampMicrosecondArray::from_iter_values(readings.clone().map(time));
    let double = |step: usize, base: usize| -> ArrayRef {
        let value = |n: usize| (base * 100 + n * step % 700) as f64 / 100.0;
        Arc::new(Float64Array::from_iter_values(readings.clone().map(value)))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        Arc::new(UInt32Array::from_iter_values(
            readings.clone().map(|n| series[n % series.len()].0),
        )),
        double(13, 18),
        double(17, 40),
        double(19, 500),
        Arc::new(BooleanArray::from_iter(readings.clone().map(|n| Some(n % 5 < 2)))),
    ];
    let schema = stored_schema(&stream.definition(), Hidden::default());
    RecordBatch::try_new(schema, columns).expect("the stream's columns")
}

/// Bodies of [`ROWS`] lines of about 270 bytes, one reading of each room in all.
pub(crate) fn bodies() -> Vec<String> {
    (0..ROOMS / ROWS).map(body).collect()
}

fn place(room: usize) -> (usize, usize, usize, usize) {
    (room / 1000, room / 100 % 10, room / 10 % 10, room % 10)
}

pub(crate) fn topic(room: usize) -> String {
    let (b, f, u, r) = place(room);
    format!("/org/contoso/site/berlin/building/{b}/floor/{f}/unit/{u}/room/{r}/sensors/climate")
}

/// The `n`-th thousand of rooms, in a scattered order.
fn body(n: usize) -> String {
    let mut body = String::new();
    for i in 0..ROWS {
        let room = (n * ROWS + i) * 7_919 % ROOMS;
        let (b, f, u, r) = place(room);
        writeln!(
            body,
            "{{\"org\":\"contoso\",\"site\":\"berlin\",\"building\":{b},\"floor\":{f},\"unit\":{u},\"room\":{r},\
             \"sensor\":\"climate\",\"topic\":\"{}\",\
             \"ts\":\"2026-01-01T00:{:02}:{:02}.{:03}Z\",\"temperature\":{}.{:02},\"humidity\":{}.{},\"co2\":{}.0,\"occupied\":{}}}",
            topic(room),
            i / 60 % 60,
            i % 60,
            room % 1000,
            18 + i % 7,
            room % 100,
            40 + i % 9,
            room % 10,
            500 + room % 300,
            room % 5 < 2,
        )
        .expect("into a string");
    }
    body
}
