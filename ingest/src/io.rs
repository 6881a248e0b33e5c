//! The seams: everything the log knows of the machine comes through `Disk` and `Clock`.
//!
//! Promise: one real and one simulated version of each, interchangeable below this line.
//! Elsewhere: what is written is `log`'s business; this module knows no frames.

mod real;
mod simulated_clock;
mod simulated_disk;

pub use real::{RealClock, RealDisk, ScaledClock};
pub use simulated_clock::SimulatedClock;
pub use simulated_disk::{Call, Fault, Image, Misdirection, Plan, SimulatedDisk, Times};

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How [`Disk::open`] treats what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file, for reading and writing; fails if it exists.
    CreateNew,
}

/// Room on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes still to be had.
    pub available_bytes: u64,
}

/// A file. Positions are absolute; nothing has a cursor.
///
/// A disk provides the calls that may be interrupted or do a part; what is called is gone on with here,
/// above the seam, so that a simulated disk reaches it too.
pub trait File: Debug + Send + Sync {
    /// Writes a part of `parts`, one after another, from `at` on; the number of bytes.
    /// # Errors
    /// The disk's; `Interrupted` if nothing was done.
    fn write_some(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize>;
    /// Reads a part of what `buffer` takes; the number of bytes, 0 at the end of the file.
    /// # Errors
    /// The disk's; `Interrupted` if nothing was done.
    fn read_some(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// One try of [`Self::sync_data`].
    /// # Errors
    /// The disk's; `Interrupted` if nothing was done.
    fn sync_once(&self) -> io::Result<()>;
    /// One try of [`Self::allocate`].
    /// # Errors
    /// The disk's; `Interrupted` if nothing was done.
    fn allocate_once(&self, length: u64) -> io::Result<()>;
    /// One try of [`Self::set_len`].
    /// # Errors
    /// The disk's; `Interrupted` if nothing was done.
    fn set_len_once(&self, length: u64) -> io::Result<()>;

    /// Writes all of `parts` one after another from `at` on.
    /// # Errors
    /// The disk's; how much was written is then unknown.
    fn pwrite(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let mut left: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let (mut left, mut at) = (left.as_mut_slice(), at);
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match until_done(|| self.write_some(&*left, at))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
            }
        }
        Ok(())
    }
    /// Reads until `buffer` is full or the file ends; the number of bytes read.
    /// # Errors
    /// The disk's.
    fn pread(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match until_done(|| self.read_some(&mut buffer[filled..], at + filled as u64))? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }
    /// Makes all writes so far durable, and the length.
    /// # Errors
    /// The disk's; what was durable is then unknown and the file must not be written again (L5).
    fn sync_data(&self) -> io::Result<()> {
        until_done(|| self.sync_once())
    }
    /// Makes room up to `length` bytes; the file reads as zeros there.
    /// # Errors
    /// The disk's, a full one above all.
    fn allocate(&self, length: u64) -> io::Result<()> {
        until_done(|| self.allocate_once(length))
    }
    /// Sets the length.
    /// # Errors
    /// The disk's.
    fn set_len(&self, length: u64) -> io::Result<()> {
        until_done(|| self.set_len_once(length))
    }
    /// The length.
    /// # Errors
    /// The disk's.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    /// # Errors
    /// The disk's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Tries again as long as a signal came between: nothing was done, and nothing failed.
fn until_done<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A disk: paths and files. Names become durable by [`Disk::sync_directory`] alone.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file.
    /// # Errors
    /// The disk's.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Creates a directory and its parents; durable at once.
    /// # Errors
    /// The disk's.
    fn create_directories(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory, sorted by name; empty if it does not exist.
    /// # Errors
    /// The disk's.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether something is there.
    /// # Errors
    /// The disk's.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file, replacing what is there; both in directories of this disk.
    /// # Errors
    /// The disk's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file or an empty directory.
    /// # Errors
    /// The disk's.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes creates, renames and removals in a directory durable.
    /// # Errors
    /// The disk's.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Room on the disk that holds `path`.
    /// # Errors
    /// The disk's.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes the lock file at `path` for this process until the guard is dropped.
    /// # Errors
    /// `WouldBlock` if another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>>;
    /// Makes sure that no other process has the lock at `path` until the guard is dropped; writes
    /// nothing where the disk can do without.
    /// # Errors
    /// `WouldBlock` if another process holds it.
    fn lock_shared(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        self.lock(path)
    }
    /// Whether what is synced is there after a power cut: not of a layer in memory over another disk.
    fn persists(&self) -> bool {
        true
    }
}

/// Time. The wall clock may step; the monotonic one never goes back.
pub trait Clock: Debug + Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z.
    fn wall_us(&self) -> i64;
    /// Microseconds since some start.
    fn monotonic_us(&self) -> u64;
    /// How long a thread of the real machine must wait for `duration` of this clock to pass.
    fn real(&self, duration: Duration) -> Duration {
        duration
    }
}
