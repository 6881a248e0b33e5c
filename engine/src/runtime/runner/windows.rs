//! Rules with a window: rows into panes, late ones listed, closed windows judged.

use super::super::outputs::{MissedWindows, Outputs, WindowRows, json_row};
use super::evaluate::{keys, suppressions, verdicts};
use super::{Judge, Runner, RunnerError};
use crate::alarms::Suppression;
use crate::alarms::{Evidence, Receipt, Verdict, Window, WindowRow};
use crate::sql::plan::{Key, Shape};
use crate::stream::grid::{Grid, PaneIndex};
use crate::stream::input::Rows;
use crate::stream::pipeline::row_column;
use crate::stream::watermark::Until;
use crate::stream::window::{Aggregation, Closed, PaneKey, Slice, expectations_of, sensors_of};
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{AppendTime, EventTime};

/// What a share of readings may be off by.
const ROUNDING: f64 = 1e-9;

impl Runner {
    /// Takes rows up to each place where event time closes a window or fires a timer, so that the cut
    /// of batches shows nowhere.
    pub(super) fn windowed_rows(
        &mut self,
        rows: &Rows,
        out: &mut Outputs,
    ) -> Result<(), RunnerError> {
        if self.along.is_some() {
            return self.hold(rows, out);
        }
        let mut rest = rows.clone();
        while !rest.is_empty() {
            if let Some(in_time) = self.rows_in_time(&rest) {
                let taken = in_time.rows;
                self.take_in_time(&rest, in_time, out);
                if self.is_something_due() {
                    self.time_passes(rest.appended(taken - 1), out)?;
                }
                rest = rest.slice(taken, rest.len() - taken);
                continue;
            }
            let taken = self.rows_to_take(&rest);
            let part = rest.slice(0, taken);
            match self.sessions {
                Some(_) => self.take_session_part(&part, out)?,
                None => self.take_part(&part, out),
            }
            if self.is_something_due() {
                self.time_passes(part.appended(taken - 1), out)?;
            }
            rest = rest.slice(taken, rest.len() - taken);
        }
        Ok(())
    }

    pub(super) fn rows_to_take(&self, rows: &Rows) -> usize {
        let closed = self.progress.rule_closed();
        let fresh = match &self.plan.shape {
            Shape::Sessions(aggregation) => {
                let ends = rows.times().iter().map(|time| time.saturating_add(aggregation.gap_us));
                ends.filter(|end| *end > closed).min()
            }
            Shape::Windowed(_) | Shape::PerReading => {
                let grid = self.aggregation().grid;
                let open = rows.times().iter().filter_map(|time| {
                    let open = open_windows(grid, grid.pane(*time), closed);
                    open.next.map(|window| grid.end(window))
                });
                open.min()
            }
        };
        let to_window = fresh
            .into_iter()
            .chain(self.next_end())
            .min()
            .and_then(|end| self.progress.rows_until(rows, end, Until::Closed));
        let to_timer =
            self.next_due().and_then(|due| self.progress.rows_until(rows, due, Until::Timed));
        [to_window, to_timer].into_iter().flatten().min().unwrap_or(rows.len())
    }

    pub(super) fn aggregation(&self) -> Arc<Aggregation> {
        match &self.plan.shape {
            Shape::Windowed(aggregation) => Arc::clone(aggregation),
            Shape::Sessions(_) | Shape::PerReading => {
                unreachable!("only rules over TUMBLE and HOP have panes")
            }
        }
    }

    pub(super) fn take_part(&mut self, rows: &Rows, out: &mut Outputs) {
        if self.is_by_series() {
            return self.take_part_by_series(rows, out);
        }
        self.saw(rows);
        let batches = self.run_branches(rows, out);
        let closed_before = self.progress.note(rows);
        let grid = self.aggregation().grid;
        let mut late = BTreeMap::new();
        for batch in batches {
            let mut slices: BTreeMap<PaneKey, Vec<u32>> = BTreeMap::new();
            let mut nowhere = Vec::new();
            for (position, row) in (0_u32..).zip(row_column(&batch).values()) {
                let row = *row as usize;
                let pane = grid.pane(rows.times()[row]);
                let open = open_windows(grid, pane, closed_before[row]);
                if let Some(missed) = open.missed {
                    late.insert(row, missed);
                }
                if let Some(first_window) = open.next {
                    let lane = self.progress.lane(rows.stream, rows.partition(row));
                    slices.entry(PaneKey { lane, pane, first_window }).or_default().push(position);
                } else if self.is_watched() {
                    nowhere.push(position);
                }
            }
            if !nowhere.is_empty() {
                let late = rows_at(&batch, nowhere);
                self.watch_rows(rows, &late, &|row| row, &|row| closed_before[row]);
            }
            for (key, positions) in slices {
                self.add_slice(rows, &batch, &|row| closed_before[row], key, positions, out);
            }
        }
        self.list_late(rows, &closed_before, late, out);
    }

