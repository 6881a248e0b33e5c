//! The catalog: everything about the log that is not a row, in one redb file, each commit durable.
//!
//! Promise: a change that returned `Ok` survives a crash; one that returned `Full` did not happen.
//! Elsewhere: what streams and series mean is `streams`; the engine keeps its own spaces here.

mod store;

use super::errors::CatalogError;
use crate::io::{Disk, Open};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::io;
use std::path::Path;
use std::sync::Arc;
use store::{Store, failed};
use tokio::sync::watch;

/// (space, key) -> value.
const ENTRIES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("entries");
/// (stream uid, series id) -> topic path.
const SERIES: TableDefinition<'_, (u32, u32), &str> = TableDefinition::new("series");
const COUNTERS: &str = "counters";

/// The catalog of one data directory.
#[derive(Debug)]
pub struct Catalog {
    store: Store,
    failure: watch::Sender<Option<Arc<str>>>,
}

/// An entry: space, key, value.
pub(super) type StoredEntry = (String, String, Vec<u8>);

/// One change of a commit.
#[derive(Debug, Clone)]
pub(crate) enum Change {
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
        Ok(Self { store: Store::open(disk, path)?, failure: watch::Sender::new(None) })
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
        self.store.read(|database| {
            let transaction = database.begin_read().map_err(|e| failed(&e))?;
            let entries = transaction.open_table(ENTRIES).map_err(|e| failed(&e))?;
            let value = entries.get((space, key)).map_err(|e| failed(&e))?;
            Ok(value.map(|v| v.value().to_vec()))
        })
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
        self.store.read(|database| list(database, space))
    }

    /// Every entry (space, key, value), and what `look` gives, while nobody changes anything.
    pub(super) fn standing<T>(
        &self,
        look: impl FnOnce() -> T,
    ) -> Result<(Vec<StoredEntry>, T), CatalogError> {
        self.store.standing(|database| Ok((all(database)?, look())))
    }

    /// Puts many entries at once.
    pub(super) fn fill(&self, all: &[StoredEntry]) -> Result<(), CatalogError> {
        self.commit(|entries, _| {
            let mut all = all.iter();
            all.try_for_each(|(space, key, value)| {
                entries.insert((space.as_str(), key.as_str()), value.as_slice()).map(drop)
            })
        })
    }

    /// Puts all series of a stream at once.
    pub(super) fn fill_series(&self, stream: u32, topics: &[Arc<str>]) -> Result<(), CatalogError> {
        self.commit(|_, series| {
            let mut ids = (0..).zip(topics);
            ids.try_for_each(|(id, topic)| series.insert((stream, id), topic.as_ref()).map(drop))
        })
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
    pub(crate) fn change(&self, changes: &[Change]) -> Result<(), CatalogError> {
        self.commit(|entries, series| changes.iter().try_for_each(|c| apply(entries, series, c)))
    }

    /// The topic paths of a stream's series, by id from 0.
    pub(super) fn series_of(&self, stream: u32) -> Result<Vec<Arc<str>>, CatalogError> {
        self.store.read(|database| series_of(database, stream))
    }

    fn commit(
        &self,
        change: impl FnOnce(&mut Entries<'_>, &mut Series<'_>) -> Result<(), redb::StorageError>,
    ) -> Result<(), CatalogError> {
        self.store.change(|database| commit(database, change)).inspect_err(|error| {
            if let CatalogError::Failed(detail) = error {
                self.failure.send_if_modified(|failure| {
                    failure.is_none().then(|| *failure = Some(Arc::clone(detail))).is_some()
                });
            }
        })
    }

    /// Tells when the disk failed below the catalog: nothing can be relied on then, and the process
    /// should end.
    pub(super) fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.failure.subscribe()
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

fn list(database: &Database, space: &str) -> Result<Vec<(String, Vec<u8>)>, CatalogError> {
    let transaction = database.begin_read().map_err(|e| failed(&e))?;
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

fn all(database: &Database) -> Result<Vec<StoredEntry>, CatalogError> {
    let transaction = database.begin_read().map_err(|e| failed(&e))?;
    let entries = transaction.open_table(ENTRIES).map_err(|e| failed(&e))?;
    let mut all = Vec::new();
    for entry in entries.iter().map_err(|e| failed(&e))? {
        let (key, value) = entry.map_err(|e| failed(&e))?;
        let (space, key) = key.value();
        all.push((space.to_owned(), key.to_owned(), value.value().to_vec()));
    }
    Ok(all)
}

fn series_of(database: &Database, stream: u32) -> Result<Vec<Arc<str>>, CatalogError> {
    let transaction = database.begin_read().map_err(|e| failed(&e))?;
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

fn create(disk: &Arc<dyn Disk>, path: &Path) -> Result<(), CatalogError> {
    let io = |e: io::Error| failed(&e);
    let fresh = path.with_extension("tmp");
    if disk.exists(&fresh).map_err(io)? {
        disk.unlink(&fresh).map_err(io)?;
    }
    let file = disk.open(&fresh, Open::CreateNew).map_err(io)?;
    let database = store::fresh(Arc::clone(&file), disk)?;
    commit(&database, |_, _| Ok(()))?;
    drop(database);
    file.sync_data().map_err(io)?;
    disk.rename(&fresh, path).map_err(io)?;
    disk.sync_directory(path.parent().unwrap_or(Path::new(""))).map_err(io)
}

fn commit(
    database: &Database,
    change: impl FnOnce(&mut Entries<'_>, &mut Series<'_>) -> Result<(), redb::StorageError>,
) -> Result<(), CatalogError> {
    let transaction = database.begin_write().map_err(|e| failed(&e))?;
    {
        let mut entries = transaction.open_table(ENTRIES).map_err(|e| failed(&e))?;
        let mut series = transaction.open_table(SERIES).map_err(|e| failed(&e))?;
        change(&mut entries, &mut series).map_err(|e| failed(&e))?;
    }
    transaction.commit().map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests;
