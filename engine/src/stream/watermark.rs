//! Event-time progress, per partition.
//!
//! Promise: a watermark never goes back (S1); a row is judged by what precedes it in its own partition,
//! row by row, so neither batches nor the interleaving of partitions change a verdict (S5).

mod missing;

use super::input::{Flush, Rows};
use crate::sabotage::{self, Fault};
use missing::Missing;
use serde::{Deserialize, Serialize};
use weir_ingest::model::{EventTime, PartitionId};

/// "No event time yet": before every timestamp.
pub const NEVER: i64 = i64::MIN / 2;

/// Progress of all partitions of a rule's streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    lateness_us: Vec<i64>,
    first_lane: Vec<usize>,
    lanes: Vec<LaneProgress>,
    /// How far all lanes had come when the last of them was left out.
    stood_at: Option<Stood>,
    missing: Missing,
}

/// Where a rule stands while all its partitions are out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stood {
    watermark: i64,
    closed: i64,
    timed: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LaneProgress {
    newest: i64,
    flushed: i64,
    flushed_windows: i64,
    stream: usize,
    /// It takes no rows; nobody waits for it.
    is_out: bool,
    /// Its rows are only looked up; nobody waits for it.
    is_aside: bool,
}

/// How far a lane was taken to be when its partition took rows again, beyond what these say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    lane: usize,
    newest: i64,
    flushed: i64,
    flushed_windows: i64,
}

