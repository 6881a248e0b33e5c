use super::*;
use proptest::prelude::*;

fn source(producer: u64, epoch: u16, sequence: u64) -> Source {
    Source { producer: ProducerId(producer), epoch, sequence, wire_partition: None }
}

fn stored(producer: u64, epoch: u16, sequence: u64, base_offset: u64, at: i64) -> Stored {
    let base_offset = Offset(base_offset);
    Stored { source: source(producer, epoch, sequence), base_offset, at: AppendTime(at) }
}

#[test]
fn a_batch_sent_again_is_answered_with_its_first_offset() {
    let mut table = ProducerTable::default();
    assert_eq!(table.check(&source(7, 0, 10), AppendTime(1)), Verdict::New);
    table.note(stored(7, 0, 10, 100, 1));
    table.note(stored(7, 0, 20, 200, 2));
    assert_eq!(table.check(&source(7, 0, 10), AppendTime(3)), Verdict::Duplicate(Offset(100)));
    assert_eq!(table.check(&source(7, 0, 15), AppendTime(3)), Verdict::New, "another partition's");
    assert_eq!(table.check(&source(8, 0, 10), AppendTime(3)), Verdict::New);
    let wired = Source { wire_partition: Some(3), ..source(7, 0, 10) };
    assert_eq!(table.check(&wired, AppendTime(3)), Verdict::New, "sequences are by wire partition");
}

#[test]
fn a_batch_that_may_be_forgotten_is_not_said_to_be_stored() {
    let mut table = ProducerTable::default();
    for n in 0..7 {
        table.note(stored(7, 0, n * 10, n, 1));
    }
    assert_eq!(table.check(&source(7, 0, 20), AppendTime(2)), Verdict::Duplicate(Offset(2)));
    let forgotten = Verdict::Forgotten { oldest: 20 };
    assert_eq!(table.check(&source(7, 0, 10), AppendTime(2)), forgotten);
    assert_eq!(table.check(&source(7, 0, 5), AppendTime(2)), forgotten);
    assert_eq!(table.check(&source(7, 0, 15), AppendTime(2)), Verdict::New, "it was never here");
}

#[test]
fn a_newer_life_shuts_out_the_older_one() {
    let mut table = ProducerTable::default();
    table.note(stored(7, 1, 50, 0, 1));
    assert_eq!(table.check(&source(7, 0, 60), AppendTime(2)), Verdict::Fenced { epoch: 1 });
    assert_eq!(table.check(&source(7, 2, 50), AppendTime(2)), Verdict::New);
    table.note(stored(7, 2, 50, 9, 2));
    assert_eq!(table.check(&source(7, 2, 50), AppendTime(3)), Verdict::Duplicate(Offset(9)));
    assert_eq!(table.newest(ProducerId(7)), Some((2, 50)));
}

#[test]
fn a_producer_is_forgotten_after_a_day_or_when_there_are_too_many() {
    let mut table = ProducerTable::default();
    table.note(stored(1, 0, 1, 0, 0));
    let a_day = 24 * 3600 * 1_000_000;
    assert_eq!(table.check(&source(1, 0, 1), AppendTime(a_day - 1)), Verdict::Duplicate(Offset(0)));
    assert_eq!(table.check(&source(1, 0, 1), AppendTime(a_day)), Verdict::New);
    for n in 0..=Limits::PRODUCERS_MAX as u64 {
        table.note(stored(n, 0, 1, n, 1 + n.cast_signed()));
    }
    assert_eq!(table.lives.len(), Limits::PRODUCERS_MAX);
    assert_eq!(table.by_age.len(), Limits::PRODUCERS_MAX);
    assert_eq!(table.check(&source(0, 0, 1), AppendTime(2)), Verdict::New, "the oldest left");
}

#[test]
fn bytes_that_are_no_snapshot_are_none() {
    let mut table = ProducerTable::default();
    table.note(stored(1, 0, 1, 0, 0));
    let bytes = table.snapshot();
    assert_eq!(ProducerTable::restore(&bytes), Some(table));
    assert_eq!(ProducerTable::restore(&bytes[..bytes.len() - 1]), None);
    assert_eq!(ProducerTable::restore(&[&bytes[..], &[0]].concat()), None);
    assert_eq!(ProducerTable::restore(&u64::MAX.to_le_bytes()), None);
}

proptest! {
    /// Against a list of everything that was ever stored.
    #[test]
    fn nothing_is_stored_twice_and_nothing_new_is_called_a_duplicate(
        sends in proptest::collection::vec((0..3_u64, 0..3_u16, 0..12_u64), 1..80),
        restore_at in 0..80_usize,
    ) {
        let mut table = ProducerTable::default();
        let mut list: Vec<Stored> = Vec::new();
        for (n, (producer, epoch, sequence)) in sends.into_iter().enumerate() {
            if n == restore_at {
                table = ProducerTable::restore(&table.snapshot()).unwrap();
            }
            let at = AppendTime(n as i64);
            let source = source(producer, epoch, sequence);
            let same = |s: &&Stored| s.source == source;
            let newest = list.iter().filter(|s| s.source.producer == source.producer);
            let newest = newest.map(|s| s.source.epoch).max();
            match table.check(&source, at) {
                Verdict::New => {
                    prop_assert!(list.iter().find(same).is_none());
                    let stored = Stored { source, base_offset: Offset(n as u64), at };
                    table.note(stored);
                    list.push(stored);
                }
                Verdict::Duplicate(offset) => {
                    prop_assert_eq!(list.iter().find(same).map(|s| s.base_offset), Some(offset));
                }
                Verdict::Forgotten { oldest } => prop_assert!(source.sequence < oldest),
                Verdict::Fenced { epoch } => prop_assert_eq!(newest, Some(epoch)),
            }
        }
    }
}
