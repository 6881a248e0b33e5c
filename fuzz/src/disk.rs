//! A disk in memory whose room was taken before: what is written to it is not counted.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_ingest::io::{Disk, File, Open, Space};

/// Bytes a file may have.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
const FILES_MAX: usize = 16;

/// Names and files; nothing is ever lost.
#[derive(Debug, Default)]
pub struct MemoryDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>,
    rooms: Arc<Mutex<Vec<Vec<u8>>>>,
}

#[derive(Debug)]
struct MemoryFile {
    bytes: Mutex<Vec<u8>>,
    rooms: Arc<Mutex<Vec<Vec<u8>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        let rooms = (0..FILES_MAX).map(|_| Vec::with_capacity(FILE_BYTES_MAX)).collect();
        Self { files: Mutex::default(), rooms: Arc::new(Mutex::new(rooms)) }
    }

    /// Removes every file.
    pub fn clear(&self) {
        lock(&self.files).clear();
    }

    /// Puts a file with these bytes.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let file = self.create();
        lock(&file.bytes).extend_from_slice(bytes);
        lock(&self.files).insert(path.to_path_buf(), file);
    }

    /// The bytes of a file.
    pub fn get(&self, path: &Path) -> Option<Vec<u8>> {
        lock(&self.files).get(path).map(|file| lock(&file.bytes).clone())
    }

    fn create(&self) -> Arc<MemoryFile> {
        let room = lock(&self.rooms).pop().unwrap_or_default();
        Arc::new(MemoryFile { bytes: Mutex::new(room), rooms: Arc::clone(&self.rooms) })
    }

    fn find(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        lock(&self.files).get(path).map(Arc::clone).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        let mut room = std::mem::take(&mut *lock(&self.bytes));
        room.clear();
        lock(&self.rooms).push(room);
    }
}

impl MemoryFile {
    fn resize(&self, length: usize) -> io::Result<()> {
        if length > FILE_BYTES_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        lock(&self.bytes).resize(length, 0);
        Ok(())
    }
}

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

impl File for MemoryFile {
    fn write_some(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let first = index(at);
        let mut at = first;
        for part in parts {
            let end = at.saturating_add(part.len());
            if end > lock(&self.bytes).len() {
                self.resize(end)?;
            }
            lock(&self.bytes)[at..end].copy_from_slice(part);
            at = end;
        }
        Ok(at - first)
    }

    fn read_some(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let bytes = lock(&self.bytes);
        let from = bytes.get(index(at)..).unwrap_or_default();
        let read = from.len().min(buffer.len());
        buffer[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    fn sync_once(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate_once(&self, length: u64) -> io::Result<()> {
        let length = index(length);
        if length > lock(&self.bytes).len() { self.resize(length) } else { Ok(()) }
    }

    fn set_len_once(&self, length: u64) -> io::Result<()> {
        self.resize(index(length))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.bytes).len() as u64)
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        if how != Open::CreateNew {
            return Ok(self.find(path)?);
        }
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = self.create();
        lock(&self.files).insert(path.to_path_buf(), Arc::clone(&file));
        Ok(file)
    }

    fn create_directories(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let files = lock(&self.files);
        Ok(files.keys().filter(|file| file.parent() == Some(path)).cloned().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.find(path).is_ok())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.find(from)?;
        let mut files = lock(&self.files);
        files.remove(from);
        files.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        lock(&self.files).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space { total_bytes: 1 << 40, available_bytes: 1 << 40 })
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        Ok(Box::new(()))
    }
}
