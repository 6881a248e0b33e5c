//! Topics as a decoder meets them, and where their rows go.
//!
//! Promise: only a topic not seen before is asked for in the registry. Sensors report in turns, so the
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
/// Guesses are made while trust is above zero: a right one adds one, a wrong one takes four.
const TRUST_MAX: u8 = 32;
const TRUST_LOST: u8 = 4;

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
#[derive(Debug)]
pub(super) struct KnownTopics {
    topics_max: usize,
    openings_bytes_max: usize,
    known: Vec<Known>,
    numbers: HashMap<Arc<str>, usize, ahash::RandomState>,
    /// How their rows begin, one behind the other: topics in turn are neighbours in memory.
    openings: Vec<u8>,
    last: usize,
    /// Whether `last` is the topic of the row that is being read.
    is_here: bool,
    distrust: u8,
    /// How many of them were told by [`Self::new_ones`].
    told: usize,
}

#[derive(Debug)]
struct Known {
    topic: Arc<str>,
    place: Place,
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

impl Default for KnownTopics {
    fn default() -> Self {
        Self::within(usize::MAX, ALL_OPENINGS_BYTES_MAX)
    }
}

impl KnownTopics {
    /// Remembers so many topics, and so many bytes of how their rows begin.
    pub(super) fn within(topics_max: usize, openings_bytes_max: usize) -> Self {
        Self {
            topics_max,
            openings_bytes_max,
            known: Vec::new(),
            numbers: HashMap::default(),
            openings: Vec::new(),
            last: 0,
            is_here: false,
            distrust: 0,
            told: 0,
        }
    }

    /// One within the same bounds that knows nothing.
    pub(super) fn emptied(&self) -> Self {
        Self::within(self.topics_max, self.openings_bytes_max)
    }

    /// Where the rows of a topic go that was met before.
    #[inline]
    pub(super) fn find(&mut self, topic: &str) -> Option<Place> {
        self.is_here = false;
        let guess = self.known.get(self.last)?.next;
        let trusted = self.distrust < TRUST_MAX;
        let number = match self.known.get(guess) {
            Some(known) if trusted && *known.topic == *topic => guess,
            _ => *self.numbers.get(topic)?,
        };
        Some(self.follow(number))
    }

    /// The topic that is next in turn, if `row` begins as its last row did: its number, and the shape and
    /// topic of that beginning.
    #[inline]
    pub(super) fn expected(&self, row: &[u8]) -> Option<(usize, ShapeId, Span)> {
        if self.distrust >= TRUST_MAX {
            return None;
        }
        let number = self.known.get(self.last)?.next;
        let opening = self.known[number].opening.as_ref()?;
        let begins = row.starts_with(opening.bytes(&self.openings));
        begins.then_some((number, opening.shape, opening.topic))
    }

    /// Where the rows of a topic go.
    #[inline]
    pub(super) fn place(&self, number: usize) -> Place {
        self.known[number].place
    }

    /// A row of this topic came next.
    #[inline]
    pub(super) fn follow(&mut self, number: usize) -> Place {
        let last = &mut self.known[self.last];
        self.distrust = match last.next == number {
            true => self.distrust.saturating_sub(1),
            false => (self.distrust + TRUST_LOST).min(TRUST_MAX),
        };
        last.next = number;
        self.last = number;
        self.is_here = true;
        self.known[number].place
    }

    /// The row just read, of the topic found or added last, began so, up to the quote behind its topic.
    pub(super) fn begins(&mut self, row: &str, shape: ShapeId, topic: Span) {
        if !self.is_here {
            return;
        }
        let known = &mut self.known[self.last];
        let opening = Opening { start: self.openings.len(), shape, topic };
        let bytes = &row.as_bytes()[..opening.len()];
        if known.opening.is_some_and(|old| old.shape == shape && old.bytes(&self.openings) == bytes)
        {
            return;
        }
        let fits = opening.start + bytes.len() <= self.openings_bytes_max;
        if fits && known.openings < OPENINGS_MAX && bytes.len() <= OPENING_BYTES_MAX {
            known.openings += 1;
            known.opening = Some(opening);
            self.openings.extend_from_slice(bytes);
        }
    }

    /// Numbers a topic of the stream `target`: its number takes the place of its series.
    pub(super) fn number(&mut self, topic: &str, target: usize) -> Place {
        let series = u32::try_from(self.known.len()).expect("a row takes more than a byte");
        let place = Place { target, series: SeriesId(series), partition: PartitionId(0) };
        self.add(topic, place);
        place
    }

    /// Remembers where a topic's rows go, if there is room.
    pub(super) fn add(&mut self, topic: &str, place: Place) {
        if self.known.len() >= self.topics_max {
            return;
        }
        let (number, topic) = (self.known.len(), Arc::<str>::from(topic));
        self.numbers.insert(Arc::clone(&topic), number);
        self.known.push(Known { topic, place, next: 0, opening: None, openings: 0 });
        if let Some(last) = self.known.get_mut(self.last) {
            last.next = number;
        }
        self.last = number;
        self.is_here = true;
    }

    /// The topics numbered since the last call, by number.
    pub(super) fn new_ones(&mut self) -> Vec<Arc<str>> {
        let new = self.known[self.told..].iter().map(|known| Arc::clone(&known.topic)).collect();
        self.told = self.known.len();
        new
    }
}
