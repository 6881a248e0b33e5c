//! Holds: from where on somebody still needs the rows of a partition.
//!
//! Promise (L3): while a hold stands nothing from its offset on is removed. One that would keep more
//! than its bytes of what retention does not want is released first, and whoever has it is told.

use crate::model::Offset;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Bytes of one partition that a rule or a subscription may keep beyond what retention keeps, where
/// nobody says otherwise.
pub const HOLD_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// All holds of a log.
#[derive(Debug, Default)]
pub(super) struct Holds {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    held: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    name: String,
    bytes_max: u64,
    /// By partition.
    from: BTreeMap<u64, Offset>,
    released: watch::Sender<bool>,
}

/// A hold; it ends when this is dropped.
#[derive(Debug)]
pub struct Hold {
    holds: Arc<Holds>,
    number: u64,
    released: watch::Receiver<bool>,
}

/// The hold that keeps the most of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBy {
    /// Whose it is.
    pub name: String,
    /// From here on nothing is removed.
    pub from: Offset,
}

impl Hold {
    /// Needs the rows of the partition `uid` from `from` on; earlier ones may go from now on.
    pub fn keep(&self, uid: u64, from: Offset) {
        if let Some(held) = self.holds.inner.lock().held.get_mut(&self.number) {
            held.from.insert(uid, from);
        }
    }

    /// Needs nothing of the partition `uid` any more.
    pub fn let_go(&self, uid: u64) {
        if let Some(held) = self.holds.inner.lock().held.get_mut(&self.number) {
            held.from.remove(&uid);
        }
    }

    /// Turns true when the hold was taken away because it kept too much.
    pub fn released(&self) -> watch::Receiver<bool> {
        self.released.clone()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.inner.lock().held.remove(&self.number);
    }
}

impl Holds {
    /// A hold of `name` that may keep `bytes_max` beyond what retention keeps; of nothing yet.
    pub(super) fn hold(self: &Arc<Self>, name: &str, bytes_max: u64) -> Hold {
        let (sender, released) = watch::channel(false);
        let mut inner = self.inner.lock();
        let number = inner.next;
        inner.next += 1;
        let from = BTreeMap::new();
        let held = Held { name: name.to_owned(), bytes_max, from, released: sender };
        inner.held.insert(number, held);
        drop(inner);
        Hold { holds: Arc::clone(self), number, released }
    }

    /// The hold that keeps the most of a partition.
    pub(super) fn oldest(&self, uid: u64) -> Option<HeldBy> {
        let inner = self.inner.lock();
        let of = |held: &Held| {
            held.from.get(&uid).map(|from| HeldBy { name: held.name.clone(), from: *from })
        };
        inner.held.values().filter_map(of).min_by_key(|held| held.from)
    }

    /// Releases the holds on a partition that keep more than they may; `kept` gives the bytes that
    /// retention would remove and a hold from an offset on keeps. Which they were.
    pub(super) fn release_over(&self, uid: u64, kept: impl Fn(Offset) -> u64) -> Vec<HeldBy> {
        let mut inner = self.inner.lock();
        let over =
            |held: &Held| held.from.get(&uid).is_some_and(|from| kept(*from) > held.bytes_max);
        let numbers: Vec<u64> =
            inner.held.iter().filter(|(_, held)| over(held)).map(|(number, _)| *number).collect();
        let released = numbers.iter().filter_map(|number| inner.held.remove(number));
        released
            .map(|held| {
                held.released.send_replace(true);
                let from = held.from.get(&uid).copied().unwrap_or_default();
                HeldBy { name: held.name, from }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hold_that_needs_the_oldest_row_counts_until_it_is_dropped() {
        let holds = Arc::new(Holds::default());
        let (a, b) = (holds.hold("a", 100), holds.hold("b", 100));
        assert_eq!(holds.oldest(1), None);
        a.keep(1, Offset(10));
        b.keep(1, Offset(5));
        b.keep(2, Offset(0));
        assert_eq!(holds.oldest(1), Some(HeldBy { name: "b".to_owned(), from: Offset(5) }));
        b.keep(1, Offset(20));
        assert_eq!(holds.oldest(1).map(|held| held.name).as_deref(), Some("a"));
        drop(a);
        assert_eq!(holds.oldest(1).map(|held| held.from), Some(Offset(20)));
        b.let_go(1);
        assert_eq!(holds.oldest(1), None);
        assert_eq!(holds.oldest(2).map(|held| held.from), Some(Offset(0)));
    }

    #[test]
    fn a_hold_that_keeps_too_much_is_taken_away_and_told() {
        let holds = Arc::new(Holds::default());
        let (a, b) = (holds.hold("a", 100), holds.hold("b", 1_000));
        a.keep(1, Offset(0));
        b.keep(1, Offset(0));
        let told = a.released();
        assert!(!*told.borrow());
        assert_eq!(holds.release_over(1, |_| 100), []);
        let released = HeldBy { name: "a".to_owned(), from: Offset(0) };
        assert_eq!(holds.release_over(1, |_| 101), [released]);
        assert!(*told.borrow());
        assert_eq!(holds.oldest(1).map(|held| held.name).as_deref(), Some("b"));
        a.keep(1, Offset(0));
        assert_eq!(holds.release_over(1, |_| 500), [], "it is gone for good");
    }
}