/// Which progress a boundary waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Windows that end there are closed.
    Closed,
    /// Timers that are due there fire.
    Timed,
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
                flushed_windows: NEVER,
                stream,
                is_out: false,
                is_aside: false,
            }));
        }
        Self { lateness_us, first_lane, lanes, stood_at: None, missing: Missing::default() }
    }

    /// Number of lanes: partitions of all streams, one after another.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The lane of a partition.
    pub fn lane(&self, stream: usize, partition: PartitionId) -> usize {
        self.first_lane[stream] + partition.0 as usize
    }

    /// Stream and partition of a lane.
    pub fn partition_of(&self, lane: usize) -> (usize, PartitionId) {
        let stream = self.lanes[lane].stream;
        let partition = lane - self.first_lane[stream];
        (stream, PartitionId(u32::try_from(partition).expect("at most 1024 partitions")))
    }

    /// Watermark of a lane: newest event time minus lateness.
    pub fn watermark(&self, lane: usize) -> i64 {
        let progress = self.lanes[lane];
        progress.newest.saturating_sub(self.lateness_us[progress.stream]).max(NEVER)
    }

    /// How far windows of a lane are closed: its watermark, or further after FLUSH STREAM.
    pub fn closed(&self, lane: usize) -> i64 {
        self.watermark(lane).max(self.lanes[lane].flushed_windows)
    }

    /// How far timers of a lane may fire: its watermark, or the flushed event time.
    pub fn timed(&self, lane: usize) -> i64 {
        self.watermark(lane).max(self.lanes[lane].flushed)
    }

    /// How far windows are closed in all lanes.
    pub fn rule_closed(&self) -> i64 {
        self.least(Until::Closed)
    }

    /// How far timers may fire in all lanes.
    pub fn rule_timed(&self) -> i64 {
        self.least(Until::Timed)
    }

    /// How far FLUSH STREAM was said in all lanes.
    pub fn rule_flushed(&self) -> i64 {
        self.waited_for().map(|lane| self.lanes[lane].flushed).min().unwrap_or(NEVER)
    }

    /// The rule's watermark: the least of its lanes.
    pub fn rule_watermark(&self) -> i64 {
        let least = self.waited_for().map(|lane| self.watermark(lane)).min();
        least.unwrap_or_else(|| self.stood_at.map_or(NEVER, |stood| stood.watermark))
    }

    fn least(&self, until: Until) -> i64 {
        let least = self.waited_for().map(|lane| self.of(until, lane)).min();
        least.unwrap_or(match (self.stood_at, until) {
            (None, _) => NEVER,
            (Some(stood), Until::Closed) => stood.closed,
            (Some(stood), Until::Timed) => stood.timed,
        })
    }

    fn waited_for(&self) -> impl Iterator<Item = usize> {
        (0..self.lanes.len()).filter(|lane| self.is_waited_for(*lane))
    }

    fn is_waited_for(&self, lane: usize) -> bool {
        !self.lanes[lane].is_out && !self.lanes[lane].is_aside
    }

    /// Rows of a stream are only looked up: nobody waits for it.
    pub fn set_aside(&mut self, stream: usize) {
        let of_stream = self.lanes.iter_mut().filter(|lane| lane.stream == stream);
        of_stream.for_each(|lane| lane.is_aside = true);
    }

    /// Whether rows of a lane are only looked up.
    pub fn is_aside(&self, lane: usize) -> bool {
        self.lanes[lane].is_aside
    }

    /// A partition takes no rows: the rule goes on without it.
    pub fn leave_out(&mut self, lane: usize) {
        let stood = self.stands();
        self.missing.begin(lane, self.watermark(lane));
        self.lanes[lane].is_out = true;
        if self.waited_for().next().is_none() {
            self.stood_at = Some(stood);
        }
    }

    /// A partition takes rows again. It is as far as the rule is, which never goes back (S1): what it
    /// has for windows that were emitted without it is late.
    pub fn take_in(&mut self, lane: usize) -> Return {
        let to = self.come_up(lane);
        self.lanes[lane].is_out = false;
        let newest = self.newest().unwrap_or(NEVER);
        self.missing.end(lane, newest);
        to
    }

    /// A lane that is out has rows again, before anybody said so: they are as late as behind its return.
    /// `None` if the rule is not ahead of it.
    pub fn overtake(&mut self, lane: usize) -> Option<Return> {
        if !self.lanes[lane].is_out {
            return None;
        }
        let before = self.lanes[lane];
        let to = self.come_up(lane);
        (self.lanes[lane] != before).then_some(to)
    }

    fn come_up(&mut self, lane: usize) -> Return {
        let stood = self.stands();
        let lateness = self.lateness_us[self.lanes[lane].stream];
        let progress = &mut self.lanes[lane];
        if stood.watermark > NEVER {
            progress.newest = progress.newest.max(stood.watermark.saturating_add(lateness));
        }
        progress.flushed = progress.flushed.max(stood.timed);
        progress.flushed_windows = progress.flushed_windows.max(stood.closed);
        let LaneProgress { newest, flushed, flushed_windows, .. } = *progress;
        Return { lane, newest, flushed, flushed_windows }
    }

    /// Takes a lane to be as far as it was at its return.
    pub fn put_forward(&mut self, to: &Return) {
        let lane = &mut self.lanes[to.lane];
        lane.newest = lane.newest.max(to.newest);
        lane.flushed = lane.flushed.max(to.flushed);
        lane.flushed_windows = lane.flushed_windows.max(to.flushed_windows);
    }

    /// Rows of a lane are gone at this place of its log: what was lost lies between its watermark and
    /// the next row.
    pub fn gap(&mut self, lane: usize) {
        self.missing.begin(lane, self.watermark(lane));
    }

    /// These rows come next: what was lost of their lanes is older than the first of them.
    pub fn go_on(&mut self, rows: &Rows) {
        if !self.missing.is_open() {
            return;
        }
        for (row, time) in rows.times().iter().enumerate() {
            let lane = self.lane(rows.stream, rows.partition(row));
            if !self.is_out(lane) {
                self.missing.end(lane, self.lanes[lane].newest.max(*time));
            }
        }
    }

    /// Whether a row of `[start, end)` may be missing: a partition was out, or its log has a gap.
    pub fn is_incomplete(&self, start: i64, end: i64) -> bool {
        self.missing.touches(start, end)
    }

    /// By partition of a stream, the share of `[start, end)` in which no rows can be missing; empty where
    /// none are.
    pub fn whole(&self, stream: usize, (start, end): (i64, i64)) -> Vec<f64> {
        if !self.missing.touches(start, end) {
            return Vec::new();
        }
        let lanes = (0..self.lanes.len()).filter(|lane| self.lanes[*lane].stream == stream);
        lanes.map(|lane| self.missing.whole(lane, start, end)).collect()
    }

    fn stands(&self) -> Stood {
        Stood {
            watermark: self.rule_watermark(),
            closed: self.rule_closed(),
            timed: self.rule_timed(),
        }
    }

    /// Whether nobody waits for a lane.
    pub fn is_out(&self, lane: usize) -> bool {
        self.lanes[lane].is_out
    }

    /// The newest event time of all lanes; `None` before any.
    pub fn newest(&self) -> Option<i64> {
        let read = self.lanes.iter().filter(|lane| !lane.is_aside);
        read.map(|lane| lane.newest).max().filter(|newest| *newest > NEVER)
    }

    fn of(&self, until: Until, lane: usize) -> i64 {
        match until {
            Until::Closed => self.closed(lane),
            Until::Timed => self.timed(lane),
        }
    }

    /// Whether `other` is of the same streams and partitions.
    pub fn is_of_the_same(&self, other: &Self) -> bool {
        self.lateness_us == other.lateness_us && self.first_lane == other.first_lane
    }

    /// Puts a lane back to where it was closed up to `closed`.
    pub fn put_back(&mut self, lane: usize, closed: i64) {
        let stream = self.lanes[lane].stream;
        let newest = match closed > NEVER {
            true => closed.saturating_add(self.lateness_us[stream]),
            false => NEVER,
        };
        let lane = &mut self.lanes[lane];
        *lane = LaneProgress { newest, flushed: NEVER, flushed_windows: NEVER, ..*lane };
    }

    /// How far windows of a lane are closed once it has seen `newest`.
    pub fn closed_after(&self, lane: usize, newest: i64) -> i64 {
        self.closed(lane).max(newest.saturating_sub(self.lateness_us[self.lanes[lane].stream]))
    }

    /// Whether the rule comes to `boundary` as a lane sees `newest`, and was not there before.
    pub fn reaches(&self, lane: usize, newest: i64, boundary: i64, until: Until) -> bool {
        let reached = newest.saturating_sub(self.lateness_us[self.lanes[lane].stream]) >= boundary;
        let others = self.waited_for().filter(|other| *other != lane);
        reached
            && self.of(until, lane) < boundary
            && others.into_iter().all(|other| self.of(until, other) >= boundary)
    }

    /// Whether a lane has come to `boundary`, for windows or for timers.
    pub fn is_at(&self, lane: usize, boundary: i64) -> bool {
        [Until::Closed, Until::Timed].iter().any(|until| self.of(*until, lane) >= boundary)
    }

    /// The event time at which a lane's watermark is `boundary`.
    pub fn time_that_reaches(&self, lane: usize, boundary: i64) -> i64 {
        boundary.saturating_add(self.lateness_us[self.lanes[lane].stream])
    }

    /// A row with this event time was seen.
    pub fn observe(&mut self, lane: usize, time: i64) {
        let progress = &mut self.lanes[lane];
        let back = sabotage::is(Fault::WatermarkBack);
        progress.newest = if back { time } else { progress.newest.max(time) };
    }

    /// Goes on where `other` is in a stream that both read.
    pub fn go_on_from(&mut self, stream: usize, other: &Self, its_stream: usize) {
        let theirs = other.lanes.iter().filter(|lane| lane.stream == its_stream);
        let ours = self.lanes.iter_mut().filter(|lane| lane.stream == stream);
        for (ours, theirs) in ours.zip(theirs) {
            *ours = LaneProgress { stream, is_aside: ours.is_aside, ..*theirs };
        }
    }

    /// A tick was seen. After FLUSH STREAM, windows are closed up to `windows_until`.
    pub fn tick(&mut self, lane: usize, event_time: EventTime, flush: Flush, windows_until: i64) {
        self.observe(lane, event_time.0);
        if flush == Flush::Yes {
            let progress = &mut self.lanes[lane];
            progress.flushed = progress.flushed.max(event_time.0);
            progress.flushed_windows = progress.flushed_windows.max(windows_until);
        }
    }

    /// How many of the first rows may be taken until all lanes have come to `boundary`: the row that
    /// does it is included. `None` if these rows do not get that far.
    pub fn rows_until(&self, rows: &Rows, boundary: i64, until: Until) -> Option<usize> {
        let newest = rows.times().iter().copied().max()?;
        if newest.saturating_sub(self.lateness_us[rows.stream]) < boundary {
            return None;
        }
        let mut ahead = self.clone();
        for (row, time) in rows.times().iter().enumerate() {
            let lane = ahead.lane(rows.stream, rows.partition(row));
            let before = ahead.of(until, lane);
            ahead.observe(lane, *time);
            let crossed = before < boundary && ahead.of(until, lane) >= boundary;
            if crossed && ahead.least(until) >= boundary {
                return Some(row + 1);
            }
        }
        None
    }

    /// Notes the event times of rows; for each, how far its lane was closed before it.
    pub fn note(&mut self, rows: &Rows) -> Vec<i64> {
        let times = rows.times().clone();
        let before = sabotage::is(Fault::WatermarkPerBatch).then(|| self.clone());
        let late_merged = sabotage::is(Fault::LateMerged);
        let sealed_by_all = sabotage::is(Fault::SealedTouched);
        times
            .iter()
            .enumerate()
            .map(|(row, time)| {
                let lane = self.lane(rows.stream, rows.partition(row));
                let closed = match &before {
                    Some(before) => before.closed(lane),
                    None if sealed_by_all => self.rule_closed(),
                    None if late_merged => NEVER,
                    None => self.closed(lane),
                };
                self.observe(lane, *time);
                closed
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_waits_for_its_slowest_partition() {
        let mut progress = Progress::new([(5, 2)]);
        let lane = progress.lane(0, PartitionId(0));
        progress.observe(lane, 100);
        assert_eq!(progress.rule_watermark(), NEVER);
        progress.tick(progress.lane(0, PartitionId(1)), EventTime(50), Flush::No, 0);
        assert_eq!(progress.rule_watermark(), 45);
    }

    #[test]
    fn a_watermark_never_goes_back() {
        let mut progress = Progress::new([(0, 1)]);
        progress.observe(0, 100);
        progress.observe(0, 70);
        assert_eq!(progress.watermark(0), 100);
    }

    #[test]
    fn a_partition_that_is_out_is_not_waited_for_and_comes_back_where_the_rule_is() {
        let mut progress = Progress::new([(5, 3)]);
        for (lane, time) in [(0, 100), (1, 50), (2, 80)] {
            progress.observe(lane, time);
        }
        progress.leave_out(1);
        assert_eq!(progress.rule_watermark(), 75);
        progress.leave_out(2);
        progress.leave_out(0);
        assert_eq!((progress.rule_watermark(), progress.rule_closed()), (95, 95), "S1: it stands");
        progress.take_in(1);
        assert_eq!((progress.rule_watermark(), progress.watermark(1)), (95, 95));
        progress.observe(1, 60);
        assert_eq!(progress.closed(1), 95, "what it still has of before is late");
    }

    #[test]
    fn a_flush_closes_windows_without_moving_the_watermark_past_its_event_time() {
        let mut progress = Progress::new([(5, 1)]);
        progress.tick(0, EventTime(61), Flush::Yes, 120);
        assert_eq!((progress.rule_watermark(), progress.rule_timed()), (56, 61));
        assert_eq!(progress.rule_closed(), 120);
    }
}
