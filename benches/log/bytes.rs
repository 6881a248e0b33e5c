//! Bytes on disk of a reading that came as NDJSON in requests of 1,000 rows.

use crate::workload::{self, NOW};
use crate::{Figure, disk, setting};
use std::path::PathBuf;
use weir_ingest::decode::decode_body;
use weir_ingest::log::LogConfig;

/// Requests under way, as in `end_to_end`.
const UNDER_WAY: usize = 8;

pub(crate) fn measure() -> Vec<Figure> {
    let rows = setting("WEIR_BENCH_ROWS", 8_000_000) / 8;
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
    let each = bytes as f64 / stored as f64;
    let text = text as f64 / stored as f64;
    println!("bytes of a reading: {each:.1} in the log, {text:.1} as NDJSON");
    vec![("bytes_per_reading", each, "bytes"), ("bytes_per_reading_ndjson", text, "bytes")]
}
