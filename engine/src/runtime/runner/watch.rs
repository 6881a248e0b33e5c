//! One verdict of a rule, seen while the rule reads its input again: for EXPLAIN ALARM.
//!
//! Promise: what is seen is what the rule judges by itself, at the place where it does; watching changes
//! nothing.

use super::recompute::group_values;
use super::{InTime, Recomputed, Runner};
use crate::alarms::{KeyValue, Verdict, Window};
use crate::runtime::outputs::json_row;
use crate::stream::input::Rows;
use crate::stream::pipeline::row_column;
use crate::stream::window::Closed;
use arrow::array::RecordBatch;
use weir_ingest::model::{Offset, PartitionId};

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// A window.
    Window(Window),
    /// A reading.
    Reading {
        /// Position of its stream in the plan.
        stream: usize,
        /// Its partition.
        partition: PartitionId,
        /// Its offset.
        offset: Offset,
    },
}

/// A verdict that is looked for, and what was seen of it.
#[derive(Debug)]
pub struct Watch {
    what: Watched,
    key: Vec<KeyValue>,
    /// Of a window whose rows are looked for.
    group: Option<Vec<KeyValue>>,
    judged: Option<Recomputed>,
    seen: Seen,
    rows_max: usize,
}

/// The rows of a group that came while its window was watched.
#[derive(Debug, Default)]
pub struct Seen {
    /// How many took part.
    pub used: u64,
    /// How many came too late for this window.
    pub late: u64,
    /// The first of both, one by one.
    pub rows: Vec<(Rows, InTime)>,
}

impl Watch {
    /// Nothing seen yet.
    pub fn new(what: Watched, key: Vec<KeyValue>) -> Self {
        Self { what, key, group: None, judged: None, seen: Seen::default(), rows_max: 0 }
    }

    /// Looks for the rows of a group, too, and keeps the first `rows_max` of them.
    #[must_use]
    pub fn with_rows(self, group: Vec<KeyValue>, rows_max: usize) -> Self {
        Self { group: Some(group), rows_max, ..self }
    }

    /// The verdict.
    pub fn judged(&self) -> Option<&Recomputed> {
        self.judged.as_ref()
    }

    /// The rows behind it.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    fn takes(&mut self, row: Rows, in_time: InTime) {
        match in_time {
            InTime::Yes => self.seen.used += 1,
            InTime::Late => self.seen.late += 1,
        }
        if self.seen.rows.len() < self.rows_max {
            self.seen.rows.push((row, in_time));
        }
    }
}

impl Runner {
    /// Looks for a verdict from now on.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(Box::new(watch));
    }

    /// Looks no more; what was seen.
    pub fn unwatch(&mut self) -> Option<Watch> {
        self.watch.take().map(|watch| *watch)
    }

    /// A window is over.
    pub(super) fn watch_window(&mut self, closed: &Closed) {
        let Some(mut watch) = self.watch.take() else { return };
        let edges = (closed.start, closed.end);
        if matches!(&watch.what, Watched::Window(w) if (w.start.0, w.end.0) == edges)
            && watch.judged.is_none()
        {
            watch.judged = self.judged(closed, &watch.key);
        }
        self.watch = Some(watch);
    }

    /// Whether a verdict is looked for.
    pub(super) fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Rows come to windows; `row_of` tells the reading of each, `closed_before` how far its lane was closed
    /// before it. What a join makes of a reading stands together, and is one reading.
    pub(super) fn watch_rows(
        &mut self,
        rows: &Rows,
        batch: &RecordBatch,
        row_of: &dyn Fn(usize) -> usize,
        closed_before: &dyn Fn(usize) -> i64,
    ) {
        let Some(mut watch) = self.watch.take() else { return };
        if let (Watched::Window(window), Some(group), Some(grouping)) =
            (watch.what.clone(), watch.group.clone(), self.plan.shape.grouping())
        {
            let groups = group_values(&grouping.group, batch);
            let mut before = None;
            for (position, of_row) in row_column(batch).values().iter().zip(groups) {
                let row = row_of(*position as usize);
                let time = rows.times()[row];
                let is_of = of_row == group && time >= window.start.0 && time < window.end.0;
                if is_of && before.replace(row) != Some(row) {
                    let in_time = self.in_time(window, time, closed_before(row));
                    watch.takes(rows.slice(row, 1), in_time);
                }
            }
        }
        self.watch = Some(watch);
    }

    /// A reading is judged.
    pub(super) fn watch_reading(
        &mut self,
        rows: &Rows,
        row: usize,
        (key, verdict): (&[KeyValue], Verdict),
        values: &RecordBatch,
        position: usize,
    ) {
        let Some(watch) = &mut self.watch else { return };
        let place = Watched::Reading {
            stream: rows.stream,
            partition: rows.partition(row),
            offset: rows.offset(row),
        };
        if watch.what == place && watch.key == key {
            let values = json_row(values, position);
            watch.judged = Some(Recomputed { verdict, values, sensors: 1, group: Vec::new() });
            watch.rows_max = 1;
            watch.takes(rows.slice(row, 1), InTime::Yes);
        }
    }
}
