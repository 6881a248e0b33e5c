//! The redb file below the catalog, on a disk that may be full for a while.
//!
//! Promise: a full disk leaves everything as it was, and needs no restart. A ballast beside the file
//! is given up when it runs out of room in the middle of a change, and no other change is begun until
//! the ballast is back. redb takes nothing any more after a call that failed: it is opened again.

use crate::io::{Disk, File, Open};
use crate::log::errors::CatalogError;
use parking_lot::{Mutex, RwLock};
use redb::{Database, StorageBackend};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::warn;

/// Memory redb may keep pages in.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// More than a change writes while no rows are taken.
const BALLAST_BYTES: u64 = 1024 * 1024;

/// The file.
#[derive(Debug)]
pub(super) struct Store {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// `None` only while it is opened again, or where that failed.
    database: RwLock<Option<Database>>,
    ballast: Arc<Ballast>,
    /// Whether redb refuses to go on.
    latched: AtomicBool,
    changing: Mutex<()>,
}

impl Store {
    /// Opens what is there.
    pub(super) fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Self, CatalogError> {
        let ballast = Arc::new(Ballast::new(Arc::clone(disk), path.with_extension("ballast")));
        if disk.persists() {
            settle(disk.as_ref(), path, &ballast)?;
        }
        let database = opened(disk, path, &ballast)?;
        Ok(Self {
            disk: Arc::clone(disk),
            path: path.to_path_buf(),
            database: RwLock::new(Some(database)),
            ballast,
            latched: AtomicBool::new(false),
            changing: Mutex::default(),
        })
    }

    /// Reads.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        self.unlatch()?;
        let database = self.database.read();
        read(database.as_ref().ok_or(CatalogError::Full)?)
    }

    /// Reads while nobody changes anything.
    pub(super) fn standing<T>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let _nobody_changes = self.changing.lock();
        self.read(read)
    }

    /// Changes, one after another.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&Database) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let _one_at_a_time = self.changing.lock();
        self.ballast.restore()?;
        self.unlatch()?;
        let database = self.database.read();
        self.ballast.missed.store(false, Ordering::SeqCst);
        change(database.as_ref().ok_or(CatalogError::Full)?).map_err(|error| {
            // redb may say only that some call before has failed.
            if !self.ballast.missed.load(Ordering::SeqCst) {
                return error;
            }
            self.latched.store(true, Ordering::SeqCst);
            CatalogError::Full
        })
    }

    /// Opens the file again where redb refuses to go on; what was committed is there. No sync has failed, so
    /// that what the file shows can be made durable.
    fn unlatch(&self) -> Result<(), CatalogError> {
        if !self.latched.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut database_now = self.database.write();
        if !self.latched.load(Ordering::SeqCst) {
            return Ok(());
        }
        // Closed before another opens it.
        drop(database_now.take());
        *database_now = Some(opened(&self.disk, &self.path, &self.ballast)?);
        self.latched.store(false, Ordering::SeqCst);
        Ok(())
    }
}

fn opened(
    disk: &Arc<dyn Disk>,
    path: &Path,
    ballast: &Arc<Ballast>,
) -> Result<Database, CatalogError> {
    let file = disk.open(path, Open::Write).map_err(|e| failed(&e))?;
    database(Backend { file, ballast: Arc::clone(ballast) })
}

/// A database in a file that has no ballast yet.
pub(super) fn fresh(file: Arc<dyn File>, disk: &Arc<dyn Disk>) -> Result<Database, CatalogError> {
    let ballast = Arc::new(Ballast::new(Arc::clone(disk), PathBuf::new()));
    database(Backend { file, ballast })
}

/// What the first bytes of a redb file are, and the bits that the next one may have when it was closed: which
/// root is the newer one, and how it was committed.
const REDB_MAGIC: [u8; 9] = *b"redb\x1a\n\xa9\r\n";
const REDB_CLOSED: u8 = 1 | 4;
const SETTLE_BYTES: usize = 1024 * 1024;

