//! One rule over one partition.
//!
//! Promise: what was taken before a checkpoint is taken again without a word, everything behind it once.
//! A rule that fails stops alone and says why (P10).

use crate::alarms::Transition;
use crate::runtime::outputs::Outputs;
use crate::runtime::replay::definitions::ReplayedRule;
use crate::runtime::runner::{Runner, RunnerError, RunnerState};
use crate::stream::input::Input;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weir_ingest::model::{AppendTime, Offset, SeriesSnapshot};

/// A rule's part of a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RuleSnapshot {
    pub(super) uid: u64,
    /// The plan the state is of.
    pub(super) fingerprint: String,
    pub(super) state: Kept,
}

/// What is kept of a rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Kept {
    State(Box<RunnerState>),
    /// It had stopped, for this reason.
    Failed(String),
}

/// Whether an input stands before the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    Again,
    New,
}

/// A rule at work.
#[derive(Debug)]
pub(super) struct LaneRule {
    runner: Runner,
    failed: Option<String>,
    /// Rows before are of no use to it.
    from: Offset,
}

impl LaneRule {
    /// The rule at its start.
    pub(super) fn new(rule: &ReplayedRule) -> Self {
        Self { runner: rule.runner(), failed: None, from: Offset(0) }
    }

    /// The rule as a checkpoint left it, whose rows end at `position`.
    /// # Errors
    /// The checkpoint is of another plan.
    pub(super) fn resume(
        &mut self,
        snapshot: RuleSnapshot,
        (position, taken): (Offset, AppendTime),
        series: Arc<SeriesSnapshot>,
    ) -> Result<(), String> {
        let rule = &self.runner.identity().name;
        if self.runner.plan().fingerprint != snapshot.fingerprint {
            return Err(format!("the checkpoint of the rule '{rule}' was made by another plan"));
        }
        self.from = position;
        match snapshot.state {
            Kept::Failed(reason) => self.failed = Some(reason),
            Kept::State(state) => {
                let again = self.runner.resume(*state, taken, &[series])?;
                let first = again.iter().map(|evidence| evidence.first).min();
                self.from = first.map_or(position, |first| first.min(position));
            }
        }
        Ok(())
    }

    /// From where on it has to read.
    pub(super) fn from(&self) -> Offset {
        self.from
    }

    pub(super) fn uid(&self) -> u64 {
        self.runner.identity().uid
    }

    /// Takes an input that stands at `offset`; what comes out.
    pub(super) fn take(&mut self, input: &Input, offset: Offset, taking: Taking) -> Outputs {
        if self.failed.is_some() || offset < self.from {
            return Outputs::default();
        }
        let taken = match taking {
            Taking::Again => self.runner.take_again(input).map(|()| Outputs::default()),
            Taking::New => self.runner.resumed().and_then(|()| self.runner.step(input)),
        };
        taken.unwrap_or_else(|error: RunnerError| {
            self.fail(error.to_string());
            Outputs::default()
        })
    }

    /// It stops, the others go on.
    pub(super) fn fail(&mut self, reason: String) {
        tracing::error!(rule = %self.runner.identity().name, %reason, "rule failed");
        self.failed = Some(reason);
    }

    /// About what its state takes.
    pub(super) fn bytes(&self) -> usize {
        self.runner.bytes()
    }

    /// For a checkpoint; `None` while it is on its way back to one.
    pub(super) fn snapshot(&self) -> Option<RuleSnapshot> {
        let state = match &self.failed {
            Some(reason) => Kept::Failed(reason.clone()),
            None => Kept::State(Box::new(self.runner.state()?)),
        };
        let (uid, fingerprint) = (self.uid(), self.runner.plan().fingerprint.clone());
        Some(RuleSnapshot { uid, fingerprint, state })
    }

    /// Everything before the checkpoint was taken.
    pub(super) fn resumed(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.runner.resumed()
        {
            self.fail(error.to_string());
        }
    }
}

/// What leaves: transitions and rows, in the order of their ordinals. Late and failed readings are counted.
pub(super) fn told(mut outputs: Outputs, counts: &mut Counts) -> Vec<Transition> {
    counts.late += outputs.late.len() as u64;
    counts.errors += outputs.errors.len() as u64;
    outputs.told()
}

/// What is counted and goes nowhere else.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) late: u64,
    pub(super) errors: u64,
}
