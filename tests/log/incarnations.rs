//! Files of an earlier incarnation of a partition: copied, left behind, misdirected.
//!
//! Promise: bytes of another epoch or partition are never taken for those of this one.

use crate::climate::{all_values, rows, stream, with_stream};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_ingest::io::{Disk, Image, Misdirection, Open, SimulatedClock, SimulatedDisk};
use weir_ingest::log::{Log, LogConfig, Partition, PartitionState};

const START_US: i64 = 1_700_000_000_000_000;

fn open(disk: &SimulatedDisk) -> Result<Arc<Log>, String> {
    let clock = Arc::new(SimulatedClock::at(START_US));
    Log::open_manual(Arc::new(disk.clone()), clock, LogConfig::new("/data"))
        .map_err(|e| e.to_string())
        .and_then(with_stream)
}

/// Confirmed rows of one room; its partition.
fn put(log: &Log, values: &[u64]) -> Result<Arc<Partition>, String> {
    let stream = stream(log)?;
    let route = log.streams().route("/room/1").map_err(|e| e.to_string())?;
    let partition = Arc::clone(&stream.partitions()[route.partition.0 as usize]);
    let receipt = partition.append(rows(&stream, route.series.0, values, START_US));
    log.step_committers();
    receipt.wait().map_err(|e| e.to_string())?;
    Ok(partition)
}

/// The segments of a partition, oldest first.
fn segments(disk: &SimulatedDisk, partition: &Partition) -> Result<Vec<PathBuf>, String> {
    let directory = Path::new("/data/streams/climate-1").join(partition.id().0.to_string());
    let all = disk.list(&directory).map_err(|e| e.to_string())?;
    Ok(all.into_iter().filter(|path| path.extension().is_some_and(|e| e == "seg")).collect())
}

/// A copy of the first segment, older than what it holds now, under the name of the next epoch: taken for
/// current, it would hide the rows confirmed since.
pub(crate) fn a_stale_file_is_set_aside() -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    let disk = SimulatedDisk::new(1);
    let log = open(&disk)?;
    let partition = put(&log, &[1, 2, 3])?;
    log.step_idle();
    let path = segments(&disk, &partition)?.remove(0);
    let file = disk.open(&path, Open::Read).map_err(io)?;
    let mut bytes = vec![0; usize::try_from(file.len().map_err(io)?).expect("small")];
    file.pread(&mut bytes, 0).map_err(io)?;
    put(&log, &[4, 5, 6])?;
    disk.cut_power_in(0);
    drop(log);
    disk.restart_with(Image::KeepAll);
    let next = path.to_string_lossy().replace("-0000000001.seg", "-0000000002.seg");
    let copy = disk.open(Path::new(&next), Open::CreateNew).map_err(io)?;
    copy.pwrite(&[IoSlice::new(&bytes)], 0).map_err(io)?;
    copy.sync_data().map_err(io)?;
    disk.sync_directory(path.parent().expect("in a directory")).map_err(io)?;
    let log = open(&disk)?;
    let partition = put(&log, &[7])?;
    let values = all_values(&partition)?;
    if values == [1, 2, 3, 4, 5, 6, 7] { Ok(()) } else { Err(format!("{values:?}")) }
}

#[test]
fn a_file_of_an_earlier_incarnation_is_not_believed() {
    assert_eq!(a_stale_file_is_set_aside(), Ok(()));
}

#[test]
fn a_write_that_went_elsewhere_is_noticed_and_nothing_is_cut_away() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk).expect("an empty disk");
    put(&log, &[1, 2, 3]).expect("confirmed");
    disk.misdirect_next("streams/", Misdirection::Further(64 * 1024));
    put(&log, &[4, 5, 6]).expect("confirmed: the disk told nobody");
    put(&log, &[7, 8, 9]).expect("confirmed");
    let id = put(&log, &[10]).expect("confirmed").id();
    disk.cut_power_in(0);
    drop(log);
    disk.restart_with(Image::KeepAll);
    let log = open(&disk).expect("one partition stops no start");
    let stream = stream(&log).expect("declared");
    let partition = &stream.partitions()[id.0 as usize];
    assert!(matches!(partition.state(), PartitionState::Corrupt(_)), "{:?}", partition.state());
    assert_eq!(all_values(partition), Ok(vec![1, 2, 3]), "what lies before is read");
}
