//! One rule over its log, step by step: inputs taken in order, outputs named for the internal logs.
//!
//! Promise: an output that the internal logs already hold is not written again: it is compared by id,
//! and a difference stops the rule (P6). No thread, no waiting: a task pumps it in production, a seeded
//! loop in simulation.

use super::checkpoint::{self, Snapshot};
use super::holds::check_told;
use super::marks::Marks;
use super::outputs::{Outputs, encode_errors, encode_late, ordinals_written};
use super::runner::Runner;
use super::sink::Sink;
use super::versions::{Step, Version, Versions};
use crate::alarms::{Transition, TransitionKind, transition_rows};
use crate::sabotage::{self, Fault};
use crate::stream::watermark::NEVER;
use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weir_ingest::log::{EntryBody, InternalLog, Log, Partition, Receipt, TickKind};
use weir_ingest::model::{AppendTime, EventTime, Offset};

/// What has to be durable before the next step; writes are queued in their order.
#[derive(Debug)]
pub enum Write {
    /// Rows for an internal log.
    Internal(InternalLog, RecordBatch),
    /// Rows of the stream that the rule writes.
    Rows {
        /// Where.
        partition: Arc<Partition>,
        /// In stored form.
        batch: RecordBatch,
    },
    /// A tick of that stream.
    Tick {
        /// Where.
        partition: Arc<Partition>,
        /// How far.
        event_time: EventTime,
        /// What for.
        kind: TickKind,
    },
}

impl Write {
    /// Queues it.
    pub fn begin(&self, log: &Log) -> Receipt {
        match self {
            Self::Internal(which, batch) => log.internal(*which).append(batch.clone()),
            Self::Rows { partition, batch } => partition.append(batch.clone()),
            Self::Tick { partition, event_time, kind } => partition.append_tick(*event_time, *kind),
        }
    }
}

/// A rule and its inputs.
#[derive(Debug)]
pub struct Follower {
    versions: Versions,
    /// By version.
    written: BTreeMap<u32, Written>,
    /// Where outputs were still to be written when its checkpoint was made, by the name of their log.
    written_from: BTreeMap<String, Offset>,
    /// All outputs, those before a checkpoint included.
    totals: Counts,
    memory_max: usize,
    /// Of a rule that writes a stream.
    sink: Option<Sink>,
}

/// Bytes the state of a rule may take where nobody says otherwise.
pub const RULE_MEMORY_MAX: usize = 1024 * 1024 * 1024;

/// The internal logs that hold outputs of rules.
pub const OUTPUTS: [InternalLog; 4] =
    [InternalLog::Alarms, InternalLog::Rows, InternalLog::Late, InternalLog::RuleErrors];

