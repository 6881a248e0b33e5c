//! A disk that forgets what it may: the worst that a real one is allowed to do at a power cut.
//!
//! Promise: what was synced is kept; of everything else any subset may be lost: writes by 512-byte
//! sector, names back to the last sync of their directory. The same seed loses the same bytes. Every
//! kind of call can be planned to fail, once or from then on.
//! Elsewhere: what a power cut leaves is `loss`'s, which call fails how is `faults`'.

mod content;
mod faults;
mod file;
mod loss;
mod names;
mod state;

pub use faults::{Call, Fault, Misdirection, Plan, Times};
pub use loss::Image;

use super::{Disk, File, Open, Space};
use faults::Faults;
use file::SimulatedFile;
use parking_lot::Mutex;
use state::State;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk in memory. Clones share it; [`SimulatedDisk::fork`] makes another.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// An empty disk; `seed` decides what it loses.
    pub fn new(seed: u64) -> Self {
        let state = State::new(seed);
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Another disk that is as this one is now, and whose losses `seed` decides. Nobody has a file of
    /// it open.
    pub fn fork(&self, seed: u64) -> Self {
        let fork = self.state.lock().fork(seed);
        Self { state: Arc::new(Mutex::new(fork)) }
    }

    /// Cuts the power during the `n`-th call from now; 0 is the next.
    pub fn cut_power_in(&self, n: u64) {
        let mut state = self.state.lock();
        state.cut_at = Some(state.calls + n);
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.state.lock().is_off
    }

    /// Plans failures; they come beside those planned before.
    pub fn plan(&self, plan: Plan) {
        self.state.lock().faults.add(plan);
    }

    /// Lets the next `call` on a path that contains `part` fail.
    pub fn fail_next(&self, call: Call, part: &str, kind: io::ErrorKind) {
        self.plan(Plan::next(call, part, Fault::Error(kind)));
    }

    /// Sends the next write to a path that contains `part` elsewhere; its caller is told nothing.
    pub fn misdirect_next(&self, part: &str, to: Misdirection) {
        self.state.lock().faults.misdirect(part, to);
    }

    /// Takes back [`Self::cut_power_in`] and everything planned.
    pub fn behave(&self) {
        let mut state = self.state.lock();
        state.cut_at = None;
        state.faults = Faults::default();
    }

    /// Gives the disk a capacity: what makes files longer beyond it fails with `StorageFull`.
    pub fn set_capacity(&self, bytes: u64) {
        self.state.lock().capacity_bytes = bytes;
    }

    /// Cuts the power, if it is not off yet, and switches it on again: what was not synced is lost
    /// or not, sector by sector; open files are dead.
    pub fn restart(&self) {
        self.restart_with(Image::Random);
    }

    /// As [`Self::restart`], with the losses of `image`.
    pub fn restart_with(&self, image: Image) {
        let mut state = self.state.lock();
        state.lose(image);
        state.is_off = false;
        state.cut_at = None;
        state.faults = Faults::default();
        state.life += 1;
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Starts to note every call.
    pub fn record_calls(&self) {
        self.state.lock().trace = Some(Vec::new());
    }

    /// The calls since [`Self::record_calls`], with what each was about.
    pub fn recorded_calls(&self) -> Vec<(Call, PathBuf)> {
        self.state.lock().trace.clone().unwrap_or_default()
    }

    /// Changes one bit of a file at rest.
    /// # Errors
    /// There is no such file or byte.
    pub fn flip_bit(&self, path: &Path, byte: usize, bit: u8) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let content = state.files.get_mut(&file).ok_or(io::ErrorKind::NotFound)?;
        content.flip_bit(byte, bit).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.call(Call::Open, path)?;
        let file = match (state.names.get(path), how) {
            (Some(_), Open::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => file,
            (None, Open::CreateNew) => state.create(path)?,
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        let life = state.life;
        Ok(Arc::new(SimulatedFile::new(Arc::clone(&self.state), file, life, path)))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::CreateDirectories, path)?;
        state.directories.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state.lock();
        state.call(Call::List, path)?;
        let inside = |entry: &&PathBuf| entry.parent() == Some(path);
        let entries: BTreeSet<PathBuf> =
            state.names.paths().chain(&state.directories).filter(inside).cloned().collect();
        Ok(entries.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state.lock();
        state.call(Call::Exists, path)?;
        Ok(state.names.get(path).is_some() || state.directories.contains(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::Rename, from)?;
        let file = state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.rename(from, to, file);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::Unlink, path)?;
        if state.directories.remove(path) {
            return Ok(());
        }
        state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        state.names.change(path, None);
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::SyncDirectory, path)?;
        state.names.sync(path);
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let mut state = self.state.lock();
        state.call(Call::Space, path)?;
        let total_bytes = state.capacity_bytes;
        Ok(Space { total_bytes, available_bytes: total_bytes.saturating_sub(state.used_bytes()) })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.state.lock().call(Call::Lock, path)?;
        Ok(Box::new(()))
    }
}

#[cfg(test)]
mod tests;
