//! Names of a simulated disk: what a process sees, and what a power cut leaves of it.
//!
//! Promise: a journal keeps the order of names: of each directory's changes since its last sync a
//! beginning survives, and a rename whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The names of all files.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    now: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    /// Changes since the last sync of their directory, in order.
    waiting: Vec<NameChange>,
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

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<u64> {
        self.now.get(path).copied()
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.now.keys()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &u64> {
        self.now.values()
    }

    /// The first file other than `not` whose path contains `part`.
    pub(super) fn find(&self, part: &str, not: u64) -> Option<u64> {
        let fits = |(path, file): &(&PathBuf, &u64)| {
            **file != not && path.to_string_lossy().contains(part)
        };
        self.now.iter().find(fits).map(|(_, file)| *file)
    }

    /// Gives `path` to `file`, or to none.
    pub(super) fn change(&mut self, path: &Path, file: Option<u64>) {
        self.note(path, file, Joined::No);
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, file: u64) {
        self.note(from, None, Joined::No);
        self.note(to, Some(file), Joined::Yes);
    }

    fn note(&mut self, path: &Path, file: Option<u64>, joined: Joined) {
        match file {
            Some(file) => self.now.insert(path.to_path_buf(), file),
            None => self.now.remove(path),
        };
        self.waiting.push(NameChange { path: path.to_path_buf(), file, joined });
    }

    fn make_durable(&mut self, change: &NameChange) {
        match change.file {
            Some(file) => self.durable.insert(change.path.clone(), file),
            None => self.durable.remove(&change.path),
        };
    }

    /// A directory was synced: its changes are durable, and a rename is with either of its two.
    pub(super) fn sync(&mut self, directory: &Path) {
        let changes = std::mem::take(&mut self.waiting);
        let here = |change: &NameChange| change.path.parent() == Some(directory);
        let touches = |i: usize| {
            let pair = match changes[i].joined {
                Joined::Yes => i.checked_sub(1),
                Joined::No => Some(i + 1)
                    .filter(|n| changes.get(*n).is_some_and(|next| next.joined == Joined::Yes)),
            };
            here(&changes[i]) || pair.is_some_and(|pair| here(&changes[pair]))
        };
        for (i, change) in changes.iter().enumerate() {
            if touches(i) {
                self.make_durable(change);
            } else {
                self.waiting.push(change.clone());
            }
        }
    }

    /// A power cut: `keeps` decides for each change that waits, until a directory has lost one.
    pub(super) fn lose(&mut self, mut keeps: impl FnMut() -> bool) {
        let mut changes = std::mem::take(&mut self.waiting).into_iter().peekable();
        let mut lost = BTreeSet::new();
        while let Some(change) = changes.next() {
            let directory = change.path.parent().map(Path::to_path_buf);
            let other = changes.next_if(|next| next.joined == Joined::Yes);
            if lost.contains(&directory) || !keeps() {
                lost.insert(directory);
                lost.extend(other.map(|other| other.path.parent().map(Path::to_path_buf)));
                continue;
            }
            self.make_durable(&change);
            if let Some(other) = other {
                self.make_durable(&other);
            }
        }
        self.now = self.durable.clone();
    }
}
