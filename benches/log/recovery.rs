//! Opening after a stop that was not clean: sixteen full segments, beside reading their bytes.

use crate::workload::{self, ROWS};
use crate::{Figure, disk, median, rounds, setting};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use weir_ingest::log::LogConfig;

const PARTITIONS: u32 = 16;
/// Batches of a group.
const GROUP: usize = 4;
/// Seconds that opening may take beside the reading.
const CONSTANT_S: f64 = 0.5;

pub(crate) fn measure() -> Vec<Figure> {
    let segment = setting("WEIR_BENCH_SEGMENT_MIB", 64) as u64 * 1024 * 1024;
    let directory = tempfile::tempdir().expect("a directory");
    let killed = directory.path().join("killed");
    let (rows, used) = fill(&killed, segment);
    let (mut ratios, mut of_floor) = (Vec::new(), Vec::new());
    for round in 1..=rounds() {
        let data = directory.path().join("data");
        copy(&killed, &data);
        let files: Vec<PathBuf> = disk::segments(&data).concat();
        let (bytes, own) = disk::read(&files.into_iter().zip(used.clone()).collect::<Vec<_>>());
        let started = Instant::now();
        let log = workload::pumped(config(&data, segment));
        let time = started.elapsed();
        let stream = log.streams().get("climate").expect("the stream");
        let found: u64 = stream.partitions().iter().map(|p| p.ends().durable_end.0).sum();
        assert_eq!(found, rows, "every row is there again");
        drop((stream, log));
        std::fs::remove_dir_all(&data).expect("ours");
        println!(
            "recovery, round {round}: {:.3} s for {} MiB; the loop {:.3} s",
            time.as_secs_f64(),
            bytes / 1024 / 1024,
            own.as_secs_f64()
        );
        let beyond = time.saturating_sub(Duration::from_secs_f64(CONSTANT_S));
        ratios.push(time.as_secs_f64() / own.as_secs_f64());
        of_floor.push(beyond.as_secs_f64() / own.as_secs_f64());
    }
    println!(
        "recovery: {:.2} times the loop; {:.2} without the {CONSTANT_S} s it may take besides, at most 1.50 wanted",
        median(&ratios),
        median(&of_floor)
    );
    vec![
        ("recovery_vs_read", median(&of_floor), "times beyond 0.5 s"),
        ("recovery_whole_vs_read", median(&ratios), "times"),
    ]
}

fn config(directory: &Path, segment: u64) -> LogConfig {
    LogConfig { segment_bytes_max: segment, ..LogConfig::new(directory) }
}

/// Fills a segment of each partition to its end and goes without a word; the rows, and the bytes used
/// of each file.
fn fill(directory: &Path, segment: u64) -> (u64, Vec<u64>) {
    let log = workload::pumped(config(directory, segment));
    let stream = workload::climate(&log, PARTITIONS);
    let mut rows = 0;
    for partition in stream.partitions() {
        let batches = workload::batches(&log, &stream, partition.id().0, 8 * GROUP);
        for group in batches.chunks(GROUP).cycle() {
            let bytes = partition.segments().last().map_or(0, |segment| segment.bytes);
            let next = partition.segments().len() > 1;
            assert!(!next, "one segment a partition");
            // A group is about 40 bytes a row.
            if bytes + (GROUP * ROWS * 64) as u64 > segment {
                break;
            }
            let receipts: Vec<_> = group.iter().map(|b| partition.append(b.clone())).collect();
            log.step_committers();
            for receipt in receipts {
                rows += u64::from(receipt.wait().expect("durable").rows);
            }
        }
    }
    let files = disk::used(directory, &stream);
    (rows, files.into_iter().map(|(_, used)| used).collect())
}

/// Copies a directory and what is in it, and waits until it is on the disk.
fn copy(from: &Path, to: &Path) {
    copy_tree(from, to);
    rustix::fs::sync();
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("writable");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("room on the disk");
        }
    }
}
