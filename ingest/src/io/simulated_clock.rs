//! A clock that stands still until it is told to move.

use super::Clock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Wall and monotonic time as a test or a replay sets them.
#[derive(Debug)]
pub struct SimulatedClock {
    wall_us: AtomicI64,
    monotonic_us: AtomicU64,
}

impl SimulatedClock {
    /// A clock whose wall shows `wall_us`.
    pub fn at(wall_us: i64) -> Self {
        Self { wall_us: AtomicI64::new(wall_us), monotonic_us: AtomicU64::new(0) }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.monotonic_us.fetch_add(us, Ordering::SeqCst);
        self.wall_us.fetch_add(us.cast_signed(), Ordering::SeqCst);
    }

    /// Moves the wall clock forward to `wall_us`, and the monotonic one as far; never back.
    pub fn advance_to(&self, wall_us: i64) {
        let before = self.wall_us.fetch_max(wall_us, Ordering::SeqCst);
        let us = wall_us.saturating_sub(before).max(0).cast_unsigned();
        self.monotonic_us.fetch_add(us, Ordering::SeqCst);
    }

    /// Sets the wall clock, as an operator or a time server does; the monotonic one does not move.
    pub fn step_wall(&self, wall_us: i64) {
        self.wall_us.store(wall_us, Ordering::SeqCst);
    }
}

impl Clock for SimulatedClock {
    fn wall_us(&self) -> i64 {
        self.wall_us.load(Ordering::SeqCst)
    }

    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::SeqCst)
    }
}
