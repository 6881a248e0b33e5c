//! Where producers stand that may send a batch again.
//!
//! Promise: a batch that leaves out one before it is refused, so that none is stored out of order (P2); what
//! was stored is known to the log, which remembers it over restarts (P5). After a restart the first batch of a
//! producer is taken whatever its number, as Kafka does.

use super::batch::Sender;
use crate::model::StreamUid;
use kafka_protocol::ResponseError as Code;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Sequences of the wire count to here and begin anew.
const WRAP: u64 = 1 << 31;
/// Producers remembered, each by partition; beyond that all are forgotten.
const STANDS_MAX: usize = 200_000;

/// A producer at a partition as it names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) producer: u64,
    pub(super) stream: StreamUid,
    pub(super) partition: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stand {
    epoch: u16,
    /// Sequence of the batch it should send next; does not wrap.
    next: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    stands: Mutex<HashMap<Key, Stand>>,
}

impl Sequences {
    /// The sequence of a batch, counted without end, if it may come now. `known` is the newest epoch and
    /// sequence that the log has of it, asked for where nothing is remembered here.
    /// # Errors
    /// One before it is missing, or a later life of the producer has written.
    pub(super) fn turn(
        &self,
        key: Key,
        sender: &Sender,
        known: impl FnOnce() -> Option<(u16, u64)>,
    ) -> Result<u64, Code> {
        let sequence = u64::try_from(sender.sequence).unwrap_or(0);
        let stand = self.stands.lock().get(&key).copied();
        match stand {
            None => match known() {
                Some((epoch, _)) if sender.epoch < epoch => Err(Code::InvalidProducerEpoch),
                Some((epoch, newest)) if sender.epoch == epoch => Ok(nearest(sequence, newest)),
                _ => Ok(sequence),
            },
            Some(stand) if sender.epoch < stand.epoch => Err(Code::InvalidProducerEpoch),
            Some(stand) if sender.epoch > stand.epoch => match sequence {
                0 => Ok(0),
                _ => Err(Code::OutOfOrderSequenceNumber),
            },
            Some(stand) => match nearest(sequence, stand.next) {
                ahead if ahead > stand.next => Err(Code::OutOfOrderSequenceNumber),
                sequence => Ok(sequence),
            },
        }
    }

    /// A batch of so many records is stored.
    pub(super) fn stored(&self, key: Key, epoch: u16, sequence: u64, count: u32) {
        let mut stands = self.stands.lock();
        if stands.len() >= STANDS_MAX && !stands.contains_key(&key) {
            stands.clear();
        }
        let next = sequence + u64::from(count);
        let stand = stands.entry(key).or_insert(Stand { epoch, next });
        if stand.epoch < epoch {
            *stand = Stand { epoch, next };
        } else if stand.epoch == epoch {
            stand.next = stand.next.max(next);
        }
    }
}

/// The number that is nearest to `to` of those that the wire writes as `sequence`.
fn nearest(sequence: u64, to: u64) -> u64 {
    let base = to - to % WRAP + sequence;
    let below = base.checked_sub(WRAP);
    let all = below.into_iter().chain([base, base + WRAP]);
    all.min_by_key(|candidate| candidate.abs_diff(to)).unwrap_or(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { producer: 7, stream: StreamUid(1), partition: 0 };

    fn sender(epoch: u16, sequence: i32) -> Sender {
        Sender { producer: 7, epoch, sequence }
    }

    fn turn(sequences: &Sequences, epoch: u16, sequence: i32) -> Result<u64, Code> {
        sequences.turn(KEY, &sender(epoch, sequence), || None)
    }

    #[test]
    fn a_batch_that_leaves_one_out_is_refused_and_a_repeat_is_not() {
        let sequences = Sequences::default();
        assert_eq!(turn(&sequences, 0, 50), Ok(50), "nothing is known of it");
        sequences.stored(KEY, 0, 50, 10);
        assert_eq!(turn(&sequences, 0, 60), Ok(60));
        assert_eq!(turn(&sequences, 0, 50), Ok(50), "the log says that it is there");
        assert_eq!(turn(&sequences, 0, 61), Err(Code::OutOfOrderSequenceNumber));
        let other = Key { partition: 1, ..KEY };
        assert_eq!(sequences.turn(other, &sender(0, 9), || None), Ok(9), "partitions are apart");
    }

    #[test]
    fn a_later_life_begins_at_nothing_and_shuts_out_the_one_before() {
        let sequences = Sequences::default();
        sequences.stored(KEY, 3, 0, 10);
        assert_eq!(turn(&sequences, 4, 5), Err(Code::OutOfOrderSequenceNumber));
        assert_eq!(turn(&sequences, 4, 0), Ok(0));
        sequences.stored(KEY, 4, 0, 1);
        assert_eq!(turn(&sequences, 3, 10), Err(Code::InvalidProducerEpoch));
        assert_eq!(turn(&sequences, 4, 1), Ok(1));
    }

    #[test]
    fn what_the_log_knows_counts_after_a_restart() {
        let sequences = Sequences::default();
        let known = |sequence| move || Some((2, sequence));
        assert_eq!(sequences.turn(KEY, &sender(1, 0), known(9)), Err(Code::InvalidProducerEpoch));
        assert_eq!(sequences.turn(KEY, &sender(2, 12), known(9)), Ok(12));
        assert_eq!(sequences.turn(KEY, &sender(2, 3), known(WRAP - 5)), Ok(WRAP + 3));
        assert_eq!(sequences.turn(KEY, &sender(3, 0), known(WRAP - 5)), Ok(0));
    }

    #[test]
    fn sequences_go_on_where_they_wrap() {
        let sequences = Sequences::default();
        sequences.stored(KEY, 0, WRAP - 10, 10);
        assert_eq!(turn(&sequences, 0, 0), Ok(WRAP));
        sequences.stored(KEY, 0, WRAP, 5);
        assert_eq!(turn(&sequences, 0, 5), Ok(WRAP + 5));
        assert_eq!(turn(&sequences, 0, i32::MAX), Ok(WRAP - 1), "a repeat from before");
    }
}