    /// Lists the rows that came too late for windows, and counts them there.
    pub(super) fn list_late(
        &mut self,
        rows: &Rows,
        closed_before: &[i64],
        late: BTreeMap<usize, (PaneIndex, PaneIndex)>,
        out: &mut Outputs,
    ) {
        let grid = self.aggregation().grid;
        for (row, missed) in late {
            for window in (missed.0..=missed.1).step_by(usize::try_from(grid.step()).unwrap_or(1)) {
                if let Some(windows) = &mut self.windows {
                    windows.note_late(window);
                }
            }
            self.late(rows, row, closed_before[row], Some(missed_windows(grid, missed)), out);
        }
    }

    pub(super) fn add_slice(
        &mut self,
        rows: &Rows,
        batch: &RecordBatch,
        closed_before: &dyn Fn(usize) -> i64,
        key: PaneKey,
        positions: Vec<u32>,
        out: &mut Outputs,
    ) {
        let part = match positions.len() == batch.num_rows() {
            true => batch.clone(),
            false => rows_at(batch, positions),
        };
        self.watch_rows(rows, &part, &|row| row, closed_before);
        if self.add_to_window(rows, &part, closed_before, key).is_ok() {
            return;
        }
        for position in 0..part.num_rows() {
            let one = part.slice(position, 1);
            if let Err(error) = self.add_to_window(rows, &one, closed_before, key) {
                let row = row_column(&one).value(0) as usize;
                self.failed_reading(rows, row, &error.strip_backtrace(), out);
            }
        }
    }

    fn add_to_window(
        &mut self,
        rows: &Rows,
        batch: &RecordBatch,
        closed_before: &dyn Fn(usize) -> i64,
        key: PaneKey,
    ) -> datafusion::error::Result<()> {
        let Some(windows) = &mut self.windows else { return Ok(()) };
        let of = |position: usize| row_column(batch).value(position) as usize;
        let stream = (rows.stream as u64) << 32;
        let ids = rows.series_ids();
        let series: Vec<u64> =
            (0..batch.num_rows()).map(|p| stream | u64::from(ids[of(p)])).collect();
        // Those that waited for the watermark stand in the order of event time.
        let offsets = (0..batch.num_rows()).map(|position| rows.offset(of(position)));
        let (first, last) = (offsets.clone().min(), offsets.max());
        let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
        windows.add(&Slice {
            key,
            batch: batch.clone(),
            series: &series,
            offsets: (first, last),
            watermark_before: closed_before(of(0)),
        })
    }

    /// Emits the windows that all lanes have closed, in order.
    pub(super) fn close_windows(
        &mut self,
        appended: AppendTime,
        out: &mut Outputs,
    ) -> Result<(), RunnerError> {
        let closed = self.progress.rule_closed();
        while let Some(window) = self.close_next(closed) {
            if appended <= self.starts_after && !self.term.follows() {
                continue;
            }
            match window {
                Ok(window) => self.emit(&window, appended, out)?,
                Err(error) => self.failed_window(closed, appended, &error.strip_backtrace(), out),
            }
        }
        Ok(())
    }

    fn emit(
        &mut self,
        closed: &Closed,
        appended: AppendTime,
        out: &mut Outputs,
    ) -> Result<(), RunnerError> {
        self.watch_window(closed);
        if !self.term.judges(closed.end) {
            return Ok(());
        }
        let watermark = self.progress.rule_watermark();
        let key: Vec<usize> = match &self.plan.key {
            Key::Columns(columns) => columns.iter().map(|(_, column)| *column).collect(),
            Key::Topic => Vec::new(),
        };
        for batch in self.result_rows(closed, appended, out) {
            if batch.num_rows() == 0 || self.derive_window(&batch, closed, appended, out) {
                continue;
            }
            let sensors = sensors_of(closed, &batch);
            let expects = expectations_of(closed, &batch);
            let window = Window { start: EventTime(closed.start), end: EventTime(closed.end) };
            let said = verdicts(&self.plan, &batch);
            let mut verdicts = self.known(said, Verdict::Unknown, closed.end, appended, out);
            if let (Some(required), Some(expects)) = (self.plan.coverage, &expects) {
                for (verdict, expects) in verdicts.iter_mut().zip(expects) {
                    if expects.coverage.is_none_or(|coverage| coverage + ROUNDING < required) {
                        *verdict = Verdict::Unknown;
                    }
                }
            }
            let expected = |row: usize| Some(u64::from(expects.as_ref()?.get(row)?.sensors));
            let said = suppressions(&self.plan, &batch);
            let suppressions = self.known(said, Suppression::No, closed.end, appended, out);
            let receipts = self.receipts(closed);
            match &mut self.judge {
                Judge::Rows(rows) => out.rows.push(WindowRows {
                    first_ordinal: rows.window(batch.num_rows() as u64),
                    source: Arc::clone(rows.source()),
                    window,
                    key: key.clone(),
                    receipt: receipts.of(0, watermark),
                    sensors,
                    expects: expects.unwrap_or_default(),
                    batch,
                    appended,
                }),
                Judge::Readings(_) => {}
                Judge::Alarms(alarms) => {
                    let keys = keys(&self.plan, &batch).unwrap_or_default();
                    let rows: Vec<WindowRow> = keys
                        .into_iter()
                        .zip(verdicts)
                        .zip(suppressions)
                        .map(|((key, verdict), suppression)| WindowRow {
                            key,
                            verdict,
                            suppression,
                        })
                        .collect();
                    out.transitions.extend(alarms.window(window, &rows, appended, |row| {
                        let receipt = receipts.of(sensors[row], watermark);
                        let receipt = Receipt { sensors_expected: expected(row), ..receipt };
                        Evidence { values: json_row(&batch, row), receipt: Some(receipt) }
                    })?);
                }
            }
        }
        Ok(())
    }

