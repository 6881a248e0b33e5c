//! A rule that looks back, or whose windows are over windows, reads its input again from where it began.
//!
//! Promise: the verdict is the one that the rule itself comes to at the same place of the same input. What
//! would take reading too much, or more state than a rule may have, or is not all there any more, is not
//! computed over less.

use super::evidence::{Counted, ROWS_SHOWN_MAX};
use super::{Found, refused};
use crate::alarms::{Receipt, Transition};
use crate::runtime::definition::{Planned, StoredRule, version_of};
use crate::runtime::feed::Next;
use crate::runtime::runner::{Watch, Watched};
use crate::sql::SqlError;
use crate::sql::plan::{Nested, RulePlan, Shape};
use crate::stream::input::Input;
use std::sync::Arc;
use weir_ingest::log::Log;
use weir_ingest::model::AppendTime;

/// Rows that are read for one answer.
const ROWS_READ_MAX: usize = 10_000_000;
const TOO_MUCH: &str = "more than 10,000,000 readings came since then";
const TOO_LARGE: &str = "its state would take more than engine.rule_memory_max";

/// What it may take.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'b> {
    /// Bytes of state.
    pub(super) memory_max: usize,
    /// Asked before each input: a sentence ends it.
    pub(super) halted: &'b dyn Fn() -> Option<SqlError>,
}

/// What a transition of such a rule rests on.
pub(super) fn look_again(
    log: &Log,
    planned: &Planned,
    transition: &Transition,
    receipt: &Receipt,
    bounds: Bounds<'_>,
) -> Result<Found, SqlError> {
    let stored = version_of(log, transition.rule_uid, transition.rule_version)?;
    let Some(stored) = stored else { return Ok(Found::NotAgain("the rule was dropped")) };
    if is_behind_another(planned, &stored) {
        return Ok(Found::NotAgain(
            "this version replaced another, and went on from its watermarks",
        ));
    }
    if !is_there(log, &stored) {
        return Ok(Found::Expired);
    }
    let Some(what) = watched(planned, transition, receipt) else { return Ok(Found::RuleGone) };
    let (planned_again, until) = (in_sight(planned), transition.append_time);
    let read = Read { log, stored: &stored, planned: &planned_again, until, bounds };
    let watch = Watch::new(what.clone(), transition.key.values());
    let seen = match read.look_for(watch)? {
        Looked::Seen(seen) => seen,
        Looked::TooFar(why) => return Ok(Found::NotAgain(why)),
    };
    let Some(judged) = seen.judged().cloned() else {
        return Ok(Found::Again { recomputed: None, rows: Counted::default() });
    };
    let seen = match what {
        Watched::Reading { .. } => Looked::Seen(seen),
        Watched::Window(_) => {
            let watch = Watch::new(what, transition.key.values());
            read.look_for(watch.with_rows(judged.group.clone(), ROWS_SHOWN_MAX))?
        }
    };
    let seen = match seen {
        Looked::Seen(seen) => seen,
        Looked::TooFar(why) => return Ok(Found::NotAgain(why)),
    };
    let rows = Counted::of(seen.seen(), planned.plan.nested.as_deref());
    Ok(Found::Again { recomputed: Some(judged), rows })
}

/// Whether which readings it takes depends on how far the version before it had come: with a window it finds
/// its watermarks in the rows that it reads, and without lag or rate a late reading says what it says.
fn is_behind_another(planned: &Planned, stored: &StoredRule) -> bool {
    let per_reading = matches!(planned.plan.shape, Shape::PerReading);
    let goes_along = planned.plan.branches.iter().any(|branch| branch.along.is_some());
    per_reading && goes_along && stored.replaces.is_some()
}

/// Whether all that came since the rule began is there.
fn is_there(log: &Log, stored: &StoredRule) -> bool {
    stored.offsets.iter().all(|(name, offsets)| {
        log.streams().get(name).is_some_and(|stream| {
            let mut lanes = stream.partitions().iter().zip(offsets);
            lanes.all(|(partition, from)| *from >= partition.ends().log_start)
        })
    })
}

fn watched(planned: &Planned, transition: &Transition, receipt: &Receipt) -> Option<Watched> {
    if let Some(window) = transition.window {
        return Some(Watched::Window(window));
    }
    let reading = receipt.partitions.first()?;
    let mut streams = planned.plan.streams.iter();
    let stream = streams.position(|stream| stream.name() == reading.stream)?;
    let (partition, offset) = (reading.partition, reading.first_offset);
    Some(Watched::Reading { stream, partition, offset })
}

/// The rule where each row that goes into its windows can be seen.
fn in_sight(planned: &Planned) -> Planned {
    let plan = RulePlan::clone(&planned.plan).on_the_general_path();
    let nested = plan.nested.as_ref().map(|nested| {
        let (inner, key) = (Arc::clone(&nested.inner), nested.key.clone());
        Arc::new(Nested { inner, key, outer: nested.outer.clone().on_the_general_path() })
    });
    Planned { statement: planned.statement.clone(), plan: Arc::new(RulePlan { nested, ..plan }) }
}

/// The input of a rule up to the place of its verdict.
struct Read<'r> {
    log: &'r Log,
    stored: &'r StoredRule,
    planned: &'r Planned,
    until: AppendTime,
    bounds: Bounds<'r>,
}

/// What became of it.
enum Looked {
    /// What the rule showed on the way.
    Seen(Watch),
    /// It was given up, for this reason.
    TooFar(&'static str),
}

impl Read<'_> {
    fn look_for(&self, watch: Watch) -> Result<Looked, SqlError> {
        let mut version = self.stored.open(self.log, self.planned)?;
        version.runner.watch(watch);
        let mut rows_read = 0;
        loop {
            if let Some(why) = (self.bounds.halted)() {
                return Err(why);
            }
            let Next::Input(input) = version.feed.next_input().map_err(refused)? else { break };
            if input.appended() > self.until {
                break;
            }
            if let Input::Rows(rows) = &input {
                rows_read += rows.len();
            }
            if rows_read > ROWS_READ_MAX {
                return Ok(Looked::TooFar(TOO_MUCH));
            }
            version.runner.step(&input).map_err(refused)?;
            if version.runner.bytes() > self.bounds.memory_max {
                return Ok(Looked::TooFar(TOO_LARGE));
            }
        }
        Ok(Looked::Seen(version.runner.unwatch().expect("it was watched from the start")))
    }
}
