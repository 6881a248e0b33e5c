//! The versions of one rule over their log: one is at work, those that replace it wait.
//!
//! Promise: which version judges what is a function of the log and of the stored rule, so a restart and
//! a replay hand over at the same place (P6). Elsewhere: what is handed over is the runner's.

use super::feed::{Feed, FeedEnds, Next};
use super::marks::Marks;
use super::outputs::Outputs;
use super::runner::{Runner, RunnerError, RunnerState, Succession};
use crate::stream::input::Input;
use std::collections::VecDeque;
use weir_ingest::model::{AppendTime, EventTime};

/// One version and its inputs.
#[derive(Debug)]
pub struct Version {
    /// Without state.
    pub runner: Runner,
    /// From its start.
    pub feed: Feed,
}

/// See the module.
#[derive(Debug)]
pub struct Versions {
    current: Version,
    /// Of the current version.
    marks: Marks,
    /// Append time of the newest input that the current version took.
    taken: Option<AppendTime>,
    next: VecDeque<Version>,
    /// The current version finishes what is its own.
    retired: Option<Succession>,
    /// It has done so, at this place.
    ended_at: Option<AppendTime>,
    /// An input beyond the place of the replacement that the current version still has to take.
    ahead: Option<Input>,
}

/// What one step did. The outputs are those of [`Versions::runner`].
#[derive(Debug)]
pub enum Step {
    /// An input was taken, or the place of a replacement was reached.
    Taken {
        /// Which place.
        appended: AppendTime,
        /// About the length of the input.
        bytes: u64,
        /// What came out.
        outputs: Outputs,
    },
    /// Nothing can be taken before something becomes durable.
    Waiting {
        /// Nothing at or before this append time is still to come.
        safe: AppendTime,
    },
    /// The place was reached at which the rule is dropped.
    Finished {
        /// What closes its alarms.
        outputs: Outputs,
    },
}

/// Where the current version stops taking inputs as before.
enum End {
    Replaced(AppendTime),
    Dropped(AppendTime),
}

impl Versions {
    /// A rule at its start.
    pub fn new(first: Version) -> Self {
        Self {
            marks: Marks::new(first.runner.progress()),
            current: first,
            taken: None,
            next: VecDeque::new(),
            retired: None,
            ended_at: None,
            ahead: None,
        }
    }

    /// Adds a version that replaces the newest so far. Nothing beyond its place may have been taken.
    pub fn replace_by(&mut self, version: Version) {
        self.next.push_back(version);
    }

    /// The state of the version at work, where its inputs go on, and the newest it took, if that may be
    /// kept: not while one version follows another.
    pub fn state(&self) -> Option<(RunnerState, FeedEnds, AppendTime)> {
        let alone = self.next.is_empty() && self.retired.is_none() && self.ahead.is_none();
        let state = alone.then(|| self.current.runner.state())??;
        Some((state, self.current.feed.ends(), self.taken?))
    }

    /// The version at work.
    pub fn runner(&self) -> &Runner {
        &self.current.runner
    }

    /// What last moved each partition of the version at work.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Rows that the version at work has still to take.
    pub fn lag_rows(&self) -> u64 {
        self.current.feed.lag_rows()
    }

