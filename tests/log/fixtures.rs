//! Data directories that earlier formats wrote: opened, asked, appended to, closed, opened again.
//!
//! Promise: no later version is unable to read, or reads otherwise, what lies in tests/fixtures/data-*.
//! `clean` was stopped; `killed` lost its power in the middle of a commit, torn tail and all. Both were
//! written by `writes_the_fixtures_of_this_format`, which is run by hand when the format changes:
//! `WEIR_FIXTURES=<directory> cargo test -p weir-ingest --test log -- --ignored writes_the_fixtures`.
#![allow(clippy::disallowed_methods, reason = "copies files behind the disk's back")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use crate::climate::{PARTITIONS, kept_values, rows, rows_with_ids, stream, with_stream};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::io::{Disk, Open, RealDisk, SimulatedClock, SimulatedDisk};
use weir_ingest::log::{
    EntryBody, InternalLog, Log, LogConfig, PartitionState, ProducerId, Receipt, RoomMarks, Source,
};
use weir_ingest::model::{Column, ColumnType, Offset};

const START_US: i64 = 1_700_000_000_000_000;
const BATCHES: u64 = 60;
const BATCH_ROWS: u64 = 8;
/// After this many batches the stream gets another column.
const WIDENED_AFTER: u64 = 40;
/// Batches that a producer sends to the first room, in a format that knows any.
const PRODUCED: std::ops::Range<u64> = BATCHES..BATCHES + 10;

/// What a directory can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    V1_0,
    /// Batches of producers, and partitions whose oldest segments are gone.
    V1_1,
}

impl Format {
    fn directory(self) -> &'static str {
        match self {
            Self::V1_0 => "data-1.0",
            Self::V1_1 => "data-1.1",
        }
    }

    fn produced(self) -> std::ops::Range<u64> {
        match self {
            Self::V1_0 => 0..0,
            Self::V1_1 => PRODUCED,
        }
    }
}

/// The rows of a partition in the order they were sent; batch `n` is of room `n % 6`.
fn expected(log: &Log, format: Format) -> Vec<Vec<u64>> {
    let mut expected = vec![Vec::new(); PARTITIONS as usize];
    for n in 0..BATCHES {
        let route = log.streams().route(&topic(n)).unwrap();
        expected[route.partition.0 as usize].extend(batch_values(n));
    }
    let route = log.streams().route(&topic(0)).unwrap();
    expected[route.partition.0 as usize].extend(format.produced().flat_map(batch_values));
    expected
}

fn topic(batch: u64) -> String {
    format!("/room/{}", batch % 6)
}

fn batch_values(batch: u64) -> std::ops::Range<u64> {
    batch * BATCH_ROWS..(batch + 1) * BATCH_ROWS
}

fn config(directory: impl Into<PathBuf>) -> LogConfig {
    LogConfig { segment_bytes_max: 8 * 1024, room: RoomMarks::NONE, ..LogConfig::new(directory) }
}

fn put(log: &Log, clock: &SimulatedClock, batch: u64) {
    clock.advance(Duration::from_millis(10));
    let stream = stream(log).unwrap();
    let route = log.streams().route(&topic(batch)).unwrap();
    let values: Vec<u64> = batch_values(batch).collect();
    let now = START_US + i64::try_from(batch).unwrap() * 10_000;
    // Every other batch has ids.
    let make = if batch.is_multiple_of(2) { rows_with_ids } else { rows };
    let batch = make(&stream, route.series.0, &values, now);
    let receipt = stream.partitions()[route.partition.0 as usize].append(batch);
    log.step_committers();
    receipt.wait().unwrap();
}

/// A batch of the producer.
fn produce(log: &Log, batch: u64) -> Receipt {
    let (stream, route) = (stream(log).unwrap(), log.streams().route(&topic(0)).unwrap());
    let values: Vec<u64> = batch_values(batch).collect();
    let rows = rows(&stream, route.series.0, &values, START_US);
    let sequence = batch * BATCH_ROWS;
    let source = Source { producer: ProducerId(9), epoch: 1, sequence, wire_partition: None };
    let receipt = stream.partitions()[route.partition.0 as usize].append_from(rows, source);
    log.step_committers();
    receipt
}

/// What the format before did not know.
fn fill_more(log: &Log, clock: &SimulatedClock) {
    for batch in PRODUCED {
        clock.advance(Duration::from_millis(10));
        produce(log, batch).wait().unwrap();
    }
    for partition in stream(log).unwrap().partitions() {
        let oldest = partition.segments()[0].end_offset;
        assert_eq!(partition.trim(oldest).unwrap(), oldest);
    }
}

