//! Rot in what nobody reads, and files that were left without a seal.

use crate::io::{Call, Fault, File, Plan};
use crate::log::PartitionState;
use crate::log::test_room::TestRoom;
use crate::model::Offset;
use std::io::{ErrorKind, IoSlice};

fn is_corrupt(room: &TestRoom) -> bool {
    matches!(room.partition().state(), PartitionState::Corrupt(_))
}

/// Changes a byte of the last rows in a file.
fn rot(file: &dyn File) {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.pread(&mut bytes, 0).unwrap();
    // The last value is 39.0, in the rows and nowhere else.
    let value = 39_f64.to_le_bytes();
    let at = bytes.windows(8).rposition(|bytes| *bytes == value).unwrap();
    file.pwrite(&[IoSlice::new(&[bytes[at] ^ 1])], at as u64).unwrap();
}

#[test]
fn the_scrubber_finds_rot_that_nobody_reads() {
    let room = TestRoom::new(1024);
    for _ in 0..6 {
        room.put(40).unwrap();
    }
    let closed: u64 =
        room.partition().segments().iter().filter(|s| s.sealed).map(|s| s.bytes).sum();
    room.log.step_scrub(u64::MAX);
    assert!(!is_corrupt(&room));
    assert_eq!((room.log.scrubbed().bytes, room.log.scrubbed().rounds), (closed, 1));
    rot(room.file(3).as_ref());
    let room = room.killed();
    assert!(!is_corrupt(&room), "a start does not read what is sealed");
    for _ in 0..100 {
        room.log.step_scrub(1);
    }
    assert!(is_corrupt(&room), "{:?}", room.log.scrubbed());
    assert!(room.log.scrubbed().rounds > 3, "it goes on with the others");
}

#[test]
fn a_file_without_a_seal_is_read_by_one_start_only() {
    let room = TestRoom::new(1024 * 1024);
    for _ in 0..3 {
        room.put(40).unwrap();
    }
    room.log.step_idle();
    // Unclean: what is proven stays in its file, which gets no seal; the next start reads it.
    let room = room.killed().killed();
    let unsealed = room.file(0);
    assert!(room.files(0).len() > 1);
    rot(unsealed.as_ref());
    let room = room.killed();
    assert!(!is_corrupt(&room), "no start reads it again");
    assert_eq!(room.partition().segments()[0].end_offset.0, 120);
    assert_eq!(room.put(40).unwrap().base_offset.0, 120);
    room.log.step_scrub(u64::MAX);
    assert!(is_corrupt(&room), "its rows are checked when they are read");
}

#[test]
fn what_a_start_learned_counts_for_that_length_only() {
    let room = TestRoom::new(1024 * 1024);
    for _ in 0..3 {
        room.put(40).unwrap();
    }
    let mut room = room;
    for _ in 0..4 {
        room = room.killed();
        room.put(40).unwrap();
    }
    let read = room.read(0);
    assert_eq!(read.iter().map(|(_, rows)| rows).sum::<u64>(), 7 * 40);
    for key in room.log.catalog().list("log/sealed").unwrap().iter().map(|(key, _)| key) {
        room.log.catalog().put("log/sealed", key, b"something else").unwrap();
    }
    let room = room.killed();
    assert_eq!(room.read(0), read, "read from the files where the catalog says nothing useful");
}

#[test]
fn a_segment_the_disk_does_not_give_is_said_and_counted_until_it_can_be_read() {
    let room = TestRoom::new(1024);
    for _ in 0..6 {
        room.put(40).unwrap();
    }
    let room = room.killed();
    let segment = room.partition().segments()[2].base_offset;
    let path = room.files(0)[2].display().to_string();
    room.disk.plan(Plan::always(Call::Read, &path, Fault::Error(ErrorKind::Other)));
    room.log.step_scrub(u64::MAX);
    let scrubbed = room.log.scrubbed();
    assert_eq!((scrubbed.unreadable.len(), scrubbed.rounds), (1, 1), "{scrubbed:?}");
    let unreadable = &scrubbed.unreadable[0];
    assert_eq!((unreadable.partition.as_str(), unreadable.segment), ("climate/0", segment));
    assert!(segment > Offset(0) && !is_corrupt(&room), "what the disk has is not known");
    room.disk.behave();
    room.log.step_scrub(u64::MAX);
    assert_eq!(room.log.scrubbed().unreadable, []);
}

#[test]
fn the_scrubber_finds_rot_in_a_seal_and_in_a_trailer() {
    for from_the_end in [10, 100] {
        let room = TestRoom::new(1024);
        for _ in 0..6 {
            room.put(40).unwrap();
        }
        let file = room.file(3);
        let at = file.len().unwrap() - from_the_end;
        let mut byte = [0];
        file.pread(&mut byte, at).unwrap();
        file.pwrite(&[IoSlice::new(&[byte[0] ^ 1])], at).unwrap();
        room.log.step_scrub(u64::MAX);
        assert!(is_corrupt(&room), "{from_the_end} bytes before the end");
    }
}

#[test]
fn the_scrubber_takes_files_that_were_closed_without_a_seal_as_they_are() {
    let room = TestRoom::new(1024 * 1024);
    for _ in 0..3 {
        room.put(40).unwrap();
        room.log.step_idle();
    }
    room.disk.fail_next(Call::Sync, "streams/", ErrorKind::Other);
    room.put(40).unwrap();
    let mut room = room;
    for _ in 0..3 {
        room.log.step_scrub(u64::MAX);
        assert_eq!(room.log.scrubbed().rounds, 1);
        assert!(!is_corrupt(&room), "{:?}", room.partition().state());
        room = room.killed();
    }
}
