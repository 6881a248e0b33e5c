use super::*;
use crate::io::Call;
use crate::log::test_room::TestRoom as Room;
use crate::log::{AppendError, AppendResult, EntryBody, LogConfig, ProducerId, Source};
use crate::model::{Column, ColumnType, StreamOptions};
use std::io::ErrorKind;

#[test]
fn the_last_group_is_proven_also_where_it_fills_its_file() {
    let room = Room::new(1024 * 1024);
    room.put(10).unwrap();
    let synced = || room.partition().core.lock().writer.active.as_ref().unwrap().synced;
    let before = {
        let mut core = room.partition().core.lock();
        let active = core.writer.active.as_mut().unwrap();
        active.allocated = active.written();
        active.synced
    };
    room.log.step_idle();
    assert_eq!(synced(), before + 128, "a marker says that the group before is synced");
}

#[test]
fn a_marker_without_room_is_written_when_there_is_some() {
    let room = Room::new(1024 * 1024);
    room.put(10).unwrap();
    {
        let mut core = room.partition().core.lock();
        let active = core.writer.active.as_mut().unwrap();
        active.allocated = active.written();
    }
    room.disk.fail_next(Call::Allocate, "streams/", std::io::ErrorKind::StorageFull);
    room.partition().prove();
    assert!(room.partition().is_unproven());
    room.partition().prove();
    assert!(!room.partition().is_unproven());
}

#[test]
fn ticks_never_start_a_segment() {
    let room = Room::new(1024);
    room.put(1).unwrap();
    for n in 0..50 {
        room.tick(n);
    }
    assert_eq!(room.partition().segments().len(), 1);
    let column = Column { name: "co2".to_owned(), column_type: ColumnType::Double, unit: None };
    room.log.add_column("climate", column).unwrap();
    room.tick(100);
    assert_eq!(room.partition().segments().len(), 1, "not for another schema either");
    room.put(1).unwrap();
    assert_eq!(room.partition().segments().len(), 2);
}

#[test]
fn a_reader_that_the_log_went_on_without_is_told_which_rows_are_gone() {
    let room = Room::new(2048);
    for _ in 0..6 {
        room.put(40).unwrap();
    }
    let mut behind = room.partition().reader(Offset(0));
    behind.next().unwrap();
    // As retention will: the entries in memory go too.
    let (gone, start) = {
        let mut published = room.partition().published.lock();
        let gone = published.segments.drain(..3).next_back().unwrap();
        published.recent = crate::log::published::Recent::default();
        (gone.id.base, published.log_start())
    };
    assert!(start > Offset(0));
    let gap = behind.next().unwrap().unwrap();
    let EntryBody::Gap { from, to } = gap.body else { panic!("{gap:?}") };
    assert_eq!((from, to), (Offset(40), start));
    assert_eq!(behind.next().unwrap().unwrap().base_offset, start);
    let mut resumed = room.partition().reader(Offset(1));
    let gap = resumed.next().unwrap().unwrap();
    assert!(matches!(gap.body, EntryBody::Gap { from: Offset(1), to } if to == start));
    let mut fresh = room.partition().reader(Offset(0));
    assert_eq!(fresh.next().unwrap().unwrap().base_offset, start, "0 is wherever the log starts");
    assert!(room.partition().segment_reader(gone).next().unwrap().is_none());
}

#[test]
fn rot_that_a_reader_meets_is_the_partitions_state_and_stops_its_writers() {
    let room = Room::new(2048);
    for _ in 0..4 {
        room.put(40).unwrap();
    }
    let file = room.file(0);
    let mut byte = [0];
    file.pread(&mut byte, 1000).unwrap();
    file.pwrite(&[std::io::IoSlice::new(&[byte[0] ^ 1])], 1000).unwrap();
    assert_eq!(room.partition().state(), PartitionState::Ready);
    let queued = room.partition().append(room.rows(1));
    let mut reader = room.partition().segment_reader(Offset(0));
    assert!(matches!(reader.next(), Err(ReadError::Rot { .. })));
    assert!(matches!(room.partition().state(), PartitionState::Corrupt(_)));
    room.log.step_committers();
    assert!(matches!(queued.wait(), Err(AppendError::Corrupt { .. })));
    assert!(matches!(room.put(1), Err(AppendError::Corrupt { .. })));
    assert_eq!(room.partition().ends().safe_time, AppendTime(i64::MAX), "nothing more is coming");
}

