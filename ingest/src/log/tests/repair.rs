//! Damage of every kind, and what is left after a repair.

use crate::io::{Call, Disk, Fault, File, Open, Plan};
use crate::log::test_room::TestRoom;
use crate::log::{
    EntryBody, Lost, PartitionState, ProducerId, RepairMode, Repaired, Source, repair,
};
use crate::model::Offset;
use std::io::{ErrorKind, IoSlice};
use std::path::Path;

/// Stops the log, repairs all of it, and starts it again.
fn repaired(room: TestRoom, mode: RepairMode) -> (TestRoom, Vec<Lost>) {
    let (room, Repaired { lost, damaged }) = tried(room, mode);
    assert_eq!(damaged, []);
    (room, lost)
}

fn tried(room: TestRoom, mode: RepairMode) -> (TestRoom, Repaired) {
    room.between(|disk, clock, config| repair(disk, clock, config, mode).unwrap())
}

fn damage(file: &dyn File, at: u64, bytes: usize) {
    file.pwrite(&[IoSlice::new(&vec![0x5a; bytes])], at).unwrap();
}

/// Base offset and end of everything that is there, gaps negative.
fn read(room: &TestRoom) -> Vec<(i64, i64)> {
    let mut reader = room.partition().reader(Offset(0));
    let mut read = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        match entry.body {
            EntryBody::Rows(_) => {
                read.push((entry.base_offset.0 as i64, entry.end_offset().0 as i64));
            }
            EntryBody::Gap { from, to } => read.push((-(from.0 as i64), -(to.0 as i64))),
            EntryBody::Tick { .. } | EntryBody::Restart { .. } => {}
        }
    }
    read
}

/// Where the frame of rows from `offset` on begins in a file.
fn position(file: &dyn File, offset: u64) -> u64 {
    frame(file, 1, offset)
}

fn frame(file: &dyn File, kind: u8, offset: u64) -> u64 {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.pread(&mut bytes, 0).unwrap();
    let at = (0..bytes.len()).step_by(64).find(|at| {
        let header = &bytes[*at..];
        header.starts_with(b"WEIR") && header[8] == kind && header[24..32] == offset.to_le_bytes()
    });
    at.unwrap() as u64
}

#[test]
fn rows_lost_in_the_middle_of_a_closed_segment_become_a_gap() {
    let room = TestRoom::new(8 * 1024);
    for _ in 0..20 {
        room.put(40).unwrap();
    }
    assert!(room.partition().segments()[0].end_offset > Offset(120));
    let file = room.file(0);
    damage(file.as_ref(), position(file.as_ref(), 40) + 200, 600);
    let (room, planned) = repaired(room, RepairMode::Plan);
    let lost = |lost: &[Lost]| lost.iter().map(|l| (l.from.0, l.to.0)).collect::<Vec<_>>();
    assert_eq!(lost(&planned), [(40, 80)]);
    room.log.step_scrub(u64::MAX);
    assert!(matches!(room.partition().state(), PartitionState::Corrupt(_)), "only planned");
    let (room, done) = repaired(room, RepairMode::Apply);
    assert_eq!(done, planned);
    room.log.step_scrub(u64::MAX);
    assert_eq!(room.partition().state(), PartitionState::Ready);
    let read = read(&room);
    assert_eq!(&read[..3], [(0, 40), (-40, -80), (80, 120)]);
    assert_eq!(read.len(), 20);
    assert_eq!(room.put(1).unwrap().base_offset, Offset(800));
    let kept = room.disk.list(Path::new("data/quarantine/streams/climate-1/0")).unwrap();
    assert_eq!(kept.len(), 1);
    let kept = room.disk.open(&kept[0], Open::Read).unwrap();
    assert_eq!(kept.len().unwrap(), room.file(0).len().unwrap());
    assert_eq!(room.log.catalog().list("log/gap").unwrap().len(), 1);
    let (_, none) = repaired(room, RepairMode::Apply);
    assert_eq!(none, [], "there is nothing more to repair");
}

