//! The scrubber: reads what nobody reads, so that rot is known while there may still be a copy.
//!
//! Promise: reads at most the bytes it is given at a time; closed segments only, from the first frame to the
//! trailer; changes nothing. What changed becomes the partition's state, as with any reader; what the disk does
//! not give is counted and said.

mod ending;

use super::errors::ReadError;
use super::partition::Partition;
use super::reader::PartitionReader;
use crate::model::Offset;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::warn;

/// How far a scrubber has come.
#[derive(Debug, Default)]
pub(super) struct Scrubber {
    place: Option<Place>,
    /// Bytes read since the start.
    bytes: u64,
    /// How often it has been through everything.
    rounds: u64,
    /// By partition and segment; those of segments that are there.
    unreadable: BTreeMap<(u64, Offset), Unreadable>,
}

#[derive(Debug)]
struct Place {
    partition: Arc<Partition>,
    segment: Offset,
    reader: PartitionReader,
}

/// What a scrubber has done since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scrubbed {
    /// Bytes of closed segments that were read.
    pub bytes: u64,
    /// How often it has been through all of them.
    pub rounds: u64,
    /// Segments the disk did not give when they were read last.
    pub unreadable: Vec<Unreadable>,
}

/// A segment that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The name of its partition.
    pub partition: String,
    /// The offset it starts at.
    pub segment: Offset,
    /// What the disk said.
    pub detail: Arc<str>,
}

impl Scrubber {
    /// Reads on for about `budget` bytes, at least one frame.
    pub(super) fn step(&mut self, partitions: &[Arc<Partition>], budget: u64) {
        let end = self.bytes.saturating_add(budget);
        while self.bytes < end {
            let Some(place) = &mut self.place else {
                match next_place(partitions, None) {
                    Some(first) => self.place = Some(first),
                    None => return,
                }
                continue;
            };
            let before = place.reader.bytes_read();
            let read = place.reader.next();
            self.bytes += place.reader.bytes_read() - before;
            let end = match read {
                Ok(Some(_)) => continue,
                Ok(None) => ending::check(&place.partition, place.segment),
                Err(error) => Err(error),
            };
            let after = place.key();
            match end {
                Err(ReadError::Io { detail, .. }) if place.is_there() => {
                    self.unreadable.insert(after, place.unreadable(detail));
                }
                // What is damaged is the partition's state now; the rest of it cannot be read.
                _ => drop(self.unreadable.remove(&after)),
            }
            self.place = next_place(partitions, Some(after));
            if self.place.is_none() {
                self.rounds += 1;
                self.forget_gone(partitions);
                return;
            }
        }
    }

    fn forget_gone(&mut self, partitions: &[Arc<Partition>]) {
        let there = |uid: u64, segment: Offset| {
            let found = partitions.iter().find(|partition| partition.uid() == uid);
            found.is_some_and(|p| p.segments().iter().any(|s| s.base_offset == segment))
        };
        self.unreadable.retain(|(uid, segment), _| there(*uid, *segment));
    }

    pub(super) fn done(&self) -> Scrubbed {
        let unreadable = self.unreadable.values().cloned().collect();
        Scrubbed { bytes: self.bytes, rounds: self.rounds, unreadable }
    }
}

impl Place {
    fn key(&self) -> (u64, Offset) {
        (self.partition.uid(), self.segment)
    }

    /// Whether retention has not removed it while it was read.
    fn is_there(&self) -> bool {
        self.partition.segments().iter().any(|segment| segment.base_offset == self.segment)
    }

    fn unreadable(&self, detail: Arc<str>) -> Unreadable {
        let partition = self.partition.name().to_owned();
        warn!(partition, segment = self.segment.0, %detail, "a closed segment cannot be read");
        Unreadable { partition, segment: self.segment, detail }
    }
}

/// The first closed segment after that one, by partition.
fn next_place(partitions: &[Arc<Partition>], after: Option<(u64, Offset)>) -> Option<Place> {
    let mut closed: Vec<(u64, Offset, &Arc<Partition>)> = partitions
        .iter()
        .flat_map(|partition| {
            let segments = partition.segments().into_iter().filter(|segment| segment.sealed);
            segments.map(move |segment| (partition.uid(), segment.base_offset, partition))
        })
        .filter(|(uid, segment, _)| after.is_none_or(|after| (*uid, *segment) > after))
        .collect();
    closed.sort_by_key(|(uid, segment, _)| (*uid, *segment));
    closed.first().map(|(_, segment, partition)| Place {
        partition: Arc::clone(partition),
        segment: *segment,
        reader: partition.segment_reader(*segment),
    })
}
