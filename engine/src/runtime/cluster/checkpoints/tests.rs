use super::*;
use object_store::memory::InMemory;
use weir_ingest::model::{AppendTime, Offset};

const LANE: Lanes<'static> = Lanes { group: "plant", stream: "climate", partition: PartitionId(3) };

fn snapshot(position: u64) -> LaneSnapshot {
    LaneSnapshot {
        fingerprint: "f".to_owned(),
        position: Offset(position),
        ticks: 0,
        taken: AppendTime(7),
        topics: vec!["/room/1".to_owned()],
        alarms: Offset(0),
        newest: None,
        rules: Vec::new(),
    }
}

fn newest(checkpoints: &Checkpoints) -> Option<u64> {
    checkpoints.newest(&LANE).unwrap().map(|snapshot| snapshot.position.0)
}

#[test]
fn the_newest_is_that_of_the_latest_owner_whoever_writes_last() {
    let checkpoints = Checkpoints::in_store(Arc::new(InMemory::new()));
    assert_eq!(newest(&checkpoints), None);
    checkpoints.save(&LANE, (9, 1), &snapshot(10)).unwrap();
    checkpoints.save(&LANE, (10, 1), &snapshot(20)).unwrap();
    checkpoints.save(&LANE, (9, 2), &snapshot(15)).unwrap();
    assert_eq!(newest(&checkpoints), Some(20), "a process that was replaced writes in vain");
    let other = Lanes { partition: PartitionId(4), ..LANE };
    assert!(checkpoints.newest(&other).unwrap().is_none(), "each partition has its own");
}

#[test]
fn none_is_written_over_and_few_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let place = format!("file://{}/group", directory.path().display());
    let checkpoints = Checkpoints::at(&place).unwrap();
    for number in 1..=5 {
        checkpoints.save(&LANE, (1, number), &snapshot(number)).unwrap();
    }
    assert_eq!(checkpoints.list(&LANE).unwrap().len(), KEPT);
    let taken = checkpoints.save(&LANE, (1, 5), &snapshot(99)).unwrap_err();
    assert!(matches!(taken, CheckpointsError::Taken(_)), "{taken}");
    assert_eq!(newest(&checkpoints), Some(5));
}

#[test]
fn what_does_not_read_as_it_was_written_is_passed_over() {
    let store = Arc::new(InMemory::new());
    let checkpoints = Checkpoints::in_store(Arc::clone(&store) as _);
    checkpoints.save(&LANE, (1, 1), &snapshot(10)).unwrap();
    checkpoints.save(&LANE, (1, 2), &snapshot(20)).unwrap();
    let last = checkpoints.list(&LANE).unwrap().pop().unwrap();
    let bytes = block_on(async { store.get(&last).await.unwrap().bytes().await.unwrap() });
    let cut = bytes.slice(..bytes.len() - 1);
    block_on(store.put(&last, PutPayload::from(cut))).unwrap();
    assert_eq!(newest(&checkpoints), Some(10));
}

#[test]
fn a_place_that_is_none_is_said_so() {
    for wrong in ["s3://bucket/x", "checkpoints", "file://relative"] {
        let error = Checkpoints::at(wrong).unwrap_err();
        assert_eq!(error, CheckpointsError::Place(wrong.to_owned()));
    }
}
