//! What a rule says of one key at one step, and the FOR and NO DATA clocks that run on it.
//!
//! Promise (S2): time is what the caller says it is; a clock is a value, and equal steps make equal
//! clocks.

use serde::{Deserialize, Serialize};
use weir_ingest::model::EventTime;

/// What RAISE WHEN and CLEAR WHEN say of one key at one window or reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// RAISE WHEN is true.
    Raise,
    /// CLEAR WHEN is true; without CLEAR WHEN: RAISE WHEN is false.
    Clear,
    /// Neither: between the two, the state holds.
    Band,
    /// NULL, too little coverage, an evaluation error: nothing is known.
    Unknown,
}

impl Verdict {
    /// Of several verdicts on one key at one step the strongest counts: raise before unknown before
    /// band before clear.
    pub fn strength(self) -> u8 {
        match self {
            Self::Clear => 0,
            Self::Band => 1,
            Self::Unknown => 2,
            Self::Raise => 3,
        }
    }
}

/// How long each of the two conditions must hold; 0 is at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Condition {
    /// `RAISE WHEN ... FOR`, in microseconds.
    pub raise_hold_us: i64,
    /// `CLEAR WHEN ... FOR`, in microseconds.
    pub clear_hold_us: i64,
}

impl Condition {
    /// Whether either condition must hold for a while.
    pub fn has_hold(self) -> bool {
        self.raise_hold_us > 0 || self.clear_hold_us > 0
    }
}

/// What a step of a clock decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The state holds.
    None,
    /// Into condition.
    Raise,
    /// Out of condition.
    Clear,
}

/// The FOR clocks of one key or one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyClock {
    condition: Condition,
    in_condition: bool,
    /// Since when the condition that would change the state has been true in every known verdict.
    running_since: Option<EventTime>,
    /// The newest verdict was unknown: the clock neither advances nor resets.
    paused: bool,
}

impl KeyClock {
    /// Out of condition, nothing running.
    pub fn new(condition: Condition) -> Self {
        Self { condition, in_condition: false, running_since: None, paused: false }
    }

    /// In condition, nothing running.
    pub fn raised(condition: Condition) -> Self {
        Self { in_condition: true, ..Self::new(condition) }
    }

    /// Whether the key is in condition.
    pub fn in_condition(&self) -> bool {
        self.in_condition
    }

    /// Whether a FOR clock has begun.
    pub fn is_running(&self) -> bool {
        self.running_since.is_some()
    }

    /// Applies the verdict of `at`. The caller comes with times that do not go back.
    pub fn step(&mut self, at: EventTime, verdict: Verdict) -> Decision {
        self.paused = verdict == Verdict::Unknown;
        match (verdict, self.in_condition) {
            (Verdict::Unknown, _) => Decision::None,
            (Verdict::Raise, false) | (Verdict::Clear, true) => {
                self.running_since.get_or_insert(at);
                self.turn_if_held_until(at)
            }
            (Verdict::Raise, true) | (Verdict::Clear, false) | (Verdict::Band, _) => {
                self.running_since = None;
                Decision::None
            }
        }
    }

    /// Nothing is known any more: as an unknown verdict does.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// A verdict that arrived after newer ones. Only a raise counts: without FOR it raises, and it
    /// stops a CLEAR clock that it contradicts. With FOR it proves no holding and changes nothing.
    pub fn step_late(&mut self, at: EventTime, verdict: Verdict) -> Decision {
        match (verdict, self.in_condition) {
            (Verdict::Raise, false) if self.condition.raise_hold_us == 0 => {
                self.turn(Decision::Raise)
            }
            (Verdict::Raise, true) => {
                if self.running_since.is_some_and(|since| at >= since) {
                    self.running_since = None;
                }
                Decision::None
            }
            (Verdict::Raise | Verdict::Clear | Verdict::Band | Verdict::Unknown, _) => {
                Decision::None
            }
        }
    }

    /// When the running FOR is satisfied if no verdict comes before; `None` when nothing runs or the
    /// newest verdict is unknown.
    pub fn due(&self) -> Option<EventTime> {
        let since = self.running_since.filter(|_| !self.paused)?;
        Some(EventTime(since.0.saturating_add(self.hold_us())))
    }

    /// Turns if the running FOR is satisfied by `now`; the event time of the turn is `due()`.
    pub fn fire(&mut self, now: EventTime) -> Decision {
        match self.due() {
            Some(due) if due <= now => self.turn_if_held_until(due),
            Some(_) | None => Decision::None,
        }
    }

    /// Into condition without a verdict (silence); `Decision::None` if it is there already.
    pub fn raise_now(&mut self) -> Decision {
        if self.in_condition { Decision::None } else { self.turn(Decision::Raise) }
    }

    /// Back to where a new clock starts; `Decision::None` if it was not in condition.
    pub fn reset(&mut self) -> Decision {
        let decision = if self.in_condition { Decision::Clear } else { Decision::None };
        *self = Self::new(self.condition);
        decision
    }

    fn hold_us(&self) -> i64 {
        if self.in_condition { self.condition.clear_hold_us } else { self.condition.raise_hold_us }
    }

    fn turn_if_held_until(&mut self, now: EventTime) -> Decision {
        match self.running_since {
            Some(since) if now.0.saturating_sub(since.0) >= self.hold_us() => {
                self.turn(if self.in_condition { Decision::Clear } else { Decision::Raise })
            }
            Some(_) | None => Decision::None,
        }
    }

    fn turn(&mut self, decision: Decision) -> Decision {
        self.in_condition = decision == Decision::Raise;
        self.running_since = None;
        decision
    }
}

/// What silence does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoDataAction {
    /// The state holds and is shown as stale.
    #[default]
    Hold,
    /// It raises the same alarm, with the reason `no_data`.
    Raise,
}

/// `ON NO DATA FOR after action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoData {
    /// How long nothing must be known, in microseconds.
    pub after_us: i64,
    /// What happens then.
    pub action: NoDataAction,
}

/// The silence of one key or one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoDataClock {
    no_data: NoData,
    /// The newest known verdict, or where counting began.
    since: EventTime,
    /// It has fired and nothing has been known since.
    silent: bool,
}

impl NoDataClock {
    /// Counts from `since`: the first known verdict, or the time from which one is expected.
    pub fn new(no_data: NoData, since: EventTime) -> Self {
        Self { no_data, since, silent: false }
    }

    /// A known verdict of `at`: silence starts again there. An older one changes nothing.
    pub fn heard(&mut self, at: EventTime) {
        if at >= self.since {
            self.since = at;
            self.silent = false;
        }
    }

    /// Counts from `at` on, for time in which the doors were shut is no silence.
    pub fn restart(&mut self, at: EventTime) {
        self.since = self.since.max(at);
    }

    /// Whether it has fired and nothing has been known since.
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// When silence will have lasted long enough; `None` when it already has.
    pub fn due(&self) -> Option<EventTime> {
        (!self.silent).then(|| EventTime(self.since.0.saturating_add(self.no_data.after_us)))
    }

    /// What silence does now, once: `None` if it is not yet due or has fired before.
    pub fn fire(&mut self, now: EventTime) -> Option<NoDataAction> {
        self.due().filter(|due| *due <= now).map(|_| {
            self.silent = true;
            self.no_data.action
        })
    }
}

#[cfg(test)]
mod tests;
