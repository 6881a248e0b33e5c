//! What can go wrong with the log, by who has to do something about it.

use crate::model::{Offset, PartitionId};
use std::path::PathBuf;
use std::sync::Arc;

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error(
        "the data directory {directory} is in use by another process; stop it, or use another directory"
    )]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// A newer weir wrote it.
    #[error(
        "the data directory {directory} has format {found}; this version reads format {known}: use the version that wrote it"
    )]
    UnknownFormat {
        /// The directory.
        directory: PathBuf,
        /// The format found.
        found: String,
        /// The format this version writes.
        known: &'static str,
    },
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The disk.
    #[error("cannot open {path}: {source}")]
    Io {
        /// What was being opened.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// The catalog cannot be read or changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// The disk is full: nothing was changed, try again later.
    #[error("the disk is full; the catalog was not changed")]
    Full,
    /// The disk has no room for the copy that a catalog needs which was not closed; it was not opened.
    #[error(
        "the catalog was not closed, so that it is copied before it is used, and the disk has no room for its {bytes} bytes; make room, then start again"
    )]
    NoRoomToOpen {
        /// What it takes.
        bytes: u64,
    },
    /// The disk failed: whether the change is durable is unknown.
    #[error("the catalog failed: {0}; restart after looking at the disk")]
    Failed(Arc<str>),
    /// An entry does not read as what it should be.
    #[error("the catalog entry {entry} cannot be read: {detail}")]
    Damaged {
        /// Which.
        entry: String,
        /// How.
        detail: String,
    },
}

/// A stream cannot be created, changed or dropped.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StreamChangeError {
    /// The name is taken.
    #[error("the stream '{0}' exists already")]
    Exists(String),
    /// There is none.
    #[error("there is no stream '{0}'; see SHOW STREAMS")]
    Unknown(String),
    /// A topic could belong to both.
    #[error(
        "a topic could match both this template and '{template}' of the stream '{other}'; change a level that tells them apart"
    )]
    Overlaps {
        /// The stream that is there.
        other: String,
        /// Its template.
        template: String,
    },
    /// The change makes no valid stream.
    #[error(transparent)]
    Invalid(#[from] crate::model::StreamError),
    /// The catalog did not take it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The disk did not take its files.
    #[error("cannot prepare the files of the stream: {0}")]
    Disk(Arc<str>),
}

/// The oldest rows cannot be removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TrimError {
    /// The catalog did not take the new start; nothing was removed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The new start stands, but not all files before it could be removed: the next start does it.
    #[error("cannot remove {path}: {detail}")]
    Disk {
        /// Which file.
        path: Arc<str>,
        /// Why not.
        detail: Arc<str>,
    },
    /// The cluster that keeps them did not remove them.
    #[error("the oldest rows of partition {partition} were not removed: {detail}")]
    Elsewhere {
        /// Which.
        partition: PartitionId,
        /// Why not.
        detail: Arc<str>,
    },
}

/// The position of a consumer group cannot be read or changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GroupError {
    /// The catalog that keeps it.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The cluster that keeps it.
    #[error("the position of the group '{group}' in partition {partition}: {detail}")]
    Elsewhere {
        /// Whose.
        group: String,
        /// Where.
        partition: PartitionId,
        /// What happened.
        detail: Arc<str>,
    },
}

/// Rows were not confirmed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk is full. Nothing was stored; retry later.
    #[error("the disk is full, partition {partition} takes nothing now; retry later")]
    Full {
        /// Which.
        partition: PartitionId,
    },
    /// The disk failed. The rows may or may not be stored; publish them again with an id.
    #[error("partition {partition} failed ({detail}); the rows may or may not be stored")]
    Unknown {
        /// Which.
        partition: PartitionId,
        /// What happened.
        detail: Arc<str>,
    },
    /// More waits for its confirmation than may. Nothing was stored; retry later.
    #[error(
        "partition {partition} takes nothing now, too much waits for its confirmation; retry later"
    )]
    Busy {
        /// Which.
        partition: PartitionId,
    },
    /// The log is stopping or the stream was dropped. Nothing was stored.
    #[error("the log is stopped")]
    Stopped,
    /// More than a frame holds. Nothing was stored; send smaller batches.
    #[error(
        "{rows} rows of {bytes} bytes are more than one append takes ({rows_max} rows, {bytes_max} bytes); send smaller batches"
    )]
    TooLarge {
        /// Rows of the batch.
        rows: usize,
        /// Bytes of the batch.
        bytes: usize,
        /// Rows allowed.
        rows_max: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// New series could not be made durable. Nothing was stored.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A producer's batch is older than those remembered of it. Nothing was stored now.
    #[error(
        "the sequence {sequence} is older than the batches remembered of this producer in partition {partition} (from {oldest} on); whether it was stored before is not known: send the rows with ids, or as a new producer"
    )]
    OutOfOrder {
        /// Which.
        partition: PartitionId,
        /// The sequence sent.
        sequence: u64,
        /// The oldest that is remembered.
        oldest: u64,
    },
    /// A later life of the same producer has written. Nothing was stored.
    #[error(
        "another with the same producer id writes to partition {partition} with epoch {epoch}; choose another id, or a larger epoch"
    )]
    Fenced {
        /// Which.
        partition: PartitionId,
        /// The epoch of the other.
        epoch: u16,
    },
    /// The partition has damaged rows and takes nothing. Nothing was stored.
    #[error("partition {partition} is damaged and takes nothing; see its state")]
    Corrupt {
        /// Which.
        partition: PartitionId,
    },
}

/// The log cannot be read on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The disk.
    #[error("cannot read partition {partition}: {detail}")]
    Io {
        /// Which.
        partition: PartitionId,
        /// Why.
        detail: Arc<str>,
    },
    /// Stored bytes changed.
    #[error("partition {partition} is damaged at byte {at} of {segment}: {detail}")]
    Rot {
        /// Which.
        partition: PartitionId,
        /// The file.
        segment: Arc<str>,
        /// Where.
        at: u64,
        /// How it was noticed.
        detail: Arc<str>,
    },
    /// Rows that are still to be read were removed by retention.
    #[error("rows {from} to {to} of partition {partition} were removed by retention")]
    Removed {
        /// Which.
        partition: PartitionId,
        /// The first of them.
        from: Offset,
        /// The oldest row there is.
        to: Offset,
    },
}
