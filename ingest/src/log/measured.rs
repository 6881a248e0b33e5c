//! What the log measures of itself: how long groups wait and syncs take, how large groups are, what
//! is refused.
//!
//! Promise: touched once for each group and each refused append, never for a row; times are the
//! seam's clock's. Elsewhere: how it is shown is `doors`'.

use super::errors::AppendError;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest value told apart from larger ones: an hour in microseconds, and more than any group has.
const VALUE_MAX: u64 = 3_600_000_000;
/// Two digits: 1 % of any value.
const DIGITS: u8 = 2;

/// The measurements of a log's groups.
#[derive(Debug)]
pub struct Measured {
    distributions: Mutex<[Histogram<u64>; Measure::ALL.len()]>,
    refused: [AtomicU64; Refused::ALL.len()],
}

/// What is measured of each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Microseconds from the first append of a group to the answer.
    AppendUs,
    /// Microseconds of its fdatasync.
    SyncUs,
    /// Rows in it.
    GroupRows,
    /// Bytes of its frames.
    GroupBytes,
}

impl Measure {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::AppendUs, Self::SyncUs, Self::GroupRows, Self::GroupBytes];
}

/// Why an append was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The disk is full.
    Full,
    /// The disk failed: the rows may or may not be there.
    Unknown,
    /// More than a frame holds.
    TooLarge,
    /// The catalog took no new series.
    Catalog,
    /// The partition is damaged.
    Corrupt,
    /// The log is stopping.
    Stopped,
    /// A producer's batch before it is missing.
    OutOfOrder,
    /// A producer that another has taken the place of.
    Fenced,
}

impl Refused {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Full,
        Self::Unknown,
        Self::TooLarge,
        Self::Catalog,
        Self::Corrupt,
        Self::Stopped,
        Self::OutOfOrder,
        Self::Fenced,
    ];

    /// One word for labels.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Unknown => "unknown",
            Self::TooLarge => "too_large",
            Self::Catalog => "catalog",
            Self::Corrupt => "corrupt",
            Self::Stopped => "stopped",
            Self::OutOfOrder => "out_of_order",
            Self::Fenced => "fenced",
        }
    }

    fn of(error: &AppendError) -> Self {
        match error {
            AppendError::Full { .. } | AppendError::Busy { .. } => Self::Full,
            AppendError::Unknown { .. } => Self::Unknown,
            AppendError::TooLarge { .. } => Self::TooLarge,
            AppendError::Catalog(_) => Self::Catalog,
            AppendError::Corrupt { .. } => Self::Corrupt,
            AppendError::Stopped => Self::Stopped,
            AppendError::OutOfOrder { .. } => Self::OutOfOrder,
            AppendError::Fenced { .. } => Self::Fenced,
        }
    }
}

/// A durable group.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupMeasured {
    pub(super) append_us: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Default for Measured {
    fn default() -> Self {
        let empty = || Histogram::new_with_bounds(1, VALUE_MAX, DIGITS).expect("bounds in order");
        Self {
            distributions: Mutex::new(Measure::ALL.map(|_| empty())),
            refused: Refused::ALL.map(|_| AtomicU64::new(0)),
        }
    }
}

impl Measured {
    pub(super) fn group(&self, group: GroupMeasured) {
        let mut distributions = self.distributions.lock();
        let mut record = |measure: Measure, value: u64| {
            distributions[measure as usize].saturating_record(value);
        };
        record(Measure::AppendUs, group.append_us);
        record(Measure::GroupRows, group.rows);
        record(Measure::GroupBytes, group.bytes);
    }

    pub(super) fn synced(&self, micros: u64) {
        self.distributions.lock()[Measure::SyncUs as usize].saturating_record(micros);
    }

    pub(super) fn refused(&self, error: &AppendError, appends: u64) {
        self.refused[Refused::of(error) as usize].fetch_add(appends, Ordering::Relaxed);
    }

    /// Appends refused for a reason so far.
    pub fn refusals(&self, reason: Refused) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }

    /// How the values of `measure` are spread, as of now.
    pub fn distribution(&self, measure: Measure) -> Distribution {
        Distribution(self.distributions.lock()[measure as usize].clone())
    }
}

/// Values as they were when it was asked for; each within 1 %.
#[derive(Debug, Clone)]
pub struct Distribution(Histogram<u64>);

impl Distribution {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// How many were at most `bound`.
    pub fn count_up_to(&self, bound: u64) -> u64 {
        self.0.count_between(0, bound)
    }

    /// About their sum.
    pub fn sum(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people and graphs")]
        let count = self.0.len() as f64;
        self.0.mean() * count
    }

    /// The value that the share `quantile` of them does not exceed; 0 while there is none.
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PartitionId;

    #[test]
    fn values_are_found_again_within_a_hundredth() {
        let measured = Measured::default();
        for n in 1..=1_000_u64 {
            measured.group(GroupMeasured { append_us: n * 10, rows: n, bytes: n * 40 });
            measured.synced(17);
        }
        let rows = measured.distribution(Measure::GroupRows);
        assert_eq!(rows.count(), 1_000);
        assert!((495..=505).contains(&rows.quantile(0.5)), "{}", rows.quantile(0.5));
        assert!((99..=101).contains(&rows.count_up_to(100)), "{}", rows.count_up_to(100));
        assert!((rows.sum() / 500_500.0 - 1.0).abs() < 0.01, "{}", rows.sum());
        assert_eq!(measured.distribution(Measure::SyncUs).quantile(0.999), 17);
        let appends = measured.distribution(Measure::AppendUs);
        assert!((9_800..=10_200).contains(&appends.quantile(0.999)));
    }

    #[test]
    fn what_lies_beyond_the_bounds_is_counted_at_them() {
        let measured = Measured::default();
        measured.synced(0);
        measured.synced(u64::MAX);
        let syncs = measured.distribution(Measure::SyncUs);
        assert_eq!(syncs.count(), 2);
        assert_eq!(syncs.count_up_to(u64::MAX), 2);
    }

    #[test]
    fn refusals_are_counted_by_their_reason() {
        let measured = Measured::default();
        measured.refused(&AppendError::Full { partition: PartitionId(0) }, 3);
        measured.refused(&AppendError::Stopped, 1);
        let counted: Vec<u64> = Refused::ALL.map(|reason| measured.refusals(reason)).to_vec();
        assert_eq!(counted, [3, 0, 0, 0, 0, 1, 0, 0]);
    }
}
