//! Whether the wall clock is to be believed.
//!
//! Promise: a wall clock that moves more than an hour away from the monotonic clock, or that stands more
//! than an hour before the newest append at a start, is suspect until it agrees again or somebody accepts
//! it; a start long after the newest append is downtime. Pure but for the record of what was accepted.
//! Elsewhere: what stops meanwhile is the keeper's and the ticker's, the alarm is the engine's.

use super::catalog::{Catalog, Change};
use super::errors::CatalogError;
use crate::model::AppendTime;
use parking_lot::Mutex;

/// How far the clocks may be apart.
pub const CLOCK_AGREES_WITHIN_US: i64 = 3_600_000_000;

/// Its entry in the catalog.
const SPACE: &str = "log";
const ACCEPTED: &str = "clock_accepted";

/// How the wall clock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockState {
    /// As it should be.
    Agrees,
    /// It moved so far away from the monotonic clock while the process ran; negative: back.
    Moved {
        /// Microseconds.
        by_us: i64,
    },
    /// It stands so far before the newest append there was at the start.
    BeforeTheLog {
        /// Microseconds.
        by_us: i64,
    },
}

impl ClockState {
    /// Whether times are not to be believed.
    pub fn is_suspect(self) -> bool {
        self != Self::Agrees
    }
}

impl std::fmt::Display for ClockState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = |us: &i64| us.unsigned_abs() / 1_000_000;
        match self {
            Self::Agrees => f.write_str("the wall clock agrees with the log"),
            Self::Moved { by_us } => {
                let way = if *by_us < 0 { "back" } else { "forward" };
                write!(
                    f,
                    "the wall clock went {} s {way} beside the time that passed",
                    seconds(by_us)
                )
            }
            Self::BeforeTheLog { by_us } => {
                write!(
                    f,
                    "the wall clock stands {} s before the newest row of the log",
                    seconds(by_us)
                )
            }
        }
    }
}

/// What was accepted: the wall clock and the newest append at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    wall_us: i64,
    newest: AppendTime,
}

impl Accepted {
    /// How far the wall clock may stand before the log without a word.
    fn allows_us(self) -> i64 {
        self.newest.0.saturating_sub(self.wall_us).max(0)
    }

    pub(super) fn read(catalog: &Catalog) -> Result<Option<Self>, CatalogError> {
        let Some(value) = catalog.get(SPACE, ACCEPTED)? else { return Ok(None) };
        let ([wall, newest], []) = value.as_chunks::<8>() else {
            let (entry, detail) = (ACCEPTED.to_owned(), "wrong length".to_owned());
            return Err(CatalogError::Damaged { entry, detail });
        };
        Ok(Some(Self {
            wall_us: i64::from_le_bytes(*wall),
            newest: AppendTime(i64::from_le_bytes(*newest)),
        }))
    }

    /// What the catalog is to say when the wall clock is accepted as it is.
    pub(super) fn change(wall_us: i64, newest: AppendTime) -> Change {
        let (space, key) = (SPACE, ACCEPTED.to_owned());
        match newest.0.saturating_sub(wall_us) > CLOCK_AGREES_WITHIN_US {
            true => {
                let value = [wall_us.to_le_bytes(), newest.0.to_le_bytes()].concat();
                Change::Put { space, key, value }
            }
            false => Self::none(),
        }
    }

    /// Nothing is accepted any more.
    pub(super) fn none() -> Change {
        Change::Remove { space: SPACE, key: ACCEPTED.to_owned() }
    }
}

/// Compares the clocks.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What the wall clock shows when the monotonic one shows 0.
    wall_at_zero_us: i64,
    /// The newest append at the start, while the wall clock stands before it.
    newest: Option<AppendTime>,
    /// What was told last.
    told: bool,
}

impl ClockWatch {
    /// The log was opened.
    pub(super) fn begin(
        &self,
        (wall_us, monotonic_us): (i64, u64),
        newest: Option<AppendTime>,
        accepted: Option<Accepted>,
    ) {
        let before_us = newest.map_or(0, |newest| newest.0.saturating_sub(wall_us));
        let allowed_us = accepted.map_or(0, Accepted::allows_us);
        let mut inner = self.inner.lock();
        inner.wall_at_zero_us = wall_us - monotonic_us.cast_signed();
        let suspect = before_us.saturating_sub(allowed_us) > CLOCK_AGREES_WITHIN_US;
        inner.newest = newest.filter(|_| suspect);
    }

