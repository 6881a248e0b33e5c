//! Which segments may go: pure.
//!
//! Promise (L3): never one with a row that is held, never the newest.

use super::entry::SegmentInfo;
use crate::model::{AppendTime, Offset, Retention};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What retention did since the start, and whether it goes by itself yet.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Whoever needs old rows has said so.
    pub(super) begun: AtomicBool,
    pub(super) segments: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) released: AtomicU64,
    /// Those that nobody was told of yet.
    pub(super) untold: Mutex<VecDeque<ReleasedHold>>,
}

/// Holds that are remembered until somebody asks.
const UNTOLD_MAX: usize = 1024;

/// A hold that was taken away because it kept too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedHold {
    /// Whose it was.
    pub name: String,
    /// Where it kept too much.
    pub partition: String,
    /// From which row on.
    pub from: Offset,
    /// When.
    pub at: AppendTime,
}

/// What retention did since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Segments removed.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Holds that kept too much and were taken away.
    pub holds_released: u64,
}

impl Removals {
    pub(super) fn note_released(&self, hold: ReleasedHold) {
        self.released.fetch_add(1, Ordering::Relaxed);
        let mut untold = self.untold.lock();
        if untold.len() == UNTOLD_MAX {
            untold.pop_front();
        }
        untold.push_back(hold);
    }

    pub(super) fn now(&self) -> Removed {
        Removed {
            segments: self.segments.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            holds_released: self.released.load(Ordering::Relaxed),
        }
    }
}

/// How many of the oldest segments the policy does not keep at `now`. `parts` is the number of
/// partitions that share its bytes.
pub(super) fn expired(
    segments: &[SegmentInfo],
    policy: Retention,
    parts: u32,
    now: AppendTime,
) -> usize {
    let oldest_kept = policy.age.map(|age| {
        let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        AppendTime(now.0.saturating_sub(age_us))
    });
    let bytes_max = policy.bytes.map(|bytes| bytes / u64::from(parts.max(1)));
    let mut bytes: u64 = segments.iter().map(|s| s.bytes).sum();
    let older = segments.split_last().map_or(&[][..], |(_, older)| older);
    let mut expired = 0;
    for segment in older {
        let too_old = oldest_kept.is_some_and(|oldest| segment.max_append_time < oldest);
        let too_much = bytes_max.is_some_and(|max| bytes > max);
        if !segment.sealed || !(too_old || too_much) {
            break;
        }
        bytes -= segment.bytes;
        expired += 1;
    }
    expired
}

/// How many of the first `expired` segments end at or before `held`: what may go now.
pub(super) fn free(segments: &[SegmentInfo], expired: usize, held: Option<Offset>) -> usize {
    let Some(held) = held else { return expired };
    segments.iter().take(expired).take_while(|s| s.end_offset <= held).count()
}

#[cfg(test)]
mod tests;
