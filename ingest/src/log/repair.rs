//! Repairing damaged partitions: what cannot be read becomes a gap that every reader is told.
//!
//! Promise: nothing is thrown away, the file as it was goes to the quarantine first; every frame that
//! is whole stays where it is, with its offsets; the rows that are lost are named exactly; a damage it cannot
//! repair is said to be there still.
//! Elsewhere: that a partition is damaged is found by `recovery`, readers and `scrub`.

mod holes;

use super::catalog::{Catalog, Change};
use super::entry::PartitionState;
use super::errors::{CatalogError, OpenError};
use super::opening::{self, CATALOG, LOCK, Pace};
use super::overlay::Overlay;
use super::partition::Partition;
use super::producer::ProducerTable;
use super::recovery::{Known, Link, links};
use super::scrub::Unreadable;
use super::starts;
use super::vouched::{self, Vouched};
use super::{Log, LogConfig, format};
use crate::io::{Clock, Disk, Open};
use crate::model::Offset;
use holes::{Damage, damage, patch};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::warn;

/// Whether a repair is only asked for or done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairMode {
    /// Says what would be lost; writes nothing.
    Plan,
    /// Writes gaps where rows are lost.
    Apply,
}

/// Rows that are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Their partition.
    pub partition: String,
    /// The file they were in.
    pub file: PathBuf,
    /// Where in it the damage begins.
    pub at: u64,
    /// How many bytes it takes.
    pub bytes: u64,
    /// First lost offset.
    pub from: Offset,
    /// First offset that is there again; the two are the same where only frames without rows are
    /// lost.
    pub to: Offset,
}

/// What a repair found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Rows of which nothing is left.
    pub lost: Vec<Lost>,
    /// Partitions that are damaged, and are left as they are: how.
    pub damaged: Vec<(String, String)>,
}

/// What is to be done.
#[derive(Debug, Default)]
struct Found {
    patched: Vec<Patched>,
    /// What forgets words of the catalog that are wrong.
    stale: Vec<Change>,
}

/// A file with what is to become of it.
#[derive(Debug)]
struct Patched {
    partition_uid: u64,
    partition: String,
    link: Link,
    damage: Damage,
    /// Those at its end.
    producers: ProducerTable,
}

/// Looks for damage in every partition of a directory that no server has open; what is lost, and what is
/// damaged beyond a repair, which keeps nobody from the repair of the others.
/// # Errors
/// The directory cannot be opened, or a file cannot be written.
pub fn repair(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    config: &LogConfig,
    mode: RepairMode,
) -> Result<Repaired, OpenError> {
    let log = looked_through(disk, clock, config)?;
    let (mut repaired, mut found) = (Repaired::default(), Found::default());
    for partition in log.partitions() {
        match look(&log, &partition) {
            Ok(Found { patched, stale }) => {
                found.patched.extend(patched);
                found.stale.extend(stale);
            }
            Err(why) => repaired.damaged.push((partition.name().to_owned(), why)),
        }
    }
    for Unreadable { partition, segment, detail } in log.scrubbed().unreadable {
        let why = format!("the segment from row {segment} on cannot be read: {detail}");
        repaired.damaged.push((partition, why));
    }
    repaired.lost = found.patched.iter().flat_map(Patched::lost).collect();
    drop(log);
    let nothing = found.patched.is_empty() && found.stale.is_empty();
    if mode == RepairMode::Apply && !nothing {
        write(disk, &config.directory, found, &repaired.lost)?;
        repaired.add_damaged(&looked_through(disk, clock, config)?);
    }
    Ok(repaired)
}

/// The log as the next start will find it, all of it read.
fn looked_through(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    config: &LogConfig,
) -> Result<Log, OpenError> {
    let above = Arc::new(Overlay::new(Arc::clone(disk)));
    let log = opening::open(above, Arc::clone(clock), config.clone(), Pace::SideBySide)?;
    log.step_scrub(u64::MAX);
    Ok(log)
}

/// Changes the files. What the catalog said of them before is forgotten first: it would lead readers into the
/// middle of a gap if this ended halfway.
fn write(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    found: Found,
    lost: &[Lost],
) -> Result<(), OpenError> {
    let _lock =
        disk.lock(&directory.join(LOCK)).map_err(|error| format::locked(directory, error))?;
    let catalog = Catalog::open(disk, &directory.join(CATALOG))?;
    let Found { patched, stale } = found;
    let mut before = stale;
    before.extend(patched.iter().map(|file| vouched::forget(file.partition_uid, file.link.id)));
    before.extend(lost.iter().map(record));
    catalog.change(&before)?;
    for file in &patched {
        apply(disk.as_ref(), directory, file)
            .map_err(|source| OpenError::Io { path: file.link.path.clone(), source })?;
    }
    let instead: Vec<Change> = patched.iter().filter_map(Patched::vouch).collect();
    Ok(catalog.change(&instead)?)
}

impl Repaired {
    /// Those that are damaged all the same.
    fn add_damaged(&mut self, log: &Log) {
        for partition in log.partitions() {
            let known = self.damaged.iter().any(|(name, _)| name == partition.name());
            if let PartitionState::Corrupt(why) | PartitionState::Failed(why) = partition.state()
                && !known
            {
                self.damaged.push((partition.name().to_owned(), why));
            }
        }
    }
}

