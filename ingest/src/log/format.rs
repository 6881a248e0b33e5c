//! The format of a data directory: a version, and what in it needs a reader or writer that knows it.
//!
//! Promise: a directory with something this version does not know is refused before anything in it
//! is written.

use super::catalog::{Catalog, Change};
use super::errors::{CatalogError, OpenError};
use super::opening::{CATALOG, LOCK};
use super::overlay::Overlay;
use crate::io::Disk;
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The newest version this one writes.
const FORMAT: &str = "1.1";
/// The version of a directory that uses no feature: versions before this one read it.
const FORMAT_PLAIN: &str = "1.0";
/// Directories of this major version are read, whatever their minor one.
const MAJOR: u32 = 1;
const SPACE: &str = "log";
const VERSION: &str = "format";
const FEATURES: &str = "features";

/// Something in a directory that versions before this one do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    /// Frames that say who sent their rows.
    Sources,
    /// Partitions that do not start at offset 0.
    LogStart,
}

impl Feature {
    fn bits(self) -> Features {
        match self {
            Self::Sources => Features { incompatible: 1, ..Features::default() },
            Self::LogStart => Features { incompatible: 2, ..Features::default() },
        }
    }
}

/// What is used in a directory, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Features {
    /// Whoever does not know one of these can do nothing with the directory.
    pub(super) incompatible: u64,
    /// Whoever does not know one of these may read but not write.
    pub(super) read_only: u64,
    /// Whoever does not know one of these loses nothing by it.
    pub(super) compatible: u64,
}

impl Features {
    /// What this version knows.
    const KNOWN: Self = Self { incompatible: 3, read_only: 0, compatible: 0 };

    fn with(self, more: Self) -> Self {
        Self {
            incompatible: self.incompatible | more.incompatible,
            read_only: self.read_only | more.read_only,
            compatible: self.compatible | more.compatible,
        }
    }

    pub(super) fn read(catalog: &Catalog) -> Result<Self, CatalogError> {
        let Some(bytes) = catalog.get(SPACE, FEATURES)? else { return Ok(Self::default()) };
        let (numbers, []) = bytes.as_chunks::<8>() else { return Err(damaged(FEATURES)) };
        let [incompatible, read_only, compatible] = numbers else { return Err(damaged(FEATURES)) };
        let [incompatible, read_only, compatible] =
            [incompatible, read_only, compatible].map(|bytes| u64::from_le_bytes(*bytes));
        Ok(Self { incompatible, read_only, compatible })
    }

    /// Those that a writer has to know and this version does not.
    fn unknown(self) -> Option<String> {
        let known = Self::KNOWN;
        let (incompatible, read_only) =
            (self.incompatible & !known.incompatible, self.read_only & !known.read_only);
        let unknown = (incompatible, read_only) != (0, 0);
        unknown
            .then(|| format!("features {incompatible:#x} (to read) and {read_only:#x} (to write)"))
    }
}

/// Looks at the directory without writing anything to it.
/// # Errors
/// It is in use, or has something this version does not know.
pub(super) fn refuse_unknown(disk: &Arc<dyn Disk>, directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(CATALOG);
    let there =
        disk.exists(&path).map_err(|source| OpenError::Io { path: path.clone(), source })?;
    if !there {
        return Ok(());
    }
    let _lock =
        disk.lock_shared(&directory.join(LOCK)).map_err(|error| locked(directory, error))?;
    // redb repairs what it opens: here in memory.
    let above: Arc<dyn Disk> = Arc::new(Overlay::new(Arc::clone(disk)));
    check(&Catalog::open(&above, &path)?, directory).map(drop)
}

/// Writes the version of a new directory; whether it has been used before.
pub(super) fn settle(catalog: &Catalog, directory: &Path) -> Result<bool, OpenError> {
    let used_before = check(catalog, directory)?;
    if !used_before {
        let value = FORMAT_PLAIN.as_bytes().to_vec();
        catalog.change(&[Change::Put { space: SPACE, key: VERSION.to_owned(), value }])?;
    }
    Ok(used_before)
}

fn check(catalog: &Catalog, directory: &Path) -> Result<bool, OpenError> {
    let Some(found) = catalog.get(SPACE, VERSION)? else { return Ok(false) };
    let found = String::from_utf8_lossy(&found).into_owned();
    let refused = |found: String| OpenError::UnknownFormat {
        directory: directory.to_path_buf(),
        found,
        known: FORMAT,
    };
    let major = found.split_once('.').and_then(|(major, _)| major.parse::<u32>().ok());
    if major != Some(MAJOR) {
        return Err(refused(found));
    }
    match Features::read(catalog)?.unknown() {
        None => Ok(true),
        Some(unknown) => Err(refused(format!("{found} with {unknown}"))),
    }
}

/// Makes it durable that `feature` is used, before the first byte that needs it is written; those
/// that are used already are in `used`.
pub(super) fn need(
    catalog: &Catalog,
    used: &Mutex<Features>,
    feature: Feature,
) -> Result<(), CatalogError> {
    let mut used = used.lock();
    let all = used.with(feature.bits());
    if all == *used {
        return Ok(());
    }
    let bits = [all.incompatible, all.read_only, all.compatible].map(u64::to_le_bytes).concat();
    let put = |key: &str, value| Change::Put { space: SPACE, key: key.to_owned(), value };
    let mut changes = vec![put(FEATURES, bits)];
    if catalog.get(SPACE, VERSION)?.is_some_and(|found| found == FORMAT_PLAIN.as_bytes()) {
        changes.push(put(VERSION, FORMAT.as_bytes().to_vec()));
    }
    catalog.change(&changes)?;
    *used = all;
    Ok(())
}

/// What a lock that was not given means.
pub(super) fn locked(directory: &Path, source: io::Error) -> OpenError {
    match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { directory: directory.to_path_buf() },
        _ => OpenError::Io { path: directory.join(LOCK), source },
    }
}

fn damaged(entry: &str) -> CatalogError {
    CatalogError::Damaged { entry: entry.to_owned(), detail: "wrong length".to_owned() }
}

#[cfg(test)]
mod tests;