/// Makes durable what a reader gets of a file that was not closed. After a sync that failed it may be in
/// memory only; what is built on it would be durable without it (L5 holds for one process). A copy takes its
/// place: written over, what is durable already could be torn by a power cut. Without room for it, also that of
/// the ballast, nothing may be built on the file.
fn settle(disk: &dyn Disk, path: &Path, ballast: &Ballast) -> Result<(), CatalogError> {
    let io = |e: io::Error| failed(&e);
    // What an earlier start left.
    forget_copy(disk, path).map_err(io)?;
    let file = disk.open(path, Open::Read).map_err(io)?;
    let mut start = [0; REDB_MAGIC.len() + 1];
    file.pread(&mut start, 0).map_err(io)?;
    if start[..REDB_MAGIC.len()] == REDB_MAGIC && start[REDB_MAGIC.len()] & !REDB_CLOSED == 0 {
        return Ok(());
    }
    let mut copied = copy(disk, path, file.as_ref());
    if is_full(&copied) {
        forget_copy(disk, path).map_err(io)?;
        ballast.give_up().map_err(io)?;
        copied = copy(disk, path, file.as_ref());
    }
    if is_full(&copied) {
        forget_copy(disk, path).map_err(io)?;
        return Err(CatalogError::NoRoomToOpen { bytes: file.len().map_err(io)? });
    }
    let renamed = copied.and_then(|()| disk.rename(&copy_of(path), path));
    renamed.and_then(|()| disk.sync_directory(path.parent().unwrap_or(Path::new("")))).map_err(io)
}

fn copy_of(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

fn forget_copy(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let copy = copy_of(path);
    if disk.exists(&copy)? { disk.unlink(&copy) } else { Ok(()) }
}

fn is_full(done: &io::Result<()>) -> bool {
    done.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull)
}

/// Copies all of a file and makes the copy durable.
fn copy(disk: &dyn Disk, path: &Path, from: &dyn File) -> io::Result<()> {
    let to = disk.open(&copy_of(path), Open::CreateNew)?;
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

fn database(backend: Backend) -> Result<Database, CatalogError> {
    redb::Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend)
        .map_err(|e| failed(&e))
}

/// Tells a full disk, which is retried, from a failed one, which is not.
pub(super) fn failed(error: &(dyn std::error::Error + 'static)) -> CatalogError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == ErrorKind::StorageFull
        {
            return CatalogError::Full;
        }
        cause = error.source();
    }
    CatalogError::Failed(Arc::from(error.to_string()))
}

/// Room that is kept for the change that finds none.
#[derive(Debug)]
struct Ballast {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    whole: AtomicBool,
    /// Whether there was no room also without it; after that redb calls nothing any more.
    missed: AtomicBool,
}

impl Ballast {
    fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path, whole: AtomicBool::new(false), missed: AtomicBool::new(false) }
    }

    /// Makes sure that it is there.
    fn restore(&self) -> Result<(), CatalogError> {
        if self.whole.load(Ordering::SeqCst) {
            return Ok(());
        }
        match self.fill() {
            Ok(()) => self.whole.store(true, Ordering::SeqCst),
            Err(full) if full.kind() == ErrorKind::StorageFull => return Err(CatalogError::Full),
            // The catalog itself may still be well.
            Err(error) => warn!(ballast = %self.path.display(), %error, "no ballast"),
        }
        Ok(())
    }

    fn fill(&self) -> io::Result<()> {
        let how = if self.disk.exists(&self.path)? { Open::Write } else { Open::CreateNew };
        let file = self.disk.open(&self.path, how)?;
        if file.len()? < BALLAST_BYTES { file.allocate(BALLAST_BYTES) } else { Ok(()) }
    }

    /// Gives its room away before anything was changed.
    fn give_up(&self) -> io::Result<()> {
        if self.disk.exists(&self.path)? { self.disk.unlink(&self.path) } else { Ok(()) }
    }

    /// Gives its room away.
    fn release(&self) {
        if self.whole.swap(false, Ordering::SeqCst) {
            warn!(ballast = %self.path.display(), "the disk is full, the ballast is given up");
            drop(self.disk.unlink(&self.path));
        }
    }
}

/// redb on a `File`.
#[derive(Debug)]
struct Backend {
    file: Arc<dyn File>,
    ballast: Arc<Ballast>,
}

impl Backend {
    /// Tries again with the ballast's room where there is none.
    fn with_room(&self, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        match write() {
            Err(full) if full.kind() == ErrorKind::StorageFull => {
                self.ballast.release();
                write().inspect_err(|error| {
                    let full = error.kind() == ErrorKind::StorageFull;
                    self.ballast.missed.store(full, Ordering::SeqCst);
                })
            }
            written => written,
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        if self.file.pread(out, offset)? < out.len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.with_room(|| self.file.set_len(len))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.file.sync_data().map_err(|error| match error.kind() {
            // Nobody knows what is durable now: that is a failed disk, not a full one.
            ErrorKind::StorageFull => io::Error::other("the disk was full while syncing"),
            _ => error,
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.with_room(|| self.file.pwrite(&[io::IoSlice::new(data)], offset))
    }
}
