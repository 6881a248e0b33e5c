//! What the state of a rule takes, beside the bound that is printed of it: a million series, ten minutes.
//!
//! Promise: what is measured is the growth of the process from before the first reading to the largest
//! it ever was, whatever it was for; the readings themselves are made batch by batch.

use crate::Figure;
use crate::rule::Rule;
use arrow::array::{Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use std::sync::Arc;
use weir_engine::runtime::rules::Bound;
use weir_engine::sql::{Statement, parse_statements};
use weir_engine::stream::input::{Input, Lane, Offsets, Rows};
use weir_ingest::model::reading::{Hidden, stored_schema};
use weir_ingest::model::{Offset, SeriesDirectory, SeriesId, StreamDefinition};

const SERIES: usize = 1_000_000;
const BATCH: usize = 8_192;
/// Every series says something this often, for ten minutes.
const EVERY_US: i64 = 10_000_000;
const ROUNDS: i64 = 60;
const START_US: i64 = 1_767_225_600_000_000;
const STREAM: &str = "CREATE STREAM climate (temperature DOUBLE) \
     TOPIC '/site/{site}/building/{building}/floor/{floor}/room/{room}/climate' \
     WITH (partitions = 1, lateness = '5 seconds')";
const RULE: &str = "CREATE RULE memory AS SELECT site, building, floor, room, window_end, \
     avg(temperature) AS average, min(temperature) AS least, max(temperature) AS greatest, \
     count(*) AS readings FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
     GROUP BY site, building, floor, room, window_start, window_end";

fn directory(definition: &StreamDefinition) -> SeriesDirectory {
    let directory = SeriesDirectory::new(definition.template().clone());
    for series in 0..SERIES {
        let (s, b, f, r) = (series / 100_000, series / 1000 % 100, series / 100 % 10, series % 100);
        let topic = format!("/site/{s}/building/{b}/floor/{f}/room/{r}/climate");
        directory.push(SeriesId(series as u32), topic.as_str().into());
    }
    directory
}

/// The batch that begins with that row of a round: series in order, spread over the ten seconds.
fn batch(definition: &StreamDefinition, round: i64, from: usize) -> RecordBatch {
    let series = from..SERIES.min(from + BATCH);
    let time =
        |series: usize| START_US + round * EVERY_US + series as i64 * EVERY_US / SERIES as i64;
    let times = TimestampMicrosecondArray::from_iter_values(series.clone().map(time));
    let value = |series: usize| 20.0 + (series % 17) as f64 / 10.0 + round as f64 / 100.0;
    RecordBatch::try_new(
        stored_schema(definition, Hidden::default()),
        vec![
            Arc::new(times.with_timezone("UTC")),
            Arc::new(UInt32Array::from_iter_values(series.clone().map(|series| series as u32))),
            Arc::new(Float64Array::from_iter_values(series.map(value))),
        ],
    )
    .expect("columns of the stream")
}

/// A line of what the kernel says of this process, in bytes.
fn of_process(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("it is Linux");
    let found = status.lines().find_map(|l| l.strip_prefix(line)).expect("a line of it");
    let kib: usize = found.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    1024 * kib
}

pub(crate) fn memory() -> Vec<Figure> {
    let Some(Statement::CreateStream { definition, .. }) =
        parse_statements(STREAM).expect("it is SQL").pop()
    else {
        panic!("a stream")
    };
    let definition = Arc::new(definition);
    let directory = directory(&definition);
    let series = directory.snapshot();
    let rule = Rule::over(&definition, RULE);
    let bound = Bound::of(rule.plan()).expect("it is on the dense path");
    // The largest size so far begins anew here.
    std::fs::write("/proc/self/clear_refs", "5").expect("it is Linux");
    let before = of_process("VmRSS");
    let mut runner = rule.start();
    let (mut rows, mut offset, mut state, mut windows) = (0, 0, 0, 0);
    for round in 0..ROUNDS {
        for from in (0..SERIES).step_by(BATCH) {
            let batch = batch(&definition, round, from);
            let (count, append) = (batch.num_rows(), START_US + offset as i64);
            let outputs = runner.step(&Input::Rows(Rows {
                stream: 0,
                batch,
                definition: Arc::clone(&definition),
                series: Arc::clone(&series),
                partitions: Lane::Same(0),
                offsets: Offsets::From(Offset(offset)),
                append_times: Lane::Same(append),
            }));
            let outputs = outputs.unwrap_or_else(|e| panic!("{e}"));
            assert!(outputs.late.is_empty() && outputs.errors.is_empty(), "no row is late");
            windows += outputs.rows.len();
            rows += outputs.rows.iter().map(|closed| closed.len()).sum::<usize>();
            state = state.max(runner.bytes());
            offset += count as u64;
        }
    }
    assert_eq!(rows, windows * SERIES, "every room is in every window");
    drop(directory);
    let taken = of_process("VmHWM").saturating_sub(before);
    let said = bound.bytes(SERIES, SERIES);
    let mib = |bytes: usize| bytes as f64 / 1024.0 / 1024.0;
    println!("memory, {SERIES} series and as many keys, {windows} windows of a minute closed");
    println!("  the rule counts {:.0} MiB of state at most", mib(state));
    println!("  the process grew by {:.0} MiB at most", mib(taken));
    println!("  printed bound: {:.0} MiB", mib(said));
    vec![
        ("memory_peak_mib", mib(taken), "MiB"),
        ("memory_bound_vs_peak", said as f64 / taken as f64, "x"),
        (
            "memory_bytes_per_key_and_window",
            said as f64 / SERIES as f64 / bound.windows() as f64,
            "bytes",
        ),
    ]
}
