//! Rules over a file of readings, or over a log again: how a rule is tested, and the reference that
//! recovery is held against.
//!
//! Promise: exactly the operators that the server runs; only the clock is simulated. However the input
//! is cut into batches, the same lines come out in the same order.

mod arrivals; // decoded rows become inputs, ticks in between
mod chunks; // the input in pieces of whole lines
mod data; // the rules of a data directory over its own log
mod decoding; // lines become columns, ahead of the rules
mod derived; // what rules write is read by others
pub(super) mod definitions; // streams, tables and rules of a file
mod lines; // outputs as NDJSON
mod segments; // rows and refusals in arrival order
mod topics; // topics get their series

pub use data::replay_data;
pub use lines::Summary;

use super::outputs::Outputs;
use super::runner::Runner;
use super::versions::{Step, Versions};
use crate::sql::SqlError;
use crate::stream::input::Input;
use arrivals::{Arrivals, Arrived};
use decoding::{Clock, Decoding};
use definitions::{Definitions, ReplayedRule};
use derived::DerivedOffsets;
use lines::Lines;
use std::io::{Read, Write};
use std::sync::Arc;
use weir_ingest::log::Stream;
use weir_ingest::model::{AppendTime, MissingTime};

/// How a file is replayed.
#[derive(Debug, Clone)]
pub struct ReplayOptions {
    /// JSON field with the arrival time of a reading; without it the clock is the largest event time.
    pub arrival: Option<String>,
    /// Overrides every stream's partitions.
    pub partitions: Option<u32>,
    /// How many rows the operators get at once.
    pub batch: usize,
    /// Drop everything in memory and rebuild it after so many readings.
    pub restart_every: Option<usize>,
    /// What happens to windows that are open at the end.
    pub at_end: AtEnd,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            arrival: None,
            partitions: None,
            batch: 8192,
            restart_every: None,
            at_end: AtEnd::Open,
        }
    }
}

/// What happens to windows that are open at the end of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// They are reported as open.
    Open,
    /// They are sealed and emitted, as FLUSH STREAM does.
    Flush,
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The definitions are wrong.
    #[error("{0}")]
    Sql(SqlError),
    /// The input cannot be read or the output not written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A rule failed.
    #[error("rule '{rule}' failed: {reason}")]
    Rule {
        /// Which.
        rule: String,
        /// Why.
        reason: String,
    },
    /// The log cannot be read.
    #[error("the log cannot be read: {0}")]
    Log(String),
}

/// Runs the rules of `define` over the readings of `input`, one JSON object a line; writes NDJSON.
/// # Errors
/// The definitions are wrong, input or output fail, or a rule fails.
pub fn replay_file(
    define: &str,
    input: impl Read + Send,
    options: &ReplayOptions,
    out: &mut dyn Write,
) -> Result<Summary, ReplayError> {
    let definitions = Definitions::new(define, options)?;
    let mut replay = Replay {
        runners: definitions.rules.iter().map(ReplayedRule::runner).collect(),
        offsets: DerivedOffsets::default(),
        journal: Vec::new(),
        lines: Lines::new(out),
    };
    for input in &definitions.tables {
        replay.feed(&definitions, input)?;
    }
    let mut arrivals = Arrivals::new(&definitions, options);
    std::thread::scope(|scope| {
        let streams = definitions.log.streams();
        let mut decoding = match clock(&definitions, options) {
            None => Decoding::ahead(scope, streams, input),
            Some(clock) => Decoding::one_by_one(streams, input, clock),
        };
        while let Some(chunk) = decoding.next(arrivals.clock())? {
            arrivals.take(chunk);
            replay.take(&definitions, &mut arrivals, options)?;
        }
        Ok::<_, ReplayError>(())
    })?;
    match options.at_end {
        AtEnd::Flush => {
            for input in arrivals.flush() {
                replay.feed(&definitions, &input)?;
            }
            replay.lines.settle()?;
        }
        AtEnd::Open => {
            for (rule, runner) in definitions.rules.iter().zip(&mut replay.runners) {
                for (start, end, values) in runner.drain_open() {
                    replay.lines.open(&rule.identity.name, start, end, &values);
                }
            }
        }
    }
    let summary = arrivals.summary(replay.lines.counts());
    replay.lines.summary(&summary)?;
    Ok(summary)
}

