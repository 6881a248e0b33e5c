//! One rule over its inputs: rows and time in, outputs out.
//!
//! Promise: a function of the inputs in their order. However rows are cut into batches, and however
//! often the process was killed between them, the same outputs come with the same ordinals (P6, S3).
//! Elsewhere: who feeds it and who writes its outputs down is the task's.

mod counting;
mod dense;
mod lanes; // rows of several partitions at once
mod along;
mod deriving;
mod evaluate;
mod expected;
mod lists;
mod judging;
mod latest;
mod nested;
mod outage;
mod readings;
mod receipts;
mod recompute;
mod returns;
mod sessions;
mod state;
mod succession;
mod watch; // for EXPLAIN ALARM
mod windows;

pub use expected::{TOPIC_COLUMN, listed_sensors};
pub use recompute::{InTime, Recomputed};
pub use state::RunnerState;
pub use succession::{Misfit, Succession};
pub use watch::{Seen, Watch, Watched};

use super::derived::Deriving;
use super::outputs::Outputs;
use crate::alarms::{RuleAlarms, RuleIdentity, RuleRows, TooManyKeys, Transition};
use crate::sql::RuleStatement;
use crate::sql::plan::{Key, RulePlan, Shape};
use crate::stream::input::{Flush, Input, Rows};
use crate::stream::latest::LatestValues;
use crate::stream::lookup::Tables;
use crate::stream::watermark::Progress;
use crate::stream::window::Windows;
use crate::stream::window::session::Sessions;
use crate::tables::reference::{TableError, TableFold};
use along::Along;
use arrow::array::RecordBatch;
use judging::judge;
use latest::LatestTrace;
use nested::Nest;
use readings::Buffered;
use returns::Returns;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use succession::Term;
use weir_ingest::model::{AppendTime, EventTime, StreamDefinition};

/// A rule that is running.
#[derive(Debug)]
pub struct Runner {
    identity: RuleIdentity,
    /// Of what it does itself.
    plan: Arc<RulePlan>,
    /// Of the rule: the same, but for windows over windows.
    whole: Arc<RulePlan>,
    /// Of a rule over windows of windows, what is below.
    nest: Option<Box<Nest>>,
    /// Outputs begin with inputs appended after this place.
    starts_after: AppendTime,
    /// What of it is another version's.
    term: Term,
    progress: Progress,
    fold: TableFold,
    /// Of `fold`, as the newest rows saw it.
    tables: Tables,
    tables_changed: bool,
    /// The tables may name further sensors.
    expects_anew: bool,
    /// As above, for the coverage of windows.
    lists_anew: bool,
    judge: Judge,
    /// Of a rule over TUMBLE or HOP.
    windows: Option<Windows>,
    /// Of a rule over SESSION.
    sessions: Option<Sessions>,
    /// Newest event time applied, by stream and series.
    applied: Vec<Vec<i64>>,
    /// Readings that wait for the watermark (rules with FOR), in (event time, input) order.
    waiting: BTreeMap<(i64, u64), Buffered>,
    /// Of a rule with `lag` or `rate`.
    along: Option<Along>,
    /// Of a rule over TUMBLE or HOP of readings that look at latest values.
    looks: Option<LatestTrace>,
    /// Of a rule over TUMBLE or HOP.
    returns: Returns,
    taken: u64,
    late_ordinal: u64,
    error_ordinal: u64,
    /// How long a silence NO DATA means.
    silence_us: i64,
    /// The doors were shut from then until then; silence counts anew from the next event time.
    shut: Option<(i64, i64)>,
    /// It is on its way back to a checkpoint.
    resuming: Option<state::Resuming>,
    /// A verdict that somebody looks for.
    watch: Option<Box<Watch>>,
}

/// About what an alarm's key, or a reading that waits, takes.
const KEY_BYTES: usize = 512;

/// What becomes of a result row.
#[derive(Debug)]
enum Judge {
    Alarms(RuleAlarms),
    Rows(RuleRows),
    Readings(Deriving),
}

/// Why a rule cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// Its state would grow beyond its bound.
    #[error(transparent)]
    TooManyKeys(#[from] TooManyKeys),
    /// As above, by the readings of open sessions.
    #[error(
        "its open sessions hold more than {limit} bytes of readings; choose a shorter gap or fewer keys, or TUMBLE"
    )]
    SessionsTooLarge {
        /// Bytes they may hold.
        limit: usize,
    },
    /// An internal log holds something it should not.
    #[error("an input cannot be read: {0}")]
    Input(String),
}

