//! Repairing damaged partitions: what cannot be read becomes a gap that every reader is told.
//!
//! Promise: nothing is thrown away, the file as it was goes to the quarantine first; every frame that
//! is whole stays where it is, with its offsets; the rows that are lost are named exactly.
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

/// A file with what is to become of it.
#[derive(Debug)]
struct Patched {
    partition_uid: u64,
    link: Link,
    damage: Damage,
}

/// Looks for damage in every partition of a directory that no server has open; what is lost.
/// # Errors
/// The directory cannot be opened, a file cannot be read or written, or a damage cannot be repaired:
/// the sentence says which.
pub fn repair(
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    config: &LogConfig,
    mode: RepairMode,
) -> Result<Vec<Lost>, OpenError> {
    let above = Arc::new(Overlay::new(Arc::clone(disk)));
    let log = opening::open(above, Arc::clone(clock), config.clone(), Pace::SideBySide)?;
    log.step_scrub(u64::MAX);
    let (mut lost, mut patched) = (Vec::new(), Vec::new());
    for partition in log.partitions() {
        if let PartitionState::Corrupt(_) = partition.state() {
            look(&log, &partition, &mut lost, &mut patched)?;
        }
    }
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
        changes.extend(lost.iter().map(record));
        Catalog::open(disk, &directory.join(CATALOG))?.change(&changes)?;
    }
    Ok(lost)
}

impl Patched {
    /// What the catalog says of the file from now on, in place of a seal.
    fn vouch(&self) -> Change {
        let (uid, link) = (self.partition_uid, &self.link);
        match &self.damage.without_seal {
            None => vouched::forget(uid, link.id),
            Some(summary) => {
                let producers = ProducerTable::default();
                Vouched::new(uid, link.id, link.length, summary, &producers).put()
            }
        }
    }
}

fn look(
    log: &Log,
    partition: &Partition,
    lost: &mut Vec<Lost>,
    patched: &mut Vec<Patched>,
) -> Result<(), OpenError> {
    let (directory, known) = partition.recovery()?;
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source: io::Error| OpenError::Io { path, source }
    };
    for link in links(&log.env, &directory, known).map_err(at(&directory))? {
        let damage = damage(&link, &known).map_err(at(&link.path))?;
        if damage.holes.is_empty() && damage.without_seal.is_none() {
            continue;
        }
        lost.extend(damage.holes.iter().map(|hole| Lost {
            partition: partition.name().to_owned(),
            file: link.path.clone(),
            at: hole.at,
            bytes: hole.to - hole.at,
            from: hole.from,
            to: hole.next,
        }));
        patched.push(Patched { partition_uid: known.partition_uid, link, damage });
    }
    Ok(())
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
