//! What a test says: a line for each key, and one for all of them.

use crate::alarms::{Key, Transition, TransitionKind, Unknowns};
use crate::runtime::definition::Planned;
use crate::runtime::outputs::Outputs;
use crate::runtime::runner::Runner;
use crate::stream::input::Input;
use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::EventTime;

/// What happened at one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyReport {
    /// Times it was raised.
    pub raised: u64,
    /// How long it was active in all, microseconds of event time.
    pub active_us: i64,
    /// The longest of these times.
    pub longest_us: i64,
    /// First and last raise, or row.
    pub first: Option<EventTime>,
    /// See `first`.
    pub last: Option<EventTime>,
    /// Since when it has been active at the end.
    pub since: Option<EventTime>,
    /// How often nothing was known.
    pub unknowns: Unknowns,
    /// Rows of a rule without RAISE WHEN.
    pub rows: u64,
}

/// What a rule would have raised.
#[derive(Debug, Clone)]
pub struct TestReport {
    /// Its name.
    pub rule: String,
    /// Whether it raises alarms; else it gives rows.
    pub raises: bool,
    /// By key; those of which there is something to say.
    pub keys: BTreeMap<Key, KeyReport>,
    /// Readings taken, those before the test that fill its first windows included.
    pub readings: u64,
    /// Readings that came too late.
    pub late: u64,
    /// Rows an expression failed on.
    pub errors: u64,
}

/// Lines of a table; a rule with more keys than this shows them in the total only.
const KEYS_SHOWN_MAX: usize = 10_000;

impl TestReport {
    pub(super) fn new(planned: &Planned) -> Self {
        Self {
            rule: planned.statement.name.clone(),
            raises: planned.statement.raise.is_some(),
            keys: BTreeMap::new(),
            readings: 0,
            late: 0,
            errors: 0,
        }
    }

    pub(super) fn take(&mut self, input: &Input, mut outputs: Outputs) {
        if let Input::Rows(rows) = input {
            self.readings += rows.len() as u64;
        }
        self.late += outputs.late.len() as u64;
        self.errors += outputs.errors.len() as u64;
        outputs.told().iter().for_each(|transition| self.transition(transition));
    }

    fn transition(&mut self, transition: &Transition) {
        let at = transition.event_time;
        let key = || transition.key.clone();
        match transition.kind {
            TransitionKind::Raised => {
                let key = self.keys.entry(key()).or_default();
                key.raised += 1;
                key.since = Some(at);
                key.seen(at);
            }
            TransitionKind::Row => {
                let key = self.keys.entry(key()).or_default();
                key.rows += 1;
                key.seen(at);
            }
            TransitionKind::Cleared | TransitionKind::RuleDropped => {
                self.keys.entry(key()).or_default().ended(at);
            }
            // The condition goes on through all of these.
            TransitionKind::MemberAdded
            | TransitionKind::Superseded
            | TransitionKind::Acknowledged
            | TransitionKind::Shelved
            | TransitionKind::Unshelved
            | TransitionKind::Suppressed
            | TransitionKind::Unsuppressed
            | TransitionKind::OutOfService
            | TransitionKind::Returned
            | TransitionKind::Ineffective => {}
        }
    }

    /// What is still active counts up to where time has come.
    pub(super) fn end(&mut self, runner: &Runner) {
        for (key, unknowns) in runner.unknowns() {
            self.keys.entry(key).or_default().unknowns = unknowns;
        }
        let now = runner.timed();
        for key in self.keys.values_mut() {
            if let Some(since) = key.since {
                key.ended(now.map_or(since, |now| now.max(since)));
                key.since = Some(since);
            }
        }
    }

    /// All keys as one.
    pub fn total(&self) -> KeyReport {
        let mut total = KeyReport::default();
        for key in self.keys.values() {
            total.raised += key.raised;
            total.rows += key.rows;
            total.active_us += key.active_us;
            total.longest_us = total.longest_us.max(key.longest_us);
            total.unknowns.verdicts += key.unknowns.verdicts;
            total.unknowns.silences += key.unknowns.silences;
            key.first.iter().chain(&key.last).for_each(|at| total.seen(*at));
        }
        total
    }

    /// The answer of TEST RULE: a row for each key, and last the row `total`.
    pub fn table(&self) -> RecordBatch {
        let total = self.total();
        let shown = if self.keys.len() > KEYS_SHOWN_MAX { 0 } else { self.keys.len() };
        let keys: Vec<(Option<&Key>, &KeyReport)> = self
            .keys
            .iter()
            .take(shown)
            .map(|(key, report)| (Some(key), report))
            .chain([(None, &total)])
            .collect();
        let active = self.keys.values().filter(|key| key.since.is_some()).count() as u64;
        let alarm = |of: &dyn Fn(&KeyReport) -> u64| -> ArrayRef {
            let of = keys.iter().map(|(_, report)| self.raises.then(|| of(report)));
            Arc::new(of.collect::<UInt64Array>())
        };
        let seconds = |of: &dyn Fn(&KeyReport) -> i64| -> ArrayRef {
            let of = keys.iter().map(|(_, report)| self.raises.then(|| of(report) as f64 / 1e6));
            Arc::new(of.collect::<Float64Array>())
        };
        let time = |of: &dyn Fn(&KeyReport) -> Option<EventTime>| -> ArrayRef {
            let of = keys.iter().map(|(_, report)| of(report).map(|at| at.0));
            Arc::new(of.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let whole = |count: u64| -> ArrayRef {
            Arc::new(
                keys.iter().map(|(k, _)| k.is_none().then_some(count)).collect::<UInt64Array>(),
            )
        };
        let names = keys.iter().map(|(key, _)| key.map_or("total".to_owned(), Key::to_json));
        let still = keys.iter().map(|(key, report)| {
            let own = u64::from(report.since.is_some());
            self.raises.then(|| if key.is_none() { active } else { own })
        });
        let rows = keys.iter().map(|(_, report)| (!self.raises).then_some(report.rows));
        RecordBatch::try_from_iter_with_nullable([
            ("key", Arc::new(StringArray::from_iter_values(names)) as ArrayRef, false),
            ("raised", alarm(&|k| k.raised), true),
            ("active_seconds", seconds(&|k| k.active_us), true),
            ("longest_seconds", seconds(&|k| k.longest_us), true),
            ("first", time(&|k| k.first), true),
            ("last", time(&|k| k.last), true),
            ("still_active", Arc::new(still.collect::<UInt64Array>()), true),
            ("unknown", alarm(&|k| k.unknowns.verdicts), true),
            ("no_data", alarm(&|k| k.unknowns.silences), true),
            ("rows", Arc::new(rows.collect::<UInt64Array>()), true),
            ("readings", whole(self.readings), true),
            ("late", whole(self.late), true),
            ("errors", whole(self.errors), true),
        ])
        .expect("columns of one length")
    }
}

impl KeyReport {
    fn seen(&mut self, at: EventTime) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = self.last.max(Some(at));
    }

    fn ended(&mut self, at: EventTime) {
        let Some(since) = self.since.take() else { return };
        let lasted = at.0.saturating_sub(since.0).max(0);
        self.active_us += lasted;
        self.longest_us = self.longest_us.max(lasted);
    }
}
