//! Ticks of a topic, in a topic beside it: `<topic>.weir-ticks`, partition by partition.
//!
//! Promise: a tick names the offset it stands before, so that every reading of the two topics gives the
//! same order. Each owner of a partition claims it for its group with a generation, larger than all
//! before; ticks of an older one that stand behind a claim count for nothing, so that a process that was
//! replaced while it slept changes nothing when it wakes. What one group says is nothing to another.

use crate::log::TickKind;
use crate::model::{AppendTime, EventTime, Offset};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// One record of a topic of ticks; its key is group and generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TickRecord {
    /// Whose.
    pub(super) group: String,
    /// Which life of its owner.
    pub(super) generation: u64,
    #[serde(flatten)]
    pub(super) what: Said,
}

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Said {
    /// From here on only this generation counts.
    Claim {
        /// Tells apart two who claim at the same time: the first in the log has it.
        token: u64,
    },
    /// Time went on without rows.
    Idle {
        /// It stands before the row of this offset.
        offset: Offset,
        event_time: EventTime,
    },
    /// FLUSH STREAM.
    Flush { offset: Offset, event_time: EventTime },
}

impl Said {
    pub(super) fn tick(kind: TickKind, offset: Offset, event_time: EventTime) -> Self {
        match kind {
            TickKind::Idle => Self::Idle { offset, event_time },
            TickKind::Flush => Self::Flush { offset, event_time },
        }
    }
}

/// A tick and its place among the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlacedTick {
    pub(super) offset: Offset,
    pub(super) event_time: EventTime,
    pub(super) kind: TickKind,
    pub(super) at: AppendTime,
}

/// The ticks of a group that count, in their order.
#[derive(Debug)]
pub(super) struct Ticks {
    group: String,
    newest: u64,
    /// Whose claim made the newest generation so.
    holder: Option<u64>,
    waiting: VecDeque<PlacedTick>,
}

impl Ticks {
    pub(super) fn of(group: &str) -> Self {
        let group = group.to_owned();
        Self { group, newest: 0, holder: None, waiting: VecDeque::new() }
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, record: &TickRecord, at: AppendTime) {
        if record.group != self.group || record.generation < self.newest {
            return;
        }
        let (offset, event_time, kind) = match record.what {
            Said::Claim { token } => {
                if record.generation > self.newest {
                    (self.newest, self.holder) = (record.generation, Some(token));
                }
                return;
            }
            Said::Idle { offset, event_time } => (offset, event_time, TickKind::Idle),
            Said::Flush { offset, event_time } => (offset, event_time, TickKind::Flush),
        };
        self.waiting.push_back(PlacedTick { offset, event_time, kind, at });
    }

    /// The newest generation that claimed the partition; 0 while none has.
    pub(super) fn generation(&self) -> u64 {
        self.newest
    }

    /// Whether the claim with this token has the newest generation.
    pub(super) fn is_held_by(&self, token: u64) -> bool {
        self.holder == Some(token)
    }

    /// Those that stand before `offset` are of no use any more.
    pub(super) fn forget_before(&mut self, offset: Offset) {
        self.waiting.retain(|tick| tick.offset >= offset);
    }

    /// The next tick that stands before `offset`.
    pub(super) fn next_before(&mut self, offset: Offset) -> Option<PlacedTick> {
        self.waiting.pop_front_if(|tick| tick.offset < offset)
    }

    /// The next tick that stands at or before `offset`.
    pub(super) fn next_until(&mut self, offset: Offset) -> Option<PlacedTick> {
        self.waiting.pop_front_if(|tick| tick.offset <= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(group: &str, generation: u64, what: Said) -> TickRecord {
        TickRecord { group: group.to_owned(), generation, what }
    }

    fn tick(generation: u64, offset: u64, event_time: i64) -> TickRecord {
        let what = Said::tick(TickKind::Idle, Offset(offset), EventTime(event_time));
        record("plant", generation, what)
    }

    fn claim(generation: u64, token: u64) -> TickRecord {
        record("plant", generation, Said::Claim { token })
    }

    /// The ticks among these records that count, up to an offset.
    fn check(records: &[TickRecord], until: u64) -> (Ticks, Vec<i64>) {
        let mut ticks = Ticks::of("plant");
        records.iter().for_each(|record| ticks.take(record, AppendTime(0)));
        let next = || ticks.next_until(Offset(until)).map(|tick| tick.event_time.0);
        let times = std::iter::from_fn(next).collect();
        (ticks, times)
    }

    #[test]
    fn a_tick_waits_for_the_rows_before_it() {
        let records = [tick(0, 3, 30), tick(0, 5, 50)];
        assert_eq!(check(&records, 2).1, [] as [i64; 0]);
        assert_eq!(check(&records, 4).1, [30]);
        assert_eq!(check(&records, 5).1, [30, 50]);
    }

    #[test]
    fn who_was_replaced_while_it_slept_ticks_in_vain() {
        let records = [claim(1, 7), tick(1, 3, 30), claim(2, 8), tick(1, 4, 40), tick(2, 4, 41)];
        let (ticks, times) = check(&records, 9);
        assert_eq!(times, [30, 41], "what it said before counts");
        assert_eq!(ticks.generation(), 2);
    }

    #[test]
    fn of_two_who_claim_at_once_the_first_in_the_log_has_it() {
        let (ticks, _) = check(&[claim(1, 7), claim(1, 8)], 0);
        assert!(ticks.is_held_by(7) && !ticks.is_held_by(8));
    }

    #[test]
    fn groups_do_not_hear_each_other() {
        let other = |what| record("lab", 9, what);
        let idle = Said::tick(TickKind::Idle, Offset(1), EventTime(99));
        let records = [claim(1, 7), other(Said::Claim { token: 1 }), other(idle), tick(1, 2, 20)];
        let (ticks, times) = check(&records, 9);
        assert_eq!((ticks.generation(), times), (1, vec![20]));
    }

    #[test]
    fn records_are_json_that_a_person_can_read() {
        let wanted = r#"{"group":"plant","generation":2,"what":"idle","offset":40,"event_time":1700000000000000}"#;
        let tick = tick(2, 40, 1_700_000_000_000_000);
        assert_eq!(serde_json::to_string(&tick).unwrap(), wanted);
        assert_eq!(serde_json::from_str::<TickRecord>(wanted).unwrap(), tick);
    }
}
