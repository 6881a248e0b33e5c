//! Checkpoints: the state of a rule and where its inputs go on, in files the catalog names.
//!
//! Promise: a checkpoint is there whole or not at all: its file and directory are synced before one
//! catalog transaction names it, with its length and hash. A file that is not what the catalog says is
//! passed over for the one before it; without any the rule reads its log from the start. Elsewhere: what
//! the state is, is the runner's; when one is made is the task's.

mod file;

use super::definition::{Planned, StoredRule};
use super::feed::FeedEnds;
use super::follower::Counts;
use super::runner::RunnerState;
use crate::sabotage::{self, Fault};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use weir_ingest::log::{InternalLog, Log};
use weir_ingest::model::{AppendTime, EventTime, Offset};

/// Space of the catalog that names checkpoints, by rule uid.
const SPACE: &str = "checkpoints";
/// How many of a rule are kept.
const KEPT: usize = 3;
const DIRECTORY: &str = "checkpoints";

/// The state of a rule after everything up to [`Self::taken`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// The rule.
    pub uid: u64,
    /// Its version.
    pub version: u32,
    /// Of its plan.
    pub fingerprint: String,
    /// Append time of the newest input taken.
    pub taken: AppendTime,
    /// Where its inputs go on.
    pub ends: FeedEnds,
    /// Where to look for outputs that were written after this.
    pub outputs: BTreeMap<String, Offset>,
    /// The rule's watermark.
    pub watermark: Option<EventTime>,
    /// What it gave out so far.
    pub totals: Counts,
    /// The state.
    pub state: RunnerState,
    /// First offset of each partition that is read again from here, by stream; for the catalog alone.
    #[serde(skip)]
    pub rereads: BTreeMap<String, Vec<Offset>>,
}

/// What the catalog says of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of the rule.
    pub version: u32,
    /// Of its plan.
    pub fingerprint: String,
    /// Grows with every checkpoint of the rule.
    pub epoch: u64,
    /// Append time of the newest input taken.
    pub taken: AppendTime,
    /// Where its inputs go on.
    pub ends: FeedEnds,
    /// The rule's watermark.
    pub watermark: Option<EventTime>,
    /// Outputs given out so far.
    pub outputs: u64,
    /// The file, in the data directory.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// BLAKE3 of its content, in hex.
    pub hash: String,
    /// What a rule that goes on from it reads; where it is not known, all from the rule's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
}

/// From where on a rule reads its inputs and its outputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// First offset of each partition, by stream.
    pub streams: BTreeMap<String, Vec<Offset>>,
    /// First offset of each internal log with outputs, by name.
    pub outputs: BTreeMap<String, Offset>,
}

/// Why a rule cannot go on from its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It was made by another plan.
    #[error(
        "its plan is not the one its checkpoint was made by (another version of weir plans it otherwise); \
         REPLAY RULE {rule} reads its log again, RESET RULE {rule} closes its open alarms and begins anew"
    )]
    AnotherPlan {
        /// The rule.
        rule: String,
    },
    /// The disk or the catalog failed.
    #[error("a checkpoint cannot be kept: {0}")]
    Failed(String),
}

fn failed(error: impl std::fmt::Display) -> CheckpointError {
    CheckpointError::Failed(error.to_string())
}

/// Writes a checkpoint down; those that are too old go.
/// # Errors
/// The disk or the catalog failed, or is full: the checkpoints there were stay.
pub fn save(log: &Log, snapshot: &Snapshot) -> Result<Entry, CheckpointError> {
    if !log.may_checkpoint() {
        return Err(failed("the little room left on the disk is kept for alarms"));
    }
    let mut entries = entries(log, snapshot.uid)?;
    let epoch = entries.last().map_or(1, |last| last.epoch + 1);
    let name = format!("{DIRECTORY}/{}-{epoch}.arrow", snapshot.uid);
    let bytes = file::encode(snapshot).map_err(failed)?;
    write(log, &name, &bytes).map_err(failed)?;
    let entry = Entry {
        version: snapshot.version,
        fingerprint: snapshot.fingerprint.clone(),
        epoch,
        taken: snapshot.taken,
        ends: snapshot.ends.clone(),
        watermark: snapshot.watermark,
        outputs: snapshot.totals.outputs,
        file: name,
        bytes: bytes.len() as u64,
        hash: blake3::hash(&bytes).to_hex().to_string(),
        needs: Some(Needs { streams: snapshot.rereads.clone(), outputs: snapshot.outputs.clone() }),
    };
    entries.push(entry.clone());
    let old: Vec<Entry> = entries.drain(..entries.len().saturating_sub(KEPT)).collect();
    let value = serde_json::to_vec(&entries).map_err(failed)?;
    log.catalog().put(SPACE, &key(snapshot.uid), &value).map_err(failed)?;
    for entry in old {
        drop(log.disk().unlink(&path(log, &entry.file)));
    }
    Ok(entry)
}