    /// Takes one input, or an end: a replacement's or that at `finish_at`.
    /// # Errors
    /// The rule must stop: its inputs cannot be read, or its state passes a bound.
    pub fn step(&mut self, finish_at: Option<AppendTime>) -> Result<Step, String> {
        if let Some(at) = self.ended_at.take() {
            self.succeed(at);
        }
        let next = match self.ahead.take() {
            Some(input) => Next::Input(input),
            None => self.current.feed.next_input().map_err(|e| e.to_string())?,
        };
        match next {
            Next::Input(input) if self.current.runner.is_resuming(input.appended()) => {
                let runner = &mut self.current.runner;
                self.marks.take(runner.progress(), &input);
                self.taken = Some(input.appended());
                runner.take_again(&input).map_err(|e| e.to_string())?;
                let (appended, bytes) = (input.appended(), input.bytes());
                Ok(Step::Taken { appended, bytes, outputs: Outputs::default() })
            }
            Next::Input(input) => {
                self.current.runner.resumed().map_err(|e| e.to_string())?;
                let appended = input.appended();
                match self.end(finish_at).filter(|end| appended > end.place()) {
                    Some(end) => self.ending(&end, Some(input)),
                    None => self.take(&input, appended),
                }
            }
            Next::Wait => {
                self.current.runner.resumed().map_err(|e| e.to_string())?;
                let safe = self.current.feed.safe_time();
                match self.end(finish_at).filter(|end| safe >= end.place()) {
                    Some(end) => self.ending(&end, None),
                    None => Ok(Step::Waiting { safe }),
                }
            }
        }
    }

    /// Whichever end comes first.
    fn end(&self, finish_at: Option<AppendTime>) -> Option<End> {
        let replacing = match self.retired {
            None => self.next.front(),
            Some(_) => self.next.get(1),
        };
        let replaced = replacing.map(|version| version.runner.starts_after());
        match (replaced, finish_at) {
            (Some(replaced), Some(dropped)) if dropped < replaced => Some(End::Dropped(dropped)),
            (Some(replaced), _) => Some(End::Replaced(replaced)),
            (None, dropped) => dropped.map(End::Dropped),
        }
    }

    fn take(&mut self, input: &Input, appended: AppendTime) -> Result<Step, String> {
        self.marks.take(self.current.runner.progress(), input);
        self.taken = Some(appended);
        let mut outputs = self.current.runner.step(input).map_err(|e| e.to_string())?;
        self.end_if_drained(appended, &mut outputs);
        Ok(Step::Taken { appended, bytes: input.bytes(), outputs })
    }

    fn ending(&mut self, end: &End, input: Option<Input>) -> Result<Step, String> {
        match *end {
            End::Dropped(at) => {
                // A person's act, as an operator's command: it happens when it is said, whatever the
                // readings say.
                let transitions = self.current.runner.drop_rule(EventTime(at.0), at);
                Ok(Step::Finished { outputs: Outputs { transitions, ..Outputs::default() } })
            }
            End::Replaced(at) => {
                let outputs = self.retire(at).map_err(|e| e.to_string())?;
                // The next version reads it by itself.
                self.ahead = input.filter(|_| self.ended_at.is_none());
                Ok(Step::Taken { appended: at, bytes: 0, outputs })
            }
        }
    }

    fn retire(&mut self, at: AppendTime) -> Result<Outputs, RunnerError> {
        let mut outputs = Outputs::default();
        if self.retired.is_some() {
            // Replaced before it was at work: it never is.
            self.next.pop_front();
        }
        let Some(next) = self.next.front() else { return Ok(outputs) };
        let succession = Succession::between(self.current.runner.plan(), next.runner.plan());
        if self.retired != Some(succession) {
            outputs = self.current.runner.retire(succession, at)?;
        }
        self.retired = Some(succession);
        self.end_if_drained(at, &mut outputs);
        Ok(outputs)
    }

    fn end_if_drained(&mut self, at: AppendTime, outputs: &mut Outputs) {
        if let Some(succession) = self.retired
            && self.current.runner.is_drained()
        {
            let last = self.current.runner.end(succession, at);
            outputs.transitions.extend(last.transitions);
            self.ended_at = Some(at);
        }
    }

    fn succeed(&mut self, at: AppendTime) {
        let Some(mut next) = self.next.pop_front() else { return };
        self.retired = None;
        // The next one takes its inputs from its own start.
        self.taken = None;
        std::mem::swap(&mut self.current, &mut next);
        self.marks = Marks::new(self.current.runner.progress());
        next.runner.hand_over(&mut self.current.runner, at);
    }
}

impl End {
    fn place(&self) -> AppendTime {
        match self {
            Self::Replaced(at) | Self::Dropped(at) => *at,
        }
    }
}
