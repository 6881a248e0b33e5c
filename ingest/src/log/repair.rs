//! Repairing damaged partitions: what cannot be read becomes a gap that every reader is told.
//!
//! Promise: nothing is thrown away, the file as it was goes to the quarantine first; every frame that
//! is whole stays where it is, with its offsets; the rows that are lost are named exactly; a damage it cannot
//! repair is said to be there still.
//! Elsewhere: that a partition is damaged is found by `recovery`, readers and `scrub`.

mod holes;

use super::catalog::{Catalog, Change};
use super::entry::PartitionState;
use super::errors::OpenError;
use super::opening::{self, CATALOG, LOCK, Pace};
use super::overlay::Overlay;
use super::partition::Partition;
use super::producer::ProducerTable;
use super::recovery::{Link, links};
use super::scrub::Unreadable;
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
    let above = Arc::new(Overlay::new(Arc::clone(disk)));
    let log = opening::open(above, Arc::clone(clock), config.clone(), Pace::SideBySide)?;
    log.step_scrub(u64::MAX);
    let (mut repaired, mut patched) = (Repaired::default(), Vec::new());
    for partition in log.partitions() {
        match look(&log, &partition) {
            Ok(files) => patched.extend(files),
            Err(why) => repaired.damaged.push((partition.name().to_owned(), why)),
        }
    }
    for Unreadable { partition, segment, detail } in log.scrubbed().unreadable {
        let why = format!("the segment from row {segment} on cannot be read: {detail}");
        repaired.damaged.push((partition, why));
    }
    repaired.lost = patched.iter().flat_map(Patched::lost).collect();
    drop(log);
    if mode == RepairMode::Apply && !patched.is_empty() {
        let directory = &config.directory;
        let _lock =
            disk.lock(&directory.join(LOCK)).map_err(|error| format::locked(directory, error))?;
        let mut changes = Vec::new();
        for file in &patched {
            apply(disk.as_ref(), directory, file)
                .map_err(|source| OpenError::Io { path: file.link.path.clone(), source })?;
            changes.push(file.vouch());
        }
        changes.extend(repaired.lost.iter().map(record));
        Catalog::open(disk, &directory.join(CATALOG))?.change(&changes)?;
    }
    Ok(repaired)
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

    /// What the catalog says of the file from now on, in place of a seal.
    fn vouch(&self) -> Change {
        let (uid, link) = (self.partition_uid, &self.link);
        match &self.damage.without_seal {
            None => vouched::forget(uid, link.id),
            Some(summary) => {
                Vouched::new(uid, link.id, link.length, summary, &self.producers).put()
            }
        }
    }
}

/// The files of a partition that are to be patched, none if it is not damaged.
/// # Errors
/// A sentence: what is damaged, where it cannot be repaired.
fn look(log: &Log, partition: &Partition) -> Result<Vec<Patched>, String> {
    let why = match partition.state() {
        PartitionState::Corrupt(why) => why,
        PartitionState::Failed(why) => return Err(why),
        PartitionState::Ready | PartitionState::ReadOnlyFull => return Ok(Vec::new()),
    };
    let (directory, known) = partition.recovery().map_err(|error| error.to_string())?;
    let at = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let (mut patched, mut producers) = (Vec::new(), ProducerTable::default());
    for mut link in links(&log.env, &directory, known).map_err(|error| at(&directory, error))? {
        let damage = damage(&link, &known, &mut producers).map_err(|e| at(&link.path, e))?;
        if let Some(sealed) = link.producers.take() {
            producers = sealed;
        }
        if damage.holes.is_empty() && damage.without_seal.is_none() {
            continue;
        }
        let (partition_uid, partition) = (known.partition_uid, partition.name().to_owned());
        let producers = producers.clone();
        patched.push(Patched { partition_uid, partition, link, damage, producers });
    }
    if patched.is_empty() { Err(why) } else { Ok(patched) }
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