/// How many outputs a step had, those written before included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
        /// About its length.
        bytes: u64,
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
    pub fn new(versions: Versions) -> Self {
        Self {
            versions,
            written: BTreeMap::new(),
            written_from: BTreeMap::new(),
            totals: Counts::default(),
            memory_max: RULE_MEMORY_MAX,
            sink: None,
        }
    }

    /// The rule stops where its state takes more bytes than that.
    #[must_use]
    pub fn within(self, memory_max: usize) -> Self {
        Self { memory_max, ..self }
    }

    /// Its outputs are looked for from there on, by the name of their log; without this from the start.
    #[must_use]
    pub fn written_from(self, outputs: BTreeMap<String, Offset>) -> Self {
        Self { written_from: outputs, ..self }
    }

    /// A rule that goes on from a checkpoint; `versions` begin with the one that it is of.
    pub fn resuming(versions: Versions, snapshot: Snapshot) -> Self {
        let Snapshot { outputs: written_from, totals, .. } = snapshot;
        Self { written_from, totals, ..Self::new(versions) }
    }

    /// What a checkpoint keeps, once all that was to be written is durable; `None` while one version
    /// follows another, or before the first input.
    pub fn snapshot(&self, log: &Log) -> Option<Snapshot> {
        let (state, ends, taken) = self.versions.state()?;
        let runner = self.runner();
        let rereads = runner.rereads(&state, &ends);
        let watermark = runner.progress().rule_watermark();
        Some(Snapshot {
            uid: runner.identity().uid,
            version: runner.identity().version,
            fingerprint: runner.plan().fingerprint.clone(),
            taken,
            ends,
            outputs: checkpoint::output_ends(log),
            watermark: (watermark > NEVER).then_some(EventTime(watermark)),
            totals: self.totals,
            state,
            rereads,
        })
    }

    /// All outputs so far.
    pub fn totals(&self) -> Counts {
        self.totals
    }

    /// Learns what the internal logs hold of this rule; once, before the first step.
    /// # Errors
    /// An internal log cannot be read.
    pub fn read_written(&mut self, log: &Arc<Log>) -> Result<(), String> {
        let uid = self.runner().identity().uid;
        self.written = read_written(log, uid, &self.written_from)?;
        if let Some(deriving) = self.runner().deriving() {
            self.sink = Some(Sink::open(log, deriving.stream(), uid, deriving.next_ordinal())?);
        }
        Ok(())
    }

    /// Adds a version that replaces the newest so far. Nothing beyond its place may have been taken.
    pub fn replace_by(&mut self, version: Version) {
        self.versions.replace_by(version);
    }

    /// The version at work.
    pub fn runner(&self) -> &Runner {
        self.versions.runner()
    }

    /// What last moved each partition of the version at work.
    pub fn marks(&self) -> &Marks {
        self.versions.marks()
    }

    /// Rows still to be taken.
    pub fn lag_rows(&self) -> u64 {
        self.versions.lag_rows()
    }

    /// Takes one input, or the end at `finish_at`.
    /// # Errors
    /// The rule must stop: its inputs cannot be read, its state passes a bound, or an output differs
    /// from the one that was written before.
    pub fn follow(&mut self, finish_at: Option<AppendTime>) -> Result<Followed, String> {
        Ok(match self.versions.step(finish_at)? {
            Step::Taken { appended, bytes, outputs } => {
                self.check_memory()?;
                let (counts, writes) = self.writes(outputs)?;
                Followed::Taken { appended, bytes, counts, writes }
            }
            Step::Waiting { safe } => Followed::Waiting { safe },
            Step::Finished { outputs } => {
                let (counts, writes) = self.writes(outputs)?;
                Followed::Finished { counts, writes }
            }
        })
    }

    fn check_memory(&self) -> Result<(), String> {
        let (bytes, limit) = (self.runner().bytes(), self.memory_max);
        match bytes > limit {
            true => Err(format!(
                "its state takes {bytes} bytes, more than engine.rule_memory_max = {limit}; choose \
                 shorter windows, fewer keys or less lateness, or a greater limit"
            )),
            false => Ok(()),
        }
    }

    fn writes(&mut self, mut outputs: Outputs) -> Result<(Counts, Vec<Write>), String> {
        let counts = Counts {
            outputs: outputs.outputs() as u64,
            late: outputs.late.len() as u64,
            errors: outputs.errors.len() as u64,
        };
        self.totals.outputs += counts.outputs;
        self.totals.late += counts.late;
        self.totals.errors += counts.errors;
        if outputs.is_empty() {
            return Ok((counts, Vec::new()));
        }
        outputs.transitions = outputs.told();
        let rule = self.versions.runner().identity();
        if let Some(written) = self.written.get_mut(&rule.version)
            && !sabotage::is(Fault::DoubleAfterRestore)
        {
            written.suppress(&mut outputs)?;
        }
        let (rows, alarms): (Vec<Transition>, Vec<Transition>) =
            outputs.transitions.into_iter().partition(|t| t.kind == TransitionKind::Row);
        let mut writes = Vec::new();
        if !alarms.is_empty() {
            writes.push(Write::Internal(InternalLog::Alarms, transition_rows::encode(&alarms)));
        }
        if !rows.is_empty() {
            writes.push(Write::Internal(InternalLog::Rows, transition_rows::encode(&rows)));
        }
        if !outputs.late.is_empty() {
            writes.push(Write::Internal(InternalLog::Late, encode_late(rule, &outputs.late)));
        }
        if !outputs.errors.is_empty() {
            let errors = encode_errors(rule, &outputs.errors);
            writes.push(Write::Internal(InternalLog::RuleErrors, errors));
        }
        if let Some(sink) = &mut self.sink {
            writes.extend(sink.writes(outputs.derived)?);
        }
        Ok((counts, writes))
    }
}

/// What the internal logs already hold of one version.
#[derive(Debug, Default)]
struct Written {
    ids: HashMap<u64, String>,
    late: u64,
    errors: u64,
}

/// What the internal logs already hold of a rule, by version.
fn read_written(
    log: &Log,
    uid: u64,
    from: &BTreeMap<String, Offset>,
) -> Result<BTreeMap<u32, Written>, String> {
    let mut all: BTreeMap<u32, Written> = BTreeMap::new();
    for which in [InternalLog::Alarms, InternalLog::Rows] {
        each_batch(log, which, from, |batch| {
            let transitions = transition_rows::decode(batch).map_err(|e| e.to_string())?;
            for transition in transitions.into_iter().filter(|t| t.rule_uid == uid) {
                let written = all.entry(transition.rule_version).or_default();
                written.ids.insert(transition.ordinal, transition.id);
            }
            Ok(())
        })?;
    }
    for (which, of) in [
        (InternalLog::Late, (|written| &mut written.late) as fn(&mut Written) -> &mut u64),
        (InternalLog::RuleErrors, |written| &mut written.errors),
    ] {
        each_batch(log, which, from, |batch| {
            for (version, ordinals) in ordinals_written(uid, batch) {
                let known = of(all.entry(version).or_default());
                *known = ordinals.max(*known);
            }
            Ok(())
        })?;
    }
    Ok(all)
}

impl Written {
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
                 restart; RESET RULE closes its open alarms and begins anew"
            )),
        }
    }
}

fn each_batch(
    log: &Log,
    which: InternalLog,
    from: &BTreeMap<String, Offset>,
    mut take: impl FnMut(&RecordBatch) -> Result<(), String>,
) -> Result<(), String> {
    let partition = log.internal(which);
    let from = from.get(which.name()).copied().unwrap_or_default();
    check_told(log, which, from)?;
    let mut reader = partition.reader(from);
    while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
        if let EntryBody::Rows(batch) = &entry.body {
            take(batch)?;
        }
    }
    Ok(())
}