    /// How the wall clock is now.
    pub(super) fn look(&self, (wall_us, monotonic_us): (i64, u64)) -> ClockState {
        let mut inner = self.inner.lock();
        let wall_at_zero_us = wall_us - monotonic_us.cast_signed();
        if let Some(newest) = inner.newest {
            let by_us = newest.0.saturating_sub(wall_us);
            if by_us > CLOCK_AGREES_WITHIN_US {
                return ClockState::BeforeTheLog { by_us };
            }
            // Time went by, or it was set right.
            inner.newest = None;
            inner.wall_at_zero_us = wall_at_zero_us;
        }
        let by_us = wall_at_zero_us.saturating_sub(inner.wall_at_zero_us);
        match by_us.abs() > CLOCK_AGREES_WITHIN_US {
            true => ClockState::Moved { by_us },
            false => ClockState::Agrees,
        }
    }

    /// As [`Self::look`]; also whether it has become suspect, or is no more, since the last time.
    pub(super) fn look_for_change(&self, now: (i64, u64)) -> (ClockState, bool) {
        let state = self.look(now);
        let before = std::mem::replace(&mut self.inner.lock().told, state.is_suspect());
        (state, before != state.is_suspect())
    }

    /// The wall clock is right as it is.
    pub(super) fn accept(&self, (wall_us, monotonic_us): (i64, u64)) {
        let mut inner = self.inner.lock();
        inner.newest = None;
        inner.wall_at_zero_us = wall_us - monotonic_us.cast_signed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = CLOCK_AGREES_WITHIN_US;

    fn begun(wall: i64, newest: i64, accepted: Option<Accepted>) -> ClockWatch {
        let watch = ClockWatch::default();
        watch.begin((wall, 7), Some(AppendTime(newest)), accepted);
        watch
    }

    #[test]
    fn a_clock_that_is_set_while_the_process_runs_is_suspect_until_it_is_back() {
        let watch = begun(100 * HOUR, 99 * HOUR, None);
        let at = |wall, passed: i64| watch.look((wall, 7 + passed.cast_unsigned()));
        assert_eq!(at(103 * HOUR, 3 * HOUR), ClockState::Agrees, "time passed");
        assert_eq!(at(104 * HOUR, 3 * HOUR), ClockState::Agrees, "an hour is allowed");
        assert_eq!(at(104 * HOUR + 1, 3 * HOUR), ClockState::Moved { by_us: HOUR + 1 });
        assert_eq!(at(101 * HOUR, 3 * HOUR), ClockState::Moved { by_us: -2 * HOUR });
        assert_eq!(at(104 * HOUR, 4 * HOUR), ClockState::Agrees);
    }

    #[test]
    fn a_start_long_after_the_newest_row_is_downtime_and_one_before_it_is_suspect() {
        assert_eq!(begun(900 * HOUR, 9 * HOUR, None).look((900 * HOUR, 7)), ClockState::Agrees);
        let watch = begun(5 * HOUR, 9 * HOUR, None);
        assert_eq!(watch.look((5 * HOUR, 7)), ClockState::BeforeTheLog { by_us: 4 * HOUR });
        assert_eq!(
            watch.look((9 * HOUR, 8)),
            ClockState::Agrees,
            "set right, which is no second fault"
        );
        assert_eq!(watch.look((11 * HOUR, 8)), ClockState::Moved { by_us: 2 * HOUR });
    }

    #[test]
    fn what_is_accepted_stays_so_also_at_the_next_start() {
        let watch = begun(5 * HOUR, 9 * HOUR, None);
        watch.accept((5 * HOUR, 8));
        assert_eq!(watch.look((5 * HOUR, 8)), ClockState::Agrees);
        let accepted = Some(Accepted { wall_us: 5 * HOUR, newest: AppendTime(9 * HOUR) });
        let again = |wall, newest| begun(wall, newest, accepted).look((wall, 7));
        assert_eq!(again(6 * HOUR, 9 * HOUR + 1_000), ClockState::Agrees);
        let by_us = 6 * HOUR;
        assert_eq!(again(3 * HOUR, 9 * HOUR), ClockState::BeforeTheLog { by_us }, "again back");
    }
}
