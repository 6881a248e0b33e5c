//! Deliberate faults of the log: each alone must be found by a test; which ones find it is printed.
//!
//! Promise: what is run here under a fault are the checks that run without one elsewhere: seeds, the
//! script with a power cut or a failure at a call, files of an earlier incarnation. Without a fault they
//! find nothing. A fault that nothing finds means that the tests are too weak.

use crate::every_call::{calls, cut_during, failing};
use crate::faults::{Red, each_alone};
use crate::incarnations::a_stale_file_is_set_aside;
use crate::producers::a_retry_is_known;
use crate::run::run;
use crate::seeds::guarded;
use std::io::ErrorKind;
use std::sync::Arc;
use weir_ingest::io::{Fault as DiskFault, SimulatedDisk};
use weir_ingest::sabotage::Fault;

/// Seeds within which a fault is found, or not by them.
const SEEDS: u64 = 60;
const SIMULATION: &str = "whatever_the_disk_does_nothing_that_was_confirmed_is_lost";
const CUT: &str = "the_power_may_go_during_any_call_and_leave_any_image";
const FAILING: &str = "any_call_may_fail_in_any_way";
const STALE: &str = "a_file_of_an_earlier_incarnation_is_not_believed";
const RETRY: &str = "a_batch_that_a_producer_sends_again_after_rolls_and_a_restart_is_known";
/// Of the calls of the script every so many are tried.
const STEP: usize = 3;
const FAILURES: [DiskFault; 2] = [DiskFault::Error(ErrorKind::Other), DiskFault::Dropped];

/// The first of the cases that is red.
fn first(
    name: &str,
    mut cases: impl Iterator<Item = u64>,
    check: impl Fn(u64) -> Result<(), String>,
) -> Option<Red> {
    cases.find_map(|case| {
        let violation = guarded(|| check(case)).err()?;
        Some((format!("{name} ({case})"), violation))
    })
}

/// The tests that turn red on this thread.
fn red(calls: usize) -> Vec<Red> {
    let simulation = first(SIMULATION, 0..SEEDS, |seed| {
        let disk = SimulatedDisk::new(seed);
        run(seed, &disk, Arc::new(disk.clone())).map(|_| ())
    });
    let calls = calls as u64;
    let cut = first(CUT, (0..calls).step_by(STEP), |n| cut_during(index(n)).map(|_| ()));
    let fails = first(FAILING, (0..calls).step_by(STEP), |n| {
        FAILURES.iter().try_for_each(|fault| failing(index(n), *fault, None).map(|_| ()))
    });
    let stale = first(STALE, 0..1, |_| a_stale_file_is_set_aside());
    let retry = first(RETRY, 0..1, |_| a_retry_is_known());
    [simulation, cut, fails, stale, retry].into_iter().flatten().collect()
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("as many calls as there are")
}

#[test]
fn each_of_the_deliberate_faults_alone_turns_a_test_red() {
    let calls = calls().0.len();
    each_alone(&Fault::ALL, || red(calls));
}
