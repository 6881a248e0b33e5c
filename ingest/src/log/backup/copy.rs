//! Copying files: each is durable before the next is begun, and so is its name in the end.
//!
//! Promise: what is copied is counted and told as it goes.

use super::{BackedUp, BackupError, BackupProgress, CutFile};
use crate::io::{Disk, File, Open};
use crate::log::Log;
use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CHUNK_BYTES: usize = 1024 * 1024;

/// A copy under way.
pub(super) struct Copying<'c> {
    from: &'c dyn Disk,
    root: &'c Path,
    disk: &'c Arc<dyn Disk>,
    to: &'c Path,
    told: &'c mut dyn FnMut(BackupProgress),
    of_bytes: u64,
    done: BackedUp,
    directories: BTreeSet<PathBuf>,
}

impl<'c> Copying<'c> {
    pub(super) fn new(
        log: &'c Log,
        disk: &'c Arc<dyn Disk>,
        to: &'c Path,
        told: &'c mut dyn FnMut(BackupProgress),
    ) -> Self {
        Self {
            from: log.disk().as_ref(),
            root: log.directory(),
            disk,
            to,
            told,
            of_bytes: 0,
            done: BackedUp::default(),
            directories: BTreeSet::new(),
        }
    }

    /// Nothing counts that was copied before.
    pub(super) fn begin(&mut self) {
        (self.of_bytes, self.done) = (0, BackedUp::default());
    }

    /// These are to be copied, too.
    pub(super) fn expect(&mut self, files: &[CutFile]) -> Result<(), BackupError> {
        for file in files {
            self.of_bytes += match file.length {
                Some(length) => length,
                None => {
                    let opened = open(self.from, &file.path)?;
                    opened.len().map_err(|source| failed(&file.path, source))?
                }
            };
        }
        Ok(())
    }

    /// Copies these.
    pub(super) fn all(&mut self, files: &[CutFile]) -> Result<(), BackupError> {
        files.iter().try_for_each(|file| self.one(file))
    }

    /// Makes the names durable; what was copied.
    pub(super) fn end(self) -> Result<BackedUp, BackupError> {
        for directory in &self.directories {
            self.disk.sync_directory(directory).map_err(|source| failed(directory, source))?;
        }
        Ok(self.done)
    }

    fn one(&mut self, file: &CutFile) -> Result<(), BackupError> {
        let from = open(self.from, &file.path)?;
        let to = self.to.join(file.path.strip_prefix(self.root).unwrap_or(&file.path));
        let at = |source| failed(&to, source);
        let directory = to.parent().unwrap_or(self.to);
        if self.directories.insert(directory.to_path_buf()) {
            self.disk.create_directories(directory).map_err(at)?;
        }
        // What an attempt before has left.
        if self.disk.exists(&to).map_err(at)? {
            self.disk.unlink(&to).map_err(at)?;
        }
        let copy = self.disk.open(&to, Open::CreateNew).map_err(at)?;
        self.bytes(from.as_ref(), copy.as_ref(), file)?;
        copy.sync_data().map_err(at)?;
        self.done.files += 1;
        Ok(())
    }

    fn bytes(&mut self, from: &dyn File, to: &dyn File, file: &CutFile) -> Result<(), BackupError> {
        let at = |source| failed(&file.path, source);
        let (mut buffer, mut position) = (vec![0; CHUNK_BYTES], 0_u64);
        loop {
            let left = file.length.map_or(u64::MAX, |length| length - position);
            let wanted = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let read = from.pread(&mut buffer[..wanted], position).map_err(at)?;
            if read == 0 {
                break;
            }
            to.pwrite(&[IoSlice::new(&buffer[..read])], position).map_err(at)?;
            position += read as u64;
            self.done.bytes += read as u64;
            let (bytes, of_bytes) = (self.done.bytes, self.of_bytes.max(self.done.bytes));
            (self.told)(BackupProgress::Copying { bytes, of_bytes });
        }
        match file.length {
            Some(length) if position < length => Err(at(ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }
}

fn open(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn File>, BackupError> {
    disk.open(path, Open::Read).map_err(|error| match error.kind() {
        ErrorKind::NotFound => BackupError::Gone { path: path.to_path_buf() },
        _ => failed(path, error),
    })
}

fn failed(path: &Path, source: std::io::Error) -> BackupError {
    BackupError::Io { path: path.to_path_buf(), source }
}
