//! A verdict computed again, from nothing but the rows it rested on.
//!
//! Promise: the same operators as the rule's; windows of partitions that took no part never close by
//! themselves, so what is judged is what was asked for.

use super::super::outputs::{Outputs, json_row, texts};
use super::evaluate::{keys, verdicts};
use super::{Runner, topic_of};
use crate::alarms::{KeyValue, Verdict, Window};
use crate::sql::plan::Shape;
use crate::stream::input::Rows;
use crate::stream::pipeline::{number_rows, row_column};
use crate::stream::window::{Closed, GroupColumn, sensors_of};
use arrow::array::RecordBatch;
use weir_ingest::model::{AppendTime, EventTime, PartitionId};

/// What one verdict comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Recomputed {
    /// The verdict.
    pub verdict: Verdict,
    /// The output columns as one JSON object.
    pub values: String,
    /// Series that took part.
    pub sensors: u64,
    /// Values of the window's group columns, to know its rows again; none per reading.
    pub group: Vec<KeyValue>,
}

impl Runner {
    /// Goes on behind the watermark that a partition had.
    pub fn stand_behind(&mut self, stream: usize, partition: PartitionId, watermark: EventTime) {
        let reader = self.reader_mut();
        let lateness = super::lateness_us(&reader.plan.streams[stream]);
        let lane = reader.progress.lane(stream, partition);
        reader.progress.observe(lane, watermark.0.saturating_add(lateness));
    }

    /// The verdict of a key on a window that is still open here; `None` if the window has no row of it.
    pub fn judged_window(&mut self, window: Window, key: &[KeyValue]) -> Option<Recomputed> {
        while let Some(closed) = self.close_next(window.end.0) {
            let Ok(closed) = closed else { continue };
            if (closed.start, closed.end) == (window.start.0, window.end.0)
                && let Some(judged) = self.judged(&closed, key)
            {
                return Some(judged);
            }
        }
        None
    }

    pub(super) fn judged(&mut self, closed: &Closed, key: &[KeyValue]) -> Option<Recomputed> {
        let batches = self.result_rows(closed, AppendTime(i64::MAX), &mut Outputs::default());
        let plan = std::sync::Arc::clone(&self.plan);
        let grouping = plan.shape.grouping()?;
        let of_key = batches.iter().flat_map(|batch| {
            let found = keys(&plan, batch).unwrap_or_default().into_iter().enumerate();
            let rows = found.filter(|(_, found)| found == key).map(|(row, _)| row);
            let verdicts = verdicts(&plan, batch);
            rows.map(move |row| (verdicts[row].clone().unwrap_or(Verdict::Unknown), batch, row))
        });
        let (verdict, batch, row) = strongest(of_key)?;
        let group_row = row_column(batch).value(row) as usize;
        let group = grouping.group.iter().enumerate().filter_map(|(column, group)| match group {
            GroupColumn::Key(_) => {
                texts(&closed.rows.column(column).slice(group_row, 1)).into_iter().next()
            }
            GroupColumn::WindowStart | GroupColumn::WindowEnd => None,
        });
        Some(Recomputed {
            verdict,
            values: json_row(batch, row),
            sensors: u64::from(sensors_of(closed, batch)[row]),
            group: group.collect(),
        })
    }

    /// The verdict of a key on one reading; `None` if the rule says nothing of it.
    pub fn judged_reading(&mut self, reading: &Rows, key: &[KeyValue]) -> Option<Recomputed> {
        self.read_tables().ok()?;
        let plan = std::sync::Arc::clone(&self.plan);
        let batches = self.run_branches(reading, &mut Outputs::default());
        let of_key = batches.iter().flat_map(|batch| {
            let topic = || vec![vec![Some(topic_of(reading, 0).to_owned())]; batch.num_rows()];
            let found = keys(&plan, batch).unwrap_or_else(topic).into_iter().enumerate();
            let rows = found.filter(|(_, found)| found == key).map(|(row, _)| row);
            let verdicts = verdicts(&plan, batch);
            rows.map(move |row| (verdicts[row].clone().unwrap_or(Verdict::Unknown), batch, row))
        });
        let (verdict, batch, row) = strongest(of_key)?;
        Some(Recomputed { verdict, values: json_row(batch, row), sensors: 1, group: Vec::new() })
    }

