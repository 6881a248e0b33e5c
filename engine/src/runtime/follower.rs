//! One rule over its log, step by step: inputs taken in order, outputs named for the internal logs.
//!
//! Promise: an output that the internal logs already hold is not written again: it is compared by id,
//! and a difference stops the rule (P6). No thread, no waiting: a task pumps it in production, a seeded
//! loop in simulation.

use super::feed::{Feed, Next};
use super::outputs::{Outputs, encode_errors, encode_late, ordinals_written};
use super::runner::Runner;
use crate::alarms::{RuleIdentity, Transition, TransitionKind, transition_rows};
use arrow::array::RecordBatch;
use std::collections::HashMap;
use weir_ingest::log::{EntryBody, InternalLog, Log};
use weir_ingest::model::{AppendTime, EventTime};

/// Rows for an internal log.
pub type Write = (InternalLog, RecordBatch);

/// A rule and its inputs.
#[derive(Debug)]
pub struct Follower {
    runner: Runner,
    feed: Feed,
    written: Written,
}

/// How many outputs a step had, those written before included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transitions and rows.
    pub outputs: u64,
    /// Late readings.
    pub late: u64,
    /// Failed rows.
    pub errors: u64,
}

/// What a step did.
#[derive(Debug)]
pub enum Followed {
    /// An input was taken; these must be durable before the next step.
    Taken {
        /// Its append time.
        appended: AppendTime,
        /// What came out.
        counts: Counts,
        /// What of it is not written yet.
        writes: Vec<Write>,
    },
    /// Nothing can be taken before something becomes durable.
    Waiting {
        /// Nothing at or before this append time is still to come.
        safe: AppendTime,
    },
    /// The rule came to the place it was dropped at; these close its alarms.
    Finished {
        /// What came out.
        counts: Counts,
        /// What of it is not written yet.
        writes: Vec<Write>,
    },
}

impl Follower {
    /// A rule at its start.
    pub fn new(runner: Runner, feed: Feed) -> Self {
        Self { runner, feed, written: Written::default() }
    }

    /// Learns what the internal logs hold of this rule; once, before the first step.
    /// # Errors
    /// An internal log cannot be read.
    pub fn read_written(&mut self, log: &Log) -> Result<(), String> {
        self.written = Written::read(log, self.runner.identity())?;
        Ok(())
    }

    /// The rule.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Rows still to be taken.
    pub fn lag_rows(&self) -> u64 {
        self.feed.lag_rows()
    }

    /// Takes one input, or the end at `finish_at`.
    /// # Errors
    /// The rule must stop: its inputs cannot be read, its state passes a bound, or an output differs
    /// from the one that was written before.
    pub fn follow(&mut self, finish_at: Option<AppendTime>) -> Result<Followed, String> {
        match self.feed.next_input().map_err(|e| e.to_string())? {
            Next::Input(input) => {
                let appended = input.appended();
                if let Some(at) = finish_at.filter(|at| appended > *at) {
                    return self.finish(at);
                }
                let outputs = self.runner.step(&input).map_err(|e| e.to_string())?;
                let (counts, writes) = self.writes(outputs)?;
                Ok(Followed::Taken { appended, counts, writes })
            }
            Next::Wait => {
                let safe = self.feed.safe_time();
                match finish_at.filter(|at| safe >= *at) {
                    Some(at) => self.finish(at),
                    None => Ok(Followed::Waiting { safe }),
                }
            }
        }
    }

    fn finish(&mut self, at: AppendTime) -> Result<Followed, String> {
        // A person's act, as an operator's command: it happens when it is said, whatever the readings say.
        let transitions = self.runner.drop_rule(EventTime(at.0), at);
        let (counts, writes) = self.writes(Outputs { transitions, ..Outputs::default() })?;
        Ok(Followed::Finished { counts, writes })
    }

    fn writes(&mut self, mut outputs: Outputs) -> Result<(Counts, Vec<Write>), String> {
        let counts = Counts {
            outputs: outputs.transitions.len() as u64,
            late: outputs.late.len() as u64,
            errors: outputs.errors.len() as u64,
        };
        if outputs.is_empty() {
            return Ok((counts, Vec::new()));
        }
        self.written.suppress(&mut outputs)?;
        let (rows, alarms): (Vec<Transition>, Vec<Transition>) =
            outputs.transitions.into_iter().partition(|t| t.kind == TransitionKind::Row);
        let rule = self.runner.identity();
        let mut writes = Vec::new();
        if !alarms.is_empty() {
            writes.push((InternalLog::Alarms, transition_rows::encode(&alarms)));
        }
        if !rows.is_empty() {
            writes.push((InternalLog::Rows, transition_rows::encode(&rows)));
        }
        if !outputs.late.is_empty() {
            writes.push((InternalLog::Late, encode_late(rule, &outputs.late)));
        }
        if !outputs.errors.is_empty() {
            writes.push((InternalLog::RuleErrors, encode_errors(rule, &outputs.errors)));
        }
        Ok((counts, writes))
    }
}

/// What the internal logs already hold of this rule.
#[derive(Debug, Default)]
struct Written {
    ids: HashMap<u64, String>,
    late: u64,
    errors: u64,
}

impl Written {
    fn read(log: &Log, rule: &RuleIdentity) -> Result<Self, String> {
        let mut written = Self::default();
        for which in [InternalLog::Alarms, InternalLog::Rows] {
            each_batch(log, which, |batch| {
                let transitions = transition_rows::decode(batch).map_err(|e| e.to_string())?;
                let own = transitions
                    .into_iter()
                    .filter(|t| t.rule_uid == rule.uid && t.rule_version == rule.version);
                written.ids.extend(own.map(|t| (t.ordinal, t.id)));
                Ok(())
            })?;
        }
        each_batch(log, InternalLog::Late, |batch| {
            written.late = written.late.max(ordinals_written(rule, batch));
            Ok(())
        })?;
        each_batch(log, InternalLog::RuleErrors, |batch| {
            written.errors = written.errors.max(ordinals_written(rule, batch));
            Ok(())
        })?;
        Ok(written)
    }

    /// Leaves out what is written already.
    fn suppress(&mut self, outputs: &mut Outputs) -> Result<(), String> {
        let mut different = None;
        outputs.transitions.retain(|t| match self.ids.remove(&t.ordinal) {
            None => true,
            Some(id) => {
                if id != t.id {
                    different.get_or_insert(t.ordinal);
                }
                false
            }
        });
        outputs.late.retain(|l| l.ordinal >= self.late);
        outputs.errors.retain(|e| e.ordinal >= self.errors);
        match different {
            None => Ok(()),
            Some(ordinal) => Err(format!(
                "nondeterministic: output {ordinal} differs from the one that was written before the \
                 restart; DROP RULE and create it again"
            )),
        }
    }
}

fn each_batch(
    log: &Log,
    which: InternalLog,
    mut take: impl FnMut(&RecordBatch) -> Result<(), String>,
) -> Result<(), String> {
    let partition = log.internal(which);
    let mut reader = partition.reader(partition.ends().log_start);
    while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
        if let EntryBody::Rows(batch) = &entry.body {
            take(batch)?;
        }
    }
    Ok(())
}
