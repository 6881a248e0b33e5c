//! A disk over another one that is only read: what is written stays in memory.
//!
//! Promise: nothing below changes. So a directory can be opened, recovered and asked as the next
//! start will find it, and what a newer version wrote can be looked at before it is touched.

use crate::io::{Disk, File, Open, Space};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PAGE_BYTES: u64 = 4096;

/// The disk.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Arc<dyn Disk>,
    /// What differs from below.
    names: Mutex<BTreeMap<PathBuf, Entry>>,
}

#[derive(Debug, Clone)]
enum Entry {
    File(Arc<OverlayFile>),
    Directory,
    Gone,
}

impl Overlay {
    pub(super) fn new(below: Arc<dyn Disk>) -> Self {
        Self { below, names: Mutex::default() }
    }

    /// Bytes of files that it keeps.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> u64 {
        let bytes = |entry: &Entry| match entry {
            Entry::File(file) => file.content.lock().pages.len() as u64 * PAGE_BYTES,
            Entry::Directory | Entry::Gone => 0,
        };
        self.names.lock().values().map(bytes).sum()
    }

    /// The file at `path` as one that may change.
    fn changeable(&self, path: &Path) -> io::Result<Arc<OverlayFile>> {
        match self.names.lock().get(path) {
            Some(Entry::File(file)) => return Ok(Arc::clone(file)),
            Some(Entry::Directory | Entry::Gone) => return Err(io::ErrorKind::NotFound.into()),
            None => {}
        }
        let below = self.below.open(path, Open::Read)?;
        let file = Arc::new(OverlayFile::over(below)?);
        self.names.lock().insert(path.to_path_buf(), Entry::File(Arc::clone(&file)));
        Ok(file)
    }
}

impl Disk for Overlay {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let known = self.names.lock().get(path).cloned();
        match (how, known) {
            (Open::CreateNew, _) if self.exists(path)? => Err(io::ErrorKind::AlreadyExists.into()),
            (Open::CreateNew, _) => {
                let file = Arc::new(OverlayFile::default());
                let entry = Entry::File(Arc::clone(&file));
                self.names.lock().insert(path.to_path_buf(), entry);
                Ok(file)
            }
            // Not remembered: a log may have more files than a process may have open.
            (Open::Read, None) => self.below.open(path, Open::Read),
            (Open::Read | Open::Write, _) => Ok(self.changeable(path)?),
        }
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        for directory in path.ancestors().filter(|a| !a.as_os_str().is_empty()) {
            if !self.exists(directory)? {
                self.names.lock().insert(directory.to_path_buf(), Entry::Directory);
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found: BTreeSet<PathBuf> = self.below.list(path)?.into_iter().collect();
        for (name, entry) in self.names.lock().iter().filter(|(n, _)| n.parent() == Some(path)) {
            match entry {
                Entry::File(_) | Entry::Directory => found.insert(name.clone()),
                Entry::Gone => found.remove(name),
            };
        }
        Ok(found.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.names.lock().get(path) {
            Some(Entry::File(_) | Entry::Directory) => Ok(true),
            Some(Entry::Gone) => Ok(false),
            None => self.below.exists(path),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.changeable(from)?;
        let mut names = self.names.lock();
        names.insert(from.to_path_buf(), Entry::Gone);
        names.insert(to.to_path_buf(), Entry::File(file));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        if !self.exists(path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.names.lock().insert(path.to_path_buf(), Entry::Gone);
        Ok(())
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.below.space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.below.lock_shared(path)
    }

    fn persists(&self) -> bool {
        false
    }
}

/// A file with the pages that differ from the one below.
#[derive(Debug, Default)]
struct OverlayFile {
    below: Option<Arc<dyn File>>,
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    length: u64,
    /// Up to here the bytes of pages that are not in memory are those below, then zeros.
    below_length: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl OverlayFile {
    fn over(below: Arc<dyn File>) -> io::Result<Self> {
        let length = below.len()?;
        let content = Content { length, below_length: length, pages: BTreeMap::new() };
        Ok(Self { below: Some(below), content: Mutex::new(content) })
    }

    /// Fills `bytes` from the file below, with zeros where there is nothing.
    fn read_below(&self, below_length: u64, bytes: &mut [u8], at: u64) -> io::Result<()> {
        bytes.fill(0);
        let Some(below) = &self.below else { return Ok(()) };
        let there = below_length.saturating_sub(at).min(bytes.len() as u64);
        let there = usize::try_from(there).unwrap_or(bytes.len());
        if there > 0 {
            below.pread(&mut bytes[..there], at)?;
        }
        Ok(())
    }

    fn write_page(&self, content: &mut Content, bytes: &[u8], at: u64) -> io::Result<()> {
        let (page, from) = (at / PAGE_BYTES, index(at % PAGE_BYTES));
        if !content.pages.contains_key(&page) {
            let mut whole = vec![0; index(PAGE_BYTES)];
            self.read_below(content.below_length, &mut whole, page * PAGE_BYTES)?;
            content.pages.insert(page, whole);
        }
        if let Some(whole) = content.pages.get_mut(&page) {
            whole[from..from + bytes.len()].copy_from_slice(bytes);
        }
        content.length = content.length.max(at + bytes.len() as u64);
        Ok(())
    }
}

impl File for OverlayFile {
    fn write_some(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let mut content = self.content.lock();
        let (start, mut at) = (at, at);
        for part in parts {
            let mut left: &[u8] = part;
            while !left.is_empty() {
                let room = index(PAGE_BYTES - at % PAGE_BYTES).min(left.len());
                let (now, later) = left.split_at(room);
                self.write_page(&mut content, now, at)?;
                at += now.len() as u64;
                left = later;
            }
        }
        Ok(index(at - start))
    }

    fn read_some(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let content = self.content.lock();
        let there = content.length.saturating_sub(at).min(buffer.len() as u64);
        let buffer = &mut buffer[..index(there)];
        self.read_below(content.below_length, buffer, at)?;
        let end = at + there;
        let pages = at / PAGE_BYTES..=end / PAGE_BYTES;
        for (page, bytes) in content.pages.range(pages) {
            let start = page * PAGE_BYTES;
            let (from, to) = (start.max(at), (start + PAGE_BYTES).min(end));
            if from < to {
                buffer[index(from - at)..index(to - at)]
                    .copy_from_slice(&bytes[index(from - start)..index(to - start)]);
            }
        }
        Ok(buffer.len())
    }

    fn sync_once(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate_once(&self, length: u64) -> io::Result<()> {
        let mut content = self.content.lock();
        content.length = content.length.max(length);
        Ok(())
    }

    fn set_len_once(&self, length: u64) -> io::Result<()> {
        let mut content = self.content.lock();
        if length < content.length {
            content.below_length = content.below_length.min(length);
            content.pages.retain(|page, _| page * PAGE_BYTES < length);
            let last = content.pages.get_mut(&(length / PAGE_BYTES));
            if let Some(bytes) = last {
                bytes[index(length % PAGE_BYTES)..].fill(0);
            }
        }
        content.length = length;
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().length)
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("pieces of files fit in memory")
}

#[cfg(test)]
mod tests;
