//! One partition for which much waits: the next group encoded while one is synced, beside one after the
//! other.

use crate::workload::{self, ROWS};
use crate::{Figure, append, median, millions, rounds, setting};
use std::time::Instant;
use weir_ingest::log::LogConfig;

/// Batches under way: several groups of them.
const WINDOW: usize = 256;

pub(crate) fn measure() -> Vec<Figure> {
    let count = (setting("WEIR_BENCH_ROWS", 8_000_000) / ROWS).max(1);
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for round in 1..=rounds() {
        let ahead = rate(count, LogConfig::new("").ahead_bytes_min);
        let after = rate(count, usize::MAX);
        println!(
            "ahead, round {round}: {:.1} M rows/s; one after the other {:.1}",
            millions(ahead),
            millions(after)
        );
        rates.push(ahead);
        ratios.push(ahead / after);
    }
    println!("ahead: {:.2} times one after the other", median(&ratios));
    vec![
        ("append_ahead_rows_per_s", median(&rates), "rows/s"),
        ("append_ahead_vs_after", median(&ratios), "times"),
    ]
}

fn rate(count: usize, ahead_bytes_min: usize) -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let config = LogConfig { ahead_bytes_min, ..LogConfig::new(directory.path()) };
    let log = workload::running(config);
    let stream = workload::climate(&log, 1);
    let batches = workload::batches(&log, &stream, 0, 64);
    let partition = &stream.partitions()[0];
    // The first group starts the file and makes the series durable.
    partition.append(batches[0].clone()).wait().expect("durable");
    let started = Instant::now();
    append::write(partition, &batches, count, WINDOW);
    let time = started.elapsed().as_secs_f64();
    log.stop();
    (count * ROWS) as f64 / time
}
