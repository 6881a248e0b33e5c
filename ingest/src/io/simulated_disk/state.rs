//! What a simulated disk is at a moment, and what becomes of a call.
//!
//! Promise: every call is counted, also one that fails; after the power went none does anything.

use super::content::Content;
use super::faults::{Call, Fault, Faults};
use super::names::Names;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a disk nobody gave a capacity.
const ENDLESS_BYTES: u64 = 1 << 40;

/// Files, names, power and plans.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: StdRng,
    pub(super) files: BTreeMap<u64, Content>,
    pub(super) next_file: u64,
    pub(super) names: Names,
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) capacity_bytes: u64,
    pub(super) calls: u64,
    pub(super) cut_at: Option<u64>,
    pub(super) is_off: bool,
    /// Handles of an earlier life are dead.
    pub(super) life: u64,
    pub(super) faults: Faults,
    /// The calls since somebody asked for them.
    pub(super) trace: Option<Vec<(Call, PathBuf)>>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            files: BTreeMap::new(),
            next_file: 0,
            names: Names::default(),
            directories: BTreeSet::new(),
            capacity_bytes: ENDLESS_BYTES,
            calls: 0,
            cut_at: None,
            is_off: false,
            life: 0,
            faults: Faults::default(),
            trace: None,
        }
    }

    /// As it is now, with losses of its own.
    pub(super) fn fork(&self, seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            files: self.files.clone(),
            next_file: self.next_file,
            names: self.names.clone(),
            directories: self.directories.clone(),
            capacity_bytes: self.capacity_bytes,
            calls: self.calls,
            cut_at: self.cut_at,
            is_off: self.is_off,
            life: self.life,
            faults: self.faults.clone(),
            trace: None,
        }
    }

    /// Counts a call, and says whether it fails: by its plan, or because the power is off or goes now.
    pub(super) fn call(&mut self, call: Call, path: &Path) -> Result<Extent, Refused> {
        let now = self.calls;
        self.calls += 1;
        if let Some(trace) = &mut self.trace {
            trace.push((call, path.to_path_buf()));
        }
        let off = |happens| Refused { error: io::Error::other("the power is off"), happens };
        if self.is_off {
            return Err(off(Happens::Nothing));
        }
        if self.cut_at.is_some_and(|at| now >= at) {
            self.is_off = true;
            return Err(off(Happens::Perhaps));
        }
        match self.faults.strike(call, path) {
            Some(Fault::Error(io::ErrorKind::Interrupted)) => {
                Err(Refused { error: io::ErrorKind::Interrupted.into(), happens: Happens::Nothing })
            }
            Some(Fault::Error(kind)) => {
                Err(Refused { error: kind.into(), happens: Happens::Perhaps })
            }
            Some(Fault::Dropped) => {
                Err(Refused { error: io::Error::other("dropped"), happens: Happens::Dropped })
            }
            Some(Fault::Short) => Ok(Extent::Part),
            None => Ok(Extent::Whole),
        }
    }

    /// Bytes of all files that have a name.
    pub(super) fn used_bytes(&self) -> u64 {
        let length = |file: &u64| self.files.get(file).map_or(0, Content::len);
        self.names.files().map(length).sum()
    }

    /// Whether a file may become longer by `more` bytes.
    pub(super) fn has_room(&self, more: u64) -> io::Result<()> {
        let endless = self.capacity_bytes == ENDLESS_BYTES;
        if more == 0 || endless || self.used_bytes() + more <= self.capacity_bytes {
            return Ok(());
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.has_room(1)?;
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, Content::default());
        self.names.change(path, Some(file));
        Ok(file)
    }
}

/// How much of a call happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    Part,
}

/// Why a call fails, and what it may have done all the same.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: io::Error,
    pub(super) happens: Happens,
}

/// Whether a call that failed may have done something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happens {
    Nothing,
    Perhaps,
    /// As perhaps, and what does not happen is not shown to readers either.
    Dropped,
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}
