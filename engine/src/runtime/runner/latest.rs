//! Readings of streams whose latest values are looked up.
//!
//! Promise: a reading sees the latest values as they precede it in the input order, those of its own stream
//! included, however rows are cut into batches (P6). For open windows it stays known what the values were
//! where the first of their rows came, so that after a restart these see the same.

use super::super::outputs::Outputs;
use super::{Runner, RunnerError};
use crate::sql::plan::Shape;
use crate::stream::grid::PaneIndex;
use crate::stream::input::Rows;
use crate::stream::latest::index::{LatestIndex, LatestRow};
use crate::stream::trace::Trace;
use crate::stream::window::LaneEvidence;
use std::collections::BTreeMap;
use weir_ingest::model::PartitionId;

/// By place among the looked-up streams, and series.
pub(super) type LatestTrace = Trace<(usize, u32), LatestRow>;

impl Runner {
    pub(super) fn only_looks_up(&self, stream: usize) -> bool {
        self.progress.is_aside(self.progress.lane(stream, PartitionId(0)))
    }

    /// What is looked up in the latest values precedes the reading that looks, also in its own stream.
    pub(super) fn take_rows(&mut self, rows: &Rows, out: &mut Outputs) -> Result<(), RunnerError> {
        self.each_that_looks(rows, &mut |runner, rows| runner.read_rows(rows, out))
    }

    /// As [`Self::take_rows`], into panes alone.
    pub(super) fn take_rows_again(&mut self, rows: &Rows) -> Result<(), RunnerError> {
        self.read_tables()?;
        self.each_that_looks(rows, &mut |runner, rows| {
            runner.take_part(rows, &mut Outputs::default());
            Ok(())
        })
    }

    fn each_that_looks(
        &mut self,
        rows: &Rows,
        read: &mut dyn FnMut(&mut Self, &Rows) -> Result<(), RunnerError>,
    ) -> Result<(), RunnerError> {
        let Some(place) = self.tables.latest.iter().position(|l| l.stream() == rows.stream) else {
            self.begin_panes(rows);
            return read(self, rows);
        };
        if self.only_looks_up(rows.stream) {
            self.look_at(place, rows);
            return Ok(());
        }
        for row in 0..rows.len() {
            let one = rows.slice(row, 1);
            self.begin_panes(&one);
            read(self, &one)?;
            self.look_at(place, &one);
        }
        Ok(())
    }

    /// Rows come next that look at the latest values and go into windows.
    fn begin_panes(&mut self, rows: &Rows) {
        let (Some(trace), Shape::Windowed(aggregation)) = (&mut self.looks, &self.plan.shape)
        else {
            return;
        };
        let grid = aggregation.grid;
        let mut newest: BTreeMap<usize, i64> = BTreeMap::new();
        for (row, time) in rows.times().iter().enumerate() {
            let lane = self.progress.lane(rows.stream, rows.partition(row));
            let newest = newest.entry(lane).or_insert(i64::MIN);
            let watermark_before = self.progress.closed_after(lane, *newest);
            *newest = time.max(newest).to_owned();
            let pane = grid.pane(*time);
            if grid.end(grid.last_window(pane)) > watermark_before {
                let offset = rows.offset(row);
                trace.begin(pane);
                trace.row(LaneEvidence { lane, first: offset, last: offset, watermark_before });
            }
        }
    }

    /// These are the latest values from now on.
    fn look_at(&mut self, place: usize, rows: &Rows) {
        let Some(latest) = self.tables.latest.get_mut(place) else { return };
        if let Some(trace) = &mut self.looks {
            for (row, series) in rows.series_ids().iter().enumerate() {
                let (lane, first) =
                    (self.progress.lane(rows.stream, rows.partition(row)), rows.offset(row));
                let watermark_before = self.progress.closed(lane);
                trace.row(LaneEvidence { lane, first, last: first, watermark_before });
                trace.changes(&(place, *series), || latest.row(*series));
            }
        }
        latest.take(rows);
    }

    /// For a checkpoint: the latest values as the first row of the open windows saw them, and the first row
    /// of each lane from there on.
    pub(super) fn looked_at(
        &self,
        is_over: &dyn Fn(PaneIndex) -> bool,
    ) -> (Vec<LatestIndex>, Vec<LaneEvidence>) {
        let before = self.looks.as_ref().map(|trace| trace.before(is_over)).unwrap_or_default();
        let indexes = self.tables.latest.iter().enumerate().map(|(place, latest)| {
            let of_place = before.iter().filter(|((of, _), _)| *of == place);
            latest.state(of_place.map(|((_, series), row)| (*series, *row)))
        });
        let first = self.looks.as_ref().map(|trace| trace.first_of_lanes(is_over));
        (indexes.collect(), first.unwrap_or_default())
    }

    /// Whether the windows of a pane, and of those before it, are over.
    pub(super) fn is_over(&self) -> impl Fn(PaneIndex) -> bool + use<> {
        let grid = match &self.plan.shape {
            Shape::Windowed(aggregation) => Some(aggregation.grid),
            Shape::Sessions(_) | Shape::PerReading => None,
        };
        let closed = self.progress.rule_closed();
        let kept = self.windows.as_ref().and_then(|windows| windows.first_kept());
        move |pane| {
            grid.is_some_and(|grid| {
                grid.end(grid.last_window(pane)) <= closed
                    && kept.is_none_or(|kept| kept > grid.edge(pane))
            })
        }
    }

    /// Forgets what was known where windows begin that are over.
    pub(super) fn forget_traces(&mut self) {
        if self.along.is_none() && self.looks.is_none() && self.returns.is_empty() {
            return;
        }
        let is_over = self.is_over();
        self.returns.forget(&is_over);
        self.along.iter_mut().for_each(|along| along.forget(&is_over));
        self.looks.iter_mut().for_each(|trace| trace.forget(&is_over));
    }

    fn read_rows(&mut self, rows: &Rows, out: &mut Outputs) -> Result<(), RunnerError> {
        self.read_tables()?;
        self.expect_sensors(rows.times()[0])?;
        self.progress.go_on(rows);
        self.note_reopened(rows.times()[0]);
        self.forget_traces();
        match self.plan.shape {
            Shape::Windowed(_) | Shape::Sessions(_) => self.windowed_rows(rows, out),
            Shape::PerReading => self.readings(rows, out),
        }
    }
}
