//! NDJSON bodies of 1,000 rows into stored columns on one core, beside arrow-json on the same bytes.

use crate::workload::{self, NOW, ROWS};
use crate::{Figure, median, millions, rounds, setting};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::json::ReaderBuilder;
use std::sync::Arc;
use std::time::Instant;
use weir_ingest::decode::decode_body;
use weir_ingest::log::{Log, LogConfig};

pub(crate) fn measure() -> Vec<Figure> {
    let directory = tempfile::tempdir().expect("a directory");
    let log = workload::pumped(LogConfig::new(directory.path()));
    workload::climate(&log, 4);
    let bodies = workload::bodies();
    let bytes: usize = bodies.iter().map(String::len).sum();
    println!("decode: rows of {} bytes", bytes / bodies.len() / ROWS);
    let times = setting("WEIR_BENCH_DECODE_TIMES", 20);
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for round in 0..=rounds() {
        let weir = rate(times, &bodies, |body| weir(&log, body));
        let schema = schema();
        let arrow = rate(times, &bodies, |body| arrow(&schema, body));
        // The first learns the shapes of the rows.
        if round > 0 {
            println!(
                "decode, round {round}: {:.2} M rows/s; arrow-json {:.2}",
                millions(weir),
                millions(arrow)
            );
            rates.push(weir);
            ratios.push(weir / arrow);
        }
    }
    println!("decode: {:.2} times arrow-json, at least 3 wanted", median(&ratios));
    vec![
        ("decode_rows_per_s", median(&rates), "rows/s"),
        ("decode_vs_arrow_json", median(&ratios), "times"),
    ]
}

fn rate(times: usize, bodies: &[String], decode: impl Fn(&str) -> usize) -> f64 {
    let started = Instant::now();
    let mut rows = 0;
    for body in std::iter::repeat_n(bodies, times).flatten() {
        rows += decode(body);
    }
    assert_eq!(rows, times * bodies.len() * ROWS, "every row");
    rows as f64 / started.elapsed().as_secs_f64()
}

fn weir(log: &Log, body: &str) -> usize {
    let kind = Some("application/x-ndjson");
    let decoded = decode_body(log.streams(), kind, body.as_bytes(), NOW).expect("rows");
    decoded.accepted()
}

fn arrow(schema: &SchemaRef, body: &str) -> usize {
    let builder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(ROWS);
    let mut decoder = builder.build_decoder().expect("a decoder");
    let mut left = body.as_bytes();
    let mut rows = 0;
    while !left.is_empty() {
        let read = decoder.decode(left).expect("JSON");
        left = &left[read..];
        rows += decoder.flush().expect("JSON").map_or(0, |batch| batch.num_rows());
    }
    rows
}

/// The columns that the stream keeps, and the topic that weir makes into a series.
fn schema() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let double = |name| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        Field::new("ts", utc, false),
        Field::new("topic", DataType::Utf8, false),
        double("temperature"),
        double("humidity"),
        double("co2"),
        Field::new("occupied", DataType::Boolean, true),
    ]))
}
