//! What was known where the rows of each open window begin, so that these can be read again from there.
//!
//! Promise: beside what is known now, the first value that each change replaced since each segment of the
//! open windows began, and nothing of windows that are over. A window has at most [`SEGMENTS`] segments
//! and two halves, however many panes, so it is bounded by that many times what is known; in return rows
//! are read again from up to a segment earlier.
//! Elsewhere: what is known, and which windows are over, is the runner's.

use super::grid::PaneIndex;
use super::window::LaneEvidence;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// About what a value that was replaced takes beside itself.
const NOTED_BYTES: usize = 64;

/// Segments of a window, about.
pub const SEGMENTS: i64 = 16;

/// See the module.
#[derive(Debug)]
pub struct Trace<K, V> {
    /// Panes of a segment.
    width: PaneIndex,
    /// By the newest segment that had a row: a row lies in one no earlier than its pane's.
    segments: BTreeMap<PaneIndex, Segment<K, V>>,
}

#[derive(Debug)]
struct Segment<K, V> {
    /// `None`: nothing was known.
    before: HashMap<K, Option<V>>,
    /// By lane.
    first: BTreeMap<usize, LaneEvidence>,
}

impl<K: Eq + Hash + Clone, V> Trace<K, V> {
    /// For windows of so many panes.
    pub fn new(panes: PaneIndex) -> Self {
        Self { width: (panes / SEGMENTS).max(1), segments: BTreeMap::new() }
    }

    /// A row of `pane` comes next.
    pub fn begin(&mut self, pane: PaneIndex) {
        let number = pane.div_euclid(self.width);
        if self.segments.last_key_value().is_none_or(|(newest, _)| number > *newest) {
            let segment = Segment { before: HashMap::new(), first: BTreeMap::new() };
            self.segments.insert(number, segment);
        }
    }

    fn last_pane(&self, number: PaneIndex) -> PaneIndex {
        number * self.width + (self.width - 1)
    }

    /// A row that has to be read again when the windows are filled again; nothing while none is open.
    pub fn row(&mut self, row: LaneEvidence) {
        if let Some(mut newest) = self.segments.last_entry() {
            let first = newest.get_mut().first.entry(row.lane).or_insert(row);
            if row.first < first.first {
                *first = row;
            }
        }
    }

    /// What is known under `key` is about to change; nothing while no window is open.
    pub fn changes(&mut self, key: &K, before: impl FnOnce() -> Option<V>) {
        if let Some(mut newest) = self.segments.last_entry()
            && !newest.get().before.contains_key(key)
        {
            newest.get_mut().before.insert(key.clone(), before());
        }
    }

    /// Forgets the segments that are over; they are the first ones.
    pub fn forget(&mut self, is_over: impl Fn(PaneIndex) -> bool) {
        while let Some((first, _)) = self.segments.first_key_value() {
            if !is_over(self.last_pane(*first)) {
                break;
            }
            self.segments.pop_first();
        }
    }

    fn open(&self, is_over: impl Fn(PaneIndex) -> bool) -> impl Iterator<Item = &Segment<K, V>> {
        let over = move |number: PaneIndex| is_over(self.last_pane(number));
        self.segments.iter().skip_while(move |(number, _)| over(**number)).map(|(_, kept)| kept)
    }

    /// The first pane of the first segment that is not over.
    pub fn from(&self, is_over: impl Fn(PaneIndex) -> bool) -> Option<PaneIndex> {
        let first = self.segments.keys().find(|number| !is_over(self.last_pane(**number)));
        first.map(|number| number * self.width)
    }

    /// The first row of each lane since the windows began that are not over.
    pub fn first_of_lanes(&self, is_over: impl Fn(PaneIndex) -> bool) -> Vec<LaneEvidence> {
        let mut first: BTreeMap<usize, LaneEvidence> = BTreeMap::new();
        for row in self.open(is_over).flat_map(|segment| segment.first.values()) {
            let known = first.entry(row.lane).or_insert(*row);
            if row.first < known.first {
                *known = *row;
            }
        }
        first.into_values().collect()
    }

    /// What was known there, where it is not what is known now.
    pub fn before(&self, is_over: impl Fn(PaneIndex) -> bool) -> HashMap<&K, Option<&V>> {
        let mut all = HashMap::new();
        for (key, value) in self.open(is_over).flat_map(|segment| &segment.before) {
            all.entry(key).or_insert(value.as_ref());
        }
        all
    }

    /// About what it takes.
    pub fn bytes(&self) -> usize {
        let noted: usize = self.segments.values().map(|segment| segment.before.len()).sum();
        noted * (NOTED_BYTES + size_of::<K>() + size_of::<V>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_ingest::model::Offset;

    fn row(lane: usize, offset: u64) -> LaneEvidence {
        let offset = Offset(offset);
        LaneEvidence { lane, first: offset, last: offset, watermark_before: 0 }
    }

    #[test]
    fn what_was_known_where_the_first_open_window_begins_is_found_again() {
        let mut trace: Trace<&str, i32> = Trace::new(1);
        trace.changes(&"a", || panic!("no window is open"));
        trace.begin(1);
        trace.row(row(0, 7));
        trace.changes(&"a", || None);
        trace.changes(&"a", || panic!("it changed before"));
        trace.begin(2);
        trace.begin(1);
        trace.row(row(0, 9));
        trace.row(row(1, 3));
        trace.changes(&"a", || Some(10));
        trace.changes(&"b", || Some(20));
        let all = |_| false;
        assert_eq!(trace.from(all), Some(1));
        assert_eq!(trace.before(all), HashMap::from([(&"a", None), (&"b", Some(&20))]));
        assert_eq!(trace.first_of_lanes(all), [row(0, 7), row(1, 3)]);
        let first = |pane| pane <= 1;
        assert_eq!(trace.before(first), HashMap::from([(&"a", Some(&10)), (&"b", Some(&20))]));
        trace.forget(first);
        assert_eq!(trace.first_of_lanes(all), [row(0, 9), row(1, 3)]);
        trace.forget(|_| true);
        assert_eq!((trace.from(all), trace.before(all).len()), (None, 0));
    }

    #[test]
    fn a_window_of_many_panes_has_few_segments_and_is_read_again_from_the_first_of_one() {
        let mut trace: Trace<&str, i32> = Trace::new(64);
        for pane in 0..64 {
            trace.begin(pane);
            trace.row(row(0, pane.unsigned_abs()));
            trace.changes(&"a", || Some(i32::try_from(pane).unwrap()));
        }
        assert_eq!(trace.segments.len(), 16);
        let first_six = |pane| pane <= 5;
        assert_eq!(trace.from(first_six), Some(4));
        assert_eq!(trace.before(first_six), HashMap::from([(&"a", Some(&4))]));
        assert_eq!(trace.first_of_lanes(first_six), [row(0, 4)]);
    }
}
