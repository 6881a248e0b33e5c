//! What the disk under the data directory can do.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

const SYNCS: usize = 2_000;

/// fdatasync of a growing file, 4 KiB at a time.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) syncs_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { syncs_per_s, p50_ms, p99_ms } = self;
        write!(f, "{syncs_per_s:.0}/s, p50 {p50_ms:.3} ms, p99 {p99_ms:.3} ms")
    }
}

pub(crate) fn measure(directory: &Path) -> Disk {
    let mut file = std::fs::File::create(directory.join("probe")).expect("writable");
    let mut times = crate::nanoseconds();
    let block = [7_u8; 4096];
    let started = Instant::now();
    for _ in 0..SYNCS {
        let at = Instant::now();
        file.write_all(&block).expect("room on the disk");
        file.sync_data().expect("a disk that syncs");
        times.saturating_record(u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    let ms = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1e6;
    Disk {
        syncs_per_s: SYNCS as f64 / started.elapsed().as_secs_f64(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
    }
}
