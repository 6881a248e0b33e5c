//! Checkpoints where every process of a group finds them: an object store.
//!
//! Promise: a checkpoint is there whole or not at all, and none is ever written over: its name holds the
//! generation of whoever wrote it, so that one who was replaced cannot take a newer one's place. What
//! does not read as what was written is passed over for the one before.

use super::begin::LaneSnapshot;
use futures::StreamExt;
use futures::executor::block_on;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::path::PathBuf;
use std::sync::Arc;
use weir_ingest::io::{Disk, Open, RealDisk};
use weir_ingest::model::PartitionId;

/// How many of a partition are kept.
const KEPT: usize = 3;
const HASH_BYTES: usize = blake3::OUT_LEN;
const SCHEME: &str = "file://";

/// Why a checkpoint cannot be kept or found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointsError {
    /// Not a place of checkpoints.
    #[error(
        "'{0}' is no place for checkpoints; write file:///a/directory/that/all/processes/share (stores of clouds are not built in)"
    )]
    Place(String),
    /// Another process of this generation wrote it.
    #[error("another process has written the checkpoint {0}")]
    Taken(String),
    /// The store failed.
    #[error("the checkpoint {name}: {detail}")]
    Failed {
        /// Which, or the place of all.
        name: String,
        /// What happened.
        detail: String,
    },
}

/// Where the checkpoints of a group are.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    store: Arc<dyn ObjectStore>,
    /// Of a store of files, which leaves it to others to sync them.
    directory: Option<PathBuf>,
}

impl Checkpoints {
    /// Those at `file:///directory`, which is created.
    /// # Errors
    /// It is no such place, or cannot be used.
    pub fn at(place: &str) -> Result<Self, CheckpointsError> {
        let directory = place.strip_prefix(SCHEME).filter(|path| path.starts_with('/'));
        let Some(directory) = directory else {
            return Err(CheckpointsError::Place(place.to_owned()));
        };
        let failed = |detail: String| CheckpointsError::Failed { name: place.to_owned(), detail };
        RealDisk.create_directories(directory.as_ref()).map_err(|e| failed(e.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(directory);
        let store = Arc::new(store.map_err(|e| failed(e.to_string()))?);
        Ok(Self { store, directory: Some(PathBuf::from(directory)) })
    }

    /// Those of a store that is there already.
    pub fn in_store(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, directory: None }
    }

    /// Writes the checkpoint with this generation and number; the oldest ones go.
    pub(super) fn save(
        &self,
        lane: &Lanes<'_>,
        (generation, number): (u64, u64),
        snapshot: &LaneSnapshot,
    ) -> Result<(), CheckpointsError> {
        let path = lane.directory().join(format!("{generation:020}-{number:020}"));
        let failed = |detail: String| failed(&path, detail);
        let content =
            postcard::to_extend(snapshot, Vec::new()).map_err(|e| failed(e.to_string()))?;
        let bytes = [blake3::hash(&content).as_bytes().as_slice(), &content].concat();
        let new = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match block_on(self.store.put_opts(&path, PutPayload::from(bytes), new)) {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => {
                return Err(CheckpointsError::Taken(path.to_string()));
            }
            Err(error) => return Err(failed(error.to_string())),
        }
        self.sync(&path).map_err(|error| failed(error.to_string()))?;
        let all = self.list(lane)?;
        for old in all.iter().rev().skip(KEPT) {
            if let Err(error) = block_on(self.store.delete(old)) {
                tracing::warn!(checkpoint = %old, %error, "an old checkpoint stays");
            }
        }
        Ok(())
    }

    /// Before the older ones go, the new one is durable.
    fn sync(&self, path: &Path) -> std::io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let file = directory.join(path.as_ref());
        RealDisk.open(&file, Open::Read)?.sync_data()?;
        file.parent().map_or(Ok(()), |parent| RealDisk.sync_directory(parent))
    }

    /// The newest that can be read.
    pub(super) fn newest(
        &self,
        lane: &Lanes<'_>,
    ) -> Result<Option<LaneSnapshot>, CheckpointsError> {
        for path in self.list(lane)?.iter().rev() {
            let got = block_on(async { self.store.get(path).await?.bytes().await });
            let bytes = got.map_err(|e| failed(path, e.to_string()))?;
            match decode(&bytes) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(reason) => tracing::warn!(checkpoint = %path, %reason, "it is passed over"),
            }
        }
        Ok(None)
    }

    /// All of a partition, the oldest first.
    fn list(&self, lane: &Lanes<'_>) -> Result<Vec<Path>, CheckpointsError> {
        let directory = lane.directory();
        let found: Vec<_> = block_on(self.store.list(Some(&directory)).collect());
        let paths = found.into_iter().map(|found| found.map(|meta| meta.location));
        let mut paths: Vec<Path> =
            paths.collect::<Result<_, _>>().map_err(|e| failed(&directory, e.to_string()))?;
        paths.sort();
        Ok(paths)
    }
}

fn failed(path: &Path, detail: String) -> CheckpointsError {
    CheckpointsError::Failed { name: path.to_string(), detail }
}

/// Whose checkpoints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lanes<'l> {
    pub(super) group: &'l str,
    pub(super) stream: &'l str,
    pub(super) partition: PartitionId,
}

impl Lanes<'_> {
    fn directory(&self) -> Path {
        let Self { group, stream, partition } = self;
        Path::from_iter([*group, *stream, &format!("{partition}")])
    }
}

fn decode(bytes: &[u8]) -> Result<LaneSnapshot, String> {
    let Some((hash, content)) = bytes.split_first_chunk::<HASH_BYTES>() else {
        return Err("it is cut off".to_owned());
    };
    if blake3::hash(content).as_bytes() != hash {
        return Err("its bytes are not those that were written".to_owned());
    }
    postcard::from_bytes(content).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
