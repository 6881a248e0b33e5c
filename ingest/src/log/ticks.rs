//! When a silent partition gets a tick, and which event time it carries.
//!
//! Promise: a pure policy; the ticker of a running log and a replay on a simulated clock ask the same
//! one. A tick is decided here once, written as a frame, and from then on only read (STREAMING.md).
//!
//! A partition without a row for `idle` gets, every `idle / 2`, the newest event time of its stream
//! (kind 1) or, when the whole stream is silent and its newest reading was live, that reading's event
//! time plus the time gone by since (kind 2). A tick that would tell the partition nothing is left out.

use crate::model::{AppendTime, EventTime, FedBy, PartitionId, StreamDefinition, StreamOptions};
use std::time::Duration;

/// A tick to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueTick {
    /// The silent partition.
    pub partition: PartitionId,
    /// How far event time has come.
    pub event_time: EventTime,
}

/// What ticks will do for a partition if nothing arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TickOutlook {
    /// The rule that writes the stream writes its ticks.
    ByRule,
    /// The stream has had no reading: there is no event time to go on from.
    Silent,
    /// The stream's newest reading was live: event time goes on with the clock.
    Clock {
        /// When the next tick may be written.
        due: AppendTime,
    },
    /// The stream's newest reading was not live; this partition still learns its event time.
    CatchUp {
        /// When that tick may be written.
        due: AppendTime,
    },
    /// The stream's newest reading was not live, and this partition knows its event time.
    Never,
}

/// Whether event time goes on with the clock where a live stream is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LiveTicks {
    /// It does.
    Go,
    /// The clock is not to be believed.
    Stop,
}

/// The tick policy of one stream.
#[derive(Debug, Clone)]
pub struct TickPolicy {
    idle_us: i64,
    live_within_us: i64,
    skew_us: i64,
    partitions: Vec<Silence>,
    newest: Option<Newest>,
}

#[derive(Debug, Clone, Copy)]
struct Silence {
    last_row: i64,
    next_slot: i64,
    known: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    event: i64,
    appended: i64,
}

impl TickPolicy {
    /// The policy of a stream whose doors opened at `opened`. The rule that writes a stream writes its
    /// ticks, too.
    pub fn of(stream: &StreamDefinition, opened: AppendTime) -> Self {
        let options = stream.options();
        match stream.fed_by() {
            FedBy::Doors => Self::new(options, options.partitions, opened),
            FedBy::Rule => Self::new(options, 0, opened),
        }
    }

    /// A policy for a stream whose doors opened at `opened`: silence counts from then. Without
    /// partitions it never gives a tick.
    pub fn new(options: &StreamOptions, partitions: u32, opened: AppendTime) -> Self {
        let idle_us = micros(options.idle).max(2);
        let silence = Silence { last_row: opened.0, next_slot: opened.0 + idle_us, known: None };
        Self {
            idle_us,
            live_within_us: micros(options.live_within),
            skew_us: micros(options.max_future_skew),
            partitions: vec![silence; partitions as usize],
            newest: None,
        }
    }

    /// What a partition knew before the doors opened: its newest event time, from rows or ticks.
    pub fn resume(
        &mut self,
        partition: PartitionId,
        newest_event: EventTime,
        appended: AppendTime,
    ) {
        let Some(silence) = self.partitions.get_mut(partition.0 as usize) else { return };
        silence.known = silence.known.max(Some(newest_event.0));
        self.note_newest(newest_event.0, appended.0);
    }

    /// Rows were appended whose largest event time is `max_event`.
    pub fn on_rows(&mut self, partition: PartitionId, max_event: EventTime, appended: AppendTime) {
        let Some(silence) = self.partitions.get_mut(partition.0 as usize) else { return };
        silence.last_row = appended.0;
        silence.next_slot = appended.0 + self.idle_us;
        silence.known = silence.known.max(Some(max_event.0));
        self.note_newest(max_event.0, appended.0);
    }

    /// When to ask [`Self::due`] next; `None` while no tick could say anything new.
    pub fn next_due(&self) -> Option<AppendTime> {
        let newest = self.newest?;
        let live = self.is_live(newest);
        self.partitions
            .iter()
            .filter(|p| live || p.known < Some(newest.event))
            .map(|p| AppendTime(p.next_slot))
            .min()
    }

    /// Before this time no tick is due, whatever rows come until then.
    pub fn quiet_until(&self) -> Option<AppendTime> {
        self.partitions.iter().map(|p| AppendTime(p.next_slot)).min()
    }

    /// What is to be expected for a partition.
    pub fn outlook(&self, partition: PartitionId) -> TickOutlook {
        let Some(newest) = self.newest else { return TickOutlook::Silent };
        let silence = &self.partitions[partition.0 as usize];
        let due = AppendTime(silence.next_slot);
        match (self.is_live(newest), silence.known < Some(newest.event)) {
            (true, _) => TickOutlook::Clock { due },
            (false, true) => TickOutlook::CatchUp { due },
            (false, false) => TickOutlook::Never,
        }
    }

    /// The ticks due at `now`, by partition; each is noted as written.
    pub fn due(&mut self, now: AppendTime) -> Vec<DueTick> {
        self.due_with(now, LiveTicks::Go)
    }