/// The newest checkpoint of a rule that can be read; `planned` are its versions.
/// # Errors
/// It was made by another plan, or the catalog cannot be read.
pub fn load(
    log: &Log,
    stored: &StoredRule,
    planned: &[Planned],
) -> Result<Option<Snapshot>, CheckpointError> {
    for entry in entries(log, stored.uid)?.iter().rev() {
        let versions = stored.versions();
        let of_version = versions.iter().zip(planned).find(|(v, _)| v.version == entry.version);
        let Some((_, planned)) = of_version else { continue };
        if planned.plan.fingerprint != entry.fingerprint {
            return Err(CheckpointError::AnotherPlan { rule: planned.statement.name.clone() });
        }
        match read(log, entry) {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(reason) => {
                let (file, rule) = (&entry.file, &planned.statement.name);
                tracing::warn!(%rule, %file, %reason, "a checkpoint is passed over");
            }
        }
    }
    Ok(None)
}

/// Forgets the checkpoints of a rule that is gone.
/// # Errors
/// The catalog failed.
pub fn forget(log: &Log, uid: u64) -> Result<(), CheckpointError> {
    let entries = entries(log, uid)?;
    log.catalog().remove(SPACE, &key(uid)).map_err(failed)?;
    for entry in entries {
        drop(log.disk().unlink(&path(log, &entry.file)));
    }
    Ok(())
}

/// What the catalog says of the checkpoints of a rule, the oldest first.
/// # Errors
/// The catalog failed.
pub fn entries(log: &Log, uid: u64) -> Result<Vec<Entry>, CheckpointError> {
    match log.catalog().get(SPACE, &key(uid)).map_err(failed)? {
        Some(value) => serde_json::from_slice(&value).map_err(failed),
        None => Ok(Vec::new()),
    }
}

/// The files that an entry of the catalog names, by its space and value: what a copy of the directory needs.
pub fn files(space: &str, value: &[u8]) -> Vec<String> {
    if space != SPACE {
        return Vec::new();
    }
    let entries: Vec<Entry> = serde_json::from_slice(value).unwrap_or_default();
    entries.into_iter().map(|entry| entry.file).collect()
}

/// Where outputs will be written from now on, by the name of their log.
pub fn output_ends(log: &Log) -> BTreeMap<String, Offset> {
    let end =
        |which: InternalLog| (which.name().to_owned(), log.internal(which).ends().durable_end);
    super::follower::OUTPUTS.map(end).into_iter().collect()
}

fn key(uid: u64) -> String {
    format!("{uid:020}")
}

fn path(log: &Log, file: &str) -> PathBuf {
    log.directory().join(file)
}

fn write(log: &Log, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let (disk, path) = (log.disk(), path(log, name));
    let directory = log.directory().join(DIRECTORY);
    disk.create_directories(&directory)?;
    // What a crash left behind under this name was never named by the catalog.
    if disk.exists(&path)? {
        disk.unlink(&path)?;
    }
    let file = disk.open(&path, weir_ingest::io::Open::CreateNew)?;
    file.pwrite(&[std::io::IoSlice::new(bytes)], 0)?;
    if !sabotage::is(Fault::CheckpointUnsynced) {
        file.sync_data()?;
    }
    disk.sync_directory(&directory)
}

/// The state that an entry names.
/// # Errors
/// Its file is not what the catalog says.
pub fn read(log: &Log, entry: &Entry) -> Result<Snapshot, String> {
    let text = |error: std::io::Error| error.to_string();
    let file =
        log.disk().open(&path(log, &entry.file), weir_ingest::io::Open::Read).map_err(text)?;
    let length = file.len().map_err(text)?;
    if length != entry.bytes {
        return Err(format!("it has {length} bytes, not {}", entry.bytes));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|e| e.to_string())?];
    let read = file.pread(&mut bytes, 0).map_err(text)?;
    if read < bytes.len() || blake3::hash(&bytes).to_hex().as_str() != entry.hash {
        return Err("its bytes are not those that were written".to_owned());
    }
    file::decode(&bytes)
}

#[cfg(test)]
mod tests;
