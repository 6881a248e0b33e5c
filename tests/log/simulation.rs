//! Seeds without end: whatever the disk does, what was confirmed is there.

use crate::run::{Outcome, STEPS, run};
use crate::seeds::{guarded, on_all_cores, seeds};
use std::sync::Arc;
use weir_ingest::io::SimulatedDisk;

/// Seeds of a CI run.
const SEEDS: u64 = 20_000;

#[test]
fn whatever_the_disk_does_nothing_that_was_confirmed_is_lost() {
    let seeds = seeds(SEEDS);
    let (outcomes, mut violations) = on_all_cores(&seeds, |seed| {
        let disk = SimulatedDisk::new(*seed);
        let ran = guarded(|| run(*seed, &disk, Arc::new(disk.clone())));
        ran.map_err(|violation| format!("WEIR_SEED={seed}: {violation}"))
    });
    violations.sort();
    assert!(violations.is_empty(), "{}:\n{}", violations.len(), violations.join("\n"));
    let mut total = Outcome::default();
    outcomes.iter().for_each(|outcome| total.add(outcome));
    println!("{} seeds of {STEPS} operations: {total:?}", seeds.len());
    let n = seeds.len() as u64;
    if n >= 100 {
        assert!(total.cuts > 5 * n && total.cuts_in_recovery > n, "{total:?}");
        assert!(total.failures > 2 * n && total.failures_in_recovery > n / 10, "{total:?}");
        assert!(total.confirmed > 20 * n && total.unconfirmed > n, "{total:?}");
        assert!(total.retried > n && total.trims > n / 4, "{total:?}");
        assert!(total.full > n / 10 && total.seen > 20 * n && total.segments > n, "{total:?}");
    }
}
