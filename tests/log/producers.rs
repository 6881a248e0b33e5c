//! Producers that send a batch again: what is known of them outlives segments and processes.

use crate::climate::{rows, stream, with_stream};
use std::sync::Arc;
use weir_ingest::io::{SimulatedClock, SimulatedDisk};
use weir_ingest::log::{Log, LogConfig, ProducerId, Source};

const START_US: i64 = 1_700_000_000_000_000;

fn open(disk: &SimulatedDisk) -> Result<Arc<Log>, String> {
    let config = LogConfig { segment_bytes_max: 4 * 1024, ..LogConfig::new("/data") };
    Log::open_manual(Arc::new(disk.clone()), Arc::new(SimulatedClock::at(START_US)), config)
        .map_err(|e| e.to_string())
        .and_then(with_stream)
}

/// Appends rows of one room; their first offset and how many were stored.
fn put(log: &Log, values: &[u64], source: Option<Source>) -> Result<(u64, u32), String> {
    let stream = stream(log)?;
    let route = log.streams().route("/room/1").map_err(|e| e.to_string())?;
    let partition = &stream.partitions()[route.partition.0 as usize];
    let batch = rows(&stream, route.series.0, values, START_US);
    let receipt = match source {
        Some(source) => partition.append_from(batch, source),
        None => partition.append(batch),
    };
    log.step_committers();
    receipt.wait().map(|told| (told.base_offset.0, told.rows)).map_err(|e| e.to_string())
}

/// A producer's only batch lies in the first of several segments; after a restart it sends it once more.
pub(crate) fn a_retry_is_known() -> Result<(), String> {
    let disk = SimulatedDisk::new(1);
    let source = Source { producer: ProducerId(7), epoch: 0, sequence: 0, wire_partition: None };
    let log = open(&disk)?;
    put(&log, &[100], None)?;
    let told = put(&log, &[1, 2, 3], Some(source))?;
    for n in 0..40 {
        put(&log, &[1_000 + n, 2_000 + n, 3_000 + n], None)?;
    }
    log.stop();
    drop(log);
    let log = open(&disk)?;
    let (offset, stored) = put(&log, &[1, 2, 3], Some(source))?;
    if (offset, stored) == (told.0, 0) {
        return Ok(());
    }
    Err(format!("stored at {} and, sent again, {stored} rows at {offset}", told.0))
}

#[test]
fn a_batch_that_a_producer_sends_again_after_rolls_and_a_restart_is_known() {
    assert_eq!(a_retry_is_known(), Ok(()));
}
