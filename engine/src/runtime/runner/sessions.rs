//! Rules over SESSION: readings into sessions, late ones listed; closed sessions are judged as windows.
//!
//! Promise: a reading is late iff its time lies before its partition's watermark (after FLUSH STREAM:
//! before the end of what was sealed), whatever its key. One that WHERE leaves out above SESSION, or
//! that an expression fails on, is in its session all the same, and nothing of it is aggregated.

use super::super::outputs::Outputs;
use super::{Runner, RunnerError};
use crate::stream::input::Rows;
use crate::stream::pipeline::{number_rows, row_column};
use crate::stream::window::session::{SessionKey, SessionReading, SessionRow, Sessions};
use crate::stream::window::{Closed, Windows};
use arrow::array::RecordBatch;
use datafusion::error::Result;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A row that SESSION reads, and what came of it.
struct Read {
    /// The reading.
    row: usize,
    key: SessionKey,
    rows: Vec<(u64, Box<[u8]>)>,
}

impl Runner {
    /// End of the first open window or session.
    pub(super) fn next_end(&self) -> Option<i64> {
        let windows = self.windows.as_ref().and_then(Windows::next_end);
        windows.or_else(|| self.sessions.as_ref().and_then(Sessions::next_end))
    }

    /// The latest end of the open windows or sessions.
    pub(super) fn last_end(&self) -> Option<i64> {
        let windows = self.windows.as_ref().and_then(Windows::last_end);
        windows.or_else(|| self.sessions.as_ref().and_then(Sessions::last_end))
    }

    /// Closes the first open window or session if it ends by `until`.
    pub(super) fn close_next(&mut self, until: i64) -> Option<Result<Closed>> {
        self.list_sensors();
        let progress = &self.progress;
        match &mut self.windows {
            Some(windows) => {
                windows.close_next(until, &|stream, edges| progress.whole(stream, edges))
            }
            None => self.sessions.as_mut()?.close_next(until),
        }
    }

    /// Takes rows that belong to one step of event time.
    /// # Errors
    /// The open sessions hold more than they may.
    pub(super) fn take_session_part(
        &mut self,
        rows: &Rows,
        out: &mut Outputs,
    ) -> std::result::Result<(), RunnerError> {
        let closed_before = self.progress.note(rows);
        let read = self.session_reads(rows, &closed_before, out);
        self.put_into_sessions(rows, read, &closed_before, out)
    }

    /// Takes rows that went along their series; how far their lanes were closed before each.
    /// # Errors
    /// As [`Self::take_session_part`].
    pub(super) fn take_along_into_sessions(
        &mut self,
        rows: &Rows,
        closed_before: &[i64],
        out: &mut Outputs,
    ) -> std::result::Result<(), RunnerError> {
        let read = self.session_reads(rows, closed_before, out);
        self.put_into_sessions(rows, read, closed_before, out)
    }

    fn put_into_sessions(
        &mut self,
        rows: &Rows,
        mut read: Vec<Read>,
        closed_before: &[i64],
        out: &mut Outputs,
    ) -> std::result::Result<(), RunnerError> {
        // Branches over one stream: a reading's rows stand together, however rows are cut into batches.
        read.sort_by_key(|read| read.row);
        let times = rows.times();
        let mut late = BTreeSet::new();
        for (position, Read { row, key, rows: kept }) in read.into_iter().enumerate() {
            let (time, watermark_before) = (times[row], closed_before[row]);
            let lane = self.progress.lane(rows.stream, rows.partition(row));
            let offset = rows.offset(row);
            let Some(sessions) = &mut self.sessions else { continue };
            if time < watermark_before {
                sessions.note_late(&key, time);
                late.insert(row);
                continue;
            }
            let appended = rows.appended(row).0;
            let kept = kept.into_iter().enumerate().map(|(of_row, (series, values))| SessionRow {
                place: (time, appended, offset, (position, of_row)),
                series,
                values,
            });
            let reading = SessionReading { time, lane, offset, watermark_before };
            sessions.take(&key, reading, kept.collect());
        }
        for row in late {
            self.late(rows, row, closed_before[row], None, out);
        }
        let limit = Sessions::BYTES_MAX;
        match self.sessions.as_ref().is_some_and(|sessions| sessions.bytes() > limit) {
            true => Err(RunnerError::SessionsTooLarge { limit }),
            false => Ok(()),
        }
    }

    fn session_reads(
        &mut self,
        rows: &Rows,
        closed_before: &[i64],
        out: &mut Outputs,
    ) -> Vec<Read> {
        let plan = Arc::clone(&self.plan);
        let Ok(table) = number_rows(&rows.table()) else { return Vec::new() };
        let mut reads = Vec::new();
        let branches = plan.branches.iter().enumerate().filter(|(_, b)| b.stream == rows.stream);
        for (number, branch) in branches {
            let Some(before) = &branch.before_session else { continue };
            let sources = match &branch.along {
                Some(stage) => self.run_along(number, branch, stage, &table, rows, out),
                None => self.run_or_list(before, &table, &|row| row, rows, out),
            };
            for source in sources {
                let of_source: Vec<usize> =
                    row_column(&source).values().iter().map(|row| *row as usize).collect();
                let Some(Ok(keys)) = self.sessions.as_ref().map(|s| s.keys(&source)) else {
                    continue;
                };
                let first = reads.len();
                reads.extend(of_source.iter().zip(keys).map(|(row, key)| Read {
                    row: *row,
                    key,
                    rows: Vec::new(),
                }));
                // From here on a row is told by its place among those that SESSION reads.
                let Ok(source) = number_rows(&without_rows(&source)) else { continue };
                let row_of = |position: usize| of_source[position];
                for batch in self.run_or_list(&branch.pipeline, &source, &row_of, rows, out) {
                    self.watch_rows(rows, &batch, &row_of, &|row| closed_before[row]);
                    for (position, kept) in self.kept(&batch, &row_of, rows, out) {
                        let series = series(rows, of_source[position]);
                        reads[first + position].rows.push((series, kept));
                    }
                }
            }
        }
        reads
    }

    /// What is kept of each row; rows on which an expression fails are listed and left out.
    fn kept(
        &mut self,
        batch: &RecordBatch,
        row_of: &dyn Fn(usize) -> usize,
        rows: &Rows,
        out: &mut Outputs,
    ) -> Vec<(usize, Box<[u8]>)> {
        let Some(sessions) = &self.sessions else { return Vec::new() };
        let positions = row_column(batch).values().iter().map(|position| *position as usize);
        if let Ok(kept) = sessions.prepare(batch) {
            return positions.zip(kept).collect();
        }
        let (mut all, mut failed) = (Vec::new(), Vec::new());
        for (index, position) in positions.enumerate() {
            match sessions.prepare(&batch.slice(index, 1)) {
                Ok(kept) => all.extend(kept.into_iter().map(|kept| (position, kept))),
                Err(error) => failed.push((row_of(position), error.strip_backtrace())),
            }
        }
        for (row, error) in failed {
            self.failed_reading(rows, row, &error, out);
        }
        all
    }
}

fn series(rows: &Rows, row: usize) -> u64 {
    (rows.stream as u64) << 32 | u64::from(rows.series_ids()[row])
}

fn without_rows(batch: &RecordBatch) -> RecordBatch {
    let visible: Vec<usize> = (0..batch.num_columns() - 1).collect();
    batch.project(&visible).expect("columns of the batch")
}
