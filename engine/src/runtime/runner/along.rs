//! Rules with `lag` or `rate`: readings wait for the watermark, then go on in event-time order, to be judged
//! or into their window or session.
//!
//! Promise: readings that are not late in their own partition are applied in (event time, input) order
//! once the rule's watermark has passed them, so what a series gives depends neither on the order of
//! arrival within lateness nor on batches. A late one is listed, and no later value knows of it.

mod again;
mod kept;
mod seen; // versions of tables

pub(super) use kept::AlongSaved;

use super::super::derived::Derived;
use super::super::outputs::{Outputs, json_row};
use super::readings::{Result1, receipt};
use super::windows::open_windows;
use super::{Judge, Runner, RunnerError, topic_of};
use crate::alarms::{Evidence, MayClear, MemberReading, Place, ResultRow, Suppression, Verdict};
use crate::sql::plan::{Branch, RulePlan, Shape};
use crate::stream::along::{AlongStage, AlongState, Lasts};
use crate::stream::grid::PaneIndex;
use crate::stream::input::Rows;
use crate::stream::lookup::Dated;
use crate::stream::pipeline::{number_rows, row_column};
use crate::stream::trace::Trace;
use crate::stream::window::{LaneEvidence, PaneKey};
use again::Again;
use arrow::array::RecordBatch;
use seen::Seen;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{AppendTime, EventTime};

/// Readings on their way, and what is known of each series.
#[derive(Debug, Default)]
pub(super) struct Along {
    waiting: Waiting,
    /// What they look at.
    seen: Seen,
    /// By branch.
    states: Vec<AlongState>,
    taken: u64,
    /// Below TUMBLE and HOP: by branch and series what was known where the open windows begin.
    trace: Option<Trace<(usize, u64), Lasts>>,
    /// Readings that are read again, on the way back to a checkpoint.
    again: Option<Again>,
}

/// By event time, then in the order they came.
type Waiting = BTreeMap<(i64, u64), Held>;

/// A reading that waits: a row of a batch that came.
#[derive(Debug)]
struct Held {
    rows: Arc<Rows>,
    row: usize,
    watermark: i64,
    /// The reference tables that precede it; `None`: on the way back to a checkpoint they are not known yet.
    tables: Option<Dated>,
}

impl Held {
    fn place(&self) -> again::Place {
        let (rows, row) = (&self.rows, self.row);
        (rows.stream, rows.partition(row), rows.offset(row))
    }
}

/// Readings whose time has come, one behind the other in a batch.
struct Run {
    rows: Rows,
    /// Before each.
    watermarks: Vec<i64>,
    tables: Option<Dated>,
}

