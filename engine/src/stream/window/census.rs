//! How many series of each group reported in a window, and how many should have.
//!
//! Promise: where the stream names a table of its sensors, those are expected whose rows hold at the
//! window's end; else a series is, once it had a reading before the window closed, in the input order. The
//! readings that one sends too many do not make up for those another did not send, and where rows of a
//! partition may be missing its series have at most the share of the window in which none are.

mod asked; // by a question
mod roll;

pub use asked::{Asked, ExpectedSensors};
pub(super) use roll::Roll;

use super::series::SeriesPlan;
use super::{CountedKind, Expectation};
use arrow::array::{ArrayRef, Float64Array, Int64Array};
use datafusion::error::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::SeriesSnapshot;

/// A sensor that a table names, and when its rows hold: `[from, until)`, microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSensor {
    /// Its topic path, of the stream's template.
    pub topic: Arc<str>,
    /// When it is expected.
    pub spans: Vec<(i64, i64)>,
}

impl ListedSensor {
    fn holds(&self, time: i64) -> bool {
        self.spans.iter().any(|(from, until)| *from <= time && time < *until)
    }
}

/// Of one group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    /// Expected series with a reading in the window.
    reporting: u32,
    expected: u32,
    /// The sum over the expected series of the share of their readings that came.
    share: f64,
}

impl Count {
    fn absorb(&mut self, other: &Self) {
        self.reporting += other.reporting;
        self.expected += other.expected;
        self.share += other.share;
    }

    fn coverage(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.share / f64::from(self.expected))
    }
}

/// A window that closes: what is asked of it.
pub(super) struct OfWindow<'w> {
    /// Start and end.
    pub(super) edges: (i64, i64),
    /// Of a stream, by partition the share of the window in which no rows can be missing; empty where
    /// none are at all.
    pub(super) whole: &'w dyn Fn(usize) -> Vec<f64>,
}

/// Of the rows of a closed window.
#[derive(Debug)]
pub(super) struct Counted(pub(super) Vec<Count>);

impl Counted {
    pub(super) fn column(&self, kind: CountedKind) -> ArrayRef {
        let counts = self.0.iter();
        match kind {
            CountedKind::Coverage => {
                Arc::new(counts.map(|count| count.coverage()).collect::<Float64Array>())
            }
            CountedKind::Reporting => {
                Arc::new(Int64Array::from_iter_values(counts.map(|c| i64::from(c.reporting))))
            }
            CountedKind::Expected => {
                Arc::new(Int64Array::from_iter_values(counts.map(|c| i64::from(c.expected))))
            }
        }
    }

    pub(super) fn expectation(&self) -> Vec<Expectation> {
        let of =
            |count: &Count| Expectation { sensors: count.expected, coverage: count.coverage() };
        self.0.iter().map(of).collect()
    }
}

/// The streams of a rule on the general path whose sensors are counted.
#[derive(Debug)]
pub(super) struct Census(Vec<(usize, Roll)>);

impl Census {
    /// By stream, what depends on its series alone.
    pub(super) fn new(plans: &[(usize, Arc<SeriesPlan>)]) -> Self {
        let roll = |(stream, plan): &(usize, Arc<SeriesPlan>)| (*stream, Roll::new(plan));
        Self(plans.iter().map(roll).collect())
    }

    pub(super) fn of(&mut self, stream: usize) -> Option<&mut Roll> {
        self.0.iter_mut().find(|(of, _)| *of == stream).map(|(_, roll)| roll)
    }

    /// Of the groups with these keys; `received` readings by (stream << 32 | series).
    pub(super) fn count(
        &mut self,
        keys: &[ArrayRef],
        rows: usize,
        received: &BTreeMap<u64, u64>,
        window: &OfWindow<'_>,
    ) -> Result<Counted> {
        let mut counts = vec![Count::default(); rows];
        for (stream, roll) in &mut self.0 {
            roll.cover();
            let first = (*stream as u64) << 32;
            let mut of_series = vec![0; roll.groups().series()];
            for (series, readings) in received.range(first..first + (1 << 32)) {
                if let Some(of) = of_series.get_mut((series - first) as usize) {
                    *of = *readings;
                }
            }
            let of_groups = roll.count(&of_series, window.edges, &(window.whole)(*stream));
            for (count, group) in counts.iter_mut().zip(roll.groups().find(keys, rows)?) {
                if let Some(more) = of_groups.get(group as usize) {
                    count.absorb(more);
                }
            }
        }
        Ok(Counted(counts))
    }

    /// For a checkpoint: which series have had a reading, by stream.
    pub(super) fn seen(&self) -> Vec<Vec<bool>> {
        self.0.iter().map(|(_, roll)| roll.seen().to_vec()).collect()
    }

    /// Goes on from a checkpoint.
    pub(super) fn restore(&mut self, seen: Vec<Vec<bool>>, series: &[Arc<SeriesSnapshot>]) {
        for ((stream, roll), seen) in self.0.iter_mut().zip(seen) {
            roll.restore(seen);
            series.get(*stream).into_iter().for_each(|snapshot| roll.knows(snapshot));
        }
    }

    /// About what it takes.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, roll)| roll.groups().bytes()).sum()
    }
}