#[test]
fn rows_lost_in_the_last_segment_become_a_gap_and_their_offsets_are_not_used_again() {
    let room = TestRoom::new(1024 * 1024);
    for _ in 0..5 {
        room.put(40).unwrap();
    }
    room.log.step_idle();
    let file = room.file(0);
    damage(file.as_ref(), position(file.as_ref(), 80), 64);
    let room = room.killed();
    assert!(matches!(room.partition().state(), PartitionState::Corrupt(_)));
    let (room, lost) = repaired(room, RepairMode::Apply);
    assert_eq!((lost.len(), lost[0].from, lost[0].to), (1, Offset(80), Offset(120)));
    assert_eq!(room.partition().state(), PartitionState::Ready);
    assert_eq!(read(&room), [(0, 40), (40, 80), (-80, -120), (120, 160), (160, 200)]);
}

#[test]
fn where_headers_are_gone_too_offsets_that_may_have_been_confirmed_are_passed_over() {
    let room = TestRoom::new(1024 * 1024);
    for _ in 0..5 {
        room.put(40).unwrap();
    }
    room.log.step_idle();
    let file = room.file(0);
    let (from, marker) = (position(file.as_ref(), 120), frame(file.as_ref(), 3, 200));
    damage(file.as_ref(), from, usize::try_from(marker - from).unwrap());
    let (room, lost) = repaired(room, RepairMode::Apply);
    assert_eq!((lost.len(), lost[0].from), (1, Offset(120)));
    assert!(lost[0].to >= Offset(200), "{lost:?}");
    assert_eq!(room.partition().state(), PartitionState::Ready);
    assert_eq!(room.put(1).unwrap().base_offset, lost[0].to);
}

#[test]
fn a_segment_that_lost_only_its_seal_loses_no_row() {
    let room = TestRoom::new(8 * 1024);
    for _ in 0..20 {
        room.put(40).unwrap();
    }
    let file = room.file(0);
    damage(file.as_ref(), file.len().unwrap() - 300, 290);
    let room = room.killed();
    assert!(matches!(room.partition().state(), PartitionState::Corrupt(_)));
    let (room, lost) = repaired(room, RepairMode::Apply);
    assert_eq!(lost, []);
    assert_eq!(room.partition().state(), PartitionState::Ready);
    assert_eq!(read(&room).len(), 20);
}

#[test]
fn what_cannot_be_repaired_is_said_and_left_as_it_is() {
    type Break = fn(&TestRoom);
    let breaks: [(Break, &str); 4] = [
        (|room| room.disk.unlink(&room.files(0)[2]).unwrap(), "is gone"),
        (|room| damage(room.file(2).as_ref(), 0, 64), "is gone or its start is damaged"),
        (|room| damage(room.file(0).as_ref(), 0, 64), "is gone or its start is damaged"),
        (
            |room| {
                let last = room.files(0).pop().unwrap();
                room.disk.unlink(&last).unwrap();
            },
            "known to be synced is gone",
        ),
    ];
    for (act, says) in breaks {
        let room = TestRoom::new(8 * 1024);
        for _ in 0..20 {
            room.put(40).unwrap();
        }
        let room = room.restarted();
        act(&room);
        let files = room.files(0);
        let (room, found) = tried(room, RepairMode::Apply);
        assert_eq!(found.lost, []);
        let [(partition, why)] = &found.damaged[..] else { panic!("{says}: {found:?}") };
        assert_eq!(partition, "climate/0");
        assert!(why.contains(says), "{why}");
        assert_eq!(room.files(0), files);
        assert!(matches!(room.partition().state(), PartitionState::Corrupt(_)));
    }
}

#[test]
fn a_partition_the_disk_does_not_give_is_said_to_be_damaged_still() {
    let room = TestRoom::new(8 * 1024);
    for _ in 0..20 {
        room.put(40).unwrap();
    }
    let path = room.files(0)[1].display().to_string();
    room.disk.plan(Plan::always(Call::Read, &path, Fault::Error(ErrorKind::Other)));
    let (_, found) = tried(room, RepairMode::Plan);
    assert_eq!((found.lost.len(), found.damaged.len()), (0, 1), "{found:?}");
}

