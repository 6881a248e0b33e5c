//! Rows of several partitions in turn, all at once; for rules on the dense path.
//!
//! Promise: the answers are those of taking the rows one by one. A series has its rows in one partition,
//! so the cells of a pane can be added to whatever partition a row is of; only what each partition gave
//! to a pane is noted for itself.

use super::super::outputs::Outputs;
use super::Runner;
use super::dense::{InTime, Lanes, PANES_AT_ONCE, span};
use crate::stream::grid::PaneIndex;
use crate::stream::input::Rows;
use crate::stream::window::PaneKey;
use crate::stream::window::by_series::Which;
use weir_ingest::model::PartitionId;

/// What one lane gave to one pane.
#[derive(Debug, Clone, Copy)]
struct Given {
    first: usize,
    last: usize,
    watermark_before: i64,
}

impl Runner {
    /// The rows up to the one by which the first lane comes to a place where event time closes a window
    /// or fires a timer, if no lane is there yet: none of them can be late.
    pub(super) fn lanes_in_time(&mut self, rows: &Rows) -> Option<InTime> {
        self.dense()?;
        let grid = self.aggregation().grid;
        let (oldest, newest) = span(rows.times())?;
        let fresh = grid.end(grid.first_window(grid.pane(oldest)));
        let due = [self.next_end(), self.next_due()].into_iter().flatten();
        let boundary = due.fold(fresh, i64::min);
        if self.lanes_of(rows).any(|lane| self.progress.is_at(lane, boundary)) {
            return None;
        }
        let lane = self.progress.lane(rows.stream, PartitionId(0));
        let reaches_it = self.progress.time_that_reaches(lane, boundary);
        let taken = match newest < reaches_it {
            true => rows.len(),
            false => rows.times().iter().position(|time| *time >= reaches_it)? + 1,
        };
        let (oldest, newest) = span(&rows.times()[..taken])?;
        let panes = (grid.pane(oldest), grid.pane(newest));
        let few = panes.1 - panes.0 < PANES_AT_ONCE;
        few.then_some(InTime { rows: taken, lanes: Lanes::Many, panes })
    }

    fn lanes_of(&self, rows: &Rows) -> impl Iterator<Item = usize> {
        let first = self.progress.lane(rows.stream, PartitionId(0));
        first..first + rows.definition.options().partitions as usize
    }

    /// Takes rows of several lanes, of which none is late.
    pub(super) fn dense_lanes_in_time(
        &mut self,
        rows: &Rows,
        panes: (PaneIndex, PaneIndex),
        out: &mut Outputs,
    ) {
        let grid = self.aggregation().grid;
        let entries = self.entries(rows, out);
        let mut counts = vec![false; rows.len()];
        if let Some(entries) = &entries {
            entries.counted().into_iter().for_each(|entry| counts[entries.row(entry)] = true);
        }
        let given = self.note_lanes(rows, panes, &counts);
        let (Some(entries), Some(dense)) = (entries, self.dense()) else { return };
        for (pane, which) in entries.by_pane(grid, rows.times(), panes) {
            if which.as_ref().map_or(entries.series.len(), Vec::len) == 0 {
                continue;
            }
            let which = which.as_deref().map_or(Which::All, Which::At);
            let key = (pane, grid.first_window(pane));
            dense.add_cells(key, &entries.series, &entries.values, which);
        }
        for (key, Given { first, last, watermark_before }) in given {
            dense.note(key, (rows.offset(first), rows.offset(last)), watermark_before);
        }
    }

    /// Notes how far the rows bring their lanes; what each lane gives to each pane, of the rows that
    /// count.
    fn note_lanes(
        &mut self,
        rows: &Rows,
        panes: (PaneIndex, PaneIndex),
        counts: &[bool],
    ) -> Vec<(PaneKey, Given)> {
        let grid = self.aggregation().grid;
        let lanes: Vec<usize> = self.lanes_of(rows).collect();
        let edges: Vec<i64> = (panes.0 + 1..=panes.1).map(|pane| grid.edge(pane)).collect();
        let mut given: Vec<Option<Given>> = vec![None; lanes.len() * (edges.len() + 1)];
        let mut newest = vec![i64::MIN; lanes.len()];
        for (row, time) in rows.times().iter().enumerate() {
            let partition = rows.partition(row).0 as usize;
            if counts[row] {
                let pane = edges.iter().filter(|edge| *time >= **edge).count();
                match &mut given[pane * lanes.len() + partition] {
                    Some(given) => given.last = row,
                    none => {
                        let before = newest[partition];
                        let watermark_before = self.progress.closed_after(lanes[partition], before);
                        *none = Some(Given { first: row, last: row, watermark_before });
                    }
                }
            }
            newest[partition] = newest[partition].max(*time);
        }
        for (lane, newest) in lanes.iter().zip(newest).filter(|(_, newest)| *newest > i64::MIN) {
            self.progress.observe(*lane, newest);
        }
        let of = |(at, given): (usize, Option<Given>)| {
            let (pane, partition) = (at / lanes.len(), at % lanes.len());
            let pane = panes.0 + PaneIndex::try_from(pane).ok()?;
            let first_window = grid.first_window(pane);
            Some((PaneKey { lane: lanes[partition], pane, first_window }, given?))
        };
        given.into_iter().enumerate().filter_map(of).collect()
    }
}
