//! The machine's own disk and clock.
//!
//! Promise: the only place of the library crates that names `std::fs` and the system's clocks.
#![allow(clippy::disallowed_methods)]

use super::{Clock, Disk, File, Open, Space};
use rustix::fs::{FallocateFlags, FlockOperation};
use std::fmt::Debug;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Most slices one `pwritev` takes on Linux.
const SLICES_MAX: usize = 1024;

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn write_some(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let some = &parts[..parts.len().min(SLICES_MAX)];
        Ok(rustix::io::pwritev(&self.0, some, at)?)
    }

    fn read_some(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn sync_once(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }

    fn allocate_once(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(()),
            // Some file systems cannot reserve; a longer sparse file is then all there is.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let longer = self.len()? < length;
                if longer { self.set_len(length) } else { Ok(()) }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn set_len_once(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => {}
            Open::Write => {
                options.write(true);
            }
            Open::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        let mut missing = Vec::new();
        let mut at = Some(path);
        while let Some(directory) = at {
            if directory.as_os_str().is_empty() || directory.exists() {
                break;
            }
            missing.push(directory);
            at = directory.parent();
        }
        for directory in missing.into_iter().rev() {
            match fs::create_dir(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if let Some(parent) = directory.parent() {
                self.sync_directory(parent)?;
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut paths = entries.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let status = rustix::fs::statvfs(path)?;
        Ok(Space {
            total_bytes: status.f_blocks * status.f_frsize,
            available_bytes: status.f_bavail * status.f_frsize,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(Box::new(file))
    }

    fn lock_shared(&self, path: &Path) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Box::new(())),
            Err(error) => return Err(error),
        };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared)?;
        Ok(Box::new(file))
    }
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn wall_us(&self) -> i64 {
        wall_us()
    }

    fn monotonic_us(&self) -> u64 {
        micros(self.start.elapsed())
    }
}

/// A clock that starts at the machine's and runs `speed` times as fast.
#[derive(Debug, Clone, Copy)]
pub struct ScaledClock {
    start: Instant,
    start_wall_us: i64,
    speed: f64,
}

impl ScaledClock {
    /// A clock `speed` times as fast as the machine's; 1 is its own pace.
    /// # Panics
    /// If `speed` is not a positive number.
    pub fn new(speed: f64) -> Self {
        assert!(speed.is_finite() && speed > 0.0, "the speed of a clock is a positive number");
        Self { start: Instant::now(), start_wall_us: wall_us(), speed }
    }

    fn scaled_us(&self) -> u64 {
        micros(self.start.elapsed().mul_f64(self.speed))
    }
}

impl Clock for ScaledClock {
    fn wall_us(&self) -> i64 {
        self.start_wall_us + self.scaled_us().cast_signed()
    }

    fn monotonic_us(&self) -> u64 {
        self.scaled_us()
    }

    fn real(&self, duration: Duration) -> Duration {
        duration.div_f64(self.speed)
    }
}

fn wall_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => micros(since).cast_signed(),
        Err(before) => -micros(before.duration()).cast_signed(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
