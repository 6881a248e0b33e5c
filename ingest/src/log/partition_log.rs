//! A partition as those see it who append to it and read it, wherever its rows are kept.
//!
//! Promise: what is said here holds for every implementation: `tests/conformance` puts the same suite
//! to each of them and to a model. Elsewhere: [`Partition`] keeps rows on this machine's disk,
//! `crate::kafka` in a topic of a cluster.

use super::entry::{Ends, LogEntry, TickKind};
use super::errors::{GroupError, ReadError, TrimError};
use super::partition::Partition;
use super::reader::PartitionReader;
use super::receipt::Receipt;
use crate::model::{EventTime, Offset, PartitionId};
use arrow::array::RecordBatch;
use std::fmt::Debug;
use std::sync::Arc;

/// One partition of a log.
///
/// Offsets grow and are never reused. Whether they are dense is the implementation's: a cluster uses
/// some up for itself. The rows of one entry always stand at consecutive ones.
pub trait PartitionLog: Debug + Send + Sync {
    /// Its number in its stream.
    fn id(&self) -> PartitionId;

    /// Queues rows in stored form. The receipt resolves when all of them are durable, with the offset
    /// of the first; the order of the calls is that of the offsets.
    fn append(&self, rows: RecordBatch) -> Receipt;

    /// Queues a tick. It stands behind every row that was confirmed before, and before every row that
    /// is appended after its receipt.
    fn append_tick(&self, event_time: EventTime, kind: TickKind) -> Receipt;

    /// A reader that begins with the entry that holds `from`, whole, or with the first one behind it.
    /// From 0 it begins with the oldest row kept; from another row that is gone, with a gap.
    /// # Errors
    /// The log cannot be asked.
    fn read_from(self: Arc<Self>, from: Offset) -> Result<Box<dyn EntryReader>, ReadError>;

    /// How far it has come.
    /// # Errors
    /// The log cannot be asked.
    fn ends(&self) -> Result<Ends, ReadError>;

    /// Makes durable which row `group` wants next.
    /// # Errors
    /// It is not durable.
    fn commit_group(&self, group: &str, next: Offset) -> Result<(), GroupError>;

    /// Which row `group` wants next, if it ever said.
    /// # Errors
    /// The log cannot be asked.
    fn group(&self, group: &str) -> Result<Option<Offset>, GroupError>;

    /// Removes rows before `before`, as many as can go, none at or behind it. Gives the new start.
    /// # Errors
    /// They are not removed, or not all.
    fn trim(&self, before: Offset) -> Result<Offset, TrimError>;
}

/// A cursor over one partition.
pub trait EntryReader: Debug + Send {
    /// The next entry; `None` when there is none now. It goes on after that.
    /// # Errors
    /// It cannot be read. Trying again is safe.
    fn next(&mut self) -> Result<Option<LogEntry>, ReadError>;

    /// Offset after the last row returned.
    fn position(&self) -> Offset;
}

impl PartitionLog for Partition {
    fn id(&self) -> PartitionId {
        Self::id(self)
    }

    fn append(&self, rows: RecordBatch) -> Receipt {
        Self::append(self, rows)
    }

    fn append_tick(&self, event_time: EventTime, kind: TickKind) -> Receipt {
        Self::append_tick(self, event_time, kind)
    }

    fn read_from(self: Arc<Self>, from: Offset) -> Result<Box<dyn EntryReader>, ReadError> {
        Ok(Box::new(self.reader(from)))
    }

    fn ends(&self) -> Result<Ends, ReadError> {
        Ok(Self::ends(self))
    }

    fn commit_group(&self, group: &str, next: Offset) -> Result<(), GroupError> {
        let env = self.env();
        let (position, at) = ((self.uid(), next), env.append_clock.floor());
        Ok(env.groups.commit(&env.catalog, group, &[position], at)?)
    }

    fn group(&self, group: &str) -> Result<Option<Offset>, GroupError> {
        Ok(super::groups::position(&self.env().catalog, group, self.uid())?)
    }

    fn trim(&self, before: Offset) -> Result<Offset, TrimError> {
        Self::trim(self, before)
    }
}

impl EntryReader for PartitionReader {
    fn next(&mut self) -> Result<Option<LogEntry>, ReadError> {
        Self::next(self)
    }

    fn position(&self) -> Offset {
        Self::position(self)
    }
}