    /// Which of these rows are of the window and the group, and whether each came in time; they count
    /// for the watermark.
    pub fn rows_of(
        &mut self,
        rows: &Rows,
        window: Window,
        group: &[KeyValue],
    ) -> Vec<(usize, InTime)> {
        let mut found: Vec<usize> = self
            .groups_of(rows)
            .into_iter()
            .filter(|(row, of_row)| {
                let time = rows.times()[*row];
                of_row == group && time >= window.start.0 && time < window.end.0
            })
            .map(|(row, _)| row)
            .collect();
        found.sort_unstable();
        found.dedup();
        let closed_before = self.progress.note(rows);
        let told = |row: usize| (row, self.in_time(window, rows.times()[row], closed_before[row]));
        found.into_iter().map(told).collect()
    }

    /// Whether a reading of this time came in time for a window that it lies in, when its partition was closed
    /// up to there.
    pub(super) fn in_time(&self, window: Window, time: i64, closed_before: i64) -> InTime {
        let in_time = match self.plan.shape {
            Shape::Sessions(_) => time >= closed_before,
            Shape::Windowed(_) | Shape::PerReading => window.end.0 > closed_before,
        };
        if in_time { InTime::Yes } else { InTime::Late }
    }

    /// The group of each row that comes to be aggregated.
    fn groups_of(&mut self, rows: &Rows) -> Vec<(usize, Vec<KeyValue>)> {
        let plan = std::sync::Arc::clone(&self.plan);
        if self.read_tables().is_err() {
            return Vec::new();
        }
        let (Some(grouping), Ok(table)) = (plan.shape.grouping(), number_rows(&rows.table()))
        else {
            return Vec::new();
        };
        let mut ignored = Outputs::default();
        let mut groups = Vec::new();
        for branch in plan.branches.iter().filter(|b| b.stream == rows.stream) {
            let sources = match &branch.before_session {
                Some(before) => self.run_or_list(before, &table, &|row| row, rows, &mut ignored),
                None => vec![table.clone()],
            };
            for source in sources {
                let of_source = row_column(&source).values().clone();
                let visible: Vec<usize> = (0..source.num_columns() - 1).collect();
                let Ok(Ok(source)) = source.project(&visible).map(|s| number_rows(&s)) else {
                    continue;
                };
                let row_of = |position: usize| of_source[position] as usize;
                for batch in
                    self.run_or_list(&branch.pipeline, &source, &row_of, rows, &mut ignored)
                {
                    let places = row_column(&batch).values().clone();
                    let rows = places.iter().map(|place| row_of(*place as usize));
                    groups.extend(rows.zip(group_values(&grouping.group, &batch)));
                }
            }
        }
        groups
    }
}

/// Whether a row came before its window was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTime {
    /// It counts.
    Yes,
    /// It came too late and does not.
    Late,
}

pub(super) fn group_values(group: &[GroupColumn], batch: &RecordBatch) -> Vec<Vec<KeyValue>> {
    let rows = batch.num_rows();
    let columns = group.iter().filter_map(|column| match column {
        GroupColumn::Key(expr) => {
            let values = expr.evaluate(batch).and_then(|value| value.into_array(rows));
            Some(values.map_or_else(|_| vec![None; rows], |values| texts(&values)))
        }
        GroupColumn::WindowStart | GroupColumn::WindowEnd => None,
    });
    let columns: Vec<Vec<KeyValue>> = columns.collect();
    (0..rows).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// The first of those that say the most, as an alarm hears them.
fn strongest<'b>(
    verdicts: impl Iterator<Item = (Verdict, &'b RecordBatch, usize)>,
) -> Option<(Verdict, &'b RecordBatch, usize)> {
    verdicts.reduce(|first, next| match next.0.strength() > first.0.strength() {
        true => next,
        false => first,
    })
}