/// What tells the clock of a row while it is decoded, where that matters.
fn clock(definitions: &Definitions, options: &ReplayOptions) -> Option<Clock> {
    let stamps =
        |stream: &Arc<Stream>| matches!(stream.definition().options().time, MissingTime::Arrival);
    match &options.arrival {
        Some(field) => Some(Clock::Field(field.clone())),
        None if definitions.streams.iter().any(stamps) => Some(Clock::Rows),
        None => None,
    }
}

/// Whether outputs are written as lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    Lines,
    Nothing,
}

struct Replay<'o> {
    runners: Vec<Runner>,
    offsets: DerivedOffsets,
    journal: Vec<Input>,
    lines: Lines<'o>,
}

impl Replay<'_> {
    /// Takes what is decoded.
    fn take(
        &mut self,
        definitions: &Definitions,
        arrivals: &mut Arrivals<'_>,
        options: &ReplayOptions,
    ) -> Result<(), ReplayError> {
        let boundary = |runners: &[Runner]| -> Option<i64> {
            runners.iter().filter_map(Runner::next_boundary).min()
        };
        loop {
            let before = arrivals.readings();
            match arrivals.next(boundary(&self.runners)) {
                None => return Ok(()),
                Some(Arrived::Input(input)) => self.feed(definitions, &input)?,
                Some(Arrived::Refused { after, line, reason }) => {
                    self.lines.dead_letter(after, line, &reason);
                }
            }
            self.lines.settle()?;
            let restarts = |readings: usize| options.restart_every.map(|every| readings / every);
            if restarts(arrivals.readings()) > restarts(before) {
                self.restart(definitions)?;
            }
        }
    }

    /// Feeds one input to every rule that reads it, and what they write to those that read that.
    fn feed(&mut self, definitions: &Definitions, input: &Input) -> Result<(), ReplayError> {
        for input in derived::pieces(definitions, input) {
            self.tell(definitions, &input, Saying::Lines)?;
        }
        if definitions.keeps_journal {
            self.journal.push(input.clone());
        }
        Ok(())
    }

    fn tell(
        &mut self,
        definitions: &Definitions,
        input: &Input,
        saying: Saying,
    ) -> Result<(), ReplayError> {
        let mut written = Vec::new();
        for (number, rule) in definitions.rules.iter().enumerate() {
            let Some(own) = rule.own_input(input) else { continue };
            let outputs = step(&mut self.runners[number], &own)?;
            if let Some(stream) = rule.into {
                written.extend(self.offsets.inputs(definitions, stream, &outputs.derived)?);
            }
            if saying == Saying::Lines {
                self.lines.outputs(number, &rule.identity.name, outputs);
            }
        }
        written.iter().try_for_each(|input| self.tell(definitions, input, saying))
    }

    /// What is persisted is the input; everything else is dropped and built again from it. What comes
    /// out of that was written before.
    fn restart(&mut self, definitions: &Definitions) -> Result<(), ReplayError> {
        self.runners = definitions.rules.iter().map(ReplayedRule::runner).collect();
        self.offsets = DerivedOffsets::default();
        let journal = std::mem::take(&mut self.journal);
        for input in journal.iter().flat_map(|input| derived::pieces(definitions, input)) {
            self.tell(definitions, &input, Saying::Nothing)?;
        }
        self.journal = journal;
        Ok(())
    }
}

fn step(runner: &mut Runner, input: &Input) -> Result<Outputs, ReplayError> {
    runner.step(input).map_err(|error| ReplayError::Rule {
        rule: runner.identity().name.clone(),
        reason: error.to_string(),
    })
}

/// Takes everything the versions of a rule have to take, outputs as lines.
fn drain(
    name: &str,
    versions: &mut Versions,
    dropped_at: Option<AppendTime>,
    lines: &mut Lines<'_>,
) -> Result<(), ReplayError> {
    let failed = |reason| ReplayError::Rule { rule: name.to_owned(), reason };
    loop {
        let (outputs, ended) = match versions.step(dropped_at).map_err(failed)? {
            Step::Taken { outputs, .. } => (outputs, false),
            Step::Finished { outputs } => (outputs, true),
            Step::Waiting { .. } => return Ok(()),
        };
        lines.outputs(0, name, outputs);
        lines.settle()?;
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