impl Runner {
    /// A rule at its start: no state, no outputs yet.
    pub fn new(
        statement: &RuleStatement,
        whole: Arc<RulePlan>,
        identity: RuleIdentity,
        starts_after: AppendTime,
    ) -> Self {
        let (plan, nest) = match &whole.nested {
            Some(nested) => {
                (Arc::new(nested.outer.clone()), Nest::new(statement, nested, &identity))
            }
            None => (Arc::clone(&whole), None),
        };
        let lanes = plan.streams.iter().map(|s| (lateness_us(s), s.options().partitions));
        let mut progress = Progress::new(lanes);
        let is_read = |stream: usize| plan.branches.iter().any(|b| b.stream == stream);
        (0..plan.streams.len()).filter(|s| !is_read(*s)).for_each(|s| progress.set_aside(s));
        let latest = plan.latest.iter().map(|latest| {
            LatestValues::new(latest.stream, &plan.streams[latest.stream], &latest.joins)
        });
        let tables = Tables { latest: latest.collect(), ..Tables::default() };
        let looks = match &plan.shape {
            Shape::Windowed(aggregation) if !plan.latest.is_empty() => {
                Some(LatestTrace::new(aggregation.grid.panes_per_window()))
            }
            Shape::Windowed(_) | Shape::Sessions(_) | Shape::PerReading => None,
        };
        let (windows, sessions) = match &plan.shape {
            Shape::Windowed(aggregation) => (Some(Windows::new(Arc::clone(aggregation))), None),
            Shape::Sessions(aggregation) => {
                let sessions = Sessions::new(Arc::clone(aggregation));
                (None, Some(sessions.expect("the planner made one of the same columns")))
            }
            Shape::PerReading => (None, None),
        };
        Self {
            judge: judge(statement, &plan, &whole, &identity),
            applied: vec![Vec::new(); plan.streams.len()],
            identity,
            starts_after,
            term: Term::default(),
            progress,
            fold: TableFold::new(),
            tables,
            tables_changed: false,
            expects_anew: false,
            lists_anew: false,
            windows,
            sessions,
            along: Along::of(&plan),
            looks,
            returns: Returns::default(),
            plan,
            whole,
            nest: nest.map(Box::new),
            waiting: BTreeMap::new(),
            taken: 0,
            late_ordinal: 0,
            error_ordinal: 0,
            silence_us: statement.no_data.as_ref().map_or(0, |no_data| micros(no_data.after)),
            shut: None,
            resuming: None,
            watch: None,
        }
    }

    /// Its identity.
    pub fn identity(&self) -> &RuleIdentity {
        &self.identity
    }

    /// Its plan.
    #[expect(clippy::misnamed_getters, reason = "the plan of the rule, not of its outer step")]
    pub fn plan(&self) -> &RulePlan {
        &self.whole
    }

    /// The least event-time progress of its partitions.
    pub fn progress(&self) -> &Progress {
        &self.reader().progress
    }

    /// Its alarms, if it raises any.
    pub fn alarms(&self) -> Option<&RuleAlarms> {
        match &self.judge {
            Judge::Alarms(alarms) => Some(alarms),
            Judge::Rows(_) | Judge::Readings(_) => None,
        }
    }

    /// About what its state takes: open windows and sessions, alarms, readings that wait.
    pub fn bytes(&self) -> usize {
        let windows = self.windows.as_ref().map_or(0, Windows::bytes);
        let sessions = self.sessions.as_ref().map_or(0, Sessions::bytes);
        let keys = self.alarms().map_or(0, RuleAlarms::keys);
        let along = self.along.as_ref().map_or(0, Along::len);
        let traces = self.along.as_ref().map_or(0, Along::bytes)
            + self.looks.as_ref().map_or(0, LatestTrace::bytes);
        let latest: usize = self.tables.latest.iter().map(LatestValues::bytes).sum();
        let below = self.nest.as_ref().map_or(0, |nest| nest.runner.bytes() + nest.bytes());
        latest
            + traces
            + below
            + windows
            + sessions
            + KEY_BYTES * (keys + self.waiting.len() + along)
    }

    /// Takes one input.
    /// # Errors
    /// The rule must stop, visibly.
    pub fn step(&mut self, input: &Input) -> Result<Outputs, RunnerError> {
        if self.nest.is_some() {
            return self.step_nested(input);
        }
        let mut out = Outputs::default();
        self.take(input, &mut out)?;
        Ok(out)
    }

    fn take(&mut self, input: &Input, out: &mut Outputs) -> Result<(), RunnerError> {
        match input {
            Input::Rows(rows) if rows.is_empty() => {}
            Input::Rows(rows) => {
                self.overtake(rows);
                self.take_rows(rows, out)?;
            }
            Input::Tick { stream, .. } if self.only_looks_up(*stream) => {}
            Input::Tick { stream, partition, event_time, flush, appended } => {
                self.expect_sensors(event_time.0)?;
                self.note_reopened(event_time.0);
                let until = self.windows_until(*event_time);
                let lane = self.progress.lane(*stream, *partition);
                self.progress.tick(lane, *event_time, *flush, until);
                if *flush == Flush::Yes || self.is_something_due() {
                    self.time_passes(*appended, out)?;
                }
                self.pass_flush_on(*flush, *appended, out);
            }
            Input::Restart { down_from, appended, .. } => {
                let from = self.shut.map_or(down_from.0, |(from, _)| from);
                self.shut = Some((from, appended.0));
            }
            Input::Gap { stream, partition, .. } => {
                let lane = self.progress.lane(*stream, *partition);
                self.progress.gap(lane);
            }
            Input::Commands { batch, appended } => {
                self.outages(batch, *appended, out)?;
                self.commands(batch, *appended, out)?;
            }
            Input::Tables { batch, .. } => {
                self.take_tables(batch)?;
            }
        }
        Ok(())
    }

