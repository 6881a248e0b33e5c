//! Watches the partitions: one that takes no rows for longer than its stream's `idle` is left out by the
//! rules, and the built-in alarm `weir/partition_failed` says so.
//!
//! Promise: what is decided here is written to internal/commands once, and from then on only read, by the
//! rules and by this; the alarm is a function of that log, so a restart raises nothing twice (P6).

use crate::alarms::{
    Command, Condition, Evidence, Judging, MayClear, MemberReading, PartitionPlace, RuleAlarms,
    RuleIdentity, RuleSettings, Severity, Subjects, Suppression, Transition, Verdict, command_rows,
    transition_rows,
};
use arrow::array::RecordBatch;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use weir_ingest::log::{EntryBody, InternalLog, Log, PartitionReader, PartitionState};
use weir_ingest::model::{AppendTime, EventTime, Offset};

/// The name of the built-in alarm. No rule has its uid, 0, or a name with a `/`.
pub const PARTITION_FAILED: &str = "weir/partition_failed";

/// Rows for an internal log.
type Write = (InternalLog, RecordBatch);

/// See the module.
#[derive(Debug)]
pub struct Outages {
    log: Arc<Log>,
    /// As internal/commands says.
    out: BTreeSet<PartitionPlace>,
    bad_since: BTreeMap<PartitionPlace, AppendTime>,
    alarms: RuleAlarms,
    /// Ids of the transitions that are written.
    written: HashSet<String>,
    commands: PartitionReader,
}

/// A partition that takes no rows.
#[derive(Debug, Clone)]
struct Bad {
    place: PartitionPlace,
    why: String,
    /// How long it may be so.
    idle_us: i64,
}

impl Outages {
    /// Begins at the start of internal/commands.
    /// # Errors
    /// An internal log cannot be read.
    pub fn open(log: &Arc<Log>) -> Result<Self, String> {
        let commands = log.internal(InternalLog::Commands);
        Ok(Self {
            out: BTreeSet::new(),
            bad_since: BTreeMap::new(),
            alarms: RuleAlarms::new(settings()),
            written: written(log, PARTITION_FAILED)?,
            commands: commands.reader(commands.ends().log_start),
            log: Arc::clone(log),
        })
    }

