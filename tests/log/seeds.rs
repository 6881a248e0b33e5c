//! Many seeds on two threads: which ones, how many, and what came of them.
//!
//! `WEIR_SEEDS` says how many, `WEIR_SEED` runs one alone.
#![allow(clippy::disallowed_methods, reason = "the test reads its environment")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const THREADS: usize = 2;

/// The seeds of this run: `n` where nobody says otherwise.
pub(crate) fn seeds(n: u64) -> Vec<u64> {
    let number = |name: &str| -> Option<u64> { std::env::var(name).ok()?.parse().ok() };
    match number("WEIR_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WEIR_SEEDS").unwrap_or(n)).collect(),
    }
}

/// Runs every case, in whatever order; a panic is a violation. The outcomes and the violations.
pub(crate) fn on_all_cores<C: Sync, T: Send>(
    cases: &[C],
    run: impl Fn(&C) -> Result<T, String> + Sync,
) -> (Vec<T>, Vec<String>) {
    let (next, done) = (AtomicUsize::new(0), Mutex::new((Vec::new(), Vec::new())));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let ran = guarded(|| run(case));
                    let mut done = done.lock().expect("no thread panics with it");
                    match ran {
                        Ok(outcome) => done.0.push(outcome),
                        Err(violation) => done.1.push(violation),
                    }
                }
            });
        }
    });
    done.into_inner().expect("no thread panics with it")
}

/// What a run says, or what it panicked with.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(format!("a panic: {}", said.unwrap_or_default()))
    })
}
