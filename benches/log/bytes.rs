//! Bytes on disk of a reading that came as NDJSON in requests of 1,000 rows.

use crate::workload::{self, NOW};
use crate::{Figure, disk, median, rounds, setting};
use std::path::PathBuf;
use weir_ingest::decode::decode_body;
use weir_ingest::log::LogConfig;

/// Requests under way, as in `end_to_end`.
const UNDER_WAY: usize = 8;
/// A reading of the same kind in a file of a million, zstd, as pyarrow writes it (benches/README.md).
const PARQUET_BYTES: f64 = 9.1;

pub(crate) fn measure() -> Vec<Figure> {
    let rows = setting("WEIR_BENCH_ROWS", 8_000_000) / 8;
    let all: Vec<(f64, f64)> = (0..rounds()).map(|_| round(rows)).collect();
    let (each, text): (Vec<f64>, Vec<f64>) = all.into_iter().unzip();
    let (each, text) = (median(&each), median(&text));
    println!(
        "bytes of a reading: {each:.1} in the log, {text:.1} as NDJSON; {PARQUET_BYTES} in Parquet with zstd, not taken in this run"
    );
    vec![("bytes_per_reading", each, "bytes"), ("bytes_per_reading_ndjson", text, "bytes")]
}

/// Bytes of a reading in the log, and as text.
fn round(rows: usize) -> (f64, f64) {
    let directory = tempfile::tempdir().expect("a directory");
    let log = workload::running(LogConfig::new(directory.path()));
    let stream = workload::climate(&log, 4);
    let bodies = workload::bodies();
    let (mut stored, mut text) = (0, 0);
    for group in bodies.chunks(UNDER_WAY).cycle() {
        if stored >= rows {
            break;
        }
        let mut receipts = Vec::new();
        for body in group {
            text += body.len();
            let kind = Some("application/x-ndjson");
            let decoded = decode_body(log.streams(), kind, body.as_bytes(), NOW).expect("rows");
            stored += decoded.accepted();
            for rows in decoded.rows {
                let partition = &stream.partitions()[rows.partition.0 as usize];
                receipts.push(partition.append(rows.batch));
            }
        }
        for receipt in receipts {
            receipt.wait().expect("durable");
        }
    }
    log.stop();
    let files: Vec<PathBuf> = disk::segments(directory.path()).concat();
    let bytes: u64 = files.iter().map(|file| file.metadata().expect("readable").len()).sum();
    (bytes as f64 / stored as f64, text as f64 / stored as f64)
}
