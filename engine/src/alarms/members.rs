//! One alarm key with many sensors: in condition while at least one of its members is.
//!
//! Promise: a member leaves only by its own CLEAR or by a person who takes it out of service; a
//! reading that arrives after newer ones of its member may raise and never clears.

use super::rule_alarms::Suppression;
use super::verdict::{Condition, Decision, KeyClock, NoData, NoDataAction, NoDataClock, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use weir_ingest::model::EventTime;

/// Whether the place of a reading in the input lets it clear: not behind its partition's watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MayClear {
    /// It does.
    Yes,
    /// It is late.
    No,
}

/// Whether people want to hear of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Service {
    /// They do.
    In,
    /// A person took it out.
    Out,
}

/// What silence or a FOR clock is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A verdict.
    Verdict,
    /// A verdict that arrived after newer ones.
    Late,
    /// Silence.
    NoData,
}

/// What a step meant for the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEvent {
    /// The first member came into condition.
    Raised(Cause),
    /// A further one did.
    MemberAdded(Cause),
    /// The last one left.
    Cleared,
}

/// Whether a FOR clock turns when its time has passed, or only at a verdict that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ForTimers {
    /// Readings: time that passes is enough.
    #[default]
    Fire,
    /// Windows: the next window says so.
    WaitForVerdict,
}

/// One series, or the one judgement of a windowed rule's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    clock: KeyClock,
    silence: Option<NoDataClock>,
    newest: Option<EventTime>,
    service: Service,
    /// The earliest time at which a timer queue will look at it; rebuilt after a restore.
    #[serde(skip)]
    queued: Option<EventTime>,
}

impl Watch {
    /// Out of condition; silence counts from the first known verdict or from `expect`.
    pub fn new(condition: Condition) -> Self {
        Self {
            clock: KeyClock::new(condition),
            silence: None,
            newest: None,
            service: Service::In,
            queued: None,
        }
    }

    /// As in condition as this one, under other FOR holds; nothing is known yet of time.
    #[must_use]
    pub fn anew(&self, condition: Condition) -> Self {
        let mut anew = Self { service: self.service, ..Self::new(condition) };
        if self.in_condition() {
            anew.clock = KeyClock::raised(condition);
        }
        anew
    }

    /// Applies one verdict; says too whether it came late.
    pub fn step(
        &mut self,
        at: EventTime,
        verdict: Verdict,
        may_clear: MayClear,
        no_data: Option<NoData>,
    ) -> (Decision, Cause) {
        if self.service == Service::Out {
            return (Decision::None, Cause::Verdict);
        }
        if verdict != Verdict::Unknown {
            self.expect(at, no_data);
            self.silence.iter_mut().for_each(|silence| silence.heard(at));
        }
        if may_clear == MayClear::No || self.newest.is_some_and(|newest| at < newest) {
            return (self.clock.step_late(at, verdict), Cause::Late);
        }
        self.newest = Some(at);
        (self.clock.step(at, verdict), Cause::Verdict)
    }

    /// Silence counts from `at` unless it already counts.
    pub fn expect(&mut self, at: EventTime, no_data: Option<NoData>) {
        if let (None, Some(no_data)) = (self.silence, no_data) {
            self.silence = Some(NoDataClock::new(no_data, at));
        }
    }

    /// The next timer: the running FOR's where `timers` lets it fire, or silence.
    pub fn due(&self, timers: ForTimers) -> Option<EventTime> {
        if self.service == Service::Out {
            return None;
        }
        let held = match timers {
            ForTimers::Fire => self.clock.due(),
            ForTimers::WaitForVerdict => None,
        };
        let silence = self.silence.as_ref().and_then(NoDataClock::due);
        [held, silence].into_iter().flatten().min()
    }

    /// The next timer, when a queue does not look at it by then already; the caller queues it.
    pub fn to_queue(&mut self, timers: ForTimers) -> Option<EventTime> {
        let due = self.due(timers)?;
        if self.queued.is_some_and(|queued| queued <= due) {
            return None;
        }
        self.queued = Some(due);
        Some(due)
    }

    /// The queue looked at it.
    pub fn unqueued(&mut self) {
        self.queued = None;
    }

    /// Fires what is due by `now`, the FOR clock before silence.
    pub fn fire(&mut self, now: EventTime, timers: ForTimers) -> (Decision, Cause) {
        match timers {
            ForTimers::Fire => match self.clock.fire(now) {
                Decision::None => {}
                decision @ (Decision::Raise | Decision::Clear) => {
                    return (decision, Cause::Verdict);
                }
            },
            ForTimers::WaitForVerdict => {}
        }
        match self.silence.as_mut().and_then(|silence| silence.fire(now)) {
            Some(NoDataAction::Raise) => (self.clock.raise_now(), Cause::NoData),
            Some(NoDataAction::Hold) | None => (Decision::None, Cause::NoData),
        }
    }

    /// Silence counts from `at` on.
    pub fn restart(&mut self, at: EventTime) {
        self.silence.iter_mut().for_each(|silence| silence.restart(at));
    }

    /// Nothing is known any more.
    pub fn pause(&mut self) {
        self.clock.pause();
    }

    /// Whether a FOR clock runs.
    pub fn is_held(&self) -> bool {
        self.clock.is_running()
    }

    /// Whether it is in condition.
    pub fn in_condition(&self) -> bool {
        self.clock.in_condition()
    }

    /// Whether it has been silent for too long.
    pub fn is_stale(&self) -> bool {
        self.silence.as_ref().is_some_and(NoDataClock::is_silent)
    }

