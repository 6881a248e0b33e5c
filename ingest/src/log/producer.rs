//! Producers that may send a batch again: what was stored of each, lately.
//!
//! Promise: pure; bounded. A batch that is still remembered is never stored twice; one that may
//! have been forgotten is never said to be stored.
//! Elsewhere: whether a producer left out a sequence is for the door to see: one request goes to
//! several partitions, so that each of them sees holes.

use crate::model::{AppendTime, Limits, Offset};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Batches remembered of a producer.
const BATCHES_KEPT: usize = 5;
/// Append time after which a producer that sends nothing is forgotten.
const EXPIRY_US: i64 = 24 * 3600 * 1_000_000;

/// Who sends, as it calls itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub u64);

/// Which batch of which producer rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The producer.
    pub producer: ProducerId,
    /// Which life of it; an older one is shut out once a newer one has written.
    pub epoch: u16,
    /// Number of the batch's first row; grows from batch to batch.
    pub sequence: u64,
    /// The partition it names on its wire, where the wire has any.
    pub wire_partition: Option<u32>,
}

impl Source {
    fn key(&self) -> Key {
        (self.producer, self.wire_partition)
    }
}

type Key = (ProducerId, Option<u32>);

/// What a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not stored before.
    New,
    /// Stored before, from this offset on.
    Duplicate(Offset),
    /// Older than all that is remembered: it may have been stored or not.
    Forgotten { oldest: u64 },
    /// A later life of the producer has written.
    Fenced { epoch: u16 },
}

/// A batch that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) source: Source,
    pub(super) base_offset: Offset,
    pub(super) at: AppendTime,
}

/// One life of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    epoch: u16,
    last: AppendTime,
    /// By sequence; the newest few.
    batches: VecDeque<(u64, Offset)>,
    /// The largest sequence that was remembered once and is not any more.
    forgotten: Option<u64>,
}

/// The producers of a partition.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct ProducerTable {
    lives: HashMap<Key, Life>,
    by_age: BTreeSet<(AppendTime, Key)>,
}

impl ProducerTable {
    /// What a batch is, were it to come at `at`.
    pub(super) fn check(&self, source: &Source, at: AppendTime) -> Verdict {
        let live = |life: &&Life| at.0.saturating_sub(life.last.0) < EXPIRY_US;
        match self.lives.get(&source.key()).filter(live) {
            None => Verdict::New,
            Some(life) => life.check(source),
        }
    }

    /// Remembers a batch that is stored.
    pub(super) fn note(&mut self, stored: Stored) {
        let Stored { source, base_offset, at } = stored;
        self.expire(at);
        let key = source.key();
        let mut life = match self.lives.remove(&key) {
            Some(life) => {
                self.by_age.remove(&(life.last, key));
                life
            }
            None => Life::new(source.epoch, at),
        };
        if life.epoch != source.epoch {
            life = Life::new(source.epoch, at);
        }
        life.note(source.sequence, base_offset, at);
        self.by_age.insert((life.last, key));
        self.lives.insert(key, life);
        while self.lives.len() > Limits::PRODUCERS_MAX {
            self.forget_oldest();
        }
    }

    /// The sequence of the newest batch of a producer and the epoch it came with.
    pub(super) fn newest(&self, producer: ProducerId) -> Option<(u16, u64)> {
        let lives = self.lives.iter().filter(|((id, _), _)| *id == producer);
        lives.filter_map(|(_, life)| Some((life.epoch, life.batches.back()?.0))).max()
    }

    /// As [`Self::newest`], of one of its partitions on the wire.
    pub(super) fn newest_at(&self, producer: ProducerId, wire: Option<u32>) -> Option<(u16, u64)> {
        let life = self.lives.get(&(producer, wire))?;
        Some((life.epoch, life.batches.back()?.0))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    fn expire(&mut self, at: AppendTime) {
        while let Some((last, _)) = self.by_age.first() {
            if at.0.saturating_sub(last.0) < EXPIRY_US {
                break;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.by_age.pop_first() {
            self.lives.remove(&key);
        }
    }

    /// As bytes, for a seal: equal tables give equal bytes.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((self.by_age.len() as u64).to_le_bytes());
        for (_, key) in &self.by_age {
            let Some(life) = self.lives.get(key) else { continue };
            bytes.extend(key.0.0.to_le_bytes());
            bytes.extend(key.1.unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend(life.epoch.to_le_bytes());
            let batches = u8::try_from(life.batches.len()).expect("BATCHES_KEPT is small");
            bytes.extend([batches, u8::from(life.forgotten.is_some())]);
            bytes.extend(life.last.0.to_le_bytes());
            bytes.extend(life.forgotten.unwrap_or(0).to_le_bytes());
            for (sequence, offset) in &life.batches {
                bytes.extend(sequence.to_le_bytes());
                bytes.extend(offset.0.to_le_bytes());
            }
        }
        bytes
    }

    /// The table in the bytes of a seal; `None` if they are none.
    pub(super) fn restore(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        let mut table = Self::default();
        for _ in 0..rest.number::<8>()? {
            let producer = ProducerId(rest.number::<8>()?);
            let wire = u32::try_from(rest.number::<4>()?).ok()?;
            let epoch = u16::try_from(rest.number::<2>()?).ok()?;
            let (batches, forgotten) = (rest.number::<1>()?, rest.number::<1>()?);
            let last = AppendTime(rest.number::<8>()?.cast_signed());
            let sequence = rest.number::<8>()?;
            let mut life = Life::new(epoch, last);
            life.forgotten = (forgotten != 0).then_some(sequence);
            for _ in 0..batches {
                life.batches.push_back((rest.number::<8>()?, Offset(rest.number::<8>()?)));
            }
            let key = (producer, (wire != u32::MAX).then_some(wire));
            table.by_age.insert((last, key));
            table.lives.insert(key, life);
        }
        rest.0.is_empty().then_some(table)
    }
}

impl Life {
    fn new(epoch: u16, last: AppendTime) -> Self {
        Self { epoch, last, batches: VecDeque::new(), forgotten: None }
    }

    fn check(&self, source: &Source) -> Verdict {
        if source.epoch < self.epoch {
            return Verdict::Fenced { epoch: self.epoch };
        }
        if source.epoch > self.epoch {
            return Verdict::New;
        }
        let known = self.batches.iter().find(|(sequence, _)| *sequence == source.sequence);
        if let Some((_, offset)) = known {
            return Verdict::Duplicate(*offset);
        }
        match self.forgotten {
            Some(forgotten) if source.sequence <= forgotten => {
                let oldest = self.batches.front().map_or(forgotten, |(sequence, _)| *sequence);
                Verdict::Forgotten { oldest }
            }
            _ => Verdict::New,
        }
    }

    fn note(&mut self, sequence: u64, offset: Offset, at: AppendTime) {
        self.last = self.last.max(at);
        let place = self.batches.partition_point(|(known, _)| *known < sequence);
        if self.batches.get(place).is_none_or(|(known, _)| *known != sequence) {
            self.batches.insert(place, (sequence, offset));
        }
        while self.batches.len() > BATCHES_KEPT {
            let oldest = self.batches.pop_front().map(|(sequence, _)| sequence);
            self.forgotten = self.forgotten.max(oldest);
        }
    }
}

/// Bytes that are not read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn number<const N: usize>(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        let mut number = [0; 8];
        number[..N].copy_from_slice(bytes);
        Some(u64::from_le_bytes(number))
    }
}

#[cfg(test)]
mod tests;
