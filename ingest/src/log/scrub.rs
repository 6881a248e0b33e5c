//! The scrubber: reads what nobody reads, so that rot is known while there may still be a copy.
//!
//! Promise: reads at most the bytes it is given at a time; closed segments only; changes nothing.
//! What it finds becomes the partition's state, as with any reader.

use super::partition::Partition;
use super::reader::PartitionReader;
use crate::model::Offset;
use std::sync::Arc;

/// How far a scrubber has come.
#[derive(Debug, Default)]
pub(super) struct Scrubber {
    place: Option<Place>,
    /// Bytes read since the start.
    bytes: u64,
    /// How often it has been through everything.
    rounds: u64,
}

#[derive(Debug)]
struct Place {
    partition: u64,
    segment: Offset,
    reader: PartitionReader,
}

/// What a scrubber has done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scrubbed {
    /// Bytes of closed segments that were read.
    pub bytes: u64,
    /// How often it has been through all of them.
    pub rounds: u64,
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
            // What is damaged is the partition's state now; the rest of it cannot be read.
            let more = matches!(place.reader.next(), Ok(Some(_)));
            self.bytes += place.reader.bytes_read() - before;
            if !more {
                let after = (place.partition, place.segment);
                self.place = next_place(partitions, Some(after));
                if self.place.is_none() {
                    self.rounds += 1;
                    return;
                }
            }
        }
    }

    pub(super) fn done(&self) -> Scrubbed {
        Scrubbed { bytes: self.bytes, rounds: self.rounds }
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
    closed.first().map(|(uid, segment, partition)| Place {
        partition: *uid,
        segment: *segment,
        reader: partition.segment_reader(*segment),
    })
}