/// Each append is a group, and the second is planned while the first is synced.
fn one_by_one() -> Room {
    let options = StreamOptions { partitions: 1, ..StreamOptions::default() };
    let config = LogConfig { group_bytes_max: 1, ahead_bytes_min: 1, ..LogConfig::new("data") };
    let room = Room::with(options, config);
    room.put(1).unwrap();
    room
}

/// Appends 3 and 4 rows as one batch of a producer or as two.
fn two(room: &Room, sequences: [u64; 2]) -> [AppendResult; 2] {
    let source =
        |sequence| Source { producer: ProducerId(1), epoch: 0, sequence, wire_partition: None };
    let [first, second] = sequences;
    let receipts = [
        room.partition().append_from(room.rows(3), source(first)),
        room.partition().append_from(room.rows(4), source(second)),
    ];
    room.log.step_committers();
    receipts.map(|receipt| receipt.wait())
}

fn offsets(answers: [AppendResult; 2]) -> [(u64, u32); 2] {
    answers.map(|answer| answer.map(|it| (it.base_offset.0, it.rows)).unwrap())
}

#[test]
fn a_group_planned_while_another_is_synced_begins_at_its_end() {
    let room = one_by_one();
    assert_eq!(offsets(two(&room, [0, 3])), [(1, 3), (4, 4)]);
    assert_eq!(room.read(0), [(0, 1), (1, 3), (4, 4)]);
}

#[test]
fn a_batch_that_comes_again_while_it_is_synced_is_known() {
    let room = one_by_one();
    assert_eq!(offsets(two(&room, [7, 7])), [(1, 3), (1, 0)]);
}

#[test]
fn a_group_planned_behind_one_that_moved_to_a_new_segment_follows_it() {
    let room = one_by_one();
    room.disk.fail_next(Call::Sync, "streams/", ErrorKind::Other);
    assert_eq!(offsets(two(&room, [0, 3])), [(1, 3), (4, 4)]);
    assert_eq!(room.partition().segments().len(), 2);
}

#[test]
fn a_group_planned_behind_one_that_is_refused_is_refused_with_it_and_may_come_again() {
    let room = one_by_one();
    room.disk.fail_next(Call::Sync, "streams/", ErrorKind::Other);
    room.disk.fail_next(Call::Allocate, "spare.tmp", ErrorKind::StorageFull);
    for answer in two(&room, [0, 3]) {
        assert!(matches!(answer, Err(AppendError::Unknown { .. })), "{answer:?}");
    }
    assert!(room.partition().ends().safe_time >= room.log.append_clock().floor());
    assert_eq!(offsets(two(&room, [0, 3])), [(1, 3), (4, 4)]);
    assert_eq!(room.read(0), [(0, 1), (1, 3), (4, 4)]);
}

#[test]
fn an_old_segment_is_not_closed_between_a_group_and_the_one_planned_behind_it() {
    let room = one_by_one();
    let receipts = [3, 4].map(|rows| room.partition().append(room.rows(rows)));
    assert_eq!(room.partition().commit_group(Syncing::Inline), Some(Next::Planned));
    room.clock.advance(2 * LogConfig::new("data").segment_age_max);
    room.partition().close_old();
    assert_eq!(room.partition().segments().len(), 1, "what is planned was drawn before a new one");
    room.log.step_committers();
    assert_eq!(offsets(receipts.map(|receipt| receipt.wait())), [(1, 3), (4, 4)]);
    assert_eq!(room.partition().segments().len(), 2, "the group closed it");
}
