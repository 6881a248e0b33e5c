//! What retention removed, to be put back: the reference reads the log from its start.
//!
//! Promise: a log put together again is the one that would be there without retention.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_ingest::io::{Disk, Open, SimulatedDisk};
use weir_ingest::log::{InternalLog, Log};

/// Segments that are not written any more, as they were when they were last seen.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Removed {
    /// Looks at all closed segments.
    pub(crate) fn look(&mut self, disk: &SimulatedDisk, log: &Log) -> Result<(), String> {
        for directory in directories(disk, log)? {
            let mut files = disk.list(&directory).map_err(text)?;
            files.retain(|file| file.extension().is_some_and(|e| e == "seg"));
            files.pop();
            for path in files {
                let file = disk.open(&path, Open::Read).map_err(text)?;
                let mut bytes = vec![0; usize::try_from(file.len().map_err(text)?).map_err(text)?];
                file.pread(&mut bytes, 0).map_err(text)?;
                self.files.insert(path, bytes);
            }
        }
        Ok(())
    }

    /// Puts back what is gone, below a log that is not open; how many segments.
    pub(crate) fn put_back(self, disk: &SimulatedDisk) -> Result<u64, String> {
        let mut back = 0;
        for (path, bytes) in self.files {
            if !disk.exists(&path).map_err(text)? {
                let file = disk.open(&path, Open::CreateNew).map_err(text)?;
                file.pwrite(&[IoSlice::new(&bytes)], 0).map_err(text)?;
                file.sync_data().map_err(text)?;
                disk.sync_directory(path.parent().expect("it is in a directory")).map_err(text)?;
                back += 1;
            }
        }
        Ok(back)
    }
}

/// The log says that nothing was removed.
pub(crate) fn forget_starts(log: &Arc<Log>) -> Result<(), String> {
    for (key, _) in log.catalog().list("log/start").map_err(text)? {
        log.catalog().remove("log/start", &key).map_err(text)?;
    }
    Ok(())
}

fn directories(disk: &SimulatedDisk, log: &Log) -> Result<Vec<PathBuf>, String> {
    let mut directories = Vec::new();
    for stream in disk.list(&log.directory().join("streams")).map_err(text)? {
        directories.extend(disk.list(&stream).map_err(text)?);
    }
    let internal = Path::new("internal");
    let of = |which: InternalLog| log.directory().join(internal).join(which.name()).join("0");
    directories.extend(InternalLog::ALL.map(of));
    Ok(directories)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
