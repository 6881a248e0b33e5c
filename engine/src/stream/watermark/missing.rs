//! Event times of which rows may be missing: a partition was out, or its log has a gap.
//!
//! Promise: a window that such a time falls into is told incomplete, rather one too many than one too few.

use serde::{Deserialize, Serialize};

/// Spans remembered; the oldest are forgotten first.
const SPANS_MAX: usize = 256;

/// From where in a lane rows may be missing, and up to where; open until rows of the lane come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    lane: usize,
    from: i64,
    to: Option<i64>,
}

/// The spans of all lanes, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Missing(Vec<Span>);

impl Missing {
    /// Nothing comes from `lane` after `from`.
    pub(super) fn begin(&mut self, lane: usize, from: i64) {
        if !self.0.iter().any(|span| span.lane == lane && span.to.is_none()) {
            self.push(Span { lane, from, to: None });
        }
    }

    /// It comes again; what lies up to `to` may have been lost.
    pub(super) fn end(&mut self, lane: usize, to: i64) {
        let open = self.0.iter_mut().filter(|span| span.lane == lane && span.to.is_none());
        open.for_each(|span| span.to = Some(to.max(span.from)));
    }

    /// Whether rows of some lane are still to come again.
    pub(super) fn is_open(&self) -> bool {
        self.0.iter().any(|span| span.to.is_none())
    }

    /// Whether a row of `[start, end)` may be missing.
    pub(super) fn touches(&self, start: i64, end: i64) -> bool {
        self.0.iter().any(|span| span.from < end && span.to.is_none_or(|to| to >= start))
    }

    /// The share of `[start, end)` in which nothing of `lane` can be missing.
    pub(super) fn whole(&self, lane: usize, start: i64, end: i64) -> f64 {
        let of_lane = self.0.iter().filter(|span| span.lane == lane);
        let inside = of_lane.map(|span| (span.from.max(start), span.to.unwrap_or(end).min(end)));
        let mut inside: Vec<(i64, i64)> = inside.filter(|(from, to)| from < to).collect();
        inside.sort_unstable();
        let (mut missing, mut reached) = (0, start);
        for (from, to) in inside {
            missing += (to - from.max(reached)).max(0);
            reached = reached.max(to);
        }
        (end - start - missing) as f64 / (end - start) as f64
    }

    fn push(&mut self, span: Span) {
        if self.0.len() >= SPANS_MAX {
            self.0.remove(0);
        }
        self.0.push(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_the_time_in_which_a_partition_was_out_are_touched_and_no_others() {
        let mut missing = Missing::default();
        missing.begin(0, 100);
        missing.begin(0, 150);
        assert!(!missing.touches(40, 100) && missing.touches(40, 101) && missing.touches(900, 999));
        missing.end(0, 300);
        assert!(missing.touches(300, 360) && !missing.touches(301, 360));
        assert!(!missing.is_open());
    }

    #[test]
    fn the_share_in_which_nothing_is_missing_counts_an_instant_once() {
        let mut missing = Missing::default();
        missing.begin(0, 20);
        missing.end(0, 50);
        missing.begin(0, 40);
        assert_eq!(missing.whole(0, 0, 100), 0.2);
        assert_eq!(missing.whole(1, 0, 100), 1.0, "another partition");
        missing.end(0, 60);
        assert_eq!(missing.whole(0, 0, 100), 0.6);
        assert_eq!(missing.whole(0, 100, 200), 1.0);
    }
}
