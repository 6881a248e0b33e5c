//! How many rows a second one core decodes: `cargo run --release -p weir-ingest --example decode_rate`.
//!
//! 270-byte NDJSON rows of 10,000 rooms, bodies of 1,000 rows, routes warm; the best of the rounds is
//! the machine's, the median is what to compare. Ends with one line a figure.

#![allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;
use weir_ingest::decode::decode_body;
use weir_ingest::io::{RealClock, RealDisk};
use weir_ingest::log::{Log, LogConfig};
use weir_ingest::model::{
    AppendTime, Column, ColumnType, StreamDefinition, StreamOptions, TopicTemplate,
};

const ROOMS: usize = 10_000;
const ROWS: usize = 1_000;
const ROUNDS: usize = 40;
/// 2026-01-01T01:00:00Z.
const NOW: AppendTime = AppendTime(1_767_229_200_000_000);

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = LogConfig::new(directory.path());
    let log = Log::open_manual(Arc::new(RealDisk), Arc::new(RealClock::new()), config);
    let log = log.expect("a log");
    log.create_stream(climate()).expect("a stream");
    let bodies: Vec<String> = (0..ROOMS / ROWS).map(body).collect();
    let bytes: usize = bodies.iter().map(String::len).sum();
    let mut rates: Vec<f64> = (0..ROUNDS).map(|_| round(&log, &bodies)).collect();
    rates.sort_by(f64::total_cmp);
    println!("rows of {} bytes, requests of {ROWS}", bytes / ROOMS);
    println!("figure decode_rows_per_s_max {:.0} rows/s", rates[ROUNDS - 1]);
    println!("figure decode_rows_per_s_p50 {:.0} rows/s", rates[ROUNDS / 2]);
}

fn round(log: &Log, bodies: &[String]) -> f64 {
    let start = Instant::now();
    let mut rows = 0;
    for _ in 0..5 {
        for body in bodies {
            let lines = Some("application/x-ndjson");
            let decoded = decode_body(log.streams(), lines, body.as_bytes(), NOW).expect("rows");
            assert!(decoded.refused.is_empty(), "{}", decoded.refused[0].reason);
            rows += decoded.accepted();
        }
    }
    rows as f64 / start.elapsed().as_secs_f64()
}

fn climate() -> StreamDefinition {
    let column = |name: &str, column_type| Column { name: name.into(), column_type, unit: None };
    let columns = vec![
        column("temperature", ColumnType::Double),
        column("humidity", ColumnType::Double),
        column("co2", ColumnType::Double),
        column("occupied", ColumnType::Boolean),
    ];
    let template = "/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/climate";
    let template = TopicTemplate::parse(template).expect("a template");
    let options = StreamOptions { time_field: "ts".into(), ..StreamOptions::default() };
    StreamDefinition::new("climate", columns, template, options).expect("a stream")
}

/// The `n`-th thousand of rooms, in a scattered order.
fn body(n: usize) -> String {
    let mut body = String::new();
    for i in 0..ROWS {
        let room = (n * ROWS + i) * 7_919 % ROOMS;
        let (b, f, u, r) = (room / 1000, room / 100 % 10, room / 10 % 10, room % 10);
        writeln!(
            body,
            "{{\"org\":\"contoso\",\"site\":\"berlin\",\"building\":{b},\"floor\":{f},\"unit\":{u},\"room\":{r},\
             \"sensor\":\"climate\",\"topic\":\"/org/contoso/site/berlin/building/{b}/floor/{f}/unit/{u}/room/{r}/sensors/climate\",\
             \"ts\":\"2026-01-01T00:{:02}:{:02}.{:03}Z\",\"temperature\":{}.{:02},\"humidity\":{}.{},\"co2\":{}.0,\"occupied\":{}}}",
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
