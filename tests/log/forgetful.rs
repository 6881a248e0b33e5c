//! A disk that says it synced and did not must be found out by the seeds.

use crate::careless::{Careless, Forgets};
use crate::run::run;
use crate::seeds::{guarded, on_all_cores};
use std::sync::Arc;
use weir_ingest::io::SimulatedDisk;

/// Seeds within which it must be.
const SEEDS: u64 = 100;

fn violations(forgets: Forgets) -> Vec<String> {
    let seeds: Vec<u64> = (0..SEEDS).collect();
    let (_, violations) = on_all_cores(&seeds, |seed| {
        let disk = SimulatedDisk::new(*seed);
        let careless = Arc::new(Careless::new(disk.clone(), forgets));
        guarded(|| run(*seed, &disk, careless))
    });
    violations
}

#[test]
fn a_log_that_skips_nothing_is_not_accused() {
    assert_eq!(violations(Forgets::Nothing), Vec::<String>::new());
}

fn is_found_out(forgets: Forgets) {
    let found = violations(forgets);
    let real = ["P1: confirmed row", "rows were visible", "Corrupt("];
    let lost = found.iter().filter(|v| real.iter().any(|sign| v.contains(sign))).count();
    assert!(lost > 0, "{forgets:?} went unnoticed for {SEEDS} seeds: {found:?}");
}

#[test]
fn a_log_that_skips_fdatasync_is_found_out() {
    is_found_out(Forgets::DataSync);
}

#[test]
fn a_log_that_skips_the_directory_sync_is_found_out() {
    is_found_out(Forgets::DirectorySync);
}
