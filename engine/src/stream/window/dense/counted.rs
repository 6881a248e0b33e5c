//! How many series of each group reported in a window, and how many should have.
//!
//! Promise: a series is expected once it had a reading before the window closed, in the input order; the
//! readings that one sends too many do not make up for those another did not send.

use super::groups::SeriesGroups;
use crate::stream::window::Expectation;
use arrow::array::{ArrayRef, Float64Array, Int64Array};
use std::sync::Arc;

/// Of one group.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// Series with a reading in the window.
    sensors: u32,
    /// Of those that are expected.
    reporting: u32,
    expected: u32,
    /// The sum over the expected series of the share of their readings that came.
    share: f64,
}

#[derive(Debug)]
pub(super) struct Counted(Vec<Count>);

impl Counted {
    /// `received` readings of each series, of `readings` expected of each.
    pub(super) fn new(
        groups: &SeriesGroups,
        received: &[u64],
        seen: &[bool],
        readings: Option<f64>,
    ) -> Self {
        let mut counts = vec![Count::default(); groups.len()];
        for (series, (group, received)) in groups.of_series().iter().zip(received).enumerate() {
            let Some(count) = counts.get_mut(*group as usize) else { continue };
            count.sensors += u32::from(*received > 0);
            if seen.get(series) == Some(&true) {
                count.reporting += u32::from(*received > 0);
                count.expected += 1;
                count.share += readings.map_or(0.0, |n| (*received as f64).min(n) / n);
            }
        }
        Self(counts)
    }

    fn of<'c>(&'c self, groups: &'c [u32]) -> impl Iterator<Item = Count> + 'c {
        groups.iter().map(|group| self.0[*group as usize])
    }

    pub(super) fn sensors(&self, groups: &[u32]) -> Vec<u32> {
        self.of(groups).map(|count| count.sensors).collect()
    }

    pub(super) fn coverage(&self, groups: &[u32]) -> ArrayRef {
        Arc::new(self.of(groups).map(|count| count.coverage()).collect::<Float64Array>())
    }

    pub(super) fn reporting(&self, groups: &[u32]) -> ArrayRef {
        let counts = self.of(groups).map(|count| i64::from(count.reporting));
        Arc::new(Int64Array::from_iter_values(counts))
    }

    pub(super) fn expected(&self, groups: &[u32]) -> ArrayRef {
        let counts = self.of(groups).map(|count| i64::from(count.expected));
        Arc::new(Int64Array::from_iter_values(counts))
    }

    pub(super) fn expectation(&self, groups: &[u32]) -> Vec<Expectation> {
        let of = |count: Count| Expectation { sensors: count.expected, coverage: count.coverage() };
        self.of(groups).map(of).collect()
    }
}

impl Count {
    fn coverage(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.share / f64::from(self.expected))
    }
}
