//! Rules that write a stream: result rows become readings, the rule's watermark their ticks.
//!
//! Promise: rows and ticks come at the same places however rows are cut into batches: a tick is due
//! like a timer, `idle` of event time after the one before, and wherever a window closes.

use super::super::derived::{Derived, DerivedRows, Deriving};
use super::super::outputs::Outputs;
use super::{Judge, Runner};
use crate::stream::input::{Flush, Rows};
use crate::stream::window::Closed;
use arrow::array::RecordBatch;
use weir_ingest::model::AppendTime;

impl Runner {
    /// The stream it writes, if it does.
    pub fn deriving(&self) -> Option<&Deriving> {
        match &self.judge {
            Judge::Readings(deriving) => Some(deriving),
            Judge::Alarms(_) | Judge::Rows(_) => None,
        }
    }

    /// Rows of a closed window as readings of the instant before its end; whether it writes a stream.
    pub(super) fn derive_window(
        &mut self,
        batch: &RecordBatch,
        closed: &Closed,
        appended: AppendTime,
        out: &mut Outputs,
    ) -> bool {
        if self.deriving().is_none() {
            return false;
        }
        let (evidence, late) = self.evidence_of(closed);
        let Judge::Readings(deriving) = &mut self.judge else { return false };
        let (rows, wrong) = deriving.rows(batch, closed.end - 1, appended);
        let rows = rows.map(|rows| DerivedRows { evidence, late, ..rows });
        out.derived.extend(rows.map(Derived::Rows));
        for reason in wrong {
            self.failed_window(closed.end, appended, &reason, out);
        }
        true
    }

    /// Rows of a reading as readings of its time.
    pub(super) fn derive_reading(
        &mut self,
        batch: &RecordBatch,
        rows: &Rows,
        row: usize,
        out: &mut Outputs,
    ) {
        let Judge::Readings(deriving) = &mut self.judge else { return };
        let (derived, wrong) = deriving.rows(batch, rows.times()[row], rows.appended(row));
        out.derived.extend(derived.map(Derived::Rows));
        for reason in wrong {
            self.failed_reading(rows, row, &reason, out);
        }
    }

    /// The rule's watermark for those who read its stream.
    pub(super) fn tick_on(&mut self, appended: AppendTime, out: &mut Outputs) {
        let watermark = self.progress.rule_watermark();
        let Judge::Readings(deriving) = &mut self.judge else { return };
        if appended > self.starts_after {
            out.derived.extend(deriving.tick(watermark, appended).map(Derived::Tick));
        }
    }

    /// FLUSH STREAM of all that it reads is one of what it writes.
    pub(super) fn pass_flush_on(&mut self, flush: Flush, appended: AppendTime, out: &mut Outputs) {
        let flushed = self.progress.rule_flushed();
        let Judge::Readings(deriving) = &mut self.judge else { return };
        if flush == Flush::Yes && appended > self.starts_after {
            out.derived.extend(deriving.flush(flushed, appended).map(Derived::Tick));
        }
    }
}
