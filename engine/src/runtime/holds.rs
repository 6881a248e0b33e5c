//! What rules need of the log is held against retention.
//!
//! Promise (L3): a rule keeps the rows that its oldest kept checkpoint goes on from, and those that it
//! reads again from there; without a checkpoint, all from its start. So long as it keeps no more than it
//! may, whatever is restarted finds what it needs; else the hold is taken away, the rule stops and says
//! so, and one event tells it. Elsewhere: what may go is the log's to decide.

use super::checkpoint::{self, CheckpointError, Entry, Needs};
use super::definition::{Planned, StoredRule};
use super::downtime::built_in;
use super::follower::OUTPUTS;
use crate::alarms::{Transition, transition_rows};
use crate::sql::SqlError;
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;
use weir_ingest::log::{Hold, InternalLog, Log, Partition, Receipt, ReleasedHold, Stream};
use weir_ingest::model::{EventTime, Offset};

/// The name of the event about a hold that was taken away, where others carry their rule's.
pub const HOLD_RELEASED: &str = "weir/hold_released";

/// The hold of one rule.
#[derive(Debug)]
pub struct RuleHold {
    log: Arc<Log>,
    hold: Hold,
    bytes_max: u64,
    /// The rule as the catalog has it, once its start is decided.
    stored: Mutex<Option<StoredRule>>,
}

impl RuleHold {
    /// For a rule whose start is still to be decided: keeps all that there is of what `planned` reads
    /// and of what rules give out.
    pub fn of_all(log: &Arc<Log>, planned: &Planned, bytes_max: u64) -> Self {
        let hold = Self::new(log, &planned.statement.name, bytes_max);
        let streams = planned.plan.streams.iter();
        for stream in streams.filter_map(|stream| log.streams().get(stream.name())) {
            for partition in stream.partitions() {
                partition.hold(&hold.hold, Offset(0));
            }
        }
        for which in OUTPUTS {
            log.internal(which).hold(&hold.hold, Offset(0));
        }
        hold
    }

    /// For a rule that is there. What it needs may be gone already: [`check_there`] tells.
    /// # Errors
    /// The catalog cannot be read.
    pub fn of_stored(
        log: &Arc<Log>,
        name: &str,
        stored: &StoredRule,
        bytes_max: u64,
    ) -> Result<Self, CheckpointError> {
        let hold = Self::new(log, name, bytes_max);
        hold.follow(stored)?;
        Ok(hold)
    }

    fn new(log: &Arc<Log>, name: &str, bytes_max: u64) -> Self {
        let hold = log.hold(&format!("rule {name}"), bytes_max);
        Self { log: Arc::clone(log), hold, bytes_max, stored: Mutex::default() }
    }

    /// From now on it keeps what `stored` needs, as the catalog has it.
    /// # Errors
    /// The catalog cannot be read.
    pub fn follow(&self, stored: &StoredRule) -> Result<(), CheckpointError> {
        *self.stored.lock() = Some(stored.clone());
        self.keep()
    }

    /// Lets go what a checkpoint made since then needs no more.
    /// # Errors
    /// The catalog cannot be read.
    pub fn keep(&self) -> Result<(), CheckpointError> {
        let stored = self.stored.lock();
        let Some(stored) = stored.as_ref() else { return Ok(()) };
        let needs = needs(stored, &checkpoint::entries(&self.log, stored.uid)?);
        for (name, offsets) in &needs.streams {
            let Some(stream) = self.log.streams().get(name) else { continue };
            for (partition, from) in stream.partitions().iter().zip(offsets) {
                partition.hold(&self.hold, *from);
            }
        }
        for which in OUTPUTS {
            let from = needs.outputs.get(which.name()).copied().unwrap_or_default();
            self.log.internal(which).hold(&self.hold, from);
        }
        Ok(())
    }

    /// Turns true when the hold was taken away.
    pub fn released(&self) -> watch::Receiver<bool> {
        self.hold.released()
    }

    /// Why a rule stops whose hold was taken away.
    pub fn why_released(&self, name: &str) -> String {
        format!(
            "retention took away what it would need after a restart: it kept more than \
             engine.hold_bytes_max = {} bytes of a partition (system.partitions says which and from \
             where); RESET RULE {name} closes its open alarms and begins anew, a greater limit or a \
             longer retention keeps it from happening again",
            self.bytes_max
        )
    }
}