fn are_the_same(some: Option<&Dated>, others: Option<&Dated>) -> bool {
    match (some, others) {
        (Some(some), Some(others)) => Arc::ptr_eq(some, others),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The next readings up to `timed` that stand behind each other in one batch and look at the same tables.
fn take_run(waiting: &mut Waiting, timed: i64) -> Option<Run> {
    let first = waiting.first_entry().filter(|entry| entry.key().0 <= timed)?;
    let Held { rows, row, watermark, tables } = first.remove();
    let mut watermarks = vec![watermark];
    while let Some(entry) = waiting.first_entry() {
        let next = entry.get();
        let follows = Arc::ptr_eq(&next.rows, &rows)
            && next.row == row + watermarks.len()
            // Those that waited at a checkpoint stand in one batch, whenever they came.
            && are_the_same(next.tables.as_ref(), tables.as_ref());
        if !follows || entry.key().0 > timed {
            break;
        }
        watermarks.push(entry.remove().watermark);
    }
    Some(Run { rows: rows.slice(row, watermarks.len()), watermarks, tables })
}

impl Along {
    /// If the rule has one of the functions.
    pub(super) fn of(plan: &RulePlan) -> Option<Self> {
        let states = plan.branches.iter().map(|_| AlongState::default()).collect();
        let has = plan.branches.iter().any(|branch| branch.along.is_some());
        let trace = match &plan.shape {
            Shape::Windowed(aggregation) => Some(Trace::new(aggregation.grid.panes_per_window())),
            Shape::Sessions(_) | Shape::PerReading => None,
        };
        has.then_some(Self { states, trace, ..Self::default() })
    }

    /// How many readings wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// About what it takes beside the readings that wait.
    pub(super) fn bytes(&self) -> usize {
        let trace = self.trace.as_ref().map_or(0, Trace::bytes);
        let states: usize = self.states.iter().map(AlongState::bytes).sum();
        trace + states + self.seen.bytes()
    }

    /// Forgets what was known where windows begin that are over.
    pub(super) fn forget(&mut self, is_over: impl Fn(PaneIndex) -> bool) {
        self.trace.iter_mut().for_each(|trace| trace.forget(&is_over));
    }

    /// Event time of the first reading that waits.
    pub(super) fn next(&self) -> Option<i64> {
        self.waiting.keys().next().map(|(time, _)| *time)
    }

    /// Rows of these series come through a branch.
    fn changes(&mut self, branch: usize, series: impl Iterator<Item = u64>) {
        let Some(trace) = &mut self.trace else { return };
        let state = &self.states[branch];
        series.for_each(|series| trace.changes(&(branch, series), || state.of(series)));
    }
}

impl Runner {
    /// Keeps readings until the watermark has passed them.
    pub(super) fn hold(&mut self, rows: &Rows, out: &mut Outputs) -> Result<(), RunnerError> {
        let rows = Arc::new(rows.clone());
        for row in 0..rows.len() {
            let lane = self.progress.lane(rows.stream, rows.partition(row));
            // What FLUSH STREAM sealed takes nothing more.
            let watermark = match &self.plan.shape {
                Shape::Windowed(_) | Shape::Sessions(_) => self.progress.closed(lane),
                Shape::PerReading => self.progress.timed(lane),
            };
            let time = rows.times()[row];
            self.saw(&rows.slice(row, 1));
            if time < watermark {
                self.late_along(&rows, row, watermark, out);
            } else if let Some(along) = &mut self.along {
                along.seen.note(&self.tables.dated);
                let tables = Some(Arc::clone(&self.tables.dated));
                let held = Held { rows: Arc::clone(&rows), row, watermark, tables };
                along.waiting.insert((time, along.taken), held);
                along.taken += 1;
            }
            self.progress.observe(lane, time);
            if self.is_something_due() {
                self.time_passes(rows.appended(row), out)?;
            }
        }
        Ok(())
    }

    /// A reading that WHERE leaves out is not late for anything.
    fn late_along(&mut self, rows: &Arc<Rows>, row: usize, watermark: i64, out: &mut Outputs) {
        let plan = Arc::clone(&self.plan);
        let one = rows.slice(row, 1);
        let Ok(table) = number_rows(&one.table()) else { return };
        let mut ignored = Outputs::default();
        let of_stream = plan.branches.iter().filter(|b| b.stream == rows.stream);
        let reaches = of_stream.into_iter().any(|branch| {
            let before = branch.along.as_ref().map_or(&branch.pipeline, |along| &along.before);
            let errors = self.error_ordinal;
            let left = self.run_or_list(before, &table, &|row| row, &one, &mut ignored);
            self.error_ordinal = errors;
            !left.is_empty()
        });
        if reaches {
            self.late(rows, row, watermark, None, out);
        }
    }

    /// The rows of a branch with `lag` and `rate`, for readings in event-time order.
    pub(super) fn run_along(
        &mut self,
        number: usize,
        branch: &Branch,
        stage: &AlongStage,
        table: &RecordBatch,
        rows: &Rows,
        out: &mut Outputs,
    ) -> Vec<RecordBatch> {
        let stream = (rows.stream as u64) << 32;
        let reading_of =
            |row: usize| (stream | u64::from(rows.series_ids()[row]), rows.times()[row]);
        let mut batches = Vec::new();
        let next = branch.before_session.as_ref().unwrap_or(&branch.pipeline);
        for before in self.run_or_list(&stage.before, table, &|row| row, rows, out) {
            let Some(along) = &mut self.along else { continue };
            let lane = row_column(&before).values();
            along.changes(number, lane.iter().map(|row| reading_of(*row as usize).0));
            match stage.run(&before, &mut along.states[number], &reading_of) {
                Ok(batch) => batches.extend(self.run_or_list(next, &batch, &|row| row, rows, out)),
                // A row on which an expression fails leaves no trace for the next.
                Err(_) => batches.extend(self.run_along_singly(number, branch, &before, rows, out)),
            }
        }
        batches
    }

    fn run_along_singly(
        &mut self,
        number: usize,
        branch: &Branch,
        before: &RecordBatch,
        rows: &Rows,
        out: &mut Outputs,
    ) -> Vec<RecordBatch> {
        let stream = (rows.stream as u64) << 32;
        let reading_of =
            |row: usize| (stream | u64::from(rows.series_ids()[row]), rows.times()[row]);
        let mut batches = Vec::new();
        let next = branch.before_session.as_ref().unwrap_or(&branch.pipeline);
        for position in 0..before.num_rows() {
            let one = before.slice(position, 1);
            let (Some(along), Some(stage)) = (&mut self.along, &branch.along) else { continue };
            match stage.run(&one, &mut along.states[number], &reading_of) {
                Ok(batch) => batches.extend(self.run_or_list(next, &batch, &|row| row, rows, out)),
                Err(error) => {
                    let row = row_column(&one).value(0) as usize;
                    self.failed_reading(rows, row, &error.strip_backtrace(), out);
                }
            }
        }
        batches
    }

    /// Applies the waiting readings up to `timed`, in event-time order.
    pub(super) fn apply_along(
        &mut self,
        timed: i64,
        appended: AppendTime,
        out: &mut Outputs,
    ) -> Result<(), RunnerError> {
        while let Some(next) = self.along.as_ref().and_then(Along::next) {
            let until = self.to_the_pane_s_end(next, timed);
            let Some(run) = self.along.as_mut().and_then(|a| take_run(&mut a.waiting, until))
            else {
                break;
            };
            let newest = self.look_back(&run);
            if self.plan.shape.grouping().is_some() {
                let taken = match self.sessions {
                    Some(_) => self.take_along_into_sessions(&run.rows, &run.watermarks, out),
                    None => {
                        self.fill(&run, out);
                        Ok(())
                    }
                };
                self.tables.dated = newest;
                taken?;
                continue;
            }
            let Run { rows, watermarks, .. } = run;
            let (results, batches) = self.results(&rows, out);
            self.tables.dated = newest;
            let mut results = results.into_iter().peekable();
            for (row, watermark) in watermarks.into_iter().enumerate() {
                for (verdict, result) in self.of_row(&mut results, &rows, row, out) {
                    let values = batches[result.batch].slice(result.position, 1);
                    let reading = Applied { rows: &rows, row, watermark, appended };
                    self.judge_along(&reading, &result, verdict, &values, out)?;
                }
            }
        }
        Ok(())
    }

    /// `timed`, or before it the last time of the pane that `next` lies in.
    fn to_the_pane_s_end(&self, next: i64, timed: i64) -> i64 {
        match &self.plan.shape {
            Shape::Windowed(aggregation) => {
                let grid = aggregation.grid;
                timed.min(grid.edge(grid.pane(next) + 1) - 1)
            }
            Shape::Sessions(_) | Shape::PerReading => timed,
        }
    }

    /// Readings look at the tables that precede them, however long they waited; gives the newest ones, to
    /// be put back.
    fn look_back(&mut self, run: &Run) -> Dated {
        let newest = Arc::clone(&self.tables.dated);
        self.tables.dated = Arc::clone(run.tables.as_ref().unwrap_or(&newest));
        newest
    }

    /// Readings whose time has come, of one pane, go into their windows, which are all open.
    fn fill(&mut self, run: &Run, out: &mut Outputs) {
        let Run { rows, watermarks, .. } = run;
        let grid = self.aggregation().grid;
        if let Some(trace) = self.along.as_mut().and_then(|along| along.trace.as_mut()) {
            trace.begin(grid.pane(rows.times()[0]));
            for (row, watermark_before) in watermarks.iter().enumerate() {
                let (lane, offset) =
                    (self.progress.lane(rows.stream, rows.partition(row)), rows.offset(row));
                trace.row(LaneEvidence {
                    lane,
                    first: offset,
                    last: offset,
                    watermark_before: *watermark_before,
                });
            }
        }
        for batch in self.run_branches(rows, out) {
            let mut slices: BTreeMap<PaneKey, Vec<u32>> = BTreeMap::new();
            for (position, row) in (0_u32..).zip(row_column(&batch).values()) {
                let row = *row as usize;
                let pane = grid.pane(rows.times()[row]);
                let lane = self.progress.lane(rows.stream, rows.partition(row));
                if let Some(first_window) = open_windows(grid, pane, watermarks[row]).next {
                    slices.entry(PaneKey { lane, pane, first_window }).or_default().push(position);
                }
            }
            for (key, positions) in slices {
                self.add_slice(rows, &batch, &|row| watermarks[row], key, positions, out);
            }
        }
    }

    fn judge_along(
        &mut self,
        reading: &Applied<'_>,
        result: &Result1,
        verdict: Verdict,
        values: &RecordBatch,
        out: &mut Outputs,
    ) -> Result<(), RunnerError> {
        let Applied { rows, row, watermark, appended } = *reading;
        if rows.appended(row) <= self.starts_after {
            return Ok(());
        }
        self.watch_reading(rows, row, (&result.key, verdict), values, 0);
        let suppression = self.suppression(result, rows, out);
        let (at, topic) = (EventTime(rows.times()[row]), topic_of(rows, row));
        let evidence = || Evidence {
            values: json_row(values, 0),
            receipt: Some(receipt(rows, row, watermark)),
        };
        let mut wrong = Vec::new();
        match &mut self.judge {
            Judge::Rows(result_rows) => {
                let result = ResultRow { key: &result.key, at, place: Place::Topic(topic) };
                out.transitions.push(result_rows.row(result, appended, evidence())?);
            }
            Judge::Readings(deriving) => {
                let (derived, errors) = deriving.rows(values, at.0, appended);
                out.derived.extend(derived.map(Derived::Rows));
                wrong = errors;
            }
            Judge::Alarms(alarms) => {
                let may_clear = MayClear::Yes;
                let reading = MemberReading { topic, at, verdict, may_clear, suppression };
                out.transitions.extend(alarms.reading(
                    &result.key,
                    &reading,
                    appended,
                    evidence,
                )?);
            }
        }
        wrong.iter().for_each(|reason| self.failed_reading(rows, row, reason, out));
        Ok(())
    }

    fn suppression(&mut self, result: &Result1, rows: &Rows, out: &mut Outputs) -> Suppression {
        match &result.suppression {
            Ok(suppression) => *suppression,
            Err(error) => {
                self.failed_reading(rows, result.row, error, out);
                Suppression::No
            }
        }
    }
}

/// A reading whose time has come.
#[derive(Clone, Copy)]
struct Applied<'r> {
    rows: &'r Rows,
    row: usize,
    watermark: i64,
    /// Append time of the input that moved the watermark.
    appended: AppendTime,
}
