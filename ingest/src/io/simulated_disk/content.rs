//! What a file of a simulated disk holds: what a reader gets, and what is surely on the platters.
//!
//! Promise: the two differ by the changes that wait for a sync, and by what a failed sync forgot.

/// A file's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    waiting: Vec<Change>,
    /// Whether a sync that failed left less on the platters than a reader gets.
    differs: bool,
}

/// A change that is not durable yet.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Change {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes: new } => put(bytes, *at, new),
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

/// Writes `new` at `at`; a gap before it reads as zeros.
pub(super) fn put(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    let end = at + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(new);
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.now.len() as u64
    }

    /// By how much the file would be longer if it reached to `end`.
    pub(super) fn growth(&self, end: u64) -> u64 {
        end.saturating_sub(self.len())
    }

    pub(super) fn read(&self, buffer: &mut [u8], at: usize) -> usize {
        let from = at.min(self.now.len());
        let bytes = &self.now[from..];
        let n = bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[..n]);
        n
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.waiting.push(change);
    }

    /// Everything waiting is on the platters.
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.waiting) {
            change.apply(&mut self.durable);
        }
    }

    /// A failed sync: of what waited, `some` reaches the platters; nothing waits any more, so that the
    /// next sync succeeds and has written nothing.
    pub(super) fn sync_some(&mut self, some: impl FnOnce(Vec<Change>, &mut Vec<u8>)) {
        if self.waiting.is_empty() {
            return;
        }
        some(std::mem::take(&mut self.waiting), &mut self.durable);
        self.differs = true;
    }

    /// The power is back: a reader gets what is on the platters.
    pub(super) fn show_durable(&mut self) {
        if self.differs {
            self.now.clone_from(&self.durable);
            self.differs = false;
        }
    }

    pub(super) fn flip_bit(&mut self, byte: usize, bit: u8) -> Option<()> {
        let there = byte < self.now.len();
        for bytes in [&mut self.now, &mut self.durable] {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        }
        there.then_some(())
    }
}
