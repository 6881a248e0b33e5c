//! Reading the log back into batches from page cache, beside a loop that reads and checks its bytes.

use crate::workload::{self, ROWS};
use crate::{Figure, disk, median, millions, rounds, setting};
use std::time::Instant;
use weir_ingest::log::{EntryBody, Log, LogConfig};
use weir_ingest::model::Offset;

const PARTITIONS: u32 = 4;

pub(crate) fn measure() -> Vec<Figure> {
    let rows = setting("WEIR_BENCH_ROWS", 8_000_000);
    let each = (rows / ROWS / PARTITIONS as usize).max(1);
    let directory = tempfile::tempdir().expect("a directory");
    {
        let log = workload::pumped(LogConfig::new(directory.path()));
        let stream = workload::climate(&log, PARTITIONS);
        for partition in stream.partitions() {
            let batches = workload::batches(&log, &stream, partition.id().0, 64);
            for batch in batches.iter().cycle().take(each) {
                let receipt = partition.append(batch.clone());
                log.step_committers();
                receipt.wait().expect("durable");
            }
        }
        log.stop();
    }
    // Opened anew, so that nothing is remembered of what was written.
    let log = workload::pumped(LogConfig::new(directory.path()));
    let files = disk::used(directory.path(), &log.streams().get("climate").expect("the stream"));
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for round in 0..=rounds() {
        let started = Instant::now();
        let rows = replay(&log);
        let time = started.elapsed().as_secs_f64();
        assert_eq!(rows, each * ROWS * PARTITIONS as usize, "all of it was read");
        let (bytes, own) = disk::read(&files);
        // The first brings the files into the page cache.
        if round > 0 {
            let rate = rows as f64 / time;
            println!(
                "replay, round {round}: {:.0} M rows/s, {:.2} GB/s; the loop {:.2} GB/s",
                millions(rate),
                bytes as f64 / time / 1e9,
                bytes as f64 / own.as_secs_f64() / 1e9
            );
            rates.push(rate);
            ratios.push(own.as_secs_f64() / time);
        }
    }
    println!("replay: {:.2} of the loop, at least 0.60 wanted, and 50 M rows/s", median(&ratios));
    vec![
        ("replay_rows_per_s", median(&rates), "rows/s"),
        ("replay_vs_read", median(&ratios), "of the loop"),
    ]
}

fn replay(log: &Log) -> usize {
    let mut rows = 0;
    for partition in log.streams().get("climate").expect("the stream").partitions() {
        let mut reader = partition.reader(Offset(0));
        while let Some(entry) = reader.next().expect("whole") {
            if let EntryBody::Rows(batch) = entry.body {
                rows += std::hint::black_box(batch).num_rows();
            }
        }
    }
    rows
}
