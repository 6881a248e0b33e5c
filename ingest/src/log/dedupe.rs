//! Deduplication by id: which hashes were stored within a window of append time.
//!
//! Promise: pure; bounded in bytes, the oldest leave early when it is full.

use crate::model::AppendTime;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

/// Bytes one remembered hash takes, in the set and in the queue, with their slack.
const ENTRY_BYTES: u64 = 64;

/// Whether a row is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Not seen within the window; remembered now.
    New,
    /// Seen within the window.
    Duplicate,
}

/// The ids of one partition.
#[derive(Debug)]
pub struct DedupeWindow {
    window_us: i64,
    entries_max: usize,
    order: VecDeque<([u8; 16], AppendTime)>,
    seen: HashSet<[u8; 16], BuildHasherDefault<FirstBytes>>,
    newest: AppendTime,
    left_early: bool,
}

impl DedupeWindow {
    /// A window of append time that takes at most `bytes_max` of memory.
    pub fn new(window: Duration, bytes_max: u64) -> Self {
        Self {
            window_us: i64::try_from(window.as_micros()).unwrap_or(i64::MAX),
            entries_max: usize::try_from(bytes_max / ENTRY_BYTES).unwrap_or(usize::MAX).max(1),
            order: VecDeque::new(),
            seen: HashSet::default(),
            newest: AppendTime(i64::MIN),
            left_early: false,
        }
    }

    /// Remembers `hash` at `at`, unless it stands in the window already.
    pub fn admit(&mut self, hash: [u8; 16], at: AppendTime) -> Admission {
        self.expire(at);
        if !self.seen.insert(hash) {
            return Admission::Duplicate;
        }
        self.order.push_back((hash, at));
        if self.order.len() > self.entries_max {
            self.left_early = true;
            self.forget_oldest();
        }
        Admission::New
    }

    /// Forgets the newest `n` admitted hashes: their rows were not stored.
    pub fn take_back(&mut self, n: usize) {
        for _ in 0..n {
            if let Some((hash, _)) = self.order.pop_back() {
                self.seen.remove(&hash);
            }
        }
    }

    /// The window it really keeps: shorter than asked for when it is full.
    pub fn true_window(&self) -> Duration {
        let configured = Duration::from_micros(self.window_us.cast_unsigned());
        match self.order.front() {
            Some((_, oldest)) if self.left_early => {
                let kept = self.newest.0.saturating_sub(oldest.0).max(0).cast_unsigned();
                configured.min(Duration::from_micros(kept))
            }
            _ => configured,
        }
    }

    /// Hashes remembered.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn expire(&mut self, at: AppendTime) {
        self.newest = self.newest.max(at);
        while let Some((_, oldest)) = self.order.front() {
            if at.0.saturating_sub(oldest.0) < self.window_us {
                break;
            }
            self.left_early = false;
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((hash, _)) = self.order.pop_front() {
            self.seen.remove(&hash);
        }
    }
}

/// The keys are hashes already: their first bytes will do.
#[derive(Debug, Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn hash(n: u8) -> [u8; 16] {
        [n; 16]
    }

    #[test]
    fn an_id_is_a_duplicate_within_the_window_and_new_after_it() {
        let mut window = DedupeWindow::new(Duration::from_micros(100), 1 << 20);
        assert_eq!(window.admit(hash(1), AppendTime(0)), Admission::New);
        assert_eq!(window.admit(hash(1), AppendTime(99)), Admission::Duplicate);
        assert_eq!(window.admit(hash(1), AppendTime(100)), Admission::New);
    }

    #[test]
    fn a_full_window_forgets_the_oldest_and_says_how_long_it_is() {
        let mut window = DedupeWindow::new(Duration::from_micros(1_000), 2 * ENTRY_BYTES);
        for n in 0..3 {
            window.admit(hash(n), AppendTime(i64::from(n) * 10));
        }
        assert_eq!(window.len(), 2);
        assert_eq!(window.true_window(), Duration::from_micros(10));
        assert_eq!(window.admit(hash(0), AppendTime(30)), Admission::New);
    }

    #[test]
    fn rows_that_were_not_stored_are_no_duplicates_later() {
        let mut window = DedupeWindow::new(Duration::from_secs(1), 1 << 20);
        window.admit(hash(1), AppendTime(0));
        window.admit(hash(2), AppendTime(1));
        window.take_back(1);
        assert_eq!(window.admit(hash(2), AppendTime(2)), Admission::New);
        assert_eq!(window.admit(hash(1), AppendTime(2)), Admission::Duplicate);
    }
}