    /// Out of condition, and deaf until it is returned.
    pub fn take_out_of_service(&mut self) -> Decision {
        self.service = Service::Out;
        self.silence = None;
        self.clock.reset()
    }

    /// Heard again, from its next reading on.
    pub fn return_to_service(&mut self) {
        self.service = Service::In;
    }
}

/// The members of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members {
    members: BTreeMap<String, Watch>,
    in_condition: BTreeSet<String>,
}

/// The rule's settings that every member shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberRules {
    /// The FOR holds.
    pub condition: Condition,
    /// ON NO DATA.
    pub no_data: Option<NoData>,
}

impl Default for Members {
    fn default() -> Self {
        Self::new()
    }
}

impl Members {
    /// None yet.
    pub fn new() -> Self {
        Self { members: BTreeMap::new(), in_condition: BTreeSet::new() }
    }

    /// Applies one reading of one member. `service` matters for a member not seen before.
    pub fn step(
        &mut self,
        rules: MemberRules,
        reading: &MemberReading<'_>,
        service: impl FnOnce() -> Service,
    ) -> Option<KeyEvent> {
        let watch = self.member(rules, reading.topic, service);
        let (decision, cause) =
            watch.step(reading.at, reading.verdict, reading.may_clear, rules.no_data);
        self.apply(reading.topic, decision, cause)
    }

    /// A member that should report from `at` on. `service` matters for one not seen before.
    pub fn expect(
        &mut self,
        rules: MemberRules,
        topic: &str,
        at: EventTime,
        service: Service,
    ) -> &mut Watch {
        let watch = self.member(rules, topic, || service);
        if watch.service == Service::In {
            watch.expect(at, rules.no_data);
        }
        watch
    }

    fn member(
        &mut self,
        rules: MemberRules,
        topic: &str,
        service: impl FnOnce() -> Service,
    ) -> &mut Watch {
        if !self.members.contains_key(topic) {
            let mut watch = Watch::new(rules.condition);
            watch.service = service();
            self.members.insert(topic.to_owned(), watch);
        }
        self.members.get_mut(topic).expect("it was there or has just been put there")
    }

    /// The watch of one member.
    pub fn watch_mut(&mut self, topic: &str) -> Option<&mut Watch> {
        self.members.get_mut(topic)
    }

    /// Every member's watch, by topic.
    pub fn watches_mut(&mut self) -> impl Iterator<Item = (&str, &mut Watch)> {
        self.members.iter_mut().map(|(topic, watch)| (topic.as_str(), watch))
    }

    /// Fires the timer of one member that is due by `now`.
    pub fn fire(&mut self, topic: &str, now: EventTime) -> Option<KeyEvent> {
        let (decision, cause) = self.members.get_mut(topic)?.fire(now, ForTimers::Fire);
        self.apply(topic, decision, cause)
    }

    /// Keeps who is in condition, under other FOR holds.
    pub fn renew(&mut self, condition: Condition) {
        self.members.values_mut().for_each(|watch| *watch = watch.anew(condition));
    }

    /// Silence of every member counts from `at` on.
    pub fn restart(&mut self, at: EventTime) {
        self.members.values_mut().for_each(|watch| watch.restart(at));
    }

    /// Takes the members that `matches` out of service.
    pub fn take_out_of_service(&mut self, matches: impl Fn(&str) -> bool) -> Option<KeyEvent> {
        let mut cleared = None;
        for (topic, watch) in self.members.iter_mut().filter(|(topic, _)| matches(topic)) {
            if watch.take_out_of_service() == Decision::Clear {
                self.in_condition.remove(topic);
                cleared = self.in_condition.is_empty().then_some(KeyEvent::Cleared);
            }
        }
        cleared
    }

    /// Puts the members that `matches` back.
    pub fn return_to_service(&mut self, matches: impl Fn(&str) -> bool) {
        let back = self.members.iter_mut().filter(|(topic, _)| matches(topic));
        back.for_each(|(_, watch)| watch.return_to_service());
    }

    /// Nothing is known any more of the members that `matches`.
    pub fn pause(&mut self, matches: impl Fn(&str) -> bool) {
        let unknown = self.members.iter_mut().filter(|(topic, _)| matches(topic));
        unknown.for_each(|(_, watch)| watch.pause());
    }

    /// Topic paths in condition now, in order.
    pub fn active(&self) -> impl Iterator<Item = &str> {
        self.in_condition.iter().map(String::as_str)
    }

    /// Topic paths in condition now.
    pub fn in_condition(&self) -> Vec<String> {
        self.in_condition.iter().cloned().collect()
    }

    /// Whether some member has been silent for too long.
    pub fn is_stale(&self) -> bool {
        self.members.values().any(Watch::is_stale)
    }

    fn apply(&mut self, topic: &str, decision: Decision, cause: Cause) -> Option<KeyEvent> {
        match decision {
            Decision::None => None,
            Decision::Raise => {
                let first = self.in_condition.is_empty();
                self.in_condition.insert(topic.to_owned());
                Some(if first { KeyEvent::Raised(cause) } else { KeyEvent::MemberAdded(cause) })
            }
            Decision::Clear => {
                self.in_condition.remove(topic);
                self.in_condition.is_empty().then_some(KeyEvent::Cleared)
            }
        }
    }
}

/// One reading's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberReading<'a> {
    /// Its topic path.
    pub topic: &'a str,
    /// When it was measured.
    pub at: EventTime,
    /// What the rule says of it.
    pub verdict: Verdict,
    /// Whether it came in time.
    pub may_clear: MayClear,
    /// What SUPPRESS WHEN says of it.
    pub suppression: Suppression,
}

#[cfg(test)]
mod tests;
