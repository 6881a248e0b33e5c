//! What a test asks of a runner beside its outputs.

use super::{Judge, Runner};
use crate::alarms::{Key, RuleAlarms, Unknowns};
use crate::stream::watermark::NEVER;
use weir_ingest::model::EventTime;

impl Runner {
    /// Counts from now on how often nothing is known of a key.
    pub fn count_unknowns(&mut self) {
        if let Judge::Alarms(alarms) = &mut self.judge {
            alarms.count_unknowns();
        }
    }

    /// How often nothing was known, by key.
    pub fn unknowns(&self) -> Vec<(Key, Unknowns)> {
        self.alarms().map(RuleAlarms::unknowns).into_iter().flatten().collect()
    }

    /// How far its timers may have fired; `None` before any event time.
    pub fn timed(&self) -> Option<EventTime> {
        let timed = self.progress.rule_timed();
        (timed > NEVER).then_some(EventTime(timed))
    }
}
