//! Append times: one strictly growing clock for all partitions of a process.
//!
//! Promise: `draw` never returns the same or an earlier time twice, and never one at or below what
//! `floor` has returned, whatever the wall clock does.

use crate::io::Clock;
use crate::model::AppendTime;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Gives every frame its place in time: max(previous + 1 us, wall).
#[derive(Debug)]
pub struct AppendClock {
    clock: Arc<dyn Clock>,
    last_us: AtomicI64,
}

impl AppendClock {
    /// A clock above everything up to `newest`, which is on disk already.
    pub fn above(clock: Arc<dyn Clock>, newest: AppendTime) -> Self {
        Self { clock, last_us: AtomicI64::new(newest.0) }
    }

    /// Puts the clock above `newest`.
    pub(super) fn raise(&self, newest: AppendTime) {
        self.last_us.fetch_max(newest.0, Ordering::SeqCst);
    }

    /// The next append time.
    pub fn draw(&self) -> AppendTime {
        let wall = self.clock.wall_us();
        let next = |last: i64| last.saturating_add(1).max(wall);
        let before = self
            .last_us
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)))
            .unwrap_or_else(|last| last);
        AppendTime(next(before))
    }

    /// A time that every later `draw` is above: now, while the wall clock goes forward.
    pub fn floor(&self) -> AppendTime {
        let wall = self.clock.wall_us() - 1;
        AppendTime(self.last_us.fetch_max(wall, Ordering::SeqCst).max(wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SimulatedClock;

    #[test]
    fn append_times_grow_when_the_wall_clock_stands_or_goes_back() {
        let wall = Arc::new(SimulatedClock::at(1_000));
        let clock = AppendClock::above(Arc::clone(&wall) as Arc<dyn Clock>, AppendTime(500));
        assert_eq!(clock.draw(), AppendTime(1_000));
        assert_eq!(clock.draw(), AppendTime(1_001));
        wall.step_wall(10);
        assert_eq!(clock.floor(), AppendTime(1_001));
        assert_eq!(clock.draw(), AppendTime(1_002));
    }

    #[test]
    fn nothing_is_drawn_at_or_below_the_floor() {
        let wall = Arc::new(SimulatedClock::at(1_000));
        let clock = AppendClock::above(Arc::clone(&wall) as Arc<dyn Clock>, AppendTime(0));
        let floor = clock.floor();
        assert!(clock.draw() > floor);
        wall.step_wall(5_000);
        assert_eq!(clock.floor(), AppendTime(4_999), "an idle partition lets time pass");
    }
}
