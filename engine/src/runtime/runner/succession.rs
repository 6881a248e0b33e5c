//! A rule that is replaced while it runs: what the old version still judges, and what it hands over.
//!
//! Promise: a function of the inputs, as all of a runner is; every window and every reading is judged by
//! one version. Elsewhere: which version is at work is `versions`' to know; why it is so stands in
//! docs/decisions/0006-a-replaced-rule-hands-over-once.md.

use super::super::outputs::Outputs;
use super::{Judge, Runner, RunnerError, key_columns};
use crate::sql::plan::{RulePlan, Shape};
use crate::stream::watermark::NEVER;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weir_ingest::model::{AppendTime, EventTime, StreamDefinition};

/// What becomes of the windows and alarms of a version that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// It finishes the windows that are open; then its alarms are carried.
    Windows,
    /// Per reading: its alarms are carried at the place of the replacement.
    Readings,
    /// They do not fit the new version: it ends there as if it was dropped.
    Afresh(Misfit),
}

/// Why alarms cannot be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// One has a window, the other has none.
    Shape,
    /// One has RAISE WHEN, the other has none.
    Raise,
    /// Their KEY columns differ.
    Key,
}

impl Misfit {
    /// As part of a sentence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shape => "only one of the versions has a window",
            Self::Raise => "only one of the versions has RAISE WHEN",
            Self::Key => "the KEY columns are others",
        }
    }
}

impl Succession {
    /// How `new` follows `old`.
    pub fn between(old: &RulePlan, new: &RulePlan) -> Self {
        let windowed = |plan: &RulePlan| !matches!(plan.shape, Shape::PerReading);
        if windowed(old) != windowed(new) {
            return Self::Afresh(Misfit::Shape);
        }
        if old.raise.is_some() != new.raise.is_some() {
            return Self::Afresh(Misfit::Raise);
        }
        // Rows are told one by one: nothing of them is carried by key.
        if new.raise.is_some() && key_columns(old) != key_columns(new) {
            return Self::Afresh(Misfit::Key);
        }
        if windowed(new) { Self::Windows } else { Self::Readings }
    }
}

/// Which part of its inputs a version judges, when there are others.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Term {
    /// The version before is at work up to this place: windows stay open until then.
    held_until: AppendTime,
    /// Windows that end by then were the version's before.
    after: i64,
    /// Windows that end later are the next version's.
    until: Option<i64>,
}

impl Default for Term {
    fn default() -> Self {
        Self { held_until: AppendTime(i64::MIN), after: NEVER, until: None }
    }
}

impl Term {
    /// Whether the version before is still at work at this place.
    pub(super) fn is_held(&self, appended: AppendTime) -> bool {
        appended < self.held_until
    }

    /// Whether what was said at this place was said to the version before.
    pub(super) fn is_told_before(&self, appended: AppendTime) -> bool {
        appended <= self.held_until
    }

    /// Whether a window that ends at `end` is this version's.
    pub(super) fn judges(&self, end: i64) -> bool {
        end > self.after && self.until.is_none_or(|until| end <= until)
    }

    /// Whether the windows of the version before are told from its own by their ends: the reading at
    /// the place where that one was through may close windows of both.
    pub(super) fn follows(&self) -> bool {
        self.after > NEVER
    }

    /// The last event time whose timers are this version's.
    pub(super) fn last(&self) -> i64 {
        self.until.unwrap_or(i64::MAX)
    }
}

impl Runner {
    /// The place after which it judges.
    pub fn starts_after(&self) -> AppendTime {
        self.starts_after
    }

    /// Everything up to `at`, the place of the replacement, was taken: from here on it only finishes.
    /// # Errors
    /// The rule must stop, visibly.
    pub fn retire(
        &mut self,
        succession: Succession,
        at: AppendTime,
    ) -> Result<Outputs, RunnerError> {
        let mut out = Outputs::default();
        match succession {
            Succession::Windows => {
                let open = self.last_end().unwrap_or(NEVER);
                let closed = self.progress.rule_closed();
                self.term.until = Some(open.max(closed));
            }
            // Those that wait for the watermark wait no longer, as at FLUSH STREAM.
            Succession::Readings => self.apply_waiting(i64::MAX, at, &mut out)?,
            Succession::Afresh(_) => self.term.until = Some(NEVER),
        }
        Ok(out)
    }

    /// Whether it has judged all that is its own.
    pub fn is_drained(&self) -> bool {
        self.term.until.is_none_or(|until| self.progress.rule_closed() >= until)
    }

    /// Its last outputs: alarms that the next version cannot carry are closed.
    pub fn end(&mut self, succession: Succession, at: AppendTime) -> Outputs {
        // A person's act happens when it is said, whatever the readings say.
        let time = EventTime(at.0);
        let transitions = match (succession, &mut self.judge) {
            (Succession::Afresh(_), Judge::Alarms(alarms)) => alarms.rule_replaced(time, at),
            (Succession::Afresh(_), Judge::Rows(_) | Judge::Readings(_))
            | (Succession::Windows | Succession::Readings, _) => Vec::new(),
        };
        Outputs { transitions, ..Outputs::default() }
    }

    /// Gives its alarms to the next version, which judges from `at` on.
    pub fn hand_over(self, next: &mut Self, at: AppendTime) {
        next.starts_after = next.starts_after.max(at);
        next.term.held_until = at;
        if let Some(until) = self.term.until
            && self.shares_a_stream(next)
        {
            next.term.after = until.max(self.term.after);
        }
        let per_reading = |runner: &Self| matches!(runner.plan.shape, Shape::PerReading);
        if per_reading(&self) && per_reading(next) {
            self.tell_progress(next);
        }
        let judged = self.term.until.unwrap_or_else(|| self.progress.rule_timed());
        let judged = (judged > NEVER).then_some(EventTime(judged));
        let ordinal = self.next_ordinal();
        next.expects_anew = true;
        match (self.judge, &mut next.judge) {
            (Judge::Alarms(old), Judge::Alarms(new)) => {
                let settings = new.settings().clone();
                *new = match old.replace(settings.clone(), judged) {
                    Ok(carried) => carried,
                    Err(old) => old.without_keys(settings),
                };
            }
            (_, Judge::Alarms(new)) => new.go_on_from(ordinal),
            (_, Judge::Rows(new)) => new.go_on_from(ordinal),
            // A rule that writes a stream is not replaced.
            (_, Judge::Readings(_)) => {}
        }
    }

    /// What comes late per reading is what came behind the version before. (Windows are filled from
    /// rows that were there before, and find their watermark in them.)
    fn tell_progress(&self, next: &mut Self) {
        for (theirs, stream) in next.plan.streams.iter().enumerate() {
            let same = |own: &Arc<StreamDefinition>| own.name() == stream.name();
            if let Some(ours) = self.plan.streams.iter().position(same) {
                next.progress.go_on_from(theirs, &self.progress, ours);
                next.applied[theirs].clone_from(&self.applied[ours]);
            }
        }
    }

    fn next_ordinal(&self) -> u64 {
        match &self.judge {
            Judge::Alarms(alarms) => alarms.next_ordinal(),
            Judge::Rows(rows) => rows.next_ordinal(),
            Judge::Readings(deriving) => deriving.next_ordinal(),
        }
    }

    /// Whether both tell windows apart by the same event time.
    fn shares_a_stream(&self, other: &Self) -> bool {
        let reads = |name: &str| other.whole.streams.iter().any(|s| s.name() == name);
        self.whole.streams.iter().any(|stream| reads(stream.name()))
    }
}
