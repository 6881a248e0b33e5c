//! An open file of a simulated disk.
//!
//! Promise: a handle from before a power cut is dead; a call that fails leaves what a real one might.

use super::content::{Change, Content};
use super::faults::{Call, Misdirection};
use super::loss::{Image, survive};
use super::state::{Extent, Happens, Refused, State};
use crate::io::File;
use parking_lot::{Mutex, MutexGuard};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A handle.
#[derive(Debug)]
pub(super) struct SimulatedFile {
    state: Arc<Mutex<State>>,
    file: u64,
    life: u64,
    path: PathBuf,
}

impl SimulatedFile {
    pub(super) fn new(state: Arc<Mutex<State>>, file: u64, life: u64, path: &Path) -> Self {
        Self { state, file, life, path: path.to_path_buf() }
    }

    /// Counts a call of this handle; the disk, and whether the call fails.
    fn call(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, Result<Extent, Refused>)> {
        let mut state = self.state.lock();
        if self.life != state.life {
            return Err(io::Error::other("the file was open when the power went off"));
        }
        let outcome = state.call(call, &self.path);
        Ok((state, outcome))
    }
}

impl State {
    fn content(&mut self, file: u64) -> &mut Content {
        self.files.get_mut(&file).expect("an open file of this life is there")
    }

    /// Where a write of this file goes.
    fn aim(&mut self, file: u64, path: &Path, at: u64) -> (u64, u64) {
        match self.faults.misdirection(path) {
            None => (file, at),
            Some(Misdirection::Further(by)) => (file, at + by),
            Some(Misdirection::Into(part)) => (self.names.find(&part, file).unwrap_or(file), at),
        }
    }

    /// A sync failed: some of what was dirty is written, all of it is forgotten.
    fn forget(&mut self, file: u64) {
        let Self { files, rng, .. } = self;
        let content = files.get_mut(&file).expect("an open file of this life is there");
        content.sync_some(|waiting, durable| survive(Image::Random, &waiting, durable, rng));
    }
}

impl File for SimulatedFile {
    fn write_some(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let (mut state, outcome) = self.call(Call::Write)?;
        let all: usize = parts.iter().map(|part| part.len()).sum();
        if outcome.as_ref().is_err_and(|refused| refused.happens == Happens::Nothing) {
            return Ok(outcome.map(|_| 0)?);
        }
        let written = if matches!(outcome, Ok(Extent::Part)) { all.div_ceil(2) } else { all };
        let (file, at) = state.aim(self.file, &self.path, at);
        let growth = state.content(file).growth(at + written as u64);
        state.has_room(growth)?;
        let mut bytes = Vec::with_capacity(all);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.truncate(written);
        // A write that fails, or is cut off, may be there in part.
        state.content(file).change(Change::Write { at: index(at), bytes });
        Ok(outcome.map(|_| written)?)
    }

    fn read_some(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let (mut state, outcome) = self.call(Call::Read)?;
        let wanted = match outcome? {
            Extent::Part => buffer.len().div_ceil(2),
            Extent::Whole => buffer.len(),
        };
        Ok(state.content(self.file).read(&mut buffer[..wanted], index(at)))
    }

    fn sync_once(&self) -> io::Result<()> {
        let (mut state, outcome) = self.call(Call::Sync)?;
        match outcome {
            Ok(_) => state.content(self.file).sync(),
            Err(refused) => {
                // What a cut leaves is decided at the restart.
                if refused.happens != Happens::Nothing && !state.is_off {
                    state.forget(self.file);
                }
                if refused.happens == Happens::Dropped {
                    state.content(self.file).show_durable();
                }
                return Err(refused.into());
            }
        }
        Ok(())
    }

    fn allocate_once(&self, length: u64) -> io::Result<()> {
        let (mut state, outcome) = self.call(Call::Allocate)?;
        outcome?;
        let growth = state.content(self.file).growth(length);
        state.has_room(growth)?;
        if growth > 0 {
            state.content(self.file).change(Change::Length(index(length)));
        }
        Ok(())
    }

    fn set_len_once(&self, length: u64) -> io::Result<()> {
        let (mut state, outcome) = self.call(Call::SetLen)?;
        outcome?;
        let growth = state.content(self.file).growth(length);
        state.has_room(growth)?;
        state.content(self.file).change(Change::Length(index(length)));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let (mut state, outcome) = self.call(Call::Len)?;
        outcome?;
        Ok(state.content(self.file).len())
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("a simulated file fits in memory")
}
