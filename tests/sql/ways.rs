//! The ways a case is run, and what must be the same in each.

use crate::case::{Case, Step, What};
use crate::diff::diff;
use crate::header::Applies;
use crate::line::{Line, layout, same, sorted};
use crate::replayed;
use crate::world::World;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use weir_engine::alarms::Transition;
use weir_engine::sql::{Statement, parse_statements};

/// Orders tried by the shuffled way.
const SEEDS: u64 = 3;

/// One way to run a case.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    partitions: Option<u32>,
    restarts: Restarts,
    end: End,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Restarts {
    #[default]
    Never,
    AfterEveryBatch,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    AsItIs,
    Flushed,
}

struct Ran {
    lines: Vec<Line>,
    transitions: Vec<Transition>,
}

/// Runs a case straight: what comes out.
/// # Errors
/// What went wrong.
pub(crate) fn straight(case: &Case) -> Result<String, String> {
    Ok(layout(&run(case, &case.steps, Way::default())?.lines))
}

/// Runs a case in all its ways; what does not hold.
pub(crate) fn check(case: &Case) -> Vec<String> {
    let straight = match run(case, &case.steps, Way::default()) {
        Ok(ran) => ran,
        Err(error) => return vec![format!("straight: {error}")],
    };
    let got = layout(&straight.lines);
    if got != case.expected {
        return vec![format!("straight:\n{}", diff(&case.expected, &got))];
    }
    let mut failures = Vec::new();
    let mut note = |way: &str, result: Result<(), String>| {
        if let Err(error) = result {
            failures.push(format!("{way}: {error}"));
        }
    };
    note("with a restart after every batch", restarted(case, &straight));
    note("as weir replay", replayed::check(case, &straight.transitions));
    if case.ways.partitions == Applies::Yes {
        note("with 1 and with 4 partitions", partitioned(case));
    }
    if case.ways.shuffle == Applies::Yes {
        for seed in seeds() {
            note(&format!("shuffled, WEIR_SEED={seed}"), shuffled(case, seed));
        }
    }
    failures
}

fn seeds() -> Vec<u64> {
    match std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..SEEDS).collect(),
    }
}

fn restarted(case: &Case, straight: &Ran) -> Result<(), String> {
    let way = Way { restarts: Restarts::AfterEveryBatch, ..Way::default() };
    let restarted = run(case, &case.steps, way)?;
    if restarted.lines != straight.lines {
        return Err(format!("\n{}", diff(&layout(&straight.lines), &layout(&restarted.lines))));
    }
    match straight.transitions.iter().zip(&restarted.transitions).find(|(a, b)| a != b) {
        None => Ok(()),
        Some((a, b)) => Err(format!("S3: not byte for byte\n- {a:?}\n+ {b:?}")),
    }
}

fn partitioned(case: &Case) -> Result<(), String> {
    let with = |partitions, restarts| {
        run(case, &case.steps, Way { partitions, restarts, end: End::Flushed })
    };
    let straight = with(None, Restarts::Never)?;
    let (straight, straight_ids) = (sorted(&straight.lines), ids(&straight));
    for partitions in [1, 4] {
        let ran = with(Some(partitions), Restarts::Never)?;
        let lines = sorted(&ran.lines);
        if !same(&straight, &lines) {
            let difference = diff(&layout(&straight), &layout(&lines));
            return Err(format!("{partitions} partitions, flushed\n{difference}"));
        }
        if ids(&ran) != straight_ids {
            return Err(format!("{partitions} partitions, flushed: the same lines, other ids"));
        }
        let restarted = with(Some(partitions), Restarts::AfterEveryBatch)?;
        if restarted.transitions != ran.transitions {
            let difference = diff(&layout(&ran.lines), &layout(&restarted.lines));
            return Err(format!("{partitions} partitions with restarts\n{difference}"));
        }
    }
    Ok(())
}

/// Ids are made of what happened, never of where or when it was seen.
fn ids(ran: &Ran) -> BTreeSet<&str> {
    ran.transitions.iter().map(|transition| transition.id.as_str()).collect()
}

fn shuffled(case: &Case, seed: u64) -> Result<(), String> {
    let way = Way { end: End::Flushed, ..Way::default() };
    let straight = sorted(&run(case, &case.steps, way)?.lines);
    let ran = sorted(&run(case, &shuffle(case, seed)?, way)?.lines);
    if same(&straight, &ran) {
        return Ok(());
    }
    Err(format!("flushed\n{}", diff(&layout(&straight), &layout(&ran))))
}

fn run(case: &Case, steps: &[Step], way: Way) -> Result<Ran, String> {
    let mut world = World::new(case.start, way.partitions)?;
    world.say(&case.define)?;
    let mut steps = steps.iter().peekable();
    while let Some(step) = steps.next() {
        world.advance_to(case.start + step.at)?;
        match &step.what {
            What::Reading { json, .. } => {
                // Readings of one instant are one request.
                let mut request = vec![json.as_str()];
                while let Some(Step { what: What::Reading { json, .. }, .. }) =
                    steps.next_if(|next| next.at == step.at && is_reading(next))
                {
                    request.push(json);
                }
                world.publish(&request)?;
            }
            What::Silence => {}
            What::Down { until } => world.down_until(case.start + until)?,
            What::Partition(command) => world.partition(command.clone())?,
            What::Statement(text) => world.say(text)?,
        }
        if way.restarts == Restarts::AfterEveryBatch {
            world.restart()?;
        }
    }
    if way.end == End::Flushed {
        world.flush_all()?;
    }
    Ok(Ran { lines: world.scribe.lines, transitions: world.scribe.transitions })
}

fn is_reading(step: &Step) -> bool {
    matches!(step.what, What::Reading { .. })
}

/// The readings between two other steps in another order, in which none comes more than the lateness
/// behind a newer one; the instants at which something arrives stay.
fn shuffle(case: &Case, seed: u64) -> Result<Vec<Step>, String> {
    let lateness = lateness(case)?;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut steps = case.steps.clone();
    for part in steps.chunk_by_mut(|a, b| is_reading(a) && is_reading(b)) {
        let instants: Vec<i64> = part.iter().map(|step| step.at).collect();
        let mut keyed = Vec::new();
        for step in part.iter() {
            let key = match step.what {
                What::Reading { time: Some(time), .. } => time + rng.random_range(0..=lateness),
                What::Reading { time: None, .. } => {
                    return Err("a reading without a time cannot be shuffled".to_owned());
                }
                _ => 0,
            };
            keyed.push((key, step.clone()));
        }
        keyed.sort_by_key(|(key, _)| *key);
        for ((place, (_, step)), at) in part.iter_mut().zip(keyed).zip(instants) {
            *place = Step { at, ..step };
        }
    }
    Ok(steps)
}

/// The least lateness of the case's streams.
fn lateness(case: &Case) -> Result<i64, String> {
    let statements = parse_statements(&case.define).map_err(|error| error.message)?;
    let of = |statement: &Statement| match statement {
        Statement::CreateStream { definition, .. } => Some(definition.options().lateness),
        _ => None,
    };
    let least = statements.iter().filter_map(of).min().unwrap_or_default();
    i64::try_from(least.as_micros()).map_err(|error| error.to_string())
}
