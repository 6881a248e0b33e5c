//! Readings that went along their series into windows which were open at a checkpoint, read again.
//!
//! Promise: a series begins with what was known of it where the first of these windows does; the same
//! readings go on in the same order, so the windows have the same rows and values.

use super::super::Runner;
use super::{Along, Held, Run, Waiting, take_run};
use crate::runtime::outputs::Outputs;
use crate::stream::input::Rows;
use crate::stream::lookup::Dated;
use crate::stream::window::LaneEvidence;
use std::collections::HashSet;
use std::sync::Arc;
use weir_ingest::model::{AppendTime, Offset, PartitionId};

/// Where a reading lies: stream, partition, offset.
pub(super) type Place = (usize, PartitionId, Offset);

/// Readings that are read again.
#[derive(Debug)]
pub(super) struct Again {
    /// Where the first open window begins.
    from: i64,
    /// The lanes that are read again.
    lanes: Vec<usize>,
    /// These wait still.
    waiting: HashSet<Place>,
    /// Those that came so far.
    came: Waiting,
    taken: u64,
}

impl Again {
    pub(super) fn new(from: i64, first: &[LaneEvidence], waiting: HashSet<Place>) -> Self {
        let lanes = first.iter().map(|first| first.lane).collect();
        Self { from, lanes, waiting, came: Waiting::new(), taken: 0 }
    }

    fn hold(&mut self, held: Held, place: Place) {
        let time = held.rows.times()[held.row];
        if time >= self.from && !self.waiting.contains(&place) {
            self.came.insert((time, self.taken), held);
            self.taken += 1;
        }
    }
}

impl Along {
    /// Readings that wait without tables, which came before `appended`, look at these.
    fn show_tables(&mut self, appended: AppendTime, tables: &Dated) {
        let unseen = self.waiting.values_mut().filter(|held| held.tables.is_none());
        let before = unseen.filter(|held| held.rows.appended(held.row) < appended);
        before.for_each(|held| held.tables = Some(Arc::clone(tables)));
    }

    /// Whether a reading that came before `appended` waits without tables.
    fn is_without_tables(&self, appended: AppendTime) -> bool {
        let mut waiting = self.waiting.values();
        waiting.any(|held| held.tables.is_none() && held.rows.appended(held.row) < appended)
    }
}

impl Runner {
    /// The tables change at `appended`: readings that wait look at them as they were.
    pub(in super::super) fn tables_end(
        &mut self,
        appended: AppendTime,
    ) -> Result<(), super::RunnerError> {
        if self.along.as_ref().is_some_and(|along| along.is_without_tables(appended)) {
            self.read_tables()?;
            let tables = Arc::clone(&self.tables.dated);
            self.along.iter_mut().for_each(|along| along.show_tables(appended, &tables));
        }
        Ok(())
    }

    /// Takes readings that are read again.
    pub(in super::super) fn hold_again(&mut self, rows: &Rows) {
        let rows = Arc::new(rows.clone());
        for (row, time) in rows.times().iter().enumerate() {
            let partition = rows.partition(row);
            let lane = self.progress.lane(rows.stream, partition);
            let watermark = self.progress.closed(lane);
            let again = self.along.as_mut().and_then(|along| along.again.as_mut());
            if let Some(again) = again.filter(|_| *time >= watermark) {
                let tables = Some(Arc::clone(&self.tables.dated));
                let held = Held { rows: Arc::clone(&rows), row, watermark, tables };
                again.hold(held, (rows.stream, partition, rows.offset(row)));
            }
            self.progress.observe(lane, *time);
        }
        self.go_along_again();
    }

    /// Those go on which all lanes that are read again have passed.
    pub(in super::super) fn go_along_again(&mut self) {
        let again = self.along.as_ref().and_then(|along| along.again.as_ref());
        let passed = again.map(|again| again.lanes.iter().map(|lane| self.progress.timed(*lane)));
        if let Some(passed) = passed.and_then(Iterator::min) {
            self.fill_again(passed);
        }
    }

    /// The place of the checkpoint is reached: all that came go on.
    pub(in super::super) fn went_along(&mut self) {
        self.fill_again(i64::MAX);
        self.along.iter_mut().for_each(|along| along.again = None);
    }

    fn fill_again(&mut self, passed: i64) {
        while let Some(run) = self.next_again(passed) {
            let newest = self.look_back(&run);
            self.fill(&run, &mut Outputs::default());
            self.tables.dated = newest;
        }
    }

    fn next_again(&mut self, passed: i64) -> Option<Run> {
        let next = self.along.as_ref()?.again.as_ref()?.came.keys().next()?.0;
        let until = self.to_the_pane_s_end(next, passed);
        take_run(&mut self.along.as_mut()?.again.as_mut()?.came, until)
    }
}
