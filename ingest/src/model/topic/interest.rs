//! Who wants the readings of a series, of many that each ask with a pattern.
//!
//! Promise: a topic is held against the patterns once, whoever asks and however many there are; from
//! then on a reading costs a look by its series. Anybody coming or going makes it be looked at again.

use super::{PatternIndex, TopicPattern};
use crate::model::{SeriesId, StreamUid};
use std::collections::HashMap;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub struct Interest {
    patterns: PatternIndex,
    streams: HashMap<StreamUid, Known>,
}

/// What is known of a stream's series.
#[derive(Debug)]
struct Known {
    /// For each series the place of its set, [`UNSEEN`] where nobody has looked yet.
    of_series: Vec<u32>,
    /// Sets of numbers, growing.
    sets: Vec<Arc<[u32]>>,
    /// The place of each set: there are few, of many series.
    places: HashMap<Arc<[u32]>, u32>,
}

const UNSEEN: u32 = u32::MAX;

impl Interest {
    /// Nobody asks for anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody asks with `pattern`, under a number of the caller's.
    pub fn add(&mut self, pattern: &TopicPattern, number: u32) {
        self.patterns.insert(pattern, number);
        self.streams.clear();
    }

    /// Somebody asks no more.
    pub fn remove(&mut self, pattern: &TopicPattern, number: u32) {
        self.patterns.remove(pattern, number);
        self.streams.clear();
    }

    /// Who asks for a path, growing.
    pub fn of_path(&self, path: &str) -> Vec<u32> {
        self.patterns.matches(path)
    }

    /// Who asks for series of a stream.
    pub fn in_stream(&mut self, stream: StreamUid) -> InStream<'_> {
        let known = self.streams.entry(stream).or_insert_with(|| Known {
            of_series: Vec::new(),
            sets: Vec::new(),
            places: HashMap::new(),
        });
        InStream { patterns: &self.patterns, known }
    }
}

/// Who asks for series of one stream.
#[derive(Debug)]
pub struct InStream<'i> {
    patterns: &'i PatternIndex,
    known: &'i mut Known,
}

impl InStream<'_> {
    /// Who asks for a series, growing; `topic` is asked for the first time only.
    #[inline]
    pub fn of<'t>(&mut self, series: SeriesId, topic: impl FnOnce() -> &'t str) -> &[u32] {
        let index = series.0 as usize;
        let place = match self.known.of_series.get(index) {
            Some(place) if *place != UNSEEN => *place,
            _ => self.look(index, topic()),
        };
        &self.known.sets[place as usize]
    }

    #[cold]
    fn look(&mut self, index: usize, topic: &str) -> u32 {
        let Known { of_series, sets, places } = &mut *self.known;
        if of_series.len() <= index {
            of_series.resize(index + 1, UNSEEN);
        }
        let set: Arc<[u32]> = self.patterns.matches(topic).into();
        let place = *places.entry(set).or_insert_with_key(|set| {
            sets.push(Arc::clone(set));
            u32::try_from(sets.len() - 1).expect("there are no more sets than series")
        });
        of_series[index] = place;
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::parse(text).unwrap()
    }

    #[test]
    fn a_topic_is_looked_at_once_until_somebody_comes_or_goes() {
        let mut interest = Interest::new();
        interest.add(&pattern("/floor/+/room/#"), 3);
        interest.add(&pattern("/floor/1/#"), 7);
        let (stream, room) = (StreamUid(1), "/floor/1/room/2");
        assert_eq!(interest.in_stream(stream).of(SeriesId(5), || room), [3, 7]);
        let again = |interest: &mut Interest| {
            interest.in_stream(stream).of(SeriesId(5), || panic!("it is known")).to_vec()
        };
        assert_eq!(again(&mut interest), [3, 7]);
        interest.remove(&pattern("/floor/1/#"), 7);
        assert_eq!(interest.in_stream(stream).of(SeriesId(5), || room), [3]);
        assert_eq!(interest.in_stream(stream).of(SeriesId(4), || "/elsewhere"), [0; 0]);
        assert_eq!(again(&mut interest), [3], "other series do not change it");
        assert_eq!(interest.in_stream(StreamUid(2)).of(SeriesId(5), || "/x"), [0; 0]);
    }
}
