//! A disk that fills up: who may still write, and that it goes on by itself.

use crate::io::{Clock, Disk, SimulatedClock};
use crate::log::test_disk::{Act, TestDisk};
use crate::log::test_room::definition;
use crate::log::{
    AppendError, AppendResult, InternalLog, Log, LogConfig, Partition, PartitionState, Room,
    TickKind,
};
use crate::model::reading::{Hidden, stored_schema};
use crate::model::{EventTime, StreamOptions};
use arrow::array::{Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use std::io::ErrorKind;
use std::sync::Arc;

const GIB: u64 = 1024 * 1024 * 1024;

fn open(disk: &Arc<TestDisk>) -> Arc<Log> {
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::at(1_000_000));
    let disk: Arc<dyn Disk> = Arc::clone(disk) as _;
    let log = Log::open_manual(disk, clock, LogConfig::new("data")).unwrap();
    if log.streams().get("climate").is_none() {
        let options = StreamOptions { partitions: 1, ..StreamOptions::default() };
        log.create_stream(definition(options)).unwrap();
    }
    log
}

fn one_row(log: &Log, topic: &str) -> RecordBatch {
    let definition = log.streams().get("climate").unwrap().definition();
    let series = log.streams().route(topic).unwrap().series.0;
    RecordBatch::try_new(
        stored_schema(&definition, Hidden::default()),
        vec![
            Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")),
            Arc::new(UInt32Array::from(vec![series])),
            Arc::new(Float64Array::from(vec![1.0])),
        ],
    )
    .unwrap()
}

fn put(log: &Log, partition: &Partition, topic: &str) -> AppendResult {
    let receipt = partition.append(one_row(log, topic));
    log.step_committers();
    receipt.wait()
}

#[test]
fn rows_stop_at_the_hard_mark_and_go_on_when_there_is_room() {
    let disk = Arc::new(TestDisk::new());
    let log = open(&disk);
    let stream = log.streams().get("climate").unwrap();
    let rows = &stream.partitions()[0];
    let (alarms, letters) =
        (log.internal(InternalLog::Alarms), log.internal(InternalLog::DeadLetters));
    let tick = || {
        let receipt = rows.append_tick(EventTime(5), TickKind::Idle);
        log.step_committers();
        receipt.wait()
    };
    // Of 1 TiB the hard mark is 2 %.
    for (left_gib, room, takes_rows, takes_letters) in [
        (100, Room::Plenty, true, true),
        (30, Room::Little, true, true),
        (19, Room::OwnOnly, false, true),
        (5, Room::Last, false, false),
        (19, Room::OwnOnly, false, true),
        (100, Room::Plenty, true, true),
    ] {
        disk.leave(left_gib * GIB);
        log.step_ticks();
        assert_eq!(log.room(), room);
        assert_eq!(put(&log, rows, "/room/1").is_ok(), takes_rows, "{room:?}");
        assert_eq!(put(&log, letters, "/room/1").is_ok(), takes_letters, "{room:?}");
        assert_eq!(log.may_checkpoint(), takes_letters);
        let full = rows.state() == PartitionState::ReadOnlyFull;
        assert_eq!(full, !takes_rows);
        assert_eq!(alarms.state(), PartitionState::Ready);
        put(&log, alarms, "/room/1").unwrap();
        tick().unwrap();
    }
}

#[test]
fn a_start_on_a_full_disk_knows_it() {
    let disk = Arc::new(TestDisk::new());
    drop(open(&disk));
    disk.leave(0);
    let log = open(&disk);
    assert_eq!(log.room(), Room::Last);
}

#[test]
fn a_new_series_that_finds_no_room_in_the_catalog_is_refused_and_taken_later() {
    let disk = Arc::new(TestDisk::new());
    let log = open(&disk);
    let stream = log.streams().get("climate").unwrap();
    let partition = &stream.partitions()[0];
    put(&log, partition, "/room/1").unwrap();
    disk.fail(Act::Write, "catalog.redb", ErrorKind::StorageFull, 2);
    let refused = put(&log, partition, "/room/2");
    assert!(matches!(refused, Err(AppendError::Catalog(_))), "{refused:?}");
    put(&log, partition, "/room/1").unwrap();
    disk.behave();
    put(&log, partition, "/room/2").unwrap();
    assert!(log.failure().borrow().is_none());
    assert_eq!(partition.state(), PartitionState::Ready);
}
