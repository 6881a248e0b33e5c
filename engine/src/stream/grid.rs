//! The grid of TUMBLE and HOP: which pane and which windows an instant lies in.
//!
//! Promise: windows are `[start, end)`; edges lie on the UTC epoch plus `offset`, or with a zone on its
//! wall clock, so that a daily window is the local day, 23 or 25 hours long where clocks change.
//! Panes are the pieces windows are made of, gcd(size, slide) long; they and the windows' starts are
//! numbered alike, in order of time.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// A window's or pane's number: that of the pane it starts with.
pub type PaneIndex = i64;

/// Sizes and alignment of windows, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Length of a window.
    pub size_us: i64,
    /// Distance from one window's start to the next one's; the size for TUMBLE.
    pub slide_us: i64,
    /// Distance of the grid from the epoch (UTC, or the zone's wall clock).
    pub offset_us: i64,
    /// The zone whose wall clock the edges lie on; `None` is UTC.
    pub zone: Option<Tz>,
}

impl Grid {
    /// Pieces a window may be made of, and so windows a reading may lie in.
    pub const PANES_MAX: i64 = 10_000;

    /// Windows one after another.
    pub fn tumble(size_us: i64, offset_us: i64) -> Self {
        Self { size_us, slide_us: size_us, offset_us, zone: None }
    }

    /// Length of a pane.
    pub fn pane_us(&self) -> i64 {
        gcd(self.size_us, self.slide_us)
    }

    /// How many panes a window has.
    pub fn panes_per_window(&self) -> i64 {
        self.size_us / self.pane_us()
    }

    /// From one window's number to the next one's.
    pub fn step(&self) -> i64 {
        self.slide_us / self.pane_us()
    }

    /// The pane that holds `time`.
    pub fn pane(&self, time: i64) -> PaneIndex {
        let Some(zone) = self.zone else {
            return (time - self.offset_us).div_euclid(self.pane_us());
        };
        let mut pane = (local(zone, time) - self.offset_us).div_euclid(self.pane_us());
        // Where an hour comes twice the wall clock alone does not tell which pane it is.
        while self.edge(pane + 1) <= time {
            pane += 1;
        }
        while self.edge(pane) > time {
            pane -= 1;
        }
        pane
    }

    /// Where a pane, and a window of that number, starts.
    pub fn edge(&self, pane: PaneIndex) -> i64 {
        let wall = pane.saturating_mul(self.pane_us()).saturating_add(self.offset_us);
        self.zone.map_or(wall, |zone| utc(zone, wall))
    }

    /// Where a window ends.
    pub fn end(&self, window: PaneIndex) -> i64 {
        self.edge(window + self.panes_per_window())
    }

    /// The first window that holds a pane.
    pub fn first_window(&self, pane: PaneIndex) -> PaneIndex {
        let least = pane - self.panes_per_window() + 1;
        -((-least).div_euclid(self.step())) * self.step()
    }

    /// The last window that holds a pane; before the first one if none does.
    pub fn last_window(&self, pane: PaneIndex) -> PaneIndex {
        pane.div_euclid(self.step()) * self.step()
    }

    /// The windows that hold a pane, in order.
    pub fn windows(&self, pane: PaneIndex) -> impl Iterator<Item = PaneIndex> + use<> {
        let step = usize::try_from(self.step()).expect("a slide is longer than zero");
        (self.first_window(pane)..=self.last_window(pane)).step_by(step)
    }

    /// The first window after `window` that a pane from `pane` on lies in.
    pub fn next_window(&self, window: Option<PaneIndex>, pane: PaneIndex) -> PaneIndex {
        let first = self.first_window(pane);
        window.map_or(first, |window| first.max(window + self.step()))
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What the wall clock of `zone` shows at `time`, as microseconds since its 1970.
fn local(zone: Tz, time: i64) -> i64 {
    time.saturating_add(offset_at(zone, time))
}

fn offset_at(zone: Tz, time: i64) -> i64 {
    DateTime::from_timestamp_micros(time).map_or(0, |utc| {
        let offset = zone.offset_from_utc_datetime(&utc.naive_utc());
        i64::from(offset.fix().local_minus_utc()) * 1_000_000
    })
}

/// When the wall clock of `zone` first shows `wall`; if it never does, when it jumps past it.
fn utc(zone: Tz, wall: i64) -> i64 {
    let Some(naive) = naive(wall) else { return wall };
    match zone.offset_from_local_datetime(&naive) {
        LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => {
            wall - i64::from(offset.fix().local_minus_utc()) * 1_000_000
        }
        LocalResult::None => jump(zone, wall),
    }
}

fn naive(wall: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(wall).map(|time| time.naive_utc())
}

/// The first instant at which the clock of `zone` shows `wall` or later, by halving two days.
fn jump(zone: Tz, wall: i64) -> i64 {
    const DAY_US: i64 = 86_400_000_000;
    let (mut before, mut after) = (wall - DAY_US, wall + DAY_US);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if local(zone, middle) >= wall {
            after = middle;
        } else {
            before = middle;
        }
    }
    after
}

#[cfg(test)]
mod tests;