impl Patched {
    fn lost(&self) -> impl Iterator<Item = Lost> {
        self.damage.holes.iter().map(|hole| Lost {
            partition: self.partition.clone(),
            file: self.link.path.clone(),
            at: hole.at,
            bytes: hole.to - hole.at,
            from: hole.from,
            to: hole.next,
        })
    }

    /// What the catalog says of the file from now on, where its seal is gone.
    fn vouch(&self) -> Option<Change> {
        let (uid, link) = (self.partition_uid, &self.link);
        let summary = self.damage.without_seal.as_ref()?;
        Some(Vouched::new(uid, link.id, link.length, summary, &self.producers).put())
    }
}

/// What is to be done about a partition; nothing if it is not damaged.
/// # Errors
/// A sentence: what is damaged, where it cannot be repaired.
fn look(log: &Log, partition: &Partition) -> Result<Found, String> {
    let why = match partition.state() {
        PartitionState::Corrupt(why) => why,
        PartitionState::Failed(why) => return Err(why),
        PartitionState::Ready | PartitionState::ReadOnlyFull => return Ok(Found::default()),
    };
    let (directory, known) = partition.recovery().map_err(|error| error.to_string())?;
    let at = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let gone = starts::producers(&log.env.catalog, known.partition_uid);
    let (mut found, mut producers) = (Found::default(), gone.map_err(|error| error.to_string())?);
    for mut link in links(&log.env, &directory, known).map_err(|error| at(&directory, error))? {
        let damage = damage(&link, &known, &mut producers).map_err(|e| at(&link.path, e))?;
        if let Some(sealed) = link.producers.take() {
            producers = sealed;
        }
        if damage.holes.is_empty() && damage.without_seal.is_none() {
            // Whole, and damage was met in it: then what the catalog says of it is wrong.
            if why.contains(&link.id.file_name()) {
                found.stale.extend(stale(log, &known, &link).map_err(|e| e.to_string())?);
            }
            continue;
        }
        let (partition_uid, partition) = (known.partition_uid, partition.name().to_owned());
        let producers = producers.clone();
        found.patched.push(Patched { partition_uid, partition, link, damage, producers });
    }
    if found.patched.is_empty() && found.stale.is_empty() { Err(why) } else { Ok(found) }
}

/// What forgets the word of the catalog for a file, if it has one.
fn stale(log: &Log, known: &Known, link: &Link) -> Result<Option<Change>, CatalogError> {
    let uid = known.partition_uid;
    let said = Vouched::read(&log.env.catalog, uid, link.id, link.length)?;
    Ok(said.map(|_| vouched::forget(uid, link.id)))
}

/// What the catalog keeps of a repair.
fn record(lost: &Lost) -> Change {
    let value = [lost.from.0, lost.to.0, lost.at, lost.bytes].map(u64::to_le_bytes).concat();
    let key = format!("{}/{:020}", lost.partition, lost.from.0);
    Change::Put { space: "log/gap", key, value }
}

/// Puts a copy with gaps in the place of a file, which goes to the quarantine.
fn apply(disk: &dyn Disk, root: &Path, patched: &Patched) -> io::Result<()> {
    let Patched { link, damage: Damage { holes, .. }, .. } = patched;
    if holes.is_empty() {
        return Ok(());
    }
    let directory = link.path.parent().unwrap_or(root);
    let inside = directory.strip_prefix(root).unwrap_or(directory);
    let quarantine = root.join("quarantine").join(inside);
    disk.create_directories(&quarantine)?;
    let mut names = (0..).map(|n| quarantine.join(format!("{}.damaged-{n}", link.id.file_name())));
    let kept = names.find(|path| !matches!(disk.exists(path), Ok(true)));
    let kept = kept.ok_or(io::ErrorKind::AlreadyExists)?;
    copy(disk, link, &kept, &[])?;
    disk.sync_directory(&quarantine)?;
    let fresh = directory.join("repair.tmp");
    if disk.exists(&fresh)? {
        disk.unlink(&fresh)?;
    }
    let patches: Vec<_> = holes.iter().map(|hole| (hole.at, patch(link, hole))).collect();
    copy(disk, link, &fresh, &patches)?;
    warn!(file = %link.path.display(), kept = %kept.display(), holes = holes.len(), "file repaired");
    disk.rename(&fresh, &link.path)?;
    disk.sync_directory(directory)
}

fn copy(disk: &dyn Disk, link: &Link, to: &Path, patches: &[(u64, Vec<u8>)]) -> io::Result<()> {
    let copy = disk.open(to, Open::CreateNew)?;
    let mut at = 0;
    let mut bytes = vec![0; 1024 * 1024];
    while at < link.file_bytes {
        let read = link.file.pread(&mut bytes, at)?;
        if read == 0 {
            break;
        }
        copy.pwrite(&[IoSlice::new(&bytes[..read])], at)?;
        at += read as u64;
    }
    for (at, bytes) in patches {
        copy.pwrite(&[IoSlice::new(bytes)], *at)?;
    }
    copy.sync_data()
}
