//! Deliberate faults, one after another, each alone.
//!
//! Promise: without a fault nothing is red; a fault that nothing finds fails the test. What finds each is
//! printed.

use crate::seeds::on_all_cores;
use std::fmt::Debug;
use weir_ingest::sabotage;

/// A test that turned red, and why.
pub(crate) type Red = (String, String);

/// Commits each of `all` on a thread and asks which tests are red there.
pub(crate) fn each_alone<F>(all: &[F], red: impl Fn() -> Vec<Red> + Sync)
where
    F: Copy + PartialEq + Debug + Send + Sync + 'static,
{
    // The first has no fault.
    let faults: Vec<Option<F>> =
        std::iter::once(None).chain(all.iter().copied().map(Some)).collect();
    let (mut found, panics) = on_all_cores(&faults, |fault| {
        let committed = fault.map(sabotage::commit);
        let red = red();
        drop(committed);
        Ok((*fault, red))
    });
    assert!(panics.is_empty(), "{panics:?}");
    found.sort_by_key(|(fault, _)| faults.iter().position(|known| known == fault));
    let mut unnoticed = Vec::new();
    for (fault, red) in found {
        let Some(fault) = fault else {
            assert!(red.is_empty(), "without a fault: {red:?}");
            continue;
        };
        for (test, why) in &red {
            println!("{fault:?}: {test}: {}", why.lines().next().unwrap_or_default());
        }
        unnoticed.extend(red.is_empty().then_some(fault));
    }
    assert!(unnoticed.is_empty(), "no test finds {unnoticed:?}");
}
