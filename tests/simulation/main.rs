//! Seeded faults: rules over a log on a disk that forgets what it may.
//!
//! Promise (P6, S3): whatever the power cuts, the alarm log is that of an uninterrupted run.
//! A failure prints its seed; `WEIR_SEED=<seed> cargo test --test simulation` runs it alone.
//! Elsewhere: the log without rules is on trial in `tests/log`.

mod oracle;
mod removed;
mod rules;
#[path = "../log/seeds.rs"]
mod seeds;

use rules::Followings;
use seeds::{on_all_cores, seeds};

/// Seeds of a CI run.
const SEEDS: u64 = 1_000;

#[test]
fn after_power_cuts_the_alarm_log_is_that_of_an_uninterrupted_run() {
    let seeds = seeds(SEEDS);
    let (followings, violations) = on_all_cores(&seeds, |seed| {
        rules::run(*seed).map_err(|violation| format!("WEIR_SEED={seed}: {violation}"))
    });
    assert!(violations.is_empty(), "{}:\n{}", violations.len(), violations.join("\n"));
    let sum = |of: fn(&Followings) -> u64| followings.iter().map(of).sum::<u64>();
    let lives = sum(|f| f.lives);
    let transitions = sum(|f| f.transitions);
    let replacements = sum(|f| f.replacements);
    let checkpoints = sum(|f| f.checkpoints);
    let outages = sum(|f| f.outages);
    let kept = sum(|f| f.kept);
    let removed = sum(|f| f.removed);
    println!(
        "{lives} lives, {replacements} replacements, {checkpoints} checkpoints, {outages} outages, \
         {transitions} transitions, {removed} segments removed"
    );
    if seeds.len() as u64 >= SEEDS {
        assert!(lives > 2 * SEEDS && transitions > SEEDS, "{lives} {transitions}");
        assert!(replacements > SEEDS, "{replacements}");
        assert!(checkpoints > SEEDS, "{checkpoints}");
        assert!(outages > SEEDS, "{outages}");
        assert!(kept > SEEDS * rules::RULES.len() as u64 * 9 / 10, "{kept} states at the end");
        assert!(removed > SEEDS, "{removed} segments removed");
    }
}
