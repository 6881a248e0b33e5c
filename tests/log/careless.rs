//! Sabotage: a disk that says it synced and did not.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_ingest::io::{Disk, File, Open, SimulatedDisk, Space};

/// What is skipped. The catalog's own syncs are left alone: the log's are on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgets {
    Nothing,
    DataSync,
    DirectorySync,
}

#[derive(Debug)]
pub(crate) struct Careless {
    disk: SimulatedDisk,
    forgets: Forgets,
}

impl Careless {
    pub(crate) fn new(disk: SimulatedDisk, forgets: Forgets) -> Self {
        Self { disk, forgets }
    }
}

fn is_catalog(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "catalog")
}

impl Disk for Careless {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, how)?;
        if self.forgets == Forgets::DataSync && !is_catalog(path) {
            return Ok(Arc::new(CarelessFile(file)));
        }
        Ok(file)
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directories(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.disk.unlink(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let is_root = !path.ends_with("0") && !path.ends_with("1");
        if self.forgets == Forgets::DirectorySync && !is_root {
            return Ok(());
        }
        self.disk.sync_directory(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.disk.lock(path)
    }
}

#[derive(Debug)]
struct CarelessFile(Arc<dyn File>);

impl File for CarelessFile {
    fn write_some(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.0.write_some(parts, at)
    }

    fn read_some(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_some(buffer, at)
    }

    fn sync_once(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate_once(&self, length: u64) -> io::Result<()> {
        self.0.allocate_once(length)
    }

    fn set_len_once(&self, length: u64) -> io::Result<()> {
        self.0.set_len_once(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
