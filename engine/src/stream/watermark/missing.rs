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
}
