//! What checkpoints cost a rule: the same run with the server's policy and without any.
//!
//! Promise: the state is taken, encoded, hashed, written and synced by the code of the server, on its
//! thread; the policy is the default one (every 10 s, or 64 MiB of input, which readings from memory
//! come to far more often than readings from a wire).

use crate::Figure;
use crate::building::Building;
use crate::race::median;
use crate::rule::Rule;
use crate::windows::{Q1, Q2};
use crate::workload::Workload;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_engine::runtime::checkpoint::{Snapshot, entries, output_ends};
use weir_engine::runtime::feed::FeedEnds;
use weir_engine::runtime::follower::Counts;
use weir_engine::runtime::runner::Runner;
use weir_engine::runtime::task::{CheckpointPolicy, Keeper};
use weir_engine::stream::input::Input;
use weir_ingest::log::Log;

/// Pairs of runs, one with checkpoints and one without.
const PAIRS: usize = 9;
/// Times the workload is taken in one run.
const TIMES: usize = 3;

const NEVER: CheckpointPolicy = CheckpointPolicy { every: Duration::MAX, bytes: u64::MAX };

fn snapshot(log: &Log, rule: &Rule, runner: &Runner, input: &Input) -> Option<Snapshot> {
    Some(Snapshot {
        uid: runner.identity().uid,
        version: runner.identity().version,
        fingerprint: rule.plan().fingerprint.clone(),
        taken: input.appended(),
        ends: FeedEnds::default(),
        outputs: output_ends(log),
        watermark: None,
        totals: Counts::default(),
        state: runner.state()?,
        rereads: BTreeMap::new(),
    })
}

/// Seconds of one run.
fn run(log: &Arc<Log>, rule: &Rule, workload: &Workload, policy: CheckpointPolicy) -> f64 {
    let start = Instant::now();
    let mut keeper = Keeper::new(policy, Arc::clone(log));
    for _ in 0..TIMES {
        let mut runner = rule.start();
        for rows in workload.inputs() {
            let input = Input::Rows(rows);
            std::hint::black_box(runner.step(&input)).unwrap_or_else(|e| panic!("{e}"));
            keeper.took(input.bytes());
            keeper.keep_if_due(|| snapshot(log, rule, &runner, &input));
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    // What is still being written does not run on into the next run.
    keeper.end(|| None);
    seconds
}

/// Percent of the time that checkpoints add to a rule's: with the policy, and with one in ten seconds.
fn cost(name: &str, text: &str, workload: &Workload) -> (f64, f64) {
    let building = Building::new();
    let rule = Rule::new(workload, text);
    let run = |policy| run(&building.log, &rule, workload, policy);
    run(CheckpointPolicy::default());
    let (mut ratios, mut added, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        // Whichever comes first may find the machine otherwise.
        let (with, without) = match pair % 2 {
            0 => (run(CheckpointPolicy::default()), run(NEVER)),
            _ => {
                let without = run(NEVER);
                (run(CheckpointPolicy::default()), without)
            }
        };
        ratios.push(with / without);
        added.push(with - without);
        rates.push((TIMES * workload.rows) as f64 / with);
    }
    let percent = (median(ratios) - 1.0) * 100.0;
    let made = entries(&building.log, 1).expect("the catalog is read");
    let newest = made.last().map_or((0, 0), |newest| (newest.epoch, newest.bytes));
    println!("  {name}: {percent:.2} % at {:.1} M rows/s", median(rates) / 1e6);
    let each_s = median(added) * (PAIRS + 1) as f64 / newest.0 as f64;
    println!("    {} checkpoints in {} runs, the last of {} bytes", newest.0, PAIRS + 1, newest.1);
    println!("    each adds {:.3} ms to the rule", each_s * 1e3);
    (percent, each_s / 10.0 * 100.0)
}

pub(crate) fn checkpoints(workload: &Workload) -> Vec<Figure> {
    println!("checkpoints, every 10 s or 64 MiB of input: median of {PAIRS} pairs of runs");
    let (q1, q2) = (cost("Q1", Q1, workload), cost("Q2", Q2, workload));
    vec![
        ("checkpoint_cost_percent", q1.0.max(q2.0), "%"),
        ("checkpoint_cost_10_s_percent", q1.1.max(q2.1), "%"),
    ]
}
