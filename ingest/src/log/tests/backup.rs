//! A copy of a log that is written to meanwhile is a log of one moment.

use crate::io::{Call, Disk, Open, SimulatedClock};
use crate::log::test_room::TestRoom;
use crate::log::{BackupError, BackupProgress, Log, LogConfig, PartitionState};
use crate::model::{Offset, Retention};
use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TO: &str = "copies/monday";

fn none(_: &str, _: &[u8]) -> Vec<String> {
    Vec::new()
}

fn disk(room: &TestRoom) -> Arc<dyn Disk> {
    Arc::new(room.disk.clone())
}

fn open(room: &TestRoom) -> Arc<Log> {
    let clock = Arc::new(SimulatedClock::at(2_000_000_000));
    Log::open_manual(disk(room), clock, LogConfig::new(TO)).unwrap()
}

#[test]
fn a_copy_has_every_row_from_before_it_began_and_goes_on_by_itself() {
    let ten_seconds = Retention { age: Some(Duration::from_secs(10)), bytes: None };
    let room = TestRoom::keeping(1024, ten_seconds);
    for _ in 0..20 {
        room.put(40).unwrap();
        room.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(room.log.step_retention(), 10);
    room.log.catalog().put("rules", "hot", b"text").unwrap();
    room.put(7).unwrap();
    let (mut told, mut verified) = (0, false);
    let done = room.log.backup(&disk(&room), Path::new(TO), &none, &mut |progress| {
        match progress {
            BackupProgress::Copying { bytes, of_bytes } => {
                assert!(bytes > told && bytes <= of_bytes);
                told = bytes;
                // The log goes on: rows, a new series, old rows that would go.
                room.put(3).unwrap();
                room.log.streams().route(&format!("/room/{bytes}")).unwrap();
                room.log.catalog().put("rules", "later", b"text").unwrap();
                room.clock.advance(Duration::from_secs(60));
                assert_eq!(room.log.step_retention(), 0, "it is held");
            }
            BackupProgress::Verifying => verified = true,
        }
    });
    let done = done.unwrap();
    assert!(verified && done.bytes == told && done.rows == 407, "{done:?}");
    assert!(room.log.step_retention() > 0, "and is no more");
    let copy = open(&room);
    let stream = copy.streams().get("climate").unwrap();
    let partition = &stream.partitions()[0];
    let ends = partition.ends();
    assert_eq!(partition.state(), PartitionState::Ready);
    assert_eq!((ends.log_start, ends.durable_end), (Offset(400), Offset(807)));
    assert_eq!(copy.catalog().get("rules", "hot").unwrap(), Some(b"text".to_vec()));
    assert_eq!(copy.catalog().get("rules", "later").unwrap(), None);
    let route = copy.streams().route("/room/1").unwrap();
    assert_eq!(route.series, room.series);
    let receipt = partition.append(room.rows(2));
    copy.step_committers();
    assert_eq!(receipt.wait().unwrap().base_offset, Offset(807));
}

#[test]
fn what_cannot_be_copied_is_no_data_directory() {
    let room = TestRoom::new(1024);
    room.put(40).unwrap();
    let backup = || room.log.backup(&disk(&room), Path::new(TO), &none, &mut |_| {});
    room.disk.fail_next(Call::Sync, TO, ErrorKind::StorageFull);
    assert!(matches!(backup(), Err(BackupError::Io { .. })));
    assert!(!room.disk.exists(&Path::new(TO).join("catalog.redb")).unwrap());
    assert!(
        matches!(backup(), Err(BackupError::NotEmpty { .. })),
        "half a copy is not gone on with"
    );
}

#[test]
fn a_file_that_the_catalog_names_is_copied_or_the_copy_begins_anew() {
    let room = TestRoom::new(1024);
    room.put(40).unwrap();
    let (directory, name) = (room.log.directory().to_path_buf(), "notes/1".to_owned());
    let named = |space: &str, _: &[u8]| match space {
        "notes" => vec![name.clone()],
        _ => Vec::new(),
    };
    room.log.catalog().put("notes", "a", b"").unwrap();
    let backup = || room.log.backup(&disk(&room), Path::new(TO), &named, &mut |_| {});
    assert!(matches!(backup(), Err(BackupError::Gone { .. })), "it is never there");
    room.disk.create_directories(&directory.join("notes")).unwrap();
    let file = room.disk.open(&directory.join(&name), Open::CreateNew).unwrap();
    file.pwrite(&[IoSlice::new(b"said")], 0).unwrap();
    backup().unwrap();
    let copy = room.disk.open(&Path::new(TO).join(&name), Open::Read).unwrap();
    assert_eq!(copy.len().unwrap(), 4);
}