/// From where on a rule that goes on from any of these checkpoints reads, and whatever replaces their
/// version; without any, from its start.
fn needs(stored: &StoredRule, entries: &[Entry]) -> Needs {
    let mut needs = Needs::default();
    let known: Option<Vec<(u32, &Needs)>> =
        entries.iter().map(|entry| Some((entry.version, entry.needs.as_ref()?))).collect();
    let known = known.unwrap_or_default();
    for (_, of_checkpoint) in &known {
        widen(&mut needs, of_checkpoint);
    }
    let oldest = known.iter().map(|(version, _)| *version).min();
    for version in stored.versions() {
        if oldest.is_none_or(|oldest| version.version > oldest) {
            let (streams, outputs) = (version.offsets.clone(), version.outputs.clone());
            widen(&mut needs, &Needs { streams, outputs });
        }
    }
    if oldest.is_none() {
        // All versions give out into the same logs, the first from its start on.
        let first = stored.versions().first().map(|first| first.outputs.clone());
        needs.outputs = first.unwrap_or_default();
    }
    needs
}

fn widen(needs: &mut Needs, more: &Needs) {
    for (name, offsets) in &more.streams {
        let known = needs.streams.entry(name.clone()).or_insert_with(|| offsets.clone());
        for (known, more) in known.iter_mut().zip(offsets) {
            *known = (*known).min(*more);
        }
    }
    for (name, offset) in &more.outputs {
        let known = needs.outputs.entry(name.clone()).or_insert(*offset);
        *known = (*known).min(*offset);
    }
}

/// Nothing that is to be read was removed.
/// # Errors
/// What is gone, and what to do.
pub(super) fn check_there(stream: &Stream, offsets: &[Offset], rule: &str) -> Result<(), SqlError> {
    let gone = |(partition, from): (&Arc<Partition>, &Offset)| {
        let start = partition.ends().log_start;
        (*from < start).then(|| (partition.name().to_owned(), *from, start))
    };
    match stream.partitions().iter().zip(offsets).find_map(gone) {
        None => Ok(()),
        Some((name, from, start)) => Err(SqlError::new(format!(
            "the rule '{rule}' needs the rows {from} to {start} of {name}, which retention removed"
        ))
        .with_hint(format!(
            "RESET RULE {rule} closes its open alarms and begins anew with what comes from now on"
        ))),
    }
}

/// Everything from the start of the rule on is there: what it read, and what it gave out.
/// # Errors
/// What is gone, and what to do.
pub(super) fn check_from_start(log: &Log, name: &str, stored: &StoredRule) -> Result<(), SqlError> {
    for version in stored.versions() {
        for (stream, offsets) in &version.offsets {
            let stream = log.streams().get(stream);
            stream.map_or(Ok(()), |stream| check_there(&stream, offsets, name))?;
        }
    }
    let outputs = &needs(stored, &[]).outputs;
    for which in OUTPUTS {
        let from = outputs.get(which.name()).copied().unwrap_or_default();
        check_told(log, which, from).map_err(SqlError::new)?;
    }
    Ok(())
}

/// What a rule gave out from `from` on can be read.
/// # Errors
/// What is gone, and what to do.
pub(super) fn check_told(log: &Log, which: InternalLog, from: Offset) -> Result<(), String> {
    let (name, start) = (which.name(), log.internal(which).ends().log_start);
    match from < start {
        false => Ok(()),
        true => Err(format!(
            "internal/{name} is kept from row {start} on, and the rule may have given out some of rows \
             {from} to {start}: nothing tells any more what it gave out before; RESET RULE closes its open \
             alarms and begins anew"
        )),
    }
}

/// Writes an event for each hold that was taken away since the last time.
pub fn note_released(log: &Log) -> Option<Receipt> {
    let released = log.take_released();
    let events: Vec<Transition> = released.iter().map(event).collect();
    (!events.is_empty())
        .then(|| log.internal(InternalLog::Rows).append(transition_rows::encode(&events)))
}

fn event(released: &ReleasedHold) -> Transition {
    let ReleasedHold { name, partition, from, at } = released;
    let identity = format!("{HOLD_RELEASED} {name} {partition} {from} {at}");
    let values = json!({ "held_by": name, "partition": partition, "from": from.0 });
    Transition {
        reason: Some("hold_released".to_owned()),
        ..built_in(HOLD_RELEASED, &identity, (EventTime(at.0), *at), values.to_string())
    }
}

#[cfg(test)]
mod tests;
