//! A disk that forgets what it may: the worst that a real one is allowed to do at a power cut.
//!
//! Promise: what was synced is kept; of everything else any subset may be lost: writes by 512-byte
//! sector, names back to the last sync of their directory. The same seed loses the same bytes.

use super::{Disk, File, Open, Space};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// The calls a failure can be planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `File::pwrite`.
    Write,
    /// `File::sync_data`.
    Sync,
    /// `File::allocate`.
    Allocate,
    /// `Disk::sync_directory`.
    SyncDirectory,
    /// `Disk::rename`.
    Rename,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    files: HashMap<u64, Content>,
    next_file: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since the last sync of their directory, in order.
    name_changes: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    calls: u64,
    cut_at: Option<u64>,
    is_off: bool,
    /// Handles of an earlier life are dead.
    life: u64,
    failure: Option<(Call, io::ErrorKind, String)>,
}

#[derive(Debug, Clone)]
struct NameChange {
    path: PathBuf,
    file: Option<u64>,
    /// The change before belongs to the same rename.
    joined: Joined,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    Yes,
    No,
}

#[derive(Debug, Default)]
struct Content {
    /// What a reader gets.
    now: Vec<u8>,
    /// What is surely on the platters.
    durable: Vec<u8>,
    waiting: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes: new } => {
                let end = at + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(new);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// Applies what the platters happened to get.
    fn apply_some(&self, bytes: &mut Vec<u8>, rng: &mut StdRng) {
        match self {
            Self::Write { at, bytes: new } => {
                let mut from = 0;
                while from < new.len() {
                    let sector_end = (at + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - at;
                    let to = sector_end.min(new.len());
                    if rng.random_bool(0.5) {
                        Self::Write { at: at + from, bytes: new[from..to].to_vec() }.apply(bytes);
                    }
                    from = to;
                }
            }
            Self::Length(_) if rng.random_bool(0.5) => self.apply(bytes),
            Self::Length(_) => {}
        }
    }
}

impl SimulatedDisk {
    /// An empty disk; `seed` decides what it loses.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: StdRng::seed_from_u64(seed),
            files: HashMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            directories: BTreeSet::new(),
            calls: 0,
            cut_at: None,
            is_off: false,
            life: 0,
            failure: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
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

    /// Lets the next `call` on a path that contains `part` fail.
    pub fn fail_next(&self, call: Call, part: &str, kind: io::ErrorKind) {
        self.state.lock().failure = Some((call, kind, part.to_owned()));
    }

    /// Takes back [`Self::cut_power_in`] and [`Self::fail_next`].
    pub fn behave(&self) {
        let mut state = self.state.lock();
        state.cut_at = None;
        state.failure = None;
    }

    /// Cuts the power, if it is not off yet, and switches it on again: what was not synced is lost
    /// or not, sector by sector; open files are dead.
    pub fn restart(&self) {
        let mut state = self.state.lock();
        state.lose();
        state.is_off = false;
        state.cut_at = None;
        state.failure = None;
        state.life += 1;
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Changes one bit of a file at rest.
    /// # Errors
    /// There is no such file or byte.
    pub fn flip_bit(&self, path: &Path, at: usize) -> io::Result<()> {
        let mut state = self.state.lock();
        let content = state.named(path)?;
        for bytes in [&mut content.now, &mut content.durable] {
            *bytes.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)? ^= 1;
        }
        Ok(())
    }
}

impl State {
    /// Counts a call; fails if the power is off or goes off now.
    fn call(&mut self) -> io::Result<()> {
        let now = self.calls;
        self.calls += 1;
        if self.cut_at.is_some_and(|at| now >= at) {
            self.is_off = true;
        }
        if self.is_off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn planned_failure(&mut self, call: Call, path: &Path) -> io::Result<()> {
        match &self.failure {
            Some((planned, kind, part))
                if *planned == call && path.to_string_lossy().contains(part.as_str()) =>
            {
                let error = io::Error::from(*kind);
                self.failure = None;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn named(&mut self, path: &Path) -> io::Result<&mut Content> {
        let file = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change_name(&mut self, path: &Path, file: Option<u64>, joined: Joined) {
        match file {
            Some(file) => self.names.insert(path.to_path_buf(), file),
            None => self.names.remove(path),
        };
        self.name_changes.push(NameChange { path: path.to_path_buf(), file, joined });
    }

    fn make_name_durable(&mut self, change: &NameChange) {
        match change.file {
            Some(file) => self.durable_names.insert(change.path.clone(), file),
            None => self.durable_names.remove(&change.path),
        };
    }

    fn lose(&mut self) {
        let mut changes = std::mem::take(&mut self.name_changes).into_iter().peekable();
        // A journal keeps the order of names: of each directory a beginning survives, and a rename
        // whole or not at all.
        let mut lost = BTreeSet::new();
        while let Some(change) = changes.next() {
            let directory = change.path.parent().map(Path::to_path_buf);
            let other = changes.next_if(|next| next.joined == Joined::Yes);
            if lost.contains(&directory) || self.rng.random_bool(0.5) {
                lost.insert(directory);
                lost.extend(other.map(|other| other.path.parent().map(Path::to_path_buf)));
                continue;
            }
            self.make_name_durable(&change);
            if let Some(other) = other {
                self.make_name_durable(&other);
            }
        }
        self.names = self.durable_names.clone();
        let mut files: Vec<u64> = self.files.keys().copied().collect();
        files.sort_unstable();
        for file in files {
            let content = self.files.get_mut(&file).expect("a key of the map");
            for change in std::mem::take(&mut content.waiting) {
                change.apply_some(&mut content.durable, &mut self.rng);
            }
            content.now.clone_from(&content.durable);
        }
        let kept: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|file, _| kept.contains(file));
    }
}

#[derive(Debug)]
struct SimulatedFile {
    state: Arc<Mutex<State>>,
    file: u64,
    life: u64,
    path: PathBuf,
}

impl SimulatedFile {
    fn with<T>(
        &self,
        call: Option<Call>,
        act: impl FnOnce(&mut Content) -> T,
        on_failure: impl FnOnce(&mut Content, &mut StdRng),
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if self.life != state.life {
            return Err(io::Error::other("the file was open when the power went off"));
        }
        let mut outcome = state.call();
        if let (Ok(()), Some(call)) = (&outcome, call) {
            outcome = state.planned_failure(call, &self.path);
        }
        let content = state.files.get_mut(&self.file).ok_or(io::ErrorKind::NotFound)?;
        match outcome {
            Ok(()) => Ok(act(content)),
            Err(error) => {
                on_failure(content, &mut state.rng);
                Err(error)
            }
        }
    }
}

impl File for SimulatedFile {
    fn pwrite(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let write = Change::Write { at: index(at), bytes };
        let write = std::cell::Cell::new(Some(write));
        let keep = |content: &mut Content| {
            if let Some(write) = write.take() {
                write.apply(&mut content.now);
                content.waiting.push(write);
            }
        };
        // A write that fails, or is cut off, may be there in part.
        self.with(Some(Call::Write), keep, |content, _| keep(content))
    }

    fn pread(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let read = |content: &mut Content| {
            let from = index(at).min(content.now.len());
            let bytes = &content.now[from..];
            let n = bytes.len().min(buffer.len());
            buffer[..n].copy_from_slice(&bytes[..n]);
            n
        };
        self.with(None, read, |_, _| {})
    }

    fn sync_data(&self) -> io::Result<()> {
        let sync = |content: &mut Content| {
            for change in std::mem::take(&mut content.waiting) {
                change.apply(&mut content.durable);
            }
        };
        // A failed sync forgets what was dirty: the next one succeeds and has written nothing.
        let forget = |content: &mut Content, rng: &mut StdRng| {
            for change in std::mem::take(&mut content.waiting) {
                change.apply_some(&mut content.durable, rng);
            }
        };
        self.with(Some(Call::Sync), sync, forget)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let grow = |content: &mut Content| {
            if content.now.len() < index(length) {
                let change = Change::Length(index(length));
                change.apply(&mut content.now);
                content.waiting.push(change);
            }
        };
        self.with(Some(Call::Allocate), grow, |_, _| {})
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let set = |content: &mut Content| {
            let change = Change::Length(index(length));
            change.apply(&mut content.now);
            content.waiting.push(change);
        };
        self.with(None, set, |_, _| {})
    }

    fn len(&self) -> io::Result<u64> {
        self.with(None, |content| content.now.len() as u64, |_, _| {})
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("a simulated file fits in memory")
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.call()?;
        let file = match (state.names.get(path).copied(), how) {
            (Some(_), Open::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => file,
            (None, Open::CreateNew) => {
                let file = state.next_file;
                state.next_file += 1;
                state.files.insert(file, Content::default());
                state.change_name(path, Some(file), Joined::No);
                file
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        let life = state.life;
        let (state, path) = (Arc::clone(&self.state), path.to_path_buf());
        Ok(Arc::new(SimulatedFile { state, file, life, path }))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call()?;
        state.directories.extend(path.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state.lock();
        state.call()?;
        let entries: BTreeSet<PathBuf> = state
            .names
            .keys()
            .chain(&state.directories)
            .filter(|entry| entry.parent() == Some(path))
            .cloned()
            .collect();
        Ok(entries.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state.lock();
        state.call()?;
        Ok(state.names.contains_key(path) || state.directories.contains(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call()?;
        state.planned_failure(Call::Rename, from)?;
        let file = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change_name(from, None, Joined::No);
        state.change_name(to, Some(file), Joined::Yes);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call()?;
        if state.directories.remove(path) {
            return Ok(());
        }
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(path, None, Joined::No);
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call()?;
        state.planned_failure(Call::SyncDirectory, path)?;
        let changes = std::mem::take(&mut state.name_changes);
        // A rename between directories is durable with either of them.
        let touches = |i: usize| {
            let here = |c: &NameChange| c.path.parent() == Some(path);
            let pair = match changes[i].joined {
                Joined::Yes => i.checked_sub(1),
                Joined::No => Some(i + 1)
                    .filter(|n| changes.get(*n).is_some_and(|next| next.joined == Joined::Yes)),
            };
            here(&changes[i]) || pair.is_some_and(|pair| here(&changes[pair]))
        };
        for (i, change) in changes.iter().enumerate() {
            if touches(i) {
                state.make_name_durable(change);
            } else {
                state.name_changes.push(change.clone());
            }
        }
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let total_bytes = 1 << 40;
        Ok(Space { total_bytes, available_bytes: total_bytes })
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.state.lock().call()?;
        Ok(Box::new(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: &SimulatedDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
        let file = disk.open(Path::new(path), Open::CreateNew).unwrap();
        file.pwrite(&[IoSlice::new(bytes)], 0).unwrap();
        file
    }

    fn read(disk: &SimulatedDisk, path: &str) -> Option<Vec<u8>> {
        let file = disk.open(Path::new(path), Open::Read).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.pread(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_survives_by_sector_or_not() {
        let mut kept = BTreeSet::new();
        for seed in 0..64 {
            let disk = SimulatedDisk::new(seed);
            let file = write(&disk, "/d/a", &[1; 1024]);
            file.sync_data().unwrap();
            disk.sync_directory(Path::new("/d")).unwrap();
            file.pwrite(&[IoSlice::new(&[2; 1024])], 0).unwrap();
            disk.restart();
            let bytes = read(&disk, "/d/a").unwrap();
            assert!(bytes[..512].iter().all(|b| *b == bytes[0]));
            assert!(bytes[512..].iter().all(|b| *b == bytes[512]));
            kept.insert((bytes[0], bytes[512]));
        }
        assert_eq!(kept.len(), 4, "every subset of sectors happens");
    }

    #[test]
    fn a_name_is_lost_unless_its_directory_was_synced() {
        let mut there = 0;
        for seed in 0..64 {
            let disk = SimulatedDisk::new(seed);
            write(&disk, "/d/a", b"x").sync_data().unwrap();
            disk.restart();
            there += usize::from(read(&disk, "/d/a").is_some());
        }
        assert!((1..64).contains(&there), "{there} of 64 kept");
    }

    #[test]
    fn a_failed_sync_is_followed_by_one_that_lies() {
        let lost = (0..64).any(|seed| {
            let disk = SimulatedDisk::new(seed);
            let file = write(&disk, "/d/a", b"x");
            disk.sync_directory(Path::new("/d")).unwrap();
            disk.fail_next(Call::Sync, "/d/a", io::ErrorKind::Other);
            assert!(file.sync_data().is_err());
            file.sync_data().unwrap();
            assert_eq!(read(&disk, "/d/a").unwrap(), b"x", "the page cache shows it");
            disk.restart();
            read(&disk, "/d/a").unwrap() != b"x"
        });
        assert!(lost);
    }

    #[test]
    fn after_the_power_cut_every_call_fails_until_the_restart() {
        let disk = SimulatedDisk::new(1);
        disk.cut_power_in(1);
        let file = disk.open(Path::new("/a"), Open::CreateNew).unwrap();
        assert!(file.sync_data().is_err());
        assert!(disk.is_off());
        assert!(disk.exists(Path::new("/a")).is_err());
        disk.restart();
        assert!(file.len().is_err(), "handles of an earlier life are dead");
        assert!(disk.exists(Path::new("/a")).is_ok());
    }
}
