//! Frames that are whole and stand where others belong, as after a write that went elsewhere.

use crate::io::{Disk, File, Open};
use crate::log::test_room::TestRoom;
use crate::log::{LogConfig, PartitionState, ReadError};
use crate::model::{Offset, StreamOptions};
use std::io::IoSlice;
use std::sync::Arc;

const GROUPS: usize = 20;

/// Two partitions with the same in both, over closed segments.
fn room() -> TestRoom {
    let options = StreamOptions { partitions: 2, ..StreamOptions::default() };
    let room = TestRoom::with(
        options,
        LogConfig { segment_bytes_max: 8 * 1024, ..LogConfig::new("data") },
    );
    for _ in 0..GROUPS {
        for partition in 0..2 {
            room.put_in(partition, 40).unwrap();
        }
    }
    assert!(room.files(0).len() > 1);
    room
}

fn first_file(room: &TestRoom, partition: usize) -> Arc<dyn File> {
    room.disk.open(&room.files(partition)[0], Open::Write).unwrap()
}

/// Where frames of rows are, and how long each is.
fn frames(file: &dyn File) -> Vec<(u64, usize)> {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.pread(&mut bytes, 0).unwrap();
    let is_rows = |at: &usize| bytes[*at..].starts_with(b"WEIR") && bytes[*at + 8] == 1;
    let length = |at: usize| {
        let body = u32::from_le_bytes(*bytes[at + 12..].first_chunk().unwrap());
        128 + (body as usize).next_multiple_of(64)
    };
    (0..bytes.len()).step_by(64).filter(is_rows).map(|at| (at as u64, length(at))).collect()
}

fn copy(from: (&dyn File, u64), to: (&dyn File, u64), length: usize) {
    let mut bytes = vec![0; length];
    from.0.pread(&mut bytes, from.1).unwrap();
    to.0.pwrite(&[IoSlice::new(&bytes)], to.1).unwrap();
}

/// Rows that can be read of the first partition, and that the rest is known to be damaged.
fn rows_before_the_damage(room: &TestRoom) -> u64 {
    let mut reader = room.partition().reader(Offset(0));
    let error = loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("all of it was read"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::Rot { .. }), "{error}");
    assert!(error.to_string().contains("belongs somewhere else"), "{error}");
    assert!(matches!(room.partition().state(), PartitionState::Corrupt(_)));
    reader.position().0
}

#[test]
fn rows_of_another_partition_are_not_delivered_as_this_ones() {
    let room = room();
    let (ours, theirs) = (first_file(&room, 0), first_file(&room, 1));
    let (at, length) = frames(ours.as_ref())[1];
    assert_eq!(frames(theirs.as_ref())[1], (at, length));
    copy((theirs.as_ref(), at), (ours.as_ref(), at), length);
    let room = room.killed();
    assert_eq!(rows_before_the_damage(&room), 40);
}

#[test]
fn rows_from_elsewhere_in_the_segment_are_not_delivered_twice() {
    let room = room();
    let file = first_file(&room, 0);
    let [(first, length), (second, same), ..] = frames(file.as_ref())[..] else {
        panic!("two frames")
    };
    assert_eq!(length, same);
    copy((file.as_ref(), first), (file.as_ref(), second), length);
    let room = room.killed();
    assert_eq!(rows_before_the_damage(&room), 40);
}
