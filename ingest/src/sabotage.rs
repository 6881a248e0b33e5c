//! Deliberate faults of the log, so that tests can show that they would find them.
//!
//! Promise: a release build has none of this: there [`is`] is a constant and no fault can be chosen.
//! With debug assertions a test chooses one fault for its own thread, as long as a guard lives; nothing
//! that a user can say reaches it. A thread's own switch, for the checks that run under it are
//! synchronous (only a log that is pumped by hand commits its faults), and tests beside them must not
//! notice; debug assertions and no feature, for a feature would have everything built twice.
//! Elsewhere: each fault stands in one line at its place; `tests/log/sabotage.rs` lists what finds it.
//! The engine has faults of its own, and this switch.

/// What can be done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A group is told to be durable without fdatasync.
    SkipDataSync,
    /// The name of a new segment is not made durable.
    SkipDirectorySync,
    /// Rows are confirmed before they are written.
    AckEarly,
    /// A sync that failed counts as one that did not.
    SwallowEio,
    /// After a failed sync the same file is synced again, and believed.
    RetrySync,
    /// A start gives the last offset once more.
    ReuseOffsets,
    /// A file of an earlier incarnation counts as one of this.
    StaleEpoch,
    /// What is known of producers is not part of the seal.
    SnapshotDropped,
    /// The catalog learns of a series after rows of it were confirmed.
    CatalogAfterFrame,
    /// Rows are confirmed while the group before theirs is being synced.
    NextEarly,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::SkipDataSync,
        Self::SkipDirectorySync,
        Self::AckEarly,
        Self::SwallowEio,
        Self::RetrySync,
        Self::ReuseOffsets,
        Self::StaleEpoch,
        Self::SnapshotDropped,
        Self::CatalogAfterFrame,
        Self::NextEarly,
    ];
}

/// Whether this fault was chosen on this thread. The faults may be another crate's.
#[cfg(not(debug_assertions))]
pub const fn is<F: Copy>(_: F) -> bool {
    false
}

#[cfg(debug_assertions)]
pub use switch::{Sabotaged, commit, is};

#[cfg(debug_assertions)]
mod switch {
    use std::any::Any;
    use std::cell::RefCell;

    thread_local! {
        static CHOSEN: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }

    /// Whether this fault was chosen on this thread. The faults may be another crate's.
    pub fn is<F: Copy + PartialEq + 'static>(fault: F) -> bool {
        let chosen = |chosen: &Option<Box<dyn Any>>| {
            chosen.as_ref().and_then(|chosen| chosen.downcast_ref()) == Some(&fault)
        };
        CHOSEN.with_borrow(chosen)
    }

    /// A fault is committed on this thread as long as this lives.
    #[derive(Debug)]
    #[must_use = "the fault ends with it"]
    pub struct Sabotaged(());

    /// Commits a fault on this thread.
    pub fn commit<F: Copy + PartialEq + 'static>(fault: F) -> Sabotaged {
        CHOSEN.set(Some(Box::new(fault)));
        Sabotaged(())
    }

    impl Drop for Sabotaged {
        fn drop(&mut self) {
            CHOSEN.set(None);
        }
    }
}
