//! Copies a log, running or not, into a directory that a server can be started from.
//!
//! Promise: the copy holds every row that was durable when it began, and the catalog (rules, checkpoints,
//! cursors) of one moment with all rows there were at it. The catalog of the copy gets its name last, so
//! that what was cut short is no data directory; then all of the copy is read again.
//! Elsewhere: which files beside the log the catalog names is whoever keeps them to say.

mod copy;

use super::catalog::{Catalog, StoredEntry};
use super::entry::PartitionState;
use super::errors::{CatalogError, OpenError};
use super::opening::{self, CATALOG};
use super::recovery::Stop;
use super::segment::Predecessor;
use super::{Log, LogConfig, Partition};
use crate::io::{Clock, Disk};
use crate::model::Offset;
use copy::Copying;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Times it begins anew because a file went away between the catalog and its copy.
const ATTEMPTS: usize = 5;
/// The catalog of the copy, until everything else is there.
const UNFINISHED: &str = "catalog.unfinished";

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupProgress {
    /// Files are copied.
    Copying {
        /// Bytes so far.
        bytes: u64,
        /// Of so many.
        of_bytes: u64,
    },
    /// The copy is read again.
    Verifying,
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackedUp {
    /// Files copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows in all partitions, those of weir's own logs included.
    pub rows: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("the directory {directory} is not empty; name one that is not there yet")]
    NotEmpty {
        /// Where the copy was to be.
        directory: PathBuf,
    },
    /// The original is not whole.
    #[error(
        "the partition {partition} is damaged ({why}); weir log repair says what is lost and puts gaps in its place"
    )]
    Damaged {
        /// Which.
        partition: String,
        /// How.
        why: String,
    },
    /// A file.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Files went away again and again.
    #[error("{path} went away while it was to be copied; say it again")]
    Gone {
        /// Which.
        path: PathBuf,
    },
    /// The copy does not say what the original says.
    #[error("the copy of {partition} is not whole: {why}; do not use it")]
    NotWhole {
        /// Which.
        partition: String,
        /// What is wrong.
        why: String,
    },
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The copy cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What is copied of a partition.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) files: Vec<CutFile>,
    /// Up to where it is synced.
    pub(super) point: Option<Predecessor>,
    pub(super) log_start: Offset,
    pub(super) durable_end: Offset,
}

/// A file, and how much of it.
#[derive(Debug, Clone)]
pub(super) struct CutFile {
    pub(super) path: PathBuf,
    /// All of it where nothing is said.
    pub(super) length: Option<u64>,
}

/// Which files of the directory an entry of the catalog names, by its space and value.
pub type NamedFiles<'n> = &'n dyn Fn(&str, &[u8]) -> Vec<String>;

/// Everything of one moment.
struct Moment {
    entries: Vec<StoredEntry>,
    partitions: Vec<(Arc<Partition>, Cut)>,
    streams: Vec<u32>,
    /// Beside the log.
    named: Vec<CutFile>,
}

impl Log {
    /// Copies the log, which goes on, to the directory `to` of `disk`, which is empty or not there; an
    /// entry of the catalog names the files `named` says.
    /// # Errors
    /// What is not whole or cannot be copied; what lies in `to` then is no data directory.
    pub fn backup(
        &self,
        disk: &Arc<dyn Disk>,
        to: &Path,
        named: NamedFiles<'_>,
        told: &mut dyn FnMut(BackupProgress),
    ) -> Result<BackedUp, BackupError> {
        backup(self, (disk, to), named, told)
    }
}

fn backup(
    log: &Log,
    (disk, to): (&Arc<dyn Disk>, &Path),
    named: NamedFiles<'_>,
    told: &mut dyn FnMut(BackupProgress),
) -> Result<BackedUp, BackupError> {
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| BackupError::Io { path, source }
    };
    if !disk.list(to).map_err(at(to))?.is_empty() {
        return Err(BackupError::NotEmpty { directory: to.to_path_buf() });
    }
    disk.create_directories(to).map_err(at(to))?;
    let hold = log.hold("backup", u64::MAX);
    let mut copying = Copying::new(log, disk, to, told);
    let moment = first_moment(log, &hold, named, &mut copying)?;
    for (_, cut) in &moment.partitions {
        copying.expect(&cut.files)?;
    }
    for (_, cut) in &moment.partitions {
        copying.all(&cut.files)?;
    }
    let mut done = copying.end()?;
    done.rows = moment.partitions.iter().map(|(_, cut)| cut.durable_end.0 - cut.log_start.0).sum();
    write_catalog(log, disk, to, &moment)?;
    told(BackupProgress::Verifying);
    verify(log.clock(), disk, to, &moment)?;
    Ok(done)
}

