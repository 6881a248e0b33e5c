//! Topics numbered by a decoder that decodes much, in the order in which it meets them.
//!
//! Promise: only a topic not seen before is asked for in the registry, and it gets no series there:
//! whoever puts the work of several decoders in order again does that. Sensors report in turns, so the
//! topic that followed last time is tried first: then a row costs one comparison, no hash and no lock.

use crate::log::Route;
use crate::model::{PartitionId, SeriesId};
use std::collections::HashMap;
use std::sync::Arc;

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
}

impl KnownTopics {
    #[inline]
    pub(super) fn find(&mut self, topic: &str) -> Option<Place> {
        let guess = self.known.get(self.last)?.next;
        let number = match self.known.get(guess) {
            Some(known) if *known.topic == *topic => guess,
            _ => *self.numbers.get(topic)?,
        };
        self.known[self.last].next = number;
        self.last = number;
        Some(self.place(number))
    }

    /// Numbers a topic of the stream `target`.
    pub(super) fn add(&mut self, topic: &str, target: usize) -> Place {
        let (number, topic) = (self.known.len(), Arc::<str>::from(topic));
        self.numbers.insert(Arc::clone(&topic), number);
        self.known.push(Known { topic, target, next: 0 });
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
