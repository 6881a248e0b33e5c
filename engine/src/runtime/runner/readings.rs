//! Rules without a window: each result row of a reading is judged, on arrival or behind the watermark.

use super::super::outputs::{Outputs, json_row};
use super::evaluate::{keys, suppressions, verdicts};
use super::{Judge, Runner, RunnerError, topic_of};
use crate::alarms::Suppression;
use crate::alarms::{
    Evidence, Judging, KeyValue, MayClear, MemberReading, PartitionReceipt, Place, Receipt,
    ResultRow, Verdict,
};
use crate::sabotage::{self, Fault};
use crate::stream::input::Rows;
use crate::stream::pipeline::{Pipeline, number_rows, row_column};
use crate::stream::watermark::NEVER;
use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use std::iter::Peekable;
use std::vec::IntoIter;
use weir_ingest::model::{AppendTime, EventTime};

/// A reading that waits for the watermark.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Buffered {
    key: Vec<KeyValue>,
    topic: String,
    verdict: Verdict,
    suppression: Suppression,
    evidence: Evidence,
}

/// One result row of a reading.
pub(super) struct Result1 {
    pub(super) row: usize,
    pub(super) key: Vec<KeyValue>,
    verdict: std::result::Result<Verdict, String>,
    pub(super) suppression: std::result::Result<Suppression, String>,
    pub(super) batch: usize,
    pub(super) position: usize,
}

impl Runner {
    /// Judges rows one by one, timers in between.
    pub(super) fn readings(&mut self, rows: &Rows, out: &mut Outputs) -> Result<(), RunnerError> {
        if self.along.is_some() {
            return self.hold(rows, out);
        }
        let (results, batches) = self.results(rows, out);
        let mut results = results.into_iter().peekable();
        for row in 0..rows.len() {
            let lane = self.progress.lane(rows.stream, rows.partition(row));
            let watermark = self.progress.timed(lane);
            for (verdict, result) in self.of_row(&mut results, rows, row, out) {
                let values = &batches[result.batch];
                self.judge_reading(rows, &result, verdict, values, watermark, out)?;
            }
            self.progress.observe(lane, rows.times()[row]);
            if self.is_something_due() {
                self.time_passes(rows.appended(row), out)?;
            }
        }
        Ok(())
    }

    /// What is to be judged of one reading.
    pub(super) fn of_row(
        &mut self,
        results: &mut Peekable<IntoIter<Result1>>,
        rows: &Rows,
        row: usize,
        out: &mut Outputs,
    ) -> Vec<(Verdict, Result1)> {
        let mut of_row: Vec<(Verdict, Result1)> = Vec::new();
        while let Some(result) = results.next_if(|r| r.row == row) {
            let verdict = match &result.verdict {
                Ok(verdict) => *verdict,
                Err(error) => {
                    self.failed_reading(rows, row, error, out);
                    Verdict::Unknown
                }
            };
            // Branches and joins may say several things of one reading: an alarm hears the
            // strongest, or it would be raised and cleared by the same reading.
            let same = of_row.iter_mut().find(|(_, first)| first.key == result.key);
            match (same, &self.judge) {
                (Some(first), Judge::Alarms(_)) => {
                    if verdict.strength() > first.0.strength() {
                        *first = (verdict, result);
                    }
                }
                (Some(_), Judge::Rows(_) | Judge::Readings(_)) | (None, _) => {
                    of_row.push((verdict, result));
                }
            }
        }
        of_row
    }

    /// The result rows of all branches, in row order.
    pub(super) fn results(
        &mut self,
        rows: &Rows,
        out: &mut Outputs,
    ) -> (Vec<Result1>, Vec<RecordBatch>) {
        let (mut results, mut batches) = (Vec::new(), Vec::new());
        for batch in self.run_branches(rows, out) {
            let mut keys = keys(&self.plan, &batch).map(Vec::into_iter);
            let verdicts = verdicts(&self.plan, &batch);
            let judged = verdicts.into_iter().zip(suppressions(&self.plan, &batch));
            for (position, (verdict, suppression)) in judged.enumerate() {
                let row = row_column(&batch).value(position) as usize;
                let key = match &mut keys {
                    Some(keys) => keys.next().unwrap_or_default(),
                    None => vec![Some(topic_of(rows, row).to_owned())],
                };
                let batch = batches.len();
                results.push(Result1 { row, key, verdict, suppression, batch, position });
            }
            batches.push(batch);
        }
        results.sort_by_key(|r| r.row);
        (results, batches)
    }

    /// Each branch of the rows' stream, run; rows on which an expression fails are listed and left out.
    pub(super) fn run_branches(&mut self, rows: &Rows, out: &mut Outputs) -> Vec<RecordBatch> {
        let plan = std::sync::Arc::clone(&self.plan);
        let Ok(table) = number_rows(&rows.table()) else { return Vec::new() };
        let branches = plan.branches.iter().enumerate().filter(|(_, b)| b.stream == rows.stream);
        branches
            .flat_map(|(number, b)| match &b.along {
                Some(stage) => self.run_along(number, b, stage, &table, rows, out),
                None => self.run_or_list(&b.pipeline, &table, &|row| row, rows, out),
            })
            .collect()
    }

