//! What last moved each partition, to explain a watermark; nothing is decided by it.

use crate::stream::input::{Input, Lane, Rows};
use crate::stream::watermark::Progress;
use weir_ingest::model::{AppendTime, EventTime, PartitionId, SeriesId};

/// The newest things of one partition that a rule took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The largest event time of its rows, and the series that had it.
    pub reading: Option<(EventTime, SeriesId)>,
    /// The largest event time of its ticks.
    pub tick: Option<EventTime>,
    /// When its newest row was appended.
    pub appended: Option<AppendTime>,
}

/// One mark for each lane of a rule's progress.
#[derive(Debug, Clone, Default)]
pub struct Marks(Vec<Mark>);

impl Marks {
    /// Nothing yet.
    pub fn new(progress: &Progress) -> Self {
        Self(vec![Mark::default(); progress.lanes()])
    }

    /// By lane.
    pub fn all(&self) -> &[Mark] {
        &self.0
    }

    /// An input was taken.
    pub fn take(&mut self, progress: &Progress, input: &Input) {
        match input {
            Input::Rows(rows) if !rows.is_empty() => self.rows(progress, rows),
            Input::Tick { stream, partition, event_time, .. } => {
                let mark = &mut self.0[progress.lane(*stream, *partition)];
                mark.tick = mark.tick.max(Some(*event_time));
            }
            Input::Rows(_)
            | Input::Restart { .. }
            | Input::Gap { .. }
            | Input::Commands { .. }
            | Input::Tables { .. } => {}
        }
    }

    fn rows(&mut self, progress: &Progress, rows: &Rows) {
        let (times, series) = (rows.times(), rows.series_ids());
        let mut note = |lane: usize, row: usize| {
            let mark = &mut self.0[lane];
            if mark.reading.is_none_or(|(newest, _)| times[row] > newest.0) {
                mark.reading = Some((EventTime(times[row]), SeriesId(series[row])));
            }
            mark.appended = mark.appended.max(Some(rows.appended(row)));
        };
        match &rows.partitions {
            Lane::Same(partition) => {
                let newest = (0..rows.len()).rev().max_by_key(|row| times[*row]);
                let lane = progress.lane(rows.stream, PartitionId(*partition));
                newest.into_iter().for_each(|row| note(lane, row));
            }
            Lane::Each(partitions) => {
                for (row, partition) in partitions.iter().enumerate() {
                    note(progress.lane(rows.stream, PartitionId(*partition)), row);
                }
            }
        }
    }
}
