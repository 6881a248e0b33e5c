//! One row an append from a thousand writers in one process, beside the disk's fdatasync.

use crate::workload::{self, ROOMS};
use crate::{Figure, median, rounds, setting, syncs};
use arrow::array::RecordBatch;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_ingest::log::{LogConfig, Partition};

/// As many as a stream has unless it says otherwise; `WEIR_BENCH_PARTITIONS` takes another number.
const PARTITIONS: usize = 4;

pub(crate) fn measure() -> Vec<Figure> {
    let writers = setting("WEIR_BENCH_WRITERS", 1_000);
    let time = Duration::from_millis(setting("WEIR_BENCH_SINGLE_MS", 3_000) as u64);
    let partitions = setting("WEIR_BENCH_PARTITIONS", PARTITIONS);
    let partitions = u32::try_from(partitions).expect("a few partitions");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let (mut rates, mut p99s, mut of_rate, mut of_p99) = (vec![], vec![], vec![], vec![]);
    for round in 1..=rounds() {
        let directory = tempfile::tempdir().expect("a directory");
        let disk = syncs::measure(directory.path());
        let log = workload::running(LogConfig::new(directory.path().join("data")));
        let stream = workload::climate(&log, partitions);
        let writers: Vec<(Arc<Partition>, RecordBatch)> = (0..writers)
            .map(|n| {
                let route = log.streams().route(&workload::topic(n % ROOMS)).expect("known");
                let partition = &stream.partitions()[route.partition.0 as usize];
                (Arc::clone(partition), workload::batch(&stream, &[route.series], n, 1))
            })
            .collect();
        let mut times = runtime.block_on(run(writers, time));
        let rate = times.len() as f64 / time.as_secs_f64();
        times.sort();
        let p99 = times[times.len() * 99 / 100].as_secs_f64() * 1e3;
        let (rate_floor, p99_floor) =
            ((100.0 * disk.per_s).min(200_000.0), 4.0 + 3.0 * disk.p99_ms);
        println!(
            "single rows, round {round}: {rate:.0} rows/s, p50 {:.2} ms, p99 {p99:.2} ms; wanted {rate_floor:.0} rows/s (the disk: {:.0} syncs/s), p99 below {p99_floor:.2} ms (the disk: {:.3} ms)",
            times[times.len() / 2].as_secs_f64() * 1e3,
            disk.per_s,
            disk.p99_ms
        );
        rates.push(rate);
        p99s.push(p99);
        of_rate.push(rate / rate_floor);
        of_p99.push(p99 / p99_floor);
        log.stop();
    }
    println!(
        "single rows: {:.2} of the wanted rate, {:.2} of the allowed p99, medians",
        median(&of_rate),
        median(&of_p99)
    );
    vec![("single_row_per_s", median(&rates), "rows/s"), ("single_row_p99_ms", median(&p99s), "ms")]
}

/// Each writer appends its row and waits until it is durable, again and again; how long each took.
async fn run(writers: Vec<(Arc<Partition>, RecordBatch)>, time: Duration) -> Vec<Duration> {
    let end = Instant::now() + time;
    let tasks: Vec<_> = writers
        .into_iter()
        .map(|(partition, row)| {
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let started = Instant::now();
                    if started >= end {
                        return times;
                    }
                    partition.append(row.clone()).await.expect("durable");
                    times.push(started.elapsed());
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a writer ends"));
    }
    all
}
