//! Old rows go, held ones stay, and a start finds what is left.

use crate::io::{Call, Disk};
use crate::log::test_room::TestRoom;
use crate::log::{EntryBody, HeldBy, LogConfig, PartitionState, TrimError};
use crate::model::{Offset, Retention, StreamOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

const SECOND: u64 = 1_000_000;

fn ten_seconds() -> Retention {
    Retention { age: Some(Duration::from_secs(10)), bytes: None }
}

/// Twenty groups of forty rows, a second apart, a segment each.
fn filled() -> TestRoom {
    let room = TestRoom::keeping(1024, ten_seconds());
    fill(&room, 20);
    room
}

fn fill(room: &TestRoom, groups: usize) {
    for _ in 0..groups {
        room.put(40).unwrap();
        room.clock.advance(Duration::from_secs(1));
    }
}

fn start(room: &TestRoom) -> u64 {
    room.partition().ends().log_start.0
}

fn file_names(room: &TestRoom) -> usize {
    room.disk.list(Path::new("data/streams/climate-1/0")).unwrap().len()
}

#[test]
fn rows_go_when_they_are_too_old_and_a_start_finds_the_rest() {
    let room = filled();
    assert_eq!(room.partition().segments().len(), 20);
    assert_eq!(room.log.step_retention(), 10);
    assert_eq!(start(&room), 400);
    let left: Vec<_> = (10..20).map(|n| (n * 40, 40)).collect();
    assert_eq!(room.read(0), left);
    assert_eq!(file_names(&room), 10);
    for room in [filled_and_retained().killed(), filled_and_retained().power_cut()] {
        assert_eq!(room.partition().state(), PartitionState::Ready);
        assert_eq!((start(&room), room.read(0)), (400, left.clone()));
        assert_eq!(room.put(1).unwrap().base_offset, Offset(800));
        let room = room.restarted();
        assert_eq!(start(&room), 400);
    }
}

fn filled_and_retained() -> TestRoom {
    let room = filled();
    room.log.step_retention();
    room
}

#[test]
fn retention_waits_for_a_hold_and_says_whose_it_is() {
    let room = filled();
    let hold = room.log.hold("rule hot", u64::MAX);
    hold.keep(room.partition().uid(), Offset(130));
    assert_eq!(room.log.step_retention(), 3);
    assert_eq!(start(&room), 120, "the segment with row 130 stays");
    let held = HeldBy { name: "rule hot".to_owned(), from: Offset(130) };
    assert_eq!(room.partition().held_by(), Some(held));
    assert_eq!(room.partition().trim(Offset(700)).unwrap(), Offset(120));
    hold.keep(room.partition().uid(), Offset(200));
    room.log.step_retention();
    assert_eq!(start(&room), 200);
    drop(hold);
    room.log.step_retention();
    assert_eq!(start(&room), 400);
}

#[test]
fn a_hold_over_its_bytes_is_told_before_its_rows_go() {
    let room = filled();
    let segment = room.partition().segments()[0].bytes;
    let hold = room.log.hold("rule stuck", segment * 5);
    hold.keep(room.partition().uid(), Offset(0));
    let released = hold.released();
    assert_eq!(room.log.step_retention(), 10);
    assert!(*released.borrow());
    let small = filled();
    let hold = small.log.hold("rule slow", segment * 11);
    hold.keep(small.partition().uid(), Offset(0));
    assert_eq!(small.log.step_retention(), 0);
    assert!(!*hold.released().borrow());
}

#[test]
fn a_reader_that_comes_too_late_is_told_what_it_missed() {
    let room = filled();
    let mut reader = room.partition().reader(Offset(0));
    reader.next().unwrap();
    room.log.step_retention();
    let entry = reader.next().unwrap().unwrap();
    assert!(
        matches!(entry.body, EntryBody::Gap { from: Offset(40), to: Offset(400) }),
        "{entry:?}"
    );
    assert_eq!(reader.next().unwrap().unwrap().base_offset, Offset(400));
}

#[test]
fn rows_go_when_there_are_too_many_bytes() {
    let room = filled();
    let bytes: u64 = room.partition().segments().iter().map(|s| s.bytes).sum();
    let retention = Retention { age: None, bytes: Some(bytes / 2) };
    let options = StreamOptions { partitions: 1, retention, ..StreamOptions::default() };
    let config = LogConfig { segment_bytes_max: 1024, ..LogConfig::new("data") };
    let room = TestRoom::with(options, config);
    fill(&room, 20);
    assert_eq!(room.log.step_retention(), 10);
    assert_eq!(start(&room), 400);
}

#[test]
fn a_segment_that_nobody_writes_to_is_closed_and_goes() {
    let options =
        StreamOptions { partitions: 1, retention: ten_seconds(), ..StreamOptions::default() };
    let config = LogConfig { segment_age_max: Duration::from_secs(60), ..LogConfig::new("data") };
    let room = TestRoom::with(options, config);
    room.tick(7);
    room.put(5).unwrap();
    let newest = room.partition().newest_append_time();
    room.clock.advance(Duration::from_micros(59 * SECOND));
    assert_eq!(room.log.step_retention(), 0);
    room.clock.advance(Duration::from_micros(2 * SECOND));
    assert_eq!(room.log.step_retention(), 1);
    let check = |room: &TestRoom| {
        assert_eq!(room.partition().state(), PartitionState::Ready);
        assert_eq!((start(room), room.partition().ends().durable_end), (5, Offset(5)));
        assert_eq!(room.read(0), []);
        assert_eq!(room.partition().newest_event_time().map(|t| t.0), Some(7));
    };
    check(&room);
    assert_eq!(room.partition().newest_append_time(), newest);
    let room = room.killed();
    check(&room);
    let room = room.killed().restarted();
    check(&room);
    assert_eq!(room.put(3).unwrap().base_offset, Offset(5));
    assert_eq!(room.read(0), [(5, 3)]);
}

#[test]
fn what_a_crash_left_of_removed_segments_is_removed_by_the_next_start() {
    let room = filled();
    let files = file_names(&room);
    // The catalog has the new start; the power goes off before the files are gone for good.
    room.disk.fail_next(Call::SyncDirectory, "streams/", ErrorKind::Other);
    let trimmed = room.partition().trim(Offset(200));
    assert!(matches!(trimmed, Err(TrimError::Disk { .. })), "{trimmed:?}");
    assert_eq!(start(&room), 200);
    let room = room.power_cut();
    assert_eq!(room.partition().state(), PartitionState::Ready);
    assert_eq!(start(&room), 200);
    assert_eq!(room.read(0).len(), 15);
    assert!(file_names(&room) < files - 3);
}

#[test]
fn positions_of_groups_are_durable_until_they_or_their_stream_are_forgotten() {
    let room = filled();
    let partition = room.partition();
    room.log.commit_group("a/b", &[(partition, Offset(7))]).unwrap();
    room.log.commit_group("c", &[(partition, Offset(1))]).unwrap();
    room.log.commit_group("a/b", &[(partition, Offset(9))]).unwrap();
    let room = room.power_cut();
    let next = |group: &str| room.log.group(group, room.partition()).unwrap();
    assert_eq!((next("a/b"), next("c"), next("d")), (Some(Offset(9)), Some(Offset(1)), None));
    let groups = room.log.groups().unwrap();
    let names: Vec<_> = groups.iter().map(|g| (g.group.as_str(), g.next.0)).collect();
    assert_eq!(names, [("a/b", 9), ("c", 1)]);
    room.log.forget_group("a/b").unwrap();
    assert_eq!(next("a/b"), None);
    room.log.drop_stream("climate").unwrap();
    assert_eq!(room.log.groups().unwrap(), []);
}

#[test]
fn a_hold_is_told_the_oldest_row_that_it_keeps() {
    let room = filled_and_retained();
    let hold = room.log.hold("rule new", u64::MAX);
    assert_eq!(room.partition().hold(&hold, Offset(0)), Offset(400), "older rows were gone before");
    room.clock.advance(Duration::from_secs(60));
    assert_eq!(room.log.step_retention(), 0);
    let removed = room.log.removed();
    assert_eq!((removed.segments, removed.holds_released), (10, 0));
    assert!(removed.bytes > 0);
    assert_eq!(room.partition().newest_removed().map(|at| at.0), Some(10 * 1_000_000));
}