    /// What HAVING and the SELECT list make of a closed window; rows that fail are listed.
    pub(super) fn result_rows(
        &mut self,
        closed: &Closed,
        appended: AppendTime,
        out: &mut Outputs,
    ) -> Vec<RecordBatch> {
        let plan = Arc::clone(&self.plan);
        let Some(grouping) = plan.shape.grouping() else { return Vec::new() };
        match grouping.after.run(closed.rows.clone(), &self.tables) {
            Ok(batch) => vec![batch],
            Err(_) => {
                let mut batches = Vec::new();
                for row in 0..closed.rows.num_rows() {
                    match grouping.after.run(closed.rows.slice(row, 1), &self.tables) {
                        Ok(batch) => batches.push(batch),
                        Err(error) => {
                            let error = error.strip_backtrace();
                            self.failed_window(closed.end, appended, &error, out);
                        }
                    }
                }
                batches
            }
        }
    }

    /// What is said of each row; `unknown` where an expression fails, which is listed.
    fn known<T: Copy>(
        &mut self,
        said: Vec<Result<T, String>>,
        unknown: T,
        end: i64,
        appended: AppendTime,
        out: &mut Outputs,
    ) -> Vec<T> {
        let mut known = Vec::with_capacity(said.len());
        for said in said {
            known.push(said.unwrap_or_else(|error| {
                self.failed_window(end, appended, &error, out);
                unknown
            }));
        }
        known
    }

    /// The windows still open, with their values so far, as JSON objects in (end, key) order; for the
    /// end of a replay. They are gone afterwards.
    pub fn drain_open(&mut self) -> Vec<(EventTime, EventTime, String)> {
        self.drain_below();
        let open: Vec<_> = std::iter::from_fn(|| self.close_next(i64::MAX)).collect();
        let mut rows = Vec::new();
        let mut ignored = Outputs::default();
        for window in open.into_iter().flatten() {
            for batch in self.result_rows(&window, AppendTime(i64::MAX), &mut ignored) {
                rows.extend((0..batch.num_rows()).map(|row| {
                    (EventTime(window.start), EventTime(window.end), json_row(&batch, row))
                }));
            }
        }
        rows
    }
}

fn rows_at(batch: &RecordBatch, positions: Vec<u32>) -> RecordBatch {
    let rows = take_record_batch(batch, &UInt32Array::from(positions));
    rows.expect("positions lie in the batch")
}

/// What a row of `pane` is in and what it came too late for, where windows are closed up to `closed`.
pub(super) struct OpenWindows {
    /// First and last window it missed.
    pub(super) missed: Option<(PaneIndex, PaneIndex)>,
    /// First window that is still open.
    pub(super) next: Option<PaneIndex>,
}

pub(super) fn open_windows(grid: Grid, pane: PaneIndex, closed: i64) -> OpenWindows {
    let (first, last) = (grid.first_window(pane), grid.last_window(pane));
    if grid.end(first) > closed {
        return OpenWindows { missed: None, next: Some(first) };
    }
    if grid.end(last) <= closed {
        return OpenWindows { missed: Some((first, last)), next: None };
    }
    let mut next = first;
    while grid.end(next) <= closed {
        next += grid.step();
    }
    OpenWindows { missed: Some((first, next - grid.step())), next: Some(next) }
}

fn missed_windows(grid: Grid, missed: (PaneIndex, PaneIndex)) -> MissedWindows {
    let windows = (missed.1 - missed.0) / grid.step() + 1;
    MissedWindows {
        count: u32::try_from(windows).unwrap_or(u32::MAX),
        last_end: EventTime(grid.end(missed.1)),
    }
}
