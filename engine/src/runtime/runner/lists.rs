//! What a rule lists: readings that came too late, and what an expression failed on.
//!
//! Promise: each with a dense ordinal of its kind (P6); nothing from before the place where the rule begins.

use super::super::outputs::{LateReading, MissedWindows, Outputs, ReadingPlace, RuleError};
use super::{Runner, topic_of};
use crate::stream::input::Rows;
use weir_ingest::model::{AppendTime, EventTime};

impl Runner {
    pub(super) fn place(&self, rows: &Rows, row: usize) -> ReadingPlace {
        ReadingPlace {
            stream: rows.definition.name().to_owned(),
            partition: rows.partition(row),
            offset: rows.offset(row),
            topic: topic_of(rows, row).to_owned(),
            time: EventTime(rows.times()[row]),
        }
    }

    pub(super) fn late(
        &mut self,
        rows: &Rows,
        row: usize,
        closed: i64,
        missed: Option<MissedWindows>,
        out: &mut Outputs,
    ) {
        let others = missed.is_some_and(|missed| !self.term.judges(missed.last_end.0));
        if others || rows.appended(row) <= self.starts_after {
            return;
        }
        out.late.push(LateReading {
            ordinal: self.late_ordinal,
            reading: self.place(rows, row),
            watermark: EventTime(closed),
            missed,
            appended: rows.appended(row),
        });
        self.late_ordinal += 1;
    }

    pub(super) fn failed_reading(
        &mut self,
        rows: &Rows,
        row: usize,
        error: &str,
        out: &mut Outputs,
    ) {
        if rows.appended(row) <= self.starts_after {
            return;
        }
        let reading = self.place(rows, row);
        out.errors.push(RuleError {
            ordinal: self.error_ordinal,
            time: reading.time,
            reading: Some(reading),
            error: error.to_owned(),
            appended: rows.appended(row),
        });
        self.error_ordinal += 1;
    }

    pub(super) fn failed_window(
        &mut self,
        end: i64,
        appended: AppendTime,
        error: &str,
        out: &mut Outputs,
    ) {
        out.errors.push(RuleError {
            ordinal: self.error_ordinal,
            time: EventTime(end),
            reading: None,
            error: error.to_owned(),
            appended,
        });
        self.error_ordinal += 1;
    }
}
