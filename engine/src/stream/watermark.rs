//! Event-time progress, per partition.
//!
//! Promise: a watermark never goes back (S1); a row is judged by what precedes it in its own partition,
//! row by row, so neither batches nor the interleaving of partitions change a verdict (S5).

use super::input::{Flush, Input, Rows};
use weir_ingest::model::{EventTime, PartitionId};

/// "No event time yet": before every timestamp.
pub const NEVER: i64 = i64::MIN / 2;

/// Progress of all partitions of a rule's streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    lateness_us: Vec<i64>,
    first_lane: Vec<usize>,
    lanes: Vec<LaneProgress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LaneProgress {
    newest: i64,
    flushed: i64,
    stream: usize,
}

impl Progress {
    /// Progress over streams with these (lateness, partitions).
    pub fn new(streams: impl IntoIterator<Item = (i64, u32)>) -> Self {
        let (mut lateness_us, mut first_lane, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
        for (stream, (lateness, partitions)) in streams.into_iter().enumerate() {
            lateness_us.push(lateness);
            first_lane.push(lanes.len());
            lanes.extend((0..partitions).map(|_| LaneProgress {
                newest: NEVER,
                flushed: NEVER,
                stream,
            }));
        }
        Self { lateness_us, first_lane, lanes }
    }

    /// Number of lanes: partitions of all streams, one after another.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The lane of a partition.
    pub fn lane(&self, stream: usize, partition: PartitionId) -> usize {
        self.first_lane[stream] + partition.0 as usize
    }

    /// Watermark of a lane: newest event time minus lateness.
    pub fn watermark(&self, lane: usize) -> i64 {
        let progress = self.lanes[lane];
        progress.newest.saturating_sub(self.lateness_us[progress.stream]).max(NEVER)
    }

    /// How far a lane is closed: its watermark, or further after FLUSH STREAM.
    pub fn closed(&self, lane: usize) -> i64 {
        self.watermark(lane).max(self.lanes[lane].flushed)
    }

    /// The rule's watermark: the least of its lanes.
    pub fn rule_watermark(&self) -> i64 {
        (0..self.lanes.len()).map(|lane| self.watermark(lane)).min().unwrap_or(NEVER)
    }

    /// How far all lanes are closed.
    pub fn rule_closed(&self) -> i64 {
        (0..self.lanes.len()).map(|lane| self.closed(lane)).min().unwrap_or(NEVER)
    }

    /// The least `closed` of all lanes but one.
    pub fn closed_of_others(&self, lane: usize) -> i64 {
        (0..self.lanes.len())
            .filter(|l| *l != lane)
            .map(|l| self.closed(l))
            .min()
            .unwrap_or(i64::MAX)
    }

    /// A row with this event time was seen.
    pub fn observe(&mut self, lane: usize, time: i64) {
        let progress = &mut self.lanes[lane];
        progress.newest = progress.newest.max(time);
    }

    /// A tick was seen.
    pub fn tick(&mut self, lane: usize, event_time: EventTime, flush: Flush) {
        self.observe(lane, event_time.0);
        if flush == Flush::Yes {
            let progress = &mut self.lanes[lane];
            progress.flushed = progress.flushed.max(event_time.0);
        }
    }

    /// How many of the first rows may be taken before all lanes are closed up to `boundary`: the row
    /// that does it is included. `None` if these rows do not get that far.
    pub fn rows_until(&self, rows: &Rows, boundary: i64) -> Option<usize> {
        let mut ahead = self.clone();
        let times = rows.times();
        for (row, time) in times.iter().enumerate() {
            let lane = ahead.lane(rows.stream, rows.partition(row));
            let before = ahead.closed(lane);
            ahead.observe(lane, *time);
            if before < boundary
                && ahead.closed(lane) >= boundary
                && ahead.rule_closed() >= boundary
            {
                return Some(row + 1);
            }
        }
        None
    }

    /// Notes what an input says about time.
    pub fn note(&mut self, input: &Input) {
        match input {
            Input::Rows(rows) => {
                for (row, time) in rows.times().iter().enumerate() {
                    let lane = self.lane(rows.stream, rows.partition(row));
                    self.observe(lane, *time);
                }
            }
            Input::Tick { stream, partition, event_time, flush, .. } => {
                let lane = self.lane(*stream, *partition);
                self.tick(lane, *event_time, *flush);
            }
            Input::Restart { .. } | Input::Commands { .. } | Input::Tables { .. } => {}
        }
    }
}
