//! Topics numbered by a decoder that decodes much, in the order in which it meets them.
//!
//! Promise: only a topic not seen before is asked for in the registry, and it gets no series there:
//! whoever puts the work of several decoders in order again does that. Sensors report in turns, so the
//! topic that followed last time is tried first: then a row costs one comparison, no hash and no lock.
//! And a sensor says the same of itself each time: a row that begins, byte for byte, as its last one did is
//! read from behind the topic on.

use super::scan::Span;
use super::shapes::ShapeId;
use crate::log::Route;
use crate::model::{PartitionId, SeriesId};
use std::collections::HashMap;
use std::sync::Arc;

/// Longer beginnings of rows are not kept, nor more of them for a topic: its rows begin otherwise each time.
const OPENING_BYTES_MAX: usize = 512;
const OPENINGS_MAX: u8 = 4;
/// Bytes that all of them may take, about 150,000 sensors'; the rows of others are read in full.
const ALL_OPENINGS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Where the rows of a topic go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// A decoder's own number for the stream.
    pub(super) target: usize,
    /// Of the stream, or the decoder's own number for the topic.
    pub(super) series: SeriesId,
    pub(super) partition: PartitionId,
}

impl Place {
    pub(super) fn new(target: usize, route: &Route) -> Self {
        Self { target, series: route.series, partition: route.partition }
    }
}

/// Topics seen so far.
#[derive(Debug, Default)]
pub(super) struct KnownTopics {
    known: Vec<Known>,
    numbers: HashMap<Arc<str>, usize, ahash::RandomState>,
    /// How their rows begin, one behind the other: topics in turn are neighbours in memory.
    openings: Vec<u8>,
    last: usize,
    /// How many of them were told by [`Self::new_ones`].
    told: usize,
}

#[derive(Debug)]
struct Known {
    topic: Arc<str>,
    target: usize,
    /// Which came after it.
    next: usize,
    opening: Option<Opening>,
    /// How many openings it had.
    openings: u8,
}

/// How a row begins: with these bytes, up to the quote behind its topic.
#[derive(Debug, Clone, Copy)]
struct Opening {
    start: usize,
    shape: ShapeId,
    /// In the row.
    topic: Span,
}

impl Opening {
    #[inline]
    fn len(&self) -> usize {
        self.topic.end as usize + 1
    }

    #[inline]
    fn bytes<'o>(&self, openings: &'o [u8]) -> &'o [u8] {
        &openings[self.start..self.start + self.len()]
    }
}

impl KnownTopics {
    #[inline]
    pub(super) fn find(&mut self, topic: &str) -> Option<Place> {
        let guess = self.known.get(self.last)?.next;
        let number = match self.known.get(guess) {
            Some(known) if *known.topic == *topic => guess,
            _ => *self.numbers.get(topic)?,
        };
        Some(self.follow(number))
    }

    /// The topic that is next in turn, if `row` begins as its last row did: its number, and the shape and
    /// topic of that beginning.
    #[inline]
    pub(super) fn expected(&self, row: &[u8]) -> Option<(usize, ShapeId, Span)> {
        let number = self.known.get(self.last)?.next;
        let opening = self.known[number].opening.as_ref()?;
        let begins = row.starts_with(opening.bytes(&self.openings));
        begins.then_some((number, opening.shape, opening.topic))
    }

    /// A row of this topic came next.
    #[inline]
    pub(super) fn follow(&mut self, number: usize) -> Place {
        self.known[self.last].next = number;
        self.last = number;
        self.place(number)
    }

    /// A row of the topic at `place` began so, up to the quote behind its topic.
    pub(super) fn begins(&mut self, place: Place, row: &str, shape: ShapeId, topic: Span) {
        let known = &mut self.known[place.series.0 as usize];
        let opening = Opening { start: self.openings.len(), shape, topic };
        let bytes = &row.as_bytes()[..opening.len()];
        if known.opening.is_some_and(|old| old.shape == shape && old.bytes(&self.openings) == bytes)
        {
            return;
        }
        let room =
            ALL_OPENINGS_BYTES_MAX.saturating_sub(self.openings.len()).min(OPENING_BYTES_MAX);
        if known.openings < OPENINGS_MAX && bytes.len() <= room {
            known.openings += 1;
            known.opening = Some(opening);
            self.openings.extend_from_slice(bytes);
        }
    }

    /// Numbers a topic of the stream `target`.
    pub(super) fn add(&mut self, topic: &str, target: usize) -> Place {
        let (number, topic) = (self.known.len(), Arc::<str>::from(topic));
        self.numbers.insert(Arc::clone(&topic), number);
        self.known.push(Known { topic, target, next: 0, opening: None, openings: 0 });
        if let Some(last) = self.known.get_mut(self.last) {
            last.next = number;
        }
        self.last = number;
        self.place(number)
    }

    /// The topics numbered since the last call, by number.
    pub(super) fn new_ones(&mut self) -> Vec<Arc<str>> {
        let new = self.known[self.told..].iter().map(|known| Arc::clone(&known.topic)).collect();
        self.told = self.known.len();
        new
    }

    fn place(&self, number: usize) -> Place {
        let series = SeriesId(u32::try_from(number).expect("a row takes more than a byte"));
        Place { target: self.known[number].target, series, partition: PartitionId(0) }
    }
}
