//! Batches that are sent again, through the whole log.

use crate::io::Call;
use crate::log::test_room::TestRoom;
use crate::log::{AppendError, AppendResult, ProducerId, Source};
use crate::model::Offset;
use std::io::ErrorKind;
use std::sync::Arc;

fn source(producer: u64, epoch: u16, sequence: u64) -> Source {
    Source { producer: ProducerId(producer), epoch, sequence, wire_partition: None }
}

fn send(room: &TestRoom, source: Source, rows: usize) -> AppendResult {
    let receipt = room.partition().append_from(room.rows(rows), source);
    room.log.step_committers();
    receipt.wait()
}

fn rows_read(room: &TestRoom) -> u64 {
    room.read(0).iter().map(|(_, rows)| rows).sum()
}

#[test]
fn a_batch_sent_again_is_stored_once_also_after_kills_and_over_segments() {
    // From all in one segment to a segment for every group.
    for segment_bytes_max in [1024 * 1024, 4096, 1024] {
        let mut room = TestRoom::new(segment_bytes_max);
        for n in 0..20_u64 {
            assert_eq!(send(&room, source(7, 0, n * 10), 10).unwrap().base_offset.0, n * 10);
            if n % 3 == 1 {
                room = room.killed();
            }
            let again = send(&room, source(7, 0, n * 10), 10).unwrap();
            assert_eq!((again.base_offset.0, again.rows), (n * 10, 0));
            assert_eq!(again.duplicates, (0..10).collect::<Vec<_>>());
        }
        room = room.restarted().power_cut();
        for n in 15..20 {
            assert_eq!(send(&room, source(7, 0, n * 10), 10).unwrap().base_offset.0, n * 10);
        }
        let older = send(&room, source(7, 0, 140), 10);
        assert!(matches!(older, Err(AppendError::OutOfOrder { oldest: 150, .. })), "{older:?}");
        assert_eq!(room.partition().producer(ProducerId(7)), Some((0, 190)));
        assert_eq!(rows_read(&room), 200, "segments of {segment_bytes_max}");
    }
}

#[test]
fn a_batch_whose_segment_was_removed_is_still_known_after_a_kill() {
    let mut room = TestRoom::new(1024);
    for n in 0..6 {
        send(&room, source(7, 0, n * 10), 10).unwrap();
    }
    // What stays was begun after them and says nothing of them.
    room.put(10).unwrap();
    let partition = Arc::clone(room.partition());
    assert_eq!(partition.trim(partition.ends().durable_end).unwrap(), Offset(60));
    drop(partition);
    for _ in 0..2 {
        room = room.killed();
        let again = send(&room, source(7, 0, 50), 10).unwrap();
        assert_eq!((again.base_offset, again.rows), (Offset(50), 0));
        let older = send(&room, source(7, 0, 0), 10);
        assert!(matches!(older, Err(AppendError::OutOfOrder { oldest: 10, .. })), "{older:?}");
    }
}

#[test]
fn batches_of_many_producers_share_a_frame_and_are_told_apart() {
    let room = TestRoom::new(1024 * 1024);
    let wired = Source { wire_partition: Some(3), ..source(1, 0, 0) };
    let sends = [Some(source(1, 0, 0)), None, Some(source(2, 5, 9)), Some(wired)];
    let append = |room: &TestRoom| {
        let receipts: Vec<_> = sends
            .iter()
            .map(|sent| match sent {
                Some(source) => room.partition().append_from(room.rows(2), *source),
                None => room.partition().append(room.rows(2)),
            })
            .collect();
        room.log.step_committers();
        receipts.into_iter().map(|r| r.wait().unwrap().base_offset.0).collect::<Vec<_>>()
    };
    assert_eq!(append(&room), [0, 2, 4, 6]);
    assert_eq!(room.read(0), [(0, 8)], "one frame");
    let room = room.power_cut();
    assert_eq!(append(&room), [0, 8, 4, 6], "only rows of nobody are stored again");
    assert_eq!(rows_read(&room), 10);
}

#[test]
fn the_same_batch_twice_in_a_group_is_stored_once() {
    let room = TestRoom::new(1024 * 1024);
    let receipts = [0, 0].map(|n| room.partition().append_from(room.rows(3), source(1, 0, n)));
    room.log.step_committers();
    let [first, second] = receipts.map(|r| r.wait().unwrap());
    assert_eq!((first.rows, second.rows, second.base_offset), (3, 0, first.base_offset));
    assert_eq!(rows_read(&room), 3);
}

#[test]
fn an_older_life_of_a_producer_is_shut_out() {
    let room = TestRoom::new(1024 * 1024);
    send(&room, source(1, 1, 0), 1).unwrap();
    let room = room.killed();
    let shut_out = send(&room, source(1, 0, 10), 1);
    assert!(matches!(shut_out, Err(AppendError::Fenced { epoch: 1, .. })), "{shut_out:?}");
    send(&room, source(1, 2, 0), 1).unwrap();
    assert_eq!(rows_read(&room), 2);
}

#[test]
fn a_batch_that_was_refused_is_new_when_it_comes_again() {
    let room = TestRoom::new(1024 * 1024);
    room.disk.fail_next(Call::Allocate, "streams/", ErrorKind::StorageFull);
    assert!(matches!(send(&room, source(1, 0, 0), 5), Err(AppendError::Full { .. })));
    assert_eq!(send(&room, source(1, 0, 0), 5).unwrap().rows, 5);
}

#[test]
fn a_seal_does_not_tell_of_the_group_that_comes_after_it() {
    let room = TestRoom::new(1024);
    send(&room, source(1, 0, 0), 50).unwrap();
    // The segment is sealed for this group, which then finds no room for its own.
    room.disk.fail_next(Call::Allocate, "spare.tmp", ErrorKind::StorageFull);
    assert!(matches!(send(&room, source(1, 0, 50), 50), Err(AppendError::Full { .. })));
    let room = room.killed();
    assert_eq!(send(&room, source(1, 0, 0), 50).unwrap().rows, 0);
    assert_eq!(send(&room, source(1, 0, 50), 50).unwrap().rows, 50, "it was never stored");
    assert_eq!(rows_read(&room), 100);
}

#[test]
fn a_directory_says_that_it_has_producers_once_it_has() {
    let room = TestRoom::new(1024 * 1024);
    let format = |room: &TestRoom| room.log.catalog().get("log", "format").unwrap().unwrap();
    room.put(1).unwrap();
    assert_eq!(format(&room), b"1.0");
    send(&room, source(1, 0, 0), 1).unwrap();
    assert_eq!(format(&room), b"1.1");
    let features = room.log.catalog().get("log", "features").unwrap().unwrap();
    assert_eq!(features, [1_u64, 0, 0].map(u64::to_le_bytes).concat());
}
