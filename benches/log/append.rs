//! Durable batches of 1,000 rows over four partitions, beside the same groups written by a loop.

use crate::workload::{self, ROWS};
use crate::{Figure, disk, median, millions, rounds, setting};
use arrow::array::RecordBatch;
use disk::Room;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use weir_ingest::log::{LogConfig, Partition};

const PARTITIONS: u32 = 4;
/// Batches a writer has under way; `WEIR_BENCH_WINDOW` takes another number.
const WINDOW: usize = 8;

pub(crate) fn measure() -> Vec<Figure> {
    let rows = setting("WEIR_BENCH_ROWS", 8_000_000);
    let window = setting("WEIR_BENCH_WINDOW", WINDOW).max(1);
    let each = (rows / ROWS / PARTITIONS as usize).max(1);
    let rows = (each * ROWS * PARTITIONS as usize) as f64;
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for round in 1..=rounds() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        let log = workload::running(LogConfig::new(&data));
        let stream = workload::climate(&log, PARTITIONS);
        let batches: Vec<Vec<RecordBatch>> =
            (0..PARTITIONS).map(|p| workload::batches(&log, &stream, p, 64)).collect();
        // The first group of a partition starts its file and makes its series durable.
        for (partition, batches) in stream.partitions().iter().zip(&batches) {
            partition.append(batches[0].clone()).wait().expect("durable");
        }
        let started = Instant::now();
        std::thread::scope(|threads| {
            for (partition, batches) in stream.partitions().iter().zip(&batches) {
                threads.spawn(move || write(partition, batches, each, window));
            }
        });
        let weir = rows / started.elapsed().as_secs_f64();
        log.stop();
        drop((stream, log));
        let files = disk::segments(&data);
        let groups: Vec<Vec<Vec<u8>>> =
            files.iter().map(|files| disk::groups(files)[1..].to_vec()).collect();
        let count: usize = groups.iter().map(Vec::len).sum();
        let own =
            |room| rows / disk::write(&directory.path().join("own"), &groups, room).as_secs_f64();
        let (growing, reserved) = (own(Room::Growing), own(Room::Reserved));
        println!(
            "append, round {round}: {:.1} M rows/s in {count} groups of {:.0} rows; the loop {:.1} into growing files, {:.1} into reserved ones",
            millions(weir),
            rows / count as f64,
            millions(growing),
            millions(reserved)
        );
        rates.push(weir);
        ratios.push(weir / growing.max(reserved));
    }
    println!("append: {:.2} of the loop, at least 0.70 wanted", median(&ratios));
    vec![
        ("append_rows_per_s", median(&rates), "rows/s"),
        ("append_vs_disk", median(&ratios), "of the loop"),
    ]
}

/// Appends `count` batches, `window` of them under way.
pub(crate) fn write(
    partition: &Arc<Partition>,
    batches: &[RecordBatch],
    count: usize,
    window: usize,
) {
    let mut under_way = VecDeque::with_capacity(window);
    for batch in batches.iter().cycle().take(count) {
        if under_way.len() == window {
            let oldest: weir_ingest::log::Receipt = under_way.pop_front().expect("a window");
            oldest.wait().expect("durable");
        }
        under_way.push_back(partition.append(batch.clone()));
    }
    for receipt in under_way {
        receipt.wait().expect("durable");
    }
}
