use super::*;
use crate::io::Call;
use crate::log::EntryBody;
use crate::log::test_room::TestRoom as Room;
use crate::model::{Column, ColumnType};

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