/// A moment whose files beside the log could be copied: they may go away at any time.
fn first_moment(
    log: &Log,
    hold: &super::Hold,
    named: NamedFiles<'_>,
    copying: &mut Copying<'_>,
) -> Result<Moment, BackupError> {
    let mut attempt = 0;
    loop {
        let moment = moment(log, hold, named)?;
        copying.begin();
        match copying.expect(&moment.named).and_then(|()| copying.all(&moment.named)) {
            Ok(()) => return Ok(moment),
            Err(BackupError::Gone { path }) if attempt + 1 == ATTEMPTS => {
                return Err(BackupError::Gone { path });
            }
            Err(BackupError::Gone { .. }) => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Nothing is changed in the catalog while it is looked at, and no stream comes or goes.
fn moment(log: &Log, hold: &super::Hold, named: NamedFiles<'_>) -> Result<Moment, BackupError> {
    let _no_change = log.stopped.lock();
    let partitions = log.partitions();
    for partition in &partitions {
        partition.hold(hold, Offset(0));
    }
    // Before the catalog stands still: a commit may have to change it.
    let standing: Vec<_> = partitions.iter().map(|partition| partition.stand()).collect();
    let cut = || standing.iter().map(|standing| standing.cut()).collect::<Vec<_>>();
    let (entries, cuts) = log.catalog().standing(cut)?;
    drop(standing);
    for partition in &partitions {
        if let PartitionState::Corrupt(why) = partition.state() {
            return Err(BackupError::Damaged { partition: partition.name().to_owned(), why });
        }
    }
    let streams = log.streams().all().iter().map(|stream| stream.uid().0).collect();
    let files = entries.iter().flat_map(|(space, _, value)| named(space, value));
    let file = |name: String| CutFile { path: log.directory().join(name), length: None };
    let named = files.map(file).collect();
    Ok(Moment { entries, partitions: partitions.into_iter().zip(cuts).collect(), streams, named })
}

/// The catalog of that moment, with points where the copied files end.
fn write_catalog(
    log: &Log,
    disk: &Arc<dyn Disk>,
    to: &Path,
    moment: &Moment,
) -> Result<(), BackupError> {
    let path = to.join(UNFINISHED);
    let catalog = Catalog::open(disk, &path)?;
    catalog.fill(&moment.entries)?;
    for stream in &moment.streams {
        catalog.fill_series(*stream, &log.catalog().series_of(*stream)?)?;
    }
    let points = moment.partitions.iter().filter_map(|(partition, cut)| {
        cut.point.map(|point| opening::put_point(partition.uid(), point, Stop::Unclean))
    });
    catalog.change(&points.collect::<Vec<_>>())?;
    drop(catalog);
    let at = |source| BackupError::Io { path: path.clone(), source };
    disk.rename(&path, &to.join(CATALOG)).map_err(at)?;
    disk.sync_directory(to).map_err(at)
}

/// Reads all of the copy as the next start will find it.
fn verify(
    clock: &Arc<dyn Clock>,
    disk: &Arc<dyn Disk>,
    to: &Path,
    moment: &Moment,
) -> Result<(), BackupError> {
    let (disk, clock) = (Arc::clone(disk), Arc::clone(clock));
    let copy = Log::open_read_only(disk, clock, LogConfig::new(to))?;
    copy.step_scrub(u64::MAX);
    if let Some(unreadable) = copy.scrubbed().unreadable.first() {
        let (partition, why) = (unreadable.partition.clone(), unreadable.detail.to_string());
        return Err(BackupError::NotWhole { partition, why });
    }
    let found = copy.partitions();
    for (partition, cut) in &moment.partitions {
        let name = partition.name();
        let not_whole = |why: String| BackupError::NotWhole { partition: name.to_owned(), why };
        let Some(copied) = found.iter().find(|copied| copied.uid() == partition.uid()) else {
            return Err(not_whole("it is not there".to_owned()));
        };
        if let PartitionState::Corrupt(why) | PartitionState::Failed(why) = copied.state() {
            return Err(not_whole(why));
        }
        let ends = copied.ends();
        if (ends.log_start, ends.durable_end) != (cut.log_start, cut.durable_end) {
            return Err(not_whole(format!(
                "it has rows {} to {}, not {} to {}",
                ends.log_start, ends.durable_end, cut.log_start, cut.durable_end
            )));
        }
    }
    Ok(())
}