fn alarm(number: i64) -> RecordBatch {
    let time = TimestampMicrosecondArray::from(vec![START_US + number]).with_timezone("UTC");
    let number = Int64Array::from(vec![number]);
    let columns = [("time", Arc::new(time) as ArrayRef), ("number", Arc::new(number))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Readings with and without ids, a column added on the way, rolls, ticks, markers, an internal log and
/// an entry of the catalog.
fn fill(log: &Log, clock: &SimulatedClock) {
    log.catalog().put("test", "note", b"kept").unwrap();
    for n in 0..BATCHES {
        if n == WIDENED_AFTER {
            let name = "humidity".to_owned();
            let column = Column { name, column_type: ColumnType::Double, unit: None };
            log.add_column("climate", column).unwrap();
        }
        put(log, clock, n);
        if n % 20 == 10 {
            log.step_idle();
            clock.advance(Duration::from_secs(30));
            log.step_ticks();
        }
    }
    for number in 0..3 {
        drop(log.internal(InternalLog::Alarms).append(alarm(number)));
        log.step_committers();
    }
}

fn asked(log: &Arc<Log>, format: Format) {
    for (partition, expected) in stream(log).unwrap().partitions().iter().zip(expected(log, format))
    {
        assert_eq!(partition.state(), PartitionState::Ready);
        let (start, rows) = kept_values(partition).unwrap();
        assert_eq!(start > 0, format != Format::V1_0, "whose oldest segments are gone");
        assert_eq!(rows, expected[usize::try_from(start).unwrap()..]);
    }
    assert_eq!(log.catalog().get("test", "note").unwrap().as_deref(), Some(b"kept".as_slice()));
    assert_eq!(stream(log).unwrap().definition().columns().len(), 2);
    let closed = stream(log).unwrap().partitions().iter().any(|p| p.segments().len() > 1);
    assert!(closed, "the fixture holds closed segments");
    let mut alarms = Vec::new();
    let mut reader = log.internal(InternalLog::Alarms).reader(Offset(0));
    while let Some(entry) = reader.next().unwrap() {
        if let EntryBody::Rows(rows) = &entry.body {
            alarms.extend_from_slice(rows.column(1).as_primitive::<Int64Type>().values());
        }
    }
    assert_eq!(alarms, [0, 1, 2]);
}

/// Rows sent again are known, new ones go behind.
fn appended(log: &Arc<Log>, format: Format) {
    if let Some(last) = format.produced().last() {
        assert_eq!(produce(log, last).wait().unwrap().rows, 0, "its batch is still known");
    }
    let again = BATCHES - 2;
    let route = log.streams().route(&topic(again)).unwrap();
    let partition = Arc::clone(&stream(log).unwrap().partitions()[route.partition.0 as usize]);
    let before = partition.ends().durable_end;
    let send = |values: Vec<u64>| {
        let batch = rows_with_ids(&stream(log).unwrap(), route.series.0, &values, START_US);
        let receipt = partition.append(batch);
        log.step_committers();
        receipt.wait().unwrap()
    };
    assert_eq!(send(batch_values(again).collect()).rows, 0, "their ids are still known");
    assert_eq!(send(vec![1_000_000]).base_offset, before);
    assert_eq!(kept_values(&partition).unwrap().1.last(), Some(&1_000_000));
}

fn check(format: Format, stopped: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let copy = tempfile::tempdir().unwrap();
    copy_files(&root.join(format.directory()).join(stopped), copy.path());
    let clock = Arc::new(SimulatedClock::at(START_US + 100_000_000));
    let open = || {
        Log::open_manual(Arc::new(RealDisk), Arc::clone(&clock) as _, config(copy.path())).unwrap()
    };
    let log = open();
    asked(&log, format);
    appended(&log, format);
    log.stop();
    drop(log);
    let log = open();
    let partitions = stream(&log).unwrap();
    let rows: u64 = partitions.partitions().iter().map(|p| p.ends().durable_end.0).sum();
    let produced = format.produced().flat_map(batch_values).count() as u64;
    assert_eq!(rows, BATCHES * BATCH_ROWS + produced + 1);
    log.stop();
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_directory_of_format_1_0_that_was_stopped_is_read_and_gone_on_with() {
    check(Format::V1_0, "clean");
}

#[test]
fn a_directory_of_format_1_0_that_lost_its_power_is_read_and_gone_on_with() {
    check(Format::V1_0, "killed");
}

#[test]
fn a_directory_of_format_1_1_that_was_stopped_is_read_and_gone_on_with() {
    check(Format::V1_1, "clean");
}

#[test]
fn a_directory_of_format_1_1_that_lost_its_power_is_read_and_gone_on_with() {
    check(Format::V1_1, "killed");
}

/// Copies all files of a simulated disk below `at` to a real directory.
fn dump(disk: &SimulatedDisk, at: &Path, to: &Path) {
    for path in disk.list(at).unwrap() {
        let target = to.join(path.file_name().unwrap());
        match disk.open(&path, Open::Read) {
            Ok(file) => {
                let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
                file.pread(&mut bytes, 0).unwrap();
                fs::create_dir_all(to).unwrap();
                fs::write(target, bytes).unwrap();
            }
            Err(_) => dump(disk, &path, &target),
        }
    }
}

#[test]
#[ignore = "writes the directories of this format anew; by hand, when the format changes"]
fn writes_the_fixtures_of_this_format() {
    let to = PathBuf::from(std::env::var("WEIR_FIXTURES").expect("names a directory"));
    for stopped in ["clean", "killed"] {
        let (disk, clock) = (SimulatedDisk::new(4), Arc::new(SimulatedClock::at(START_US)));
        let log = Log::open_manual(Arc::new(disk.clone()), Arc::clone(&clock) as _, config("/d"));
        let log = with_stream(log.unwrap()).unwrap();
        fill(&log, &clock);
        fill_more(&log, &clock);
        if stopped == "clean" {
            log.stop();
            drop(log);
        } else {
            let stream = stream(&log).unwrap();
            let values: Vec<u64> = (2_000_000..2_000_060).collect();
            let route = log.streams().route(&topic(0)).unwrap();
            let batch = rows(&stream, route.series.0, &values, START_US);
            let receipt = stream.partitions()[route.partition.0 as usize].append(batch);
            disk.cut_power_in(1);
            log.step_committers();
            assert!(receipt.wait().is_err(), "the cut is between the write and its sync");
            drop(log);
            disk.restart();
        }
        dump(&disk, Path::new("/d"), &to.join(stopped));
    }
}
