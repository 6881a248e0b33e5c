//! Where topics go, remembered by a decoder that decodes much.
//!
//! Promise: the answers are the registry's; only a topic not seen before is asked for there. Sensors
//! report in turns, so the topic that followed last time is tried first: then a row costs one
//! comparison, without a hash and without a lock.

use crate::log::Route;
use crate::model::{PartitionId, SeriesId};
use std::collections::HashMap;
use std::sync::Arc;

/// A decoder's own number for a stream, a series and its partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) target: usize,
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
}

#[derive(Debug)]
struct Known {
    topic: Arc<str>,
    place: Place,
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
        Some(self.known[number].place)
    }

    pub(super) fn add(&mut self, topic: &str, place: Place) {
        let (number, topic) = (self.known.len(), Arc::<str>::from(topic));
        self.numbers.insert(Arc::clone(&topic), number);
        self.known.push(Known { topic, place, next: 0 });
        if let Some(last) = self.known.get_mut(self.last) {
            last.next = number;
        }
        self.last = number;
    }
}
