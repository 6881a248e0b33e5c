//! The catalog: everything about the log that is not a row, in one redb file, each commit durable.
//!
//! Promise: a change that returned `Ok` survives a crash; one that returned `Full` did not happen.
//! Elsewhere: what streams and series mean is `streams`; the engine keeps its own spaces here.

use super::errors::CatalogError;
use crate::io::{Disk, File, Open};
use redb::{Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// (space, key) -> value.
const ENTRIES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("entries");
/// (stream uid, series id) -> topic path.
const SERIES: TableDefinition<'_, (u32, u32), &str> = TableDefinition::new("series");
/// Memory redb may keep pages in.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
const COUNTERS: &str = "counters";

/// The catalog of one data directory.
#[derive(Debug)]
pub struct Catalog {
    database: Database,
}

/// One change of a commit.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Put { space: &'static str, key: String, value: Vec<u8> },
    Remove { space: &'static str, key: String },
    AddSeries { stream: u32, series: u32, topic: Arc<str> },
    RemoveSeriesOf { stream: u32 },
}

impl Catalog {
    /// Opens `path`, or creates it so that it is there whole or not at all.
    pub(super) fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Self, CatalogError> {
        let io = |e: io::Error| failed(&e);
        if !disk.exists(path).map_err(io)? {
            create(disk, path)?;
        } else {
            // The start that created it may have failed to make its name durable.
            disk.sync_directory(path.parent().unwrap_or(Path::new(""))).map_err(io)?;
        }
        settle(disk.as_ref(), path).map_err(io)?;
        let file = disk.open(path, Open::Write).map_err(io)?;
        Ok(Self { database: database(file)? })
    }

    /// Writes one entry; durable when it returns.
    /// # Errors
    /// The disk is full or failed.
    pub fn put(&self, space: &str, key: &str, value: &[u8]) -> Result<(), CatalogError> {
        self.commit(|entries, _| entries.insert((space, key), value).map(drop))
    }

    /// Reads one entry.
    /// # Errors
    /// The disk failed.
    pub fn get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>, CatalogError> {
        let transaction = self.database.begin_read().map_err(|e| failed(&e))?;
        let entries = transaction.open_table(ENTRIES).map_err(|e| failed(&e))?;
        let value = entries.get((space, key)).map_err(|e| failed(&e))?;
        Ok(value.map(|v| v.value().to_vec()))
    }

    /// Removes one entry, if it is there; durable when it returns.
    /// # Errors
    /// The disk is full or failed.
    pub fn remove(&self, space: &str, key: &str) -> Result<(), CatalogError> {
        self.commit(|entries, _| entries.remove((space, key)).map(drop))
    }

    /// All entries of a space, by key.
    /// # Errors
    /// The disk failed.
    pub fn list(&self, space: &str) -> Result<Vec<(String, Vec<u8>)>, CatalogError> {
        let transaction = self.database.begin_read().map_err(|e| failed(&e))?;
        let entries = transaction.open_table(ENTRIES).map_err(|e| failed(&e))?;
        let mut found = Vec::new();
        for entry in entries.range((space, "")..).map_err(|e| failed(&e))? {
            let (key, value) = entry.map_err(|e| failed(&e))?;
            let (its_space, key) = key.value();
            if its_space != space {
                break;
            }
            found.push((key.to_owned(), value.value().to_vec()));
        }
        Ok(found)
    }

    /// The next number of a durable counter, from 1; none is given twice.
    /// # Errors
    /// The disk is full or failed.
    pub fn next_uid(&self, space: &str) -> Result<u64, CatalogError> {
        let mut next = 1_u64;
        self.commit(|entries, _| {
            if let Some(last) = entries.get((COUNTERS, space))? {
                next = last.value().first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b)) + 1;
            }
            entries.insert((COUNTERS, space), next.to_le_bytes().as_slice()).map(drop)
        })?;
        Ok(next)
    }

    /// Makes all changes durable, or none.
    pub(super) fn change(&self, changes: &[Change]) -> Result<(), CatalogError> {
        self.commit(|entries, series| changes.iter().try_for_each(|c| apply(entries, series, c)))
    }

    /// The topic paths of a stream's series, by id from 0.
    pub(super) fn series_of(&self, stream: u32) -> Result<Vec<Arc<str>>, CatalogError> {
        let transaction = self.database.begin_read().map_err(|e| failed(&e))?;
        let series = transaction.open_table(SERIES).map_err(|e| failed(&e))?;
        let mut topics = Vec::new();
        for entry in series.range((stream, 0)..=(stream, u32::MAX)).map_err(|e| failed(&e))? {
            let (key, topic) = entry.map_err(|e| failed(&e))?;
            if key.value().1 as usize != topics.len() {
                return Err(CatalogError::Damaged {
                    entry: format!("series {} of stream {stream}", key.value().1),
                    detail: "ids are not dense".to_owned(),
                });
            }
            topics.push(Arc::from(topic.value()));
        }
        Ok(topics)
    }

    fn commit(
        &self,
        change: impl FnOnce(&mut Entries<'_>, &mut Series<'_>) -> Result<(), redb::StorageError>,
    ) -> Result<(), CatalogError> {
        let transaction = self.database.begin_write().map_err(|e| failed(&e))?;
        {
            let mut entries = transaction.open_table(ENTRIES).map_err(|e| failed(&e))?;
            let mut series = transaction.open_table(SERIES).map_err(|e| failed(&e))?;
            change(&mut entries, &mut series).map_err(|e| failed(&e))?;
        }
        transaction.commit().map_err(|e| failed(&e))
    }
}

