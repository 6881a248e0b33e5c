//! A simulated disk with failures that repeat, and with as much room as a test says.

use crate::io::{Disk, File, Open, SimulatedDisk, Space};
use parking_lot::Mutex;
use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Write,
    Sync,
    Allocate,
}

#[derive(Debug, Clone)]
struct Planned {
    act: Act,
    part: &'static str,
    kind: ErrorKind,
    after: usize,
    left: usize,
}

#[derive(Debug)]
pub(super) struct TestDisk {
    below: SimulatedDisk,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    planned: Mutex<Vec<Planned>>,
    space: Mutex<Space>,
}

impl TestDisk {
    pub(super) fn new() -> Self {
        let space = Space { total_bytes: 1 << 40, available_bytes: 1 << 39 };
        let state = State { planned: Mutex::default(), space: Mutex::new(space) };
        Self { below: SimulatedDisk::new(1), state: Arc::new(state) }
    }

    /// Lets the next `times` of `act` on paths that contain `part` fail.
    pub(super) fn fail(&self, act: Act, part: &'static str, kind: ErrorKind, times: usize) {
        self.fail_after(0, act, part, kind, times);
    }

    /// As [`Self::fail`], once `after` of them went well.
    pub(super) fn fail_after(
        &self,
        after: usize,
        act: Act,
        part: &'static str,
        kind: ErrorKind,
        times: usize,
    ) {
        self.state.planned.lock().push(Planned { act, part, kind, after, left: times });
    }

    pub(super) fn behave(&self) {
        self.state.planned.lock().clear();
    }

    /// Bytes that are left of 1 TiB.
    pub(super) fn leave(&self, available_bytes: u64) {
        self.state.space.lock().available_bytes = available_bytes;
    }
}

impl State {
    fn meet(&self, act: Act, path: &Path) -> io::Result<()> {
        let path = path.to_string_lossy();
        let mut planned = self.planned.lock();
        let hit = planned.iter_mut().find(|p| p.act == act && p.left > 0 && path.contains(p.part));
        match hit {
            Some(hit) if hit.after > 0 => {
                hit.after -= 1;
                Ok(())
            }
            Some(hit) => {
                hit.left -= 1;
                Err(hit.kind.into())
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct TestFile {
    below: Arc<dyn File>,
    path: PathBuf,
    state: Arc<State>,
}

impl File for TestFile {
    fn write_some(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.state.meet(Act::Write, &self.path)?;
        self.below.write_some(parts, at)
    }

    fn read_some(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.below.read_some(buffer, at)
    }

    fn sync_once(&self) -> io::Result<()> {
        self.state.meet(Act::Sync, &self.path)?;
        self.below.sync_once()
    }

    fn allocate_once(&self, length: u64) -> io::Result<()> {
        self.state.meet(Act::Allocate, &self.path)?;
        self.below.allocate_once(length)
    }

    fn set_len_once(&self, length: u64) -> io::Result<()> {
        self.below.set_len_once(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }
}

impl Disk for TestDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let below = self.below.open(path, how)?;
        let (path, state) = (path.to_path_buf(), Arc::clone(&self.state));
        Ok(Arc::new(TestFile { below, path, state }))
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
        Ok(*self.state.space.lock())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.below.lock(path)
    }
}
