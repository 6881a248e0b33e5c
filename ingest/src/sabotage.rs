//! Deliberate faults of the log, so that tests can show that they would find them.
//!
//! Promise: a release build has none of this: there [`is`] is a constant and no fault can be chosen.
//! With debug assertions a test chooses one fault for its own thread, as long as a guard lives; nothing
//! that a user can say reaches it. Only a log that is pumped by hand, on that thread, commits it.
//! Elsewhere: each fault stands in one line at its place; `tests/log/sabotage.rs` lists what finds it.

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
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::SkipDataSync,
        Self::SkipDirectorySync,
        Self::AckEarly,
        Self::SwallowEio,
        Self::RetrySync,
        Self::ReuseOffsets,
        Self::StaleEpoch,
        Self::SnapshotDropped,
        Self::CatalogAfterFrame,
    ];
}

/// Whether this fault was chosen on this thread.
#[cfg(not(debug_assertions))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}

#[cfg(debug_assertions)]
pub(crate) use switch::is;
#[cfg(debug_assertions)]
pub use switch::{Sabotaged, commit};

#[cfg(debug_assertions)]
mod switch {
    use super::Fault;
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Whether this fault was chosen on this thread.
    pub(crate) fn is(fault: Fault) -> bool {
        CHOSEN.get() == Some(fault)
    }

    /// A fault is committed on this thread as long as this lives.
    #[derive(Debug)]
    #[must_use = "the fault ends with it"]
    pub struct Sabotaged(());

    /// Commits a fault on this thread.
    pub fn commit(fault: Fault) -> Sabotaged {
        CHOSEN.set(Some(fault));
        Sabotaged(())
    }

    impl Drop for Sabotaged {
        fn drop(&mut self) {
            CHOSEN.set(None);
        }
    }
}