type Entries<'t> = redb::Table<'t, (&'static str, &'static str), &'static [u8]>;
type Series<'t> = redb::Table<'t, (u32, u32), &'static str>;

fn apply(
    entries: &mut Entries<'_>,
    series: &mut Series<'_>,
    change: &Change,
) -> Result<(), redb::StorageError> {
    match change {
        Change::Put { space, key, value } => {
            entries.insert((*space, key.as_str()), value.as_slice()).map(drop)
        }
        Change::Remove { space, key } => entries.remove((*space, key.as_str())).map(drop),
        Change::AddSeries { stream, series: id, topic } => {
            series.insert((*stream, *id), topic.as_ref()).map(drop)
        }
        Change::RemoveSeriesOf { stream } => {
            series.retain_in((*stream, 0)..=(*stream, u32::MAX), |_, _| false)
        }
    }
}

fn create(disk: &Arc<dyn Disk>, path: &Path) -> Result<(), CatalogError> {
    let io = |e: io::Error| failed(&e);
    let fresh = path.with_extension("tmp");
    if disk.exists(&fresh).map_err(io)? {
        disk.unlink(&fresh).map_err(io)?;
    }
    let file = disk.open(&fresh, Open::CreateNew).map_err(io)?;
    let catalog = Catalog { database: database(Arc::clone(&file))? };
    catalog.commit(|_, _| Ok(()))?;
    drop(catalog);
    file.sync_data().map_err(io)?;
    disk.rename(&fresh, path).map_err(io)?;
    disk.sync_directory(path.parent().unwrap_or(Path::new(""))).map_err(io)
}

/// What the first bytes of a redb file are, and the bits that the next one may have when it was closed: which
/// root is the newer one, and how it was committed.
const REDB_MAGIC: [u8; 9] = *b"redb\x1a\n\xa9\r\n";
const REDB_CLOSED: u8 = 1 | 4;
const SETTLE_BYTES: usize = 1024 * 1024;

/// Makes durable what a reader gets of a file that was not closed. After a sync that failed it may be in
/// memory only; what is built on it would be durable without it (L5 holds for one process). A copy takes its
/// place: written over, what is durable already could be torn by a power cut. A full disk goes without.
fn settle(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let copied = path.with_extension("tmp");
    let forget = || if disk.exists(&copied)? { disk.unlink(&copied) } else { Ok(()) };
    // What an earlier start left.
    forget()?;
    let file = disk.open(path, Open::Read)?;
    let mut start = [0; REDB_MAGIC.len() + 1];
    file.pread(&mut start, 0)?;
    if start[..REDB_MAGIC.len()] == REDB_MAGIC && start[REDB_MAGIC.len()] & !REDB_CLOSED == 0 {
        return Ok(());
    }
    let made = disk.open(&copied, Open::CreateNew);
    match made.and_then(|made| copy(file.as_ref(), made.as_ref())) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::StorageFull => return forget(),
        Err(error) => return Err(error),
    }
    disk.rename(&copied, path)?;
    disk.sync_directory(path.parent().unwrap_or(Path::new("")))
}

/// Copies all of a file and makes the copy durable.
fn copy(from: &dyn File, to: &dyn File) -> io::Result<()> {
    let (mut buffer, mut at) = (vec![0; SETTLE_BYTES], 0);
    loop {
        let read = from.pread(&mut buffer, at)?;
        if read == 0 {
            return to.sync_data();
        }
        to.pwrite(&[io::IoSlice::new(&buffer[..read])], at)?;
        at += read as u64;
    }
}

fn database(file: Arc<dyn File>) -> Result<Database, CatalogError> {
    redb::Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(Backend(file))
        .map_err(|e| failed(&e))
}

/// Tells a full disk, which is retried, from a failed one, which is not.
fn failed(error: &(dyn std::error::Error + 'static)) -> CatalogError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::StorageFull
        {
            return CatalogError::Full;
        }
        cause = error.source();
    }
    CatalogError::Failed(Arc::from(error.to_string()))
}

/// redb on a `File`.
#[derive(Debug)]
struct Backend(Arc<dyn File>);

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        if self.0.pread(out, offset)? < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.pwrite(&[io::IoSlice::new(data)], offset)
    }
}

#[cfg(test)]
mod tests;