    /// `table` through a pipeline, as batches that have rows; rows on which an expression fails are
    /// listed as the readings that `row_of` says and left out.
    pub(super) fn run_or_list(
        &mut self,
        pipeline: &Pipeline,
        table: &RecordBatch,
        row_of: &dyn Fn(usize) -> usize,
        rows: &Rows,
        out: &mut Outputs,
    ) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        let time_of = |row: usize| rows.times()[row_of(row)];
        match pipeline.run_at(table.clone(), &self.tables, &time_of) {
            Ok(batch) => batches.push(batch),
            Err(_) => {
                for row in 0..table.num_rows() {
                    match pipeline.run_at(table.slice(row, 1), &self.tables, &time_of) {
                        Ok(batch) => batches.push(batch),
                        Err(error) => {
                            self.failed_reading(rows, row_of(row), &error.strip_backtrace(), out);
                        }
                    }
                }
            }
        }
        batches.retain(|batch| batch.num_rows() > 0);
        batches
    }

    fn judge_reading(
        &mut self,
        rows: &Rows,
        result: &Result1,
        verdict: Verdict,
        batch: &RecordBatch,
        watermark: i64,
        out: &mut Outputs,
    ) -> Result<(), RunnerError> {
        let row = result.row;
        if rows.appended(row) <= self.starts_after {
            return Ok(());
        }
        self.watch_reading(rows, row, (&result.key, verdict), batch, result.position);
        let suppression = match &result.suppression {
            Ok(suppression) => *suppression,
            Err(error) => {
                self.failed_reading(rows, row, error, out);
                Suppression::No
            }
        };
        if let Judge::Readings(_) = &self.judge {
            self.derive_reading(&batch.slice(result.position, 1), rows, row, out);
            return Ok(());
        }
        let at = rows.times()[row];
        let evidence = || Evidence {
            values: json_row(batch, result.position),
            receipt: Some(receipt(rows, row, watermark)),
        };
        let topic = topic_of(rows, row);
        match &mut self.judge {
            Judge::Rows(result_rows) => {
                let place = Place::Topic(topic);
                let result = ResultRow { key: &result.key, at: EventTime(at), place };
                out.transitions.push(result_rows.row(result, rows.appended(row), evidence())?);
            }
            Judge::Readings(_) => {}
            Judge::Alarms(alarms) if alarms.settings().judging == Judging::InEventTime => {
                if at < watermark {
                    self.late(rows, row, watermark, None, out);
                    return Ok(());
                }
                let (key, topic) = (result.key.clone(), topic.to_owned());
                let waiting = Buffered { key, topic, verdict, suppression, evidence: evidence() };
                self.waiting.insert((at, self.taken), waiting);
                self.taken += 1;
            }
            Judge::Alarms(alarms) => {
                let newest = newest_applied(&mut self.applied[rows.stream], rows.series_ids()[row]);
                let in_time = at >= watermark && at >= *newest;
                *newest = at.max(*newest);
                let may_clear = if in_time || sabotage::is(Fault::LateClears) {
                    MayClear::Yes
                } else {
                    MayClear::No
                };
                let at = EventTime(at);
                let reading = MemberReading { topic, at, verdict, may_clear, suppression };
                let appended = rows.appended(row);
                out.transitions.extend(alarms.reading(
                    &result.key,
                    &reading,
                    appended,
                    evidence,
                )?);
            }
        }
        Ok(())
    }

    /// Applies the waiting readings up to `timed`, in event-time order.
    pub(super) fn apply_waiting(
        &mut self,
        timed: i64,
        appended: AppendTime,
        out: &mut Outputs,
    ) -> Result<(), RunnerError> {
        self.apply_along(timed, appended, out)?;
        while let Some(entry) = self.waiting.first_entry() {
            let at = entry.key().0;
            if at > timed {
                break;
            }
            let waiting = entry.remove();
            let Judge::Alarms(alarms) = &mut self.judge else { continue };
            let reading = MemberReading {
                topic: &waiting.topic,
                at: EventTime(at),
                verdict: waiting.verdict,
                may_clear: MayClear::Yes,
                suppression: waiting.suppression,
            };
            let evidence = waiting.evidence;
            out.transitions.extend(alarms.reading(&waiting.key, &reading, appended, || evidence)?);
        }
        Ok(())
    }
}

fn newest_applied(applied: &mut Vec<i64>, series: u32) -> &mut i64 {
    let index = series as usize;
    if applied.len() <= index {
        applied.resize(index + 1, NEVER);
    }
    &mut applied[index]
}

pub(super) fn receipt(rows: &Rows, row: usize, watermark: i64) -> Receipt {
    let watermark = (watermark > NEVER).then_some(EventTime(watermark));
    Receipt {
        watermark,
        sensors_used: 1,
        sensors_expected: None,
        late: 0,
        incomplete: false,
        partitions: vec![PartitionReceipt {
            stream: rows.definition.name().to_owned(),
            partition: rows.partition(row),
            first_offset: rows.offset(row),
            last_offset: rows.offset(row),
            watermark_before: watermark,
        }],
    }
}