    /// As [`Self::due`]; where they stop, event time does not go on with the clock.
    pub(super) fn due_with(&mut self, now: AppendTime, live: LiveTicks) -> Vec<DueTick> {
        let Some(newest) = self.newest else { return Vec::new() };
        let event = match live {
            LiveTicks::Go => self.event_time_at(newest, now.0).min(now.0 + self.skew_us),
            LiveTicks::Stop => newest.event,
        };
        let mut ticks = Vec::new();
        for (index, silence) in self.partitions.iter_mut().enumerate() {
            if silence.next_slot > now.0 {
                continue;
            }
            let half = (self.idle_us / 2).max(1);
            let slots = (now.0 - silence.next_slot) / half + 1;
            silence.next_slot += slots * half;
            if silence.known < Some(event) {
                silence.known = Some(event);
                let partition = PartitionId(u32::try_from(index).expect("at most 1024 partitions"));
                ticks.push(DueTick { partition, event_time: EventTime(event) });
            }
        }
        ticks
    }

    fn note_newest(&mut self, event: i64, appended: i64) {
        if self.newest.is_none_or(|n| event > n.event) {
            self.newest = Some(Newest { event, appended });
        }
    }

    fn is_live(&self, newest: Newest) -> bool {
        newest.appended - newest.event <= self.live_within_us
    }

    fn event_time_at(&self, newest: Newest, now: i64) -> i64 {
        let stream_last_row = self.partitions.iter().map(|p| p.last_row).max().unwrap_or(now);
        let stream_silent = now - stream_last_row >= self.idle_us;
        if stream_silent && self.is_live(newest) {
            newest.event + (now - newest.appended).max(0)
        } else {
            newest.event
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn policy() -> TickPolicy {
        TickPolicy::new(&StreamOptions::default(), 2, AppendTime(0))
    }

    fn seconds(ticks: &[DueTick]) -> Vec<(u32, i64)> {
        ticks.iter().map(|t| (t.partition.0, t.event_time.0 / SECOND)).collect()
    }

    fn row(policy: &mut TickPolicy, partition: u32, event: i64, appended: i64) {
        policy.on_rows(
            PartitionId(partition),
            EventTime(event * SECOND),
            AppendTime(appended * SECOND),
        );
    }

    #[test]
    fn a_silent_partition_learns_the_streams_newest_event_time() {
        let mut policy = policy();
        assert_eq!(policy.next_due(), None, "a stream without readings needs no ticks");
        row(&mut policy, 0, 7, 8);
        assert_eq!(policy.next_due(), Some(AppendTime(10 * SECOND)));
        assert_eq!(seconds(&policy.due(AppendTime(10 * SECOND))), [(1, 7)]);
        assert_eq!(seconds(&policy.due(AppendTime(15 * SECOND))), [], "nothing new to say");
    }

    #[test]
    fn a_stream_that_a_rule_writes_gets_no_ticks_of_the_clock() {
        let mut policy = TickPolicy::new(&StreamOptions::default(), 0, AppendTime(0));
        row(&mut policy, 1, 7, 8);
        assert_eq!(policy.next_due(), None);
        assert_eq!(policy.outlook(PartitionId(1)), TickOutlook::Silent);
    }

    #[test]
    fn a_silent_live_stream_goes_on_with_the_clock() {
        let mut policy = policy();
        row(&mut policy, 0, 7, 8);
        assert_eq!(seconds(&policy.due(AppendTime(10 * SECOND))), [(1, 7)]);
        assert_eq!(seconds(&policy.due(AppendTime(20 * SECOND))), [(0, 19), (1, 19)]);
        assert_eq!(seconds(&policy.due(AppendTime(22 * SECOND))), []);
        assert_eq!(seconds(&policy.due(AppendTime(25 * SECOND))), [(0, 24), (1, 24)]);
    }

    #[test]
    fn by_a_clock_that_is_not_believed_only_the_streams_newest_event_time_is_told() {
        let mut policy = policy();
        row(&mut policy, 0, 7, 8);
        let at = |seconds: i64| AppendTime(seconds * SECOND);
        assert_eq!(seconds(&policy.due_with(at(7_200), LiveTicks::Stop)), [(1, 7)]);
        assert_eq!(seconds(&policy.due_with(at(7_220), LiveTicks::Stop)), []);
        assert_eq!(seconds(&policy.due(at(7_240))), [(0, 7_239), (1, 7_239)]);
    }

    #[test]
    fn a_backfilled_stream_does_not_go_on_with_the_clock() {
        let mut policy = policy();
        assert_eq!(policy.outlook(PartitionId(1)), TickOutlook::Silent);
        row(&mut policy, 0, 7, 500);
        let due = AppendTime(10 * SECOND);
        assert_eq!(policy.outlook(PartitionId(1)), TickOutlook::CatchUp { due });
        assert_eq!(seconds(&policy.due(AppendTime(510 * SECOND))), [(1, 7)]);
        assert_eq!(policy.outlook(PartitionId(1)), TickOutlook::Never);
        assert_eq!(policy.next_due(), None);
        assert_eq!(seconds(&policy.due(AppendTime(900 * SECOND))), []);
    }

    #[test]
    fn after_a_restart_silence_counts_from_the_open_doors() {
        let mut policy = TickPolicy::new(&StreamOptions::default(), 1, AppendTime(3600 * SECOND));
        policy.resume(PartitionId(0), EventTime(7 * SECOND), AppendTime(8 * SECOND));
        assert_eq!(seconds(&policy.due(AppendTime(3609 * SECOND))), []);
        assert_eq!(seconds(&policy.due(AppendTime(3610 * SECOND))), [(0, 3609)]);
    }
}