    fn take_tables(&mut self, batch: &RecordBatch) -> Result<(), RunnerError> {
        self.fold.apply(batch).map_err(|e| RunnerError::Input(e.to_string()))?;
        self.tables_changed = true;
        self.expects_anew = true;
        self.lists_anew = true;
        Ok(())
    }

    // Many changes in a row are made into one content.
    fn read_tables(&mut self) -> Result<(), RunnerError> {
        if !std::mem::take(&mut self.tables_changed) {
            return Ok(());
        }
        let known = self.plan.tables.iter().filter_map(|name| self.fold.get(name));
        let content = known.map(|table| Ok((table.definition.name().to_owned(), table.content()?)));
        let tables = content.collect::<Result<_, TableError>>();
        self.tables.dated = Arc::new(tables.map_err(|e| RunnerError::Input(e.to_string()))?);
        Ok(())
    }

    /// The rule is dropped: its open alarms are closed.
    pub fn drop_rule(&mut self, at: EventTime, appended: AppendTime) -> Vec<Transition> {
        match &mut self.judge {
            Judge::Alarms(alarms) => alarms.rule_dropped(at, appended),
            Judge::Rows(_) | Judge::Readings(_) => Vec::new(),
        }
    }

    fn windows_until(&self, event_time: EventTime) -> i64 {
        match &self.plan.shape {
            Shape::Windowed(aggregation) => {
                let grid = aggregation.grid;
                grid.end(grid.last_window(grid.pane(event_time.0)))
            }
            Shape::Sessions(aggregation) => event_time.0.saturating_add(aggregation.gap_us),
            Shape::PerReading => event_time.0,
        }
    }

    /// The next event time at which something can happen once all partitions have come to it.
    pub fn next_boundary(&self) -> Option<i64> {
        if let Some(nest) = &self.nest {
            return nest.runner.next_boundary();
        }
        let window = self.next_end();
        let waiting = self.next_waiting();
        [window, waiting, self.next_due()].into_iter().flatten().min()
    }

    fn is_something_due(&self) -> bool {
        let closed = self.progress.rule_closed();
        let window = self.next_end();
        let waiting = self.next_waiting();
        let due = self.next_due();
        window.is_some_and(|end| end <= closed)
            || [waiting, due].into_iter().flatten().any(|t| t <= self.progress.rule_timed())
    }

    fn next_waiting(&self) -> Option<i64> {
        let along = self.along.as_ref().and_then(Along::next);
        self.waiting.keys().next().map(|(time, _)| *time).into_iter().chain(along).min()
    }

    fn next_due(&self) -> Option<i64> {
        match &self.judge {
            Judge::Alarms(alarms) => alarms.next_due().map(|due| due.0),
            Judge::Readings(deriving) => Some(deriving.next_tick()),
            Judge::Rows(_) => None,
        }
    }

    /// Fires everything that event time has come to, in its order.
    fn time_passes(&mut self, appended: AppendTime, out: &mut Outputs) -> Result<(), RunnerError> {
        if self.term.is_held(appended) {
            return Ok(());
        }
        let timed = self.progress.rule_timed().min(self.term.last());
        if self.plan.shape.grouping().is_some() {
            // What goes along its series comes into the windows that close now; FLUSH STREAM closes
            // them beyond the event time it was said at.
            let closing = (self.progress.rule_closed() - 1).min(self.term.last());
            self.apply_along(timed.max(closing), appended, out)?;
        }
        self.close_windows(appended, out)?;
        self.forget_traces();
        self.apply_waiting(timed, appended, out)?;
        let timed = EventTime(timed);
        if let Judge::Alarms(alarms) = &mut self.judge
            && alarms.next_due().is_some_and(|due| due <= timed)
        {
            out.transitions.extend(alarms.advance(timed, appended));
        }
        self.tick_on(appended, out);
        Ok(())
    }

    // The first reading may be one that its sender kept while the doors were shut: a silence that
    // counted from there would run through time in which nobody could be heard.
    fn note_reopened(&mut self, event_time: i64) {
        if let Some((from, until)) = self.shut.take()
            && let Judge::Alarms(alarms) = &mut self.judge
        {
            let reaches_it = event_time.saturating_add(self.silence_us) > from;
            let at = if reaches_it { event_time.max(until) } else { event_time };
            alarms.restart_silence(EventTime(at));
        }
    }
}

fn topic_of(rows: &Rows, row: usize) -> &str {
    rows.series.topic(weir_ingest::model::SeriesId(rows.series_ids()[row]))
}

fn lateness_us(stream: &Arc<StreamDefinition>) -> i64 {
    micros(stream.options().lateness)
}

/// Microseconds.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Names of a plan's key columns, in order.
pub fn key_columns(plan: &RulePlan) -> Vec<String> {
    match &plan.key {
        Key::Columns(columns) => columns.iter().map(|(name, _)| name.clone()).collect(),
        Key::Topic => vec!["topic".to_owned()],
    }
}

#[cfg(test)]
mod tests;
