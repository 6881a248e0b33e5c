//! The machine's disk, which fails where a test says, and has as much room as it says.

use parking_lot::Mutex;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_ingest::io::{Disk, File, Open, RealDisk, Space};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const GIB: u64 = 1024 * 1024 * 1024;
/// Large enough that the marks in parts of the disk count.
const TOTAL_BYTES: u64 = 1024 * GIB;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The next sync fails, and no other.
    OneSync,
    /// Whatever is to be written fails.
    Writing,
    /// Files get no more room than they have.
    NoRoom,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FailingDisk {
    below: RealDisk,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// What is wrong with files whose path has these words in it.
    wrong: Mutex<Option<(Wrong, String)>>,
    left_gib: AtomicU64,
    failures: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Write,
    Sync,
    Allocate,
}

impl FailingDisk {
    pub(crate) fn new() -> Arc<Self> {
        let left_gib = AtomicU64::new(TOTAL_BYTES / GIB / 2);
        let state = State { wrong: Mutex::default(), left_gib, failures: AtomicU64::new(0) };
        Arc::new(Self { below: RealDisk, state: Arc::new(state) })
    }

    /// From now on this is wrong with files whose path has `part` in it.
    pub(crate) fn break_down(&self, wrong: Wrong, part: &str) {
        *self.state.wrong.lock() = Some((wrong, part.to_owned()));
    }

    /// From now on nothing is wrong, and half of it is free.
    pub(crate) fn repair(&self) {
        *self.state.wrong.lock() = None;
        self.leave(TOTAL_BYTES / GIB / 2);
    }

    /// Says that so many GiB of 1,024 are left.
    pub(crate) fn leave(&self, gib: u64) {
        self.state.left_gib.store(gib, Ordering::SeqCst);
    }

    /// Calls that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.state.failures.load(Ordering::SeqCst)
    }
}

impl State {
    fn meet(&self, call: Call, path: &Path) -> io::Result<()> {
        let mut wrong = self.wrong.lock();
        let Some((what, part)) = &*wrong else { return Ok(()) };
        let error = match (what, call) {
            (Wrong::OneSync, Call::Sync) | (Wrong::Writing, _) => EIO,
            (Wrong::NoRoom, Call::Allocate) => ENOSPC,
            (Wrong::OneSync | Wrong::NoRoom, _) => return Ok(()),
        };
        if !path.to_string_lossy().contains(part) {
            return Ok(());
        }
        if *what == Wrong::OneSync {
            *wrong = None;
        }
        self.failures.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::from_raw_os_error(error))
    }
}

#[derive(Debug)]
struct FailingFile {
    below: Arc<dyn File>,
    path: PathBuf,
    state: Arc<State>,
}

impl File for FailingFile {
    fn write_some(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.state.meet(Call::Write, &self.path)?;
        self.below.write_some(parts, at)
    }

    fn read_some(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.below.read_some(buffer, at)
    }

    fn sync_once(&self) -> io::Result<()> {
        self.state.meet(Call::Sync, &self.path)?;
        self.below.sync_once()
    }

    fn allocate_once(&self, length: u64) -> io::Result<()> {
        self.state.meet(Call::Allocate, &self.path)?;
        self.below.allocate_once(length)
    }

    fn set_len_once(&self, length: u64) -> io::Result<()> {
        self.below.set_len_once(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let below = self.below.open(path, how)?;
        let (path, state) = (path.to_path_buf(), Arc::clone(&self.state));
        Ok(Arc::new(FailingFile { below, path, state }))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.below.create_directories(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.below.list(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.below.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.below.unlink(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.below.sync_directory(path)
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let available_bytes = self.state.left_gib.load(Ordering::SeqCst) * GIB;
        Ok(Space { total_bytes: TOTAL_BYTES, available_bytes })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.below.lock(path)
    }
}