#[test]
fn the_last_group_is_kept_where_only_the_one_before_it_is_damaged() {
    for (torn, kept) in [(false, true), (true, false)] {
        let room = TestRoom::new(1024 * 1024);
        for _ in 0..3 {
            room.put(40).unwrap();
        }
        let file = room.file(0);
        damage(file.as_ref(), position(file.as_ref(), 40), 64);
        if torn {
            damage(file.as_ref(), position(file.as_ref(), 80) + 200, 64);
        }
        let room = room.killed();
        assert!(matches!(room.partition().state(), PartitionState::Corrupt(_)));
        let (room, lost) = repaired(room, RepairMode::Apply);
        assert_eq!((lost.len(), lost[0].from, lost[0].to), (1, Offset(40), Offset(80)));
        let mut expected = vec![(0, 40), (-40, -80), (80, 120)];
        expected.truncate(if kept { 3 } else { 2 });
        assert_eq!(read(&room), expected);
        let next = if kept { 120 } else { 80 };
        assert_eq!(room.put(1).unwrap().base_offset, Offset(next));
    }
}

#[test]
fn producers_are_known_after_a_repair_of_a_seal() {
    let room = TestRoom::new(8 * 1024);
    let source = |producer: u64, sequence: u64| Source {
        producer: ProducerId(producer),
        epoch: 0,
        sequence,
        wire_partition: None,
    };
    let send = |room: &TestRoom, source| {
        let receipt = room.partition().append_from(room.rows(40), source);
        room.log.step_committers();
        receipt.wait().unwrap()
    };
    send(&room, source(1, 0));
    for n in 0..20 {
        send(&room, source(2, n));
    }
    let closed = room.files(0).len() - 2;
    let file = room.file(closed);
    damage(file.as_ref(), file.len().unwrap() - 300, 290);
    let room = room.killed();
    assert!(matches!(room.partition().state(), PartitionState::Corrupt(_)));
    let (room, lost) = repaired(room, RepairMode::Apply);
    assert_eq!(lost, []);
    for again in [source(1, 0), source(2, 15), source(2, 16), source(2, 17), source(2, 19)] {
        assert_eq!(send(&room, again).rows, 0, "{again:?} is stored once");
    }
    assert_eq!(read(&room).len(), 21);
}

/// A closed file without a seal that the catalog has the index of, and two groups in it that are damaged, the
/// second of them where the index points.
fn unsealed() -> TestRoom {
    let room = TestRoom::new(16 * 1024 * 1024);
    for _ in 0..5 {
        room.put(4000).unwrap();
    }
    room.log.step_idle();
    let room = room.killed().killed();
    assert!(!room.log.catalog().list("log/sealed").unwrap().is_empty());
    let file = room.file(0);
    for offset in [4000, 8000] {
        damage(file.as_ref(), position(file.as_ref(), offset), 64);
    }
    room
}

fn is_whole(room: &TestRoom) {
    assert_eq!(
        room.partition().reader(Offset(9000)).next().unwrap().unwrap().end_offset(),
        Offset(12_000)
    );
    assert_eq!(read(room), [(0, 4000), (-4000, -12_000), (12_000, 16_000), (16_000, 20_000)]);
    assert_eq!(room.partition().state(), PartitionState::Ready);
}

#[test]
fn a_repair_that_ended_halfway_leaves_nothing_that_leads_into_a_gap() {
    let room = unsealed();
    // The first is that of the quarantine; the file has its name then.
    let named =
        Plan::next(Call::SyncDirectory, "streams/climate-1/0", Fault::Error(ErrorKind::Other));
    room.disk.plan(Plan { skip: 1, ..named });
    let (room, failed) =
        room.between(|disk, clock, config| repair(disk, clock, config, RepairMode::Apply));
    assert!(failed.is_err(), "{failed:?}");
    is_whole(&room);
    assert_eq!(room.log.catalog().list("log/gap").unwrap().len(), 1);
}

#[test]
fn an_index_that_leads_into_a_gap_is_repaired_by_forgetting_it() {
    let room = unsealed();
    let (key, index) = room.log.catalog().list("log/sealed").unwrap().remove(0);
    let (room, _) = repaired(room, RepairMode::Apply);
    is_whole(&room);
    room.log.catalog().put("log/sealed", &key, &index).unwrap();
    let room = room.killed();
    assert!(room.partition().reader(Offset(9000)).next().is_err());
    let (room, lost) = repaired(room, RepairMode::Apply);
    assert_eq!(lost, []);
    is_whole(&room);
}
