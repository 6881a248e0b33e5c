//! internal/commands: what operators say to alarms, and what the process says of its partitions. Without one
//! that takes no rows the rule goes on, and says what is missing.
//!
//! Promise: which rows came before is decided by the input order alone, so a replay leaves the same
//! partitions out at the same places (P6). Rows of a partition that is out are not waited for, and come
//! no earlier than the rule is: what is over goes on without them, and they are listed as late.

use super::{Judge, Outputs, Runner, RunnerError};
use crate::alarms::{Command, PartitionPlace, command_rows};
use crate::sql::plan::Shape;
use crate::stream::input::{Lane, Rows};
use crate::stream::watermark::Return;
use arrow::array::RecordBatch;
use weir_ingest::model::{AppendTime, partition_of};

impl Runner {
    /// Goes on without these partitions, which were out where the rule begins.
    pub fn leave_out<'p>(&mut self, places: impl IntoIterator<Item = &'p PartitionPlace>) {
        let reader = self.reader_mut();
        for place in places {
            if let Some((_, lane)) = reader.lane_of(place) {
                reader.progress.leave_out(lane);
            }
        }
    }

    /// What the process said of its partitions.
    pub(super) fn outages(
        &mut self,
        batch: &RecordBatch,
        appended: AppendTime,
        out: &mut Outputs,
    ) -> Result<(), RunnerError> {
        let commands =
            command_rows::decode(batch).map_err(|e| RunnerError::Input(e.to_string()))?;
        for (_, command) in &commands {
            match command {
                Command::PartitionOut { place, .. } => self.out(place),
                Command::PartitionIn { place } => self.back(place, appended),
                Command::Acknowledge { .. }
                | Command::Shelve { .. }
                | Command::Unshelve { .. }
                | Command::TakeOutOfService { .. }
                | Command::ReturnToService { .. }
                | Command::ClockSuspect { .. }
                | Command::ClockAgrees => {}
            }
        }
        if self.is_something_due() { self.time_passes(appended, out) } else { Ok(()) }
    }

    /// What operators said.
    pub(super) fn commands(
        &mut self,
        batch: &RecordBatch,
        appended: AppendTime,
        out: &mut Outputs,
    ) -> Result<(), RunnerError> {
        let Judge::Alarms(alarms) = &mut self.judge else { return Ok(()) };
        if appended <= self.starts_after || self.term.is_told_before(appended) {
            return Ok(());
        }
        let commands =
            command_rows::decode(batch).map_err(|e| RunnerError::Input(e.to_string()))?;
        for (at, command) in commands {
            out.transitions.extend(alarms.command(&command, at, appended));
        }
        Ok(())
    }

    fn out(&mut self, place: &PartitionPlace) {
        let Some((stream, lane)) = self.lane_of(place) else { return };
        self.progress.leave_out(lane);
        let definition = &self.plan.streams[stream];
        let partitions = definition.options().partitions;
        if let Judge::Alarms(alarms) = &mut self.judge {
            alarms.pause(|topic| {
                partition_of(topic, partitions) == place.partition.0
                    && definition.template().match_path(topic).is_some()
            });
        }
    }

    fn back(&mut self, place: &PartitionPlace, appended: AppendTime) {
        let Some((_, lane)) = self.lane_of(place) else { return };
        let to = self.progress.take_in(lane);
        self.note_return(appended, to);
    }

    /// Rows come next; of a partition that is out, too, when it takes rows before anybody said so.
    pub(super) fn overtake(&mut self, rows: &Rows) {
        for row in 0..rows.len() {
            let lane = self.progress.lane(rows.stream, rows.partition(row));
            if let Some(to) = self.progress.overtake(lane) {
                self.note_return(rows.appended(row), to);
            }
            if matches!(rows.partitions, Lane::Same(_)) {
                break;
            }
        }
    }

    fn note_return(&mut self, appended: AppendTime, to: Return) {
        if let (Shape::Windowed(aggregation), Some(newest)) =
            (&self.plan.shape, self.progress.newest())
        {
            self.returns.note(appended, aggregation.grid.pane(newest), to);
        }
    }

    /// Its stream among the rule's, and its lane.
    fn lane_of(&self, place: &PartitionPlace) -> Option<(usize, usize)> {
        let stream = self.plan.streams.iter().position(|s| s.name() == place.stream)?;
        let partitions = self.plan.streams[stream].options().partitions;
        let there = place.partition.0 < partitions;
        there.then(|| (stream, self.progress.lane(stream, place.partition)))
    }
}
