//! Readings of streams whose latest values are looked up.
//!
//! Promise: a reading sees the latest values as they precede it in the input order, those of its own stream
//! included, however rows are cut into batches (P6).

use super::super::outputs::Outputs;
use super::{Runner, RunnerError};
use crate::sql::plan::Shape;
use crate::stream::input::Rows;
use weir_ingest::model::PartitionId;

impl Runner {
    pub(super) fn only_looks_up(&self, stream: usize) -> bool {
        self.progress.is_aside(self.progress.lane(stream, PartitionId(0)))
    }

    /// What is looked up in the latest values precedes the reading that looks, also in its own stream.
    pub(super) fn take_rows(&mut self, rows: &Rows, out: &mut Outputs) -> Result<(), RunnerError> {
        let Some(place) = self.tables.latest.iter().position(|l| l.stream() == rows.stream) else {
            return self.read_rows(rows, out);
        };
        if self.only_looks_up(rows.stream) {
            self.tables.latest[place].take(rows);
            return Ok(());
        }
        for row in 0..rows.len() {
            let one = rows.slice(row, 1);
            self.read_rows(&one, out)?;
            self.tables.latest[place].take(&one);
        }
        Ok(())
    }

    fn read_rows(&mut self, rows: &Rows, out: &mut Outputs) -> Result<(), RunnerError> {
        self.read_tables()?;
        self.expect_sensors(rows.times()[0])?;
        self.progress.go_on(rows);
        self.note_reopened(rows.times()[0]);
        match self.plan.shape {
            Shape::Windowed(_) | Shape::Sessions(_) => self.windowed_rows(rows, out),
            Shape::PerReading => self.readings(rows, out),
        }
    }
}
