//! What the disk below a directory can do: fdatasync of a growing file, 4 KiB at a time.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const SYNCS: usize = 2_000;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syncs {
    pub(crate) per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl fmt::Display for Syncs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { per_s, p50_ms, p99_ms } = self;
        write!(f, "{per_s:.0}/s, p50 {p50_ms:.3} ms, p99 {p99_ms:.3} ms")
    }
}

/// Measures it in `directory`.
pub(crate) fn measure(directory: &Path) -> Syncs {
    let mut file = File::create(directory.join("probe")).expect("writable");
    let block = [7_u8; 4096];
    let started = Instant::now();
    let mut times: Vec<Duration> = (0..SYNCS)
        .map(|_| {
            let at = Instant::now();
            file.write_all(&block).expect("room on the disk");
            file.sync_data().expect("a disk that syncs");
            at.elapsed()
        })
        .collect();
    let per_s = SYNCS as f64 / started.elapsed().as_secs_f64();
    times.sort();
    let ms = |percent: usize| times[SYNCS * percent / 100].as_secs_f64() * 1e3;
    Syncs { per_s, p50_ms: ms(50), p99_ms: ms(99) }
}
