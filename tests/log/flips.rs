//! Every single bit of a segment, flipped alone at rest: none goes unnoticed.
//!
//! Promise: noticed means that the start says that the partition is damaged, or that a reader of all of it
//! gets an error; rows that are other ones, or as if nothing had happened, are neither.

use crate::seeds::on_all_cores;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_ingest::io::{Disk, Open, SimulatedDisk};
use weir_ingest::log::probe::{Recoverer, Told};
use weir_ingest::log::{EntryBody, LogConfig, Partition, PartitionState, TickKind};
use weir_ingest::model::{EventTime, Offset};

const SEGMENT_BYTES: u64 = 64 * 1024;
const ROWS: i64 = 280;
const UID: u64 = 7;
/// Bytes that one thread flips at a time.
const CHUNK_BYTES: usize = 1024;

/// A partition on a disk of its own, closed, whose first segment is on trial.
struct Trial {
    disk: SimulatedDisk,
    recoverer: Recoverer,
    segment: PathBuf,
    bytes: usize,
    /// What a reader of all of it gets.
    whole: Vec<(u64, Vec<i64>)>,
}

fn rows(from: i64) -> RecordBatch {
    let values: Vec<i64> = (from..from + ROWS).collect();
    let time = TimestampMicrosecondArray::from(values.clone()).with_timezone("UTC");
    let values = Int64Array::from(values);
    let columns = [("time", Arc::new(time) as ArrayRef), ("value", Arc::new(values))];
    RecordBatch::try_from_iter(columns).expect("two columns of one length")
}

fn directory() -> &'static Path {
    Path::new("/data/flips/0")
}

impl Trial {
    /// `groups` groups of rows and as many ticks; the first segment is sealed if they do not fit.
    fn new(groups: i64) -> Result<Self, String> {
        let disk = SimulatedDisk::new(1);
        let config = LogConfig { segment_bytes_max: SEGMENT_BYTES, ..LogConfig::new("/data") };
        let recoverer =
            Recoverer::new(Arc::new(disk.clone()), config).map_err(|e| e.to_string())?;
        let partition = recoverer.open(directory(), UID, 0).map_err(|e| e.to_string())?;
        for group in 0..groups {
            let receipt = partition.append(rows(group * ROWS));
            drop(partition.append_tick(EventTime(group), TickKind::Idle));
            recoverer.commit(&partition);
            receipt.wait().map_err(|e| e.to_string())?;
        }
        let whole = read(&partition)?;
        let files = disk.list(directory()).map_err(|e| e.to_string())?;
        let segment = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "seg"));
        let segment = segment.ok_or("no segment was written")?;
        let file = disk.open(&segment, Open::Write).map_err(|e| e.to_string())?;
        let bytes = file.len().map_err(|e| e.to_string())?;
        let bytes = usize::try_from(bytes).map_err(|e| e.to_string())?;
        Ok(Self { disk, recoverer, segment, bytes, whole })
    }

    /// What a start and then a reader of all of it find.
    fn found(&self) -> Result<Vec<(u64, Vec<i64>)>, String> {
        let partition =
            self.recoverer.open(directory(), UID, 0).map_err(|error| error.to_string())?;
        match partition.state() {
            PartitionState::Ready => read(&partition),
            state => Err(format!("{state:?}")),
        }
    }

    /// Flips every bit of some bytes, one after another; the bits that nobody noticed.
    fn flip(&self, bytes: Range<usize>) -> Result<Vec<String>, String> {
        let mut unnoticed = Vec::new();
        for byte in bytes {
            for bit in 0..8 {
                let flip = || self.disk.flip_bit(&self.segment, byte, bit);
                flip().map_err(|e| e.to_string())?;
                if let Ok(found) = self.found() {
                    let what = if found == self.whole { "unnoticed" } else { "other rows" };
                    unnoticed.push(format!("bit {bit} of byte {byte}: {what}"));
                }
                flip().map_err(|e| e.to_string())?;
            }
        }
        Ok(unnoticed)
    }
}

fn read(partition: &Arc<Partition>) -> Result<Vec<(u64, Vec<i64>)>, String> {
    let mut reader = partition.reader(Offset(0));
    let mut all = Vec::new();
    while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
        if let EntryBody::Rows(batch) = &entry.body {
            let values = batch.column(1).as_primitive::<Int64Type>().values().to_vec();
            all.push((entry.base_offset.0, values));
        }
    }
    Ok(all)
}

/// Flips all bits of the first segment of such a partition, on both cores; how many.
fn flip_all(trial: impl Fn() -> Result<Trial, String> + Sync) -> usize {
    let one = trial().expect("the disk does nothing wrong");
    assert_eq!(one.found().as_ref(), Ok(&one.whole), "it is whole before");
    let chunks: Vec<Range<usize>> = (0..one.bytes)
        .step_by(CHUNK_BYTES)
        .map(|start| start..(start + CHUNK_BYTES).min(one.bytes))
        .collect();
    let (unnoticed, errors) = on_all_cores(&chunks, |chunk| trial()?.flip(chunk.clone()));
    assert_eq!(errors, Vec::<String>::new());
    let unnoticed: Vec<String> = unnoticed.into_iter().flatten().collect();
    let first = &unnoticed[..unnoticed.len().min(20)];
    assert!(unnoticed.is_empty(), "{} flips: {}", unnoticed.len(), first.join("\n"));
    one.bytes * 8
}

#[test]
fn no_flipped_bit_of_a_closed_segment_goes_unnoticed() {
    let bits = flip_all(|| {
        let trial = Trial::new(16)?;
        let sealed =
            trial.bytes > 62 * 1024 && trial.disk.list(directory()).is_ok_and(|f| f.len() > 1);
        if sealed { Ok(trial) } else { Err(format!("{} bytes", trial.bytes)) }
    });
    println!("{bits} bits of a sealed segment");
    assert!(bits > 500_000, "{bits}");
}

#[test]
fn no_flipped_bit_of_a_segment_that_was_stopped_goes_unnoticed() {
    let bits = flip_all(|| {
        let mut trial = Trial::new(3)?;
        // As a clean stop leaves it: without what is reserved behind the last frame.
        let used = used_bytes(&trial)?;
        let file = trial.disk.open(&trial.segment, Open::Write).map_err(|e| e.to_string())?;
        file.set_len(used as u64).and_then(|()| file.sync_data()).map_err(|e| e.to_string())?;
        trial.bytes = used;
        trial.recoverer.tell(UID, Told::Stopped(used as u64)).map_err(|e| e.to_string())?;
        Ok(trial)
    });
    println!("{bits} bits of a segment that was stopped");
    assert!(bits > 50_000, "{bits}");
}

/// Up to the last byte that is not zero, and then to the end of its block of 64.
fn used_bytes(trial: &Trial) -> Result<usize, String> {
    let file = trial.disk.open(&trial.segment, Open::Read).map_err(|e| e.to_string())?;
    let mut bytes = vec![0; trial.bytes];
    file.pread(&mut bytes, 0).map_err(|e| e.to_string())?;
    let last = bytes.iter().rposition(|byte| *byte != 0).ok_or("only zeros")?;
    Ok((last + 1).next_multiple_of(64))
}
