//! EXPLAIN ALARM: what a transition rested on, read again and judged again.
//!
//! Promise: exactly the offset ranges of its receipt are read, lateness included. Where not every row of
//! them is there any more it is answered from the receipt (`evidence` = `expired`), never with a verdict
//! over fewer rows. A rule that looks at more than these (what came before in a series, latest values, the
//! windows below its own, other partitions when one came back) reads its whole input again, up to there.

mod again;
mod answer;
mod evidence;

use super::definition::{Planned, parse_rule, planned, relations, text_of};
use super::outages::were_out;
use super::runner::{Recomputed, Runner, key_columns};
use crate::alarms::{
    PartitionPlace, PartitionReceipt, Receipt, RuleIdentity, Transition, TransitionKind, Verdict,
    transition_rows,
};
use crate::sql::SqlError;
use crate::sql::plan::Shape;
use crate::tables::reference::ReferenceTables;
use again::{Bounds, look_again};
use answer::Answer;
use arrow::array::{AsArray, RecordBatch};
use evidence::{Counted, Evidence};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_ingest::log::{EntryBody, InternalLog, Log};
use weir_ingest::model::AppendTime;

/// What became of the rows behind a transition.
#[derive(Debug, Clone, PartialEq)]
enum Found {
    /// All are there; what they come to now, and which they are.
    Complete { recomputed: Option<Recomputed>, rows: Counted },
    /// Not all of them are there any more.
    Expired,
    /// The rule's version is gone, so nobody can judge them.
    RuleGone,
    /// The rule looks at more than the rows that the receipt names, so it read its input again from where
    /// it began.
    Again { recomputed: Option<Recomputed>, rows: Counted },
    /// It cannot do that, for this reason.
    NotAgain(&'static str),
    /// No row stands behind it: a silence, or a person.
    NoRows,
}

/// Explains the transition `id` (for an occurrence: its `alarm_id`), as two columns of text. Where the rule
/// reads its input again its state takes at most `memory_max` bytes, and `halted` is asked before each input:
/// a sentence ends it.
/// # Errors
/// There is no such alarm, the log cannot be read, or it was halted.
pub fn explain_alarm(
    log: &Arc<Log>,
    references: &ReferenceTables,
    id: &str,
    memory_max: usize,
    halted: &dyn Fn() -> Option<SqlError>,
) -> Result<RecordBatch, SqlError> {
    let transition = find(log, id)?.ok_or_else(|| {
        SqlError::new(format!("there is no alarm '{id}'")).with_hint(
            "SHOW ALARMS lists the open ones, SELECT alarm_id, rule, key, time FROM alarm_history all",
        )
    })?;
    let found = look(log, references, &transition, Bounds { memory_max, halted })?;
    Answer::new(&transition, &found).table()
}

/// The verdict that a kind of transition says there was.
fn verdict_of(kind: TransitionKind) -> Option<Verdict> {
    match kind {
        TransitionKind::Raised | TransitionKind::MemberAdded => Some(Verdict::Raise),
        TransitionKind::Cleared => Some(Verdict::Clear),
        TransitionKind::Superseded
        | TransitionKind::RuleDropped
        | TransitionKind::Acknowledged
        | TransitionKind::Shelved
        | TransitionKind::Unshelved
        | TransitionKind::Suppressed
        | TransitionKind::Unsuppressed
        | TransitionKind::OutOfService
        | TransitionKind::Returned
        | TransitionKind::Ineffective
        | TransitionKind::Row => None,
    }
}

fn find(log: &Log, id: &str) -> Result<Option<Transition>, SqlError> {
    let partition = log.internal(InternalLog::Alarms);
    let mut reader = partition.reader(partition.ends().log_start);
    while let Some(entry) = reader.next().map_err(refused)? {
        let EntryBody::Rows(batch) = &entry.body else { continue };
        let ids = batch.column_by_name("id").and_then(|ids| ids.as_string_opt::<i32>());
        if ids.is_none_or(|ids| ids.iter().any(|known| known == Some(id))) {
            let transitions = transition_rows::decode(batch).map_err(refused)?;
            if let Some(found) = transitions.into_iter().find(|t| t.id == id) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

fn look(
    log: &Arc<Log>,
    references: &ReferenceTables,
    transition: &Transition,
    bounds: Bounds<'_>,
) -> Result<Found, SqlError> {
    let (Some(receipt), Some(_)) = (&transition.receipt, verdict_of(transition.kind)) else {
        return Ok(Found::NoRows);
    };
    if receipt.partitions.is_empty() {
        return Ok(Found::NoRows);
    }
    if !is_there(log, receipt) {
        return Ok(Found::Expired);
    }
    let Some(planned) = version(log, references, transition)? else { return Ok(Found::RuleGone) };
    if looks_further(&planned) || came_back(log, &planned, transition, receipt)? {
        return look_again(log, &planned, transition, receipt, bounds);
    }
    let evidence = Evidence { log, planned: &planned, receipt, until: transition.append_time };
    let Some(recomputed) = recompute(&evidence, transition)? else { return Ok(Found::Expired) };
    let rows = evidence.count(transition, recomputed.as_ref())?;
    Ok(Found::Complete { recomputed, rows })
}

/// Whether a rule looks at more than the rows that go into a verdict.
fn looks_further(planned: &Planned) -> bool {
    let plan = &planned.plan;
    let goes_along = plan.branches.iter().any(|branch| branch.along.is_some());
    goes_along || !plan.latest.is_empty() || plan.nested.is_some()
}

/// Whether rows of a session may be late by how far other partitions were when theirs took rows again. (A row of
/// a window that is still open is in time for it then, too.)
fn came_back(
    log: &Log,
    planned: &Planned,
    transition: &Transition,
    receipt: &Receipt,
) -> Result<bool, SqlError> {
    if !matches!(planned.plan.shape, Shape::Sessions(_)) {
        return Ok(false);
    }
    let (mut places, mut from) = (BTreeSet::new(), transition.append_time);
    for PartitionReceipt { stream, partition, first_offset, .. } in &receipt.partitions {
        places.insert(PartitionPlace { stream: stream.clone(), partition: *partition });
        let lanes = log.streams().get(stream);
        let lane = lanes.as_ref().and_then(|s| s.partitions().get(partition.0 as usize));
        let first = lane.map(|lane| lane.reader(*first_offset).next()).transpose();
        from = first.map_err(refused)?.flatten().map_or(from, |entry| from.min(entry.append_time));
    }
    were_out(log, &places, (from, transition.append_time)).map_err(refused)
}

/// The version of the rule that judged, where it is still known and can be planned.
fn version(
    log: &Log,
    references: &ReferenceTables,
    transition: &Transition,
) -> Result<Option<Planned>, SqlError> {
    let Some(text) = text_of(log, transition.rule_uid, transition.rule_version)? else {
        return Ok(None);
    };
    Ok(planned(parse_rule(&text)?, &relations(log, references)).ok())
}

/// Whether the first row of every range is still there.
fn is_there(log: &Log, receipt: &Receipt) -> bool {
    receipt.partitions.iter().all(|lane| {
        let stream = log.streams().get(&lane.stream);
        let partition = stream.as_ref().and_then(|s| s.partitions().get(lane.partition.0 as usize));
        partition.is_some_and(|p| {
            let ends = p.ends();
            ends.log_start <= lane.first_offset && lane.last_offset < ends.durable_end
        })
    })
}

/// `None` where not every row is there any more.
fn recompute(
    evidence: &Evidence<'_>,
    transition: &Transition,
) -> Result<Option<Option<Recomputed>>, SqlError> {
    let mut runner = evidence.runner(transition);
    let key = transition.key.values();
    let mut judged = None;
    let complete = evidence.read(&mut |input| match (transition.window, input) {
        (None, crate::stream::input::Input::Rows(rows)) => {
            judged = runner.judged_reading(rows, &key);
            Ok(())
        }
        (_, input) => runner.step(input).map(drop).map_err(refused),
    })?;
    if let Some(window) = transition.window {
        judged = runner.judged_window(window, &key);
    }
    Ok(complete.then_some(judged))
}

impl Evidence<'_> {
    /// The rule that judged, behind the watermarks of the receipt.
    fn runner(&self, transition: &Transition) -> Runner {
        let identity = RuleIdentity {
            name: transition.rule.clone(),
            uid: transition.rule_uid,
            version: transition.rule_version,
            severity: transition.severity,
            key_columns: key_columns(&self.planned.plan),
        };
        let plan = Arc::clone(&self.planned.plan);
        let mut runner = Runner::new(&self.planned.statement, plan, identity, AppendTime(i64::MIN));
        for (stream, lane) in self.lanes() {
            if let Some(watermark) = lane.watermark_before {
                runner.stand_behind(stream, lane.partition, watermark);
            }
        }
        runner
    }
}

fn refused(error: impl std::fmt::Display) -> SqlError {
    SqlError::new(error.to_string())
}

#[cfg(test)]
mod tests;
