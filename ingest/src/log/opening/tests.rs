use crate::io::Call;
use crate::log::test_room::TestRoom;
use crate::log::{AppendError, LogConfig, PartitionState};
use crate::model::StreamOptions;
use std::io::ErrorKind;

#[test]
fn a_partition_that_cannot_be_recovered_leaves_the_others_running() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        let options = StreamOptions { partitions: 2, ..StreamOptions::default() };
        let room = TestRoom::with(options, LogConfig::new("data"));
        for _ in 0..2 {
            room.put_in(0, 10).unwrap();
            room.put_in(1, 10).unwrap();
        }
        // The last group of the first partition is torn: its bytes have to go to the quarantine.
        let torn = room.files(0).pop().unwrap();
        let end = room.partition().segments().last().unwrap().bytes;
        room.disk.flip_bit(&torn, usize::try_from(end).unwrap() - 10, 0).unwrap();
        room.disk.fail_next(Call::Sync, "quarantine/", kind);
        let room = room.killed();
        let state = room.partition().state();
        assert!(
            matches!(&state, PartitionState::Failed(why) if why.contains("restart")),
            "{state:?}"
        );
        assert!(matches!(room.put(1), Err(AppendError::Unknown { .. })));
        assert_eq!(room.put_in(1, 10).unwrap().base_offset.0, 20);
        let room = room.killed();
        assert_eq!(room.partition().state(), PartitionState::Ready);
        assert_eq!(room.read(0), [(0, 10)], "nothing that was confirmed and proven is lost");
        assert_eq!(room.put(5).unwrap().base_offset.0, 10);
    }
}
