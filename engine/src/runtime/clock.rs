//! Watches the wall clock: the built-in alarm `weir/clock_suspect` says that it is not to be believed.
//!
//! Promise: what is decided here is written to internal/commands once, and from then on only read; the alarm
//! is a function of that log, so a restart raises nothing twice (P6). Elsewhere: when the clock is suspect is
//! the log's to say, and what stops meanwhile is the log's to stop.

use super::outages::written;
use crate::alarms::{
    Command, Condition, Evidence, Judging, MayClear, MemberReading, RuleAlarms, RuleIdentity,
    RuleSettings, Severity, Subjects, Suppression, Transition, Verdict, command_rows,
    transition_rows,
};
use arrow::array::RecordBatch;
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use weir_ingest::log::{ClockState, EntryBody, InternalLog, Log, PartitionReader};
use weir_ingest::model::{AppendTime, EventTime};

/// The name of the built-in alarm. No rule has its uid, or a name with a `/`.
pub const CLOCK_SUSPECT: &str = "weir/clock_suspect";
const UID: u64 = u64::MAX;
const TOPIC: &str = "/weir/clock";

/// See the module.
#[derive(Debug)]
pub struct ClockAlarm {
    log: Arc<Log>,
    /// As internal/commands says.
    suspect: bool,
    alarms: RuleAlarms,
    /// Ids of the transitions that are written.
    written: HashSet<String>,
    commands: PartitionReader,
}

impl ClockAlarm {
    /// Begins at the start of internal/commands.
    /// # Errors
    /// An internal log cannot be read.
    pub fn open(log: &Arc<Log>) -> Result<Self, String> {
        let commands = log.internal(InternalLog::Commands);
        Ok(Self {
            suspect: false,
            alarms: RuleAlarms::new(settings()),
            written: written(log, CLOCK_SUSPECT)?,
            commands: commands.reader(commands.ends().log_start),
            log: Arc::clone(log),
        })
    }

    /// Looks at the clock and takes what internal/commands gained, each written down; blocks.
    /// # Errors
    /// An internal log cannot be read or written; open it anew then.
    pub fn watch(&mut self) -> Result<(), String> {
        // What was said before counts first.
        self.write_down()?;
        let state = self.log.clock_state();
        if let Some(command) = self.due(state) {
            let at = EventTime(self.log.append_clock().floor().0);
            let batch = command_rows::encode(&[(at, command)]);
            let commands = self.log.internal(InternalLog::Commands);
            commands.append(batch).wait().map_err(|e| e.to_string())?;
            self.write_down()?;
        }
        Ok(())
    }

    fn write_down(&mut self) -> Result<(), String> {
        let told = self.follow()?;
        told.map_or(Ok(()), |batch| {
            let written = self.log.internal(InternalLog::Alarms).append(batch).wait();
            written.map(drop).map_err(|e| e.to_string())
        })
    }

    /// What is to be said of the clock.
    fn due(&self, state: ClockState) -> Option<Command> {
        match (state.is_suspect(), self.suspect) {
            (true, false) => Some(Command::ClockSuspect { why: state.to_string() }),
            (false, true) => Some(Command::ClockAgrees),
            (true, true) | (false, false) => None,
        }
    }

    /// What the alarm does at the commands that are new, and is not written yet.
    fn follow(&mut self) -> Result<Option<RecordBatch>, String> {
        let mut told = Vec::new();
        while let Some(entry) = self.commands.next().map_err(|e| e.to_string())? {
            let EntryBody::Rows(batch) = &entry.body else { continue };
            for (at, command) in command_rows::decode(batch).map_err(|e| e.to_string())? {
                told.extend(self.take(&command, at, entry.append_time)?);
            }
        }
        let gone = self.log.internal(InternalLog::Alarms).newest_removed();
        told.retain(|t: &Transition| {
            !self.written.remove(&t.id) && gone.is_none_or(|gone| t.append_time > gone)
        });
        Ok((!told.is_empty()).then(|| transition_rows::encode(&told)))
    }

    fn take(
        &mut self,
        command: &Command,
        at: EventTime,
        appended: AppendTime,
    ) -> Result<Vec<Transition>, String> {
        let (verdict, values) = match command {
            Command::ClockSuspect { why } => (Verdict::Raise, json!({ "why": why }).to_string()),
            Command::ClockAgrees => (Verdict::Clear, "{}".to_owned()),
            other => return Ok(self.alarms.command(other, at, appended)),
        };
        self.suspect = verdict == Verdict::Raise;
        let reading = MemberReading {
            topic: TOPIC,
            at,
            verdict,
            may_clear: MayClear::Yes,
            suppression: Suppression::No,
        };
        let evidence = || Evidence { values, receipt: None };
        self.alarms.reading(&[], &reading, appended, evidence).map_err(|error| error.to_string())
    }
}

fn settings() -> RuleSettings {
    RuleSettings {
        identity: RuleIdentity {
            name: CLOCK_SUSPECT.to_owned(),
            uid: UID,
            version: 1,
            severity: Severity::High,
            key_columns: Vec::new(),
        },
        condition: Condition::default(),
        no_data: None,
        judging: Judging::OnArrival,
        subjects: Subjects::new(CLOCK_SUSPECT, Vec::new()),
        keys_max: RuleSettings::KEYS_MAX,
        shelve_max_us: RuleSettings::SHELVE_MAX_US,
    }
}

#[cfg(test)]
mod tests;