    /// Looks at the partitions and takes what internal/commands gained, each written down; blocks.
    /// # Errors
    /// An internal log cannot be read or written; open it anew then.
    pub fn watch(&mut self) -> Result<(), String> {
        for (which, batch) in self.look().into_iter().chain(self.follow()?) {
            self.log.internal(which).append(batch).wait().map_err(|e| e.to_string())?;
        }
        for (which, batch) in self.follow()? {
            self.log.internal(which).append(batch).wait().map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// What is to be said of the partitions now.
    fn look(&mut self) -> Vec<Write> {
        let now = self.log.append_clock().floor();
        let mut seen = Vec::new();
        for stream in self.log.streams().all() {
            let definition = stream.definition();
            let idle = i64::try_from(definition.options().idle.as_micros()).unwrap_or(i64::MAX);
            seen.extend(stream.partitions().iter().filter_map(|partition| {
                let stream = definition.name().to_owned();
                let place = PartitionPlace { stream, partition: partition.id() };
                Some(Bad { place, why: why(&partition.state())?, idle_us: idle })
            }));
        }
        let due = self.due(now, seen);
        if due.is_empty() {
            return Vec::new();
        }
        tracing::warn!(?due, "partitions that take no rows, or do again");
        let due: Vec<_> = due.into_iter().map(|command| (EventTime(now.0), command)).collect();
        vec![(InternalLog::Commands, command_rows::encode(&due))]
    }

    /// What follows from the partitions that are bad now; all others are well.
    fn due(&mut self, now: AppendTime, bad: Vec<Bad>) -> Vec<Command> {
        let mut due = Vec::new();
        let mut bad_since = BTreeMap::new();
        for Bad { place, why, idle_us } in bad {
            let since = self.bad_since.get(&place).copied().unwrap_or(now);
            if now.0.saturating_sub(since.0) > idle_us && !self.out.contains(&place) {
                due.push(Command::PartitionOut { place: place.clone(), why });
            }
            bad_since.insert(place, since);
        }
        let back = self.out.iter().filter(|place| !bad_since.contains_key(place));
        due.extend(back.map(|place| Command::PartitionIn { place: place.clone() }));
        self.bad_since = bad_since;
        due
    }

    /// What the alarm does at the commands that are new, and is not written yet.
    /// # Errors
    /// internal/commands cannot be read.
    pub fn follow(&mut self) -> Result<Vec<(InternalLog, RecordBatch)>, String> {
        let mut told = Vec::new();
        while let Some(entry) = self.commands.next().map_err(|e| e.to_string())? {
            let EntryBody::Rows(batch) = &entry.body else { continue };
            for (at, command) in command_rows::decode(batch).map_err(|e| e.to_string())? {
                told.extend(self.take(&command, at, entry.append_time)?);
            }
        }
        // What was written before the oldest alarm kept is not written again.
        let gone = self.log.internal(InternalLog::Alarms).newest_removed();
        told.retain(|t| {
            !self.written.remove(&t.id) && gone.is_none_or(|gone| t.append_time > gone)
        });
        Ok(match told.is_empty() {
            true => Vec::new(),
            false => vec![(InternalLog::Alarms, transition_rows::encode(&told))],
        })
    }

    fn take(
        &mut self,
        command: &Command,
        at: EventTime,
        appended: AppendTime,
    ) -> Result<Vec<Transition>, String> {
        note(&mut self.out, command);
        let (place, verdict, why) = match command {
            Command::PartitionOut { place, why } => (place, Verdict::Raise, Some(why)),
            Command::PartitionIn { place } => (place, Verdict::Clear, None),
            other => return Ok(self.alarms.command(other, at, appended)),
        };
        let topic = format!("/weir/partitions/{}/{}", place.stream, place.partition);
        let key = [Some(place.stream.clone()), Some(place.partition.to_string())];
        let reading = MemberReading {
            topic: &topic,
            at,
            verdict,
            may_clear: MayClear::Yes,
            suppression: Suppression::No,
        };
        let values = why.map_or_else(|| "{}".to_owned(), |why| json!({ "why": why }).to_string());
        let evidence = || Evidence { values, receipt: None };
        let told = self.alarms.reading(&key, &reading, appended, evidence);
        told.map_err(|error| error.to_string())
    }
}

/// The partitions that are out behind `end` of internal/commands.
/// # Errors
/// It cannot be read.
pub fn out_before(log: &Log, end: Offset) -> Result<BTreeSet<PartitionPlace>, String> {
    let mut out = BTreeSet::new();
    read(log, |offset, _| offset < end, &mut |_, command| note(&mut out, command))?;
    Ok(out)
}

/// Whether one of `places` was out at any time between what was appended at `from` and at `until`.
/// # Errors
/// internal/commands cannot be read.
pub fn were_out(
    log: &Log,
    places: &BTreeSet<PartitionPlace>,
    (from, until): (AppendTime, AppendTime),
) -> Result<bool, String> {
    let (mut out, mut meanwhile) = (BTreeSet::new(), false);
    read(log, |_, appended| appended <= until, &mut |appended, command| {
        meanwhile |= appended > from && !out.is_disjoint(places);
        note(&mut out, command);
    })?;
    Ok(meanwhile || !out.is_disjoint(places))
}

/// What internal/commands says as long as `goes_on`.
fn read(
    log: &Log,
    goes_on: impl Fn(Offset, AppendTime) -> bool,
    take: &mut dyn FnMut(AppendTime, &Command),
) -> Result<(), String> {
    let commands = log.internal(InternalLog::Commands);
    let mut reader = commands.reader(commands.ends().log_start);
    while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
        if !goes_on(entry.base_offset, entry.append_time) {
            break;
        }
        let EntryBody::Rows(batch) = &entry.body else { continue };
        for (_, command) in command_rows::decode(batch).map_err(|e| e.to_string())? {
            take(entry.append_time, &command);
        }
    }
    Ok(())
}

fn note(out: &mut BTreeSet<PartitionPlace>, command: &Command) {
    match command {
        Command::PartitionOut { place, .. } => drop(out.insert(place.clone())),
        Command::PartitionIn { place } => drop(out.remove(place)),
        Command::Acknowledge { .. }
        | Command::Shelve { .. }
        | Command::Unshelve { .. }
        | Command::TakeOutOfService { .. }
        | Command::ReturnToService { .. }
        | Command::ClockSuspect { .. }
        | Command::ClockAgrees => {}
    }
}

/// What is wrong with a partition that takes no rows.
fn why(state: &PartitionState) -> Option<String> {
    match state {
        PartitionState::Ready => None,
        PartitionState::ReadOnlyFull => Some("the disk is full".to_owned()),
        PartitionState::Failed(why) => Some(format!("failed: {why}")),
        PartitionState::Corrupt(why) => Some(format!("corrupt: {why}")),
    }
}

fn settings() -> RuleSettings {
    RuleSettings {
        identity: RuleIdentity {
            name: PARTITION_FAILED.to_owned(),
            uid: 0,
            version: 1,
            severity: Severity::High,
            key_columns: vec!["stream".to_owned(), "partition".to_owned()],
        },
        condition: Condition::default(),
        no_data: None,
        judging: Judging::OnArrival,
        subjects: Subjects::new(PARTITION_FAILED, Vec::new()),
        keys_max: RuleSettings::KEYS_MAX,
        shelve_max_us: RuleSettings::SHELVE_MAX_US,
    }
}

/// The ids of the transitions of a built-in alarm that are written.
pub(super) fn written(log: &Log, name: &str) -> Result<HashSet<String>, String> {
    let alarms = log.internal(InternalLog::Alarms);
    let mut reader = alarms.reader(alarms.ends().log_start);
    let mut written = HashSet::new();
    while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
        let EntryBody::Rows(batch) = &entry.body else { continue };
        let all = transition_rows::decode(batch).map_err(|e| e.to_string())?;
        written.extend(all.into_iter().filter(|t| t.rule == name).map(|t| t.id));
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
