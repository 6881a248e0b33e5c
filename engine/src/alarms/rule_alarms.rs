//! All alarm keys of one rule: verdicts, passing time and operators in, transitions out.
//!
//! Promise: transitions come in one order, that of the input, timers in (due, key, member) order and
//! nothing in hash order; equal state serialises to equal bytes. Elsewhere: what a verdict is made of
//! is the rule runner's; where transitions are kept is the log's.

mod operators;
mod settings;
mod suppression;
mod tally;

pub use settings::{Judging, KeyView, RuleIdentity, RuleSettings, TooManyKeys, WindowRow};
pub use suppression::Suppression;
pub use tally::Unknowns;

use super::keys::{Evidence, Happening, Judge, KeyState, Recorder};
use super::lifecycle::{AlarmInput, Annunciation};
use super::members::{
    Cause, ForTimers, KeyEvent, MayClear, MemberReading, Members, Service, Watch,
};
use super::subject::is_at_or_below;
use super::transition::{Key, KeyValue, Transition, Window};
use super::verdict::{Decision, NoData, Verdict};
use crate::sabotage::{self, Fault};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tally::{Tally, is_silent};
use weir_ingest::model::{AppendTime, EventTime};

/// What a checkpoint keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleAlarmsState {
    keys: Vec<(Vec<KeyValue>, KeyState)>,
    out_of_service: BTreeSet<String>,
    next_ordinal: u64,
    silence_from: Option<EventTime>,
    #[serde(default)]
    expected: BTreeSet<String>,
}

type KeyValues = Arc<[KeyValue]>;

/// The alarms of one rule.
#[derive(Debug)]
pub struct RuleAlarms {
    settings: Box<RuleSettings>,
    keys: BTreeMap<KeyValues, KeyState>,
    /// Places that people took out of service.
    out_of_service: BTreeSet<String>,
    next_ordinal: u64,
    /// Silence counts from here at the earliest: before, the doors were shut.
    silence_from: Option<EventTime>,
    /// Topic paths whose silence was counted from when a table named them.
    expected: BTreeSet<String>,
    /// When to look at which member (`""` for a window's key); may be early, is never late.
    timers: BTreeSet<(EventTime, KeyValues, String)>,
    shelvings: BTreeSet<(AppendTime, KeyValues)>,
    tally: Tally,
}

impl RuleAlarms {
    /// No keys yet.
    pub fn new(settings: RuleSettings) -> Self {
        Self {
            settings: Box::new(settings),
            keys: BTreeMap::new(),
            out_of_service: BTreeSet::new(),
            next_ordinal: 0,
            silence_from: None,
            expected: BTreeSet::new(),
            timers: BTreeSet::new(),
            shelvings: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// Starts a new version of the rule with the alarms that the old one had listed, by key: what was
    /// in condition still is, FOR counts anew, and silence too, for what is in condition from `judged`
    /// on: so far the old version has judged. `Err` gives the old version back when its keys are others
    /// or are judged otherwise; its alarms must then be dropped with it.
    pub fn replace(
        self,
        settings: RuleSettings,
        judged: Option<EventTime>,
    ) -> Result<Self, Box<Self>> {
        let windows = |settings: &RuleSettings| settings.judging == Judging::Windows;
        let columns = |settings: &RuleSettings| settings.identity.key_columns.clone();
        if windows(&settings) != windows(&self.settings)
            || columns(&settings) != columns(&self.settings)
        {
            return Err(Box::new(self));
        }
        let mut state = self.state();
        state.keys.retain(|(_, key)| key.state.is_listed());
        state.expected.clear();
        for (_, key) in &mut state.keys {
            key.held.clear();
            key.suppressing.clear();
            match &mut key.judge {
                Judge::Window(watch) => {
                    *watch = watch.anew(settings.condition);
                    expect_active(watch, judged, settings.no_data);
                }
                Judge::Members(members) => {
                    members.renew(settings.condition);
                    let watches = members.watches_mut();
                    watches.for_each(|(_, watch)| expect_active(watch, judged, settings.no_data));
                }
            }
        }
        Ok(Self::restore(settings, state))
    }

    /// A new version that has nothing of this one's alarms; what people took out of service stays out,
    /// and outputs are counted on.
    #[must_use]
    pub fn without_keys(self, settings: RuleSettings) -> Self {
        Self {
            out_of_service: self.out_of_service,
            next_ordinal: self.next_ordinal,
            silence_from: self.silence_from,
            ..Self::new(settings)
        }
    }

    /// Counts outputs from `ordinal` on.
    pub fn go_on_from(&mut self, ordinal: u64) {
        self.next_ordinal = ordinal;
    }

    /// Goes on from a checkpoint of the same version.
    pub fn restore(settings: RuleSettings, state: RuleAlarmsState) -> Self {
        let mut alarms = Self::new(settings);
        alarms.out_of_service = state.out_of_service;
        alarms.next_ordinal = state.next_ordinal;
        alarms.silence_from = state.silence_from;
        alarms.expected = state.expected;
        let timers = alarms.settings.for_timers();
        for (values, mut key_state) in state.keys {
            let key: KeyValues = values.into();
            queue_all(&mut alarms.timers, timers, &key, &mut key_state.judge);
            if let Annunciation::Shelved { until } = key_state.state.annunciation {
                alarms.shelvings.insert((until, Arc::clone(&key)));
            }
            alarms.keys.insert(key, key_state);
        }
        alarms
    }

    /// For a checkpoint.
    pub fn state(&self) -> RuleAlarmsState {
        RuleAlarmsState {
            keys: self.keys.iter().map(|(key, state)| (key.to_vec(), state.clone())).collect(),
            out_of_service: self.out_of_service.clone(),
            next_ordinal: self.next_ordinal,
            silence_from: self.silence_from,
            expected: self.expected.clone(),
        }
    }

    /// What the rule says about its alarms.
    pub fn settings(&self) -> &RuleSettings {
        &self.settings
    }

    /// Ordinal that the next output will have.
    pub fn next_ordinal(&self) -> u64 {
        self.next_ordinal
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// When the next timer may be due; may be early, is never late.
    pub fn next_due(&self) -> Option<EventTime> {
        self.timers.first().map(|(due, _, _)| *due)
    }

    /// Every key, in order.
    pub fn list(&self) -> impl Iterator<Item = KeyView> {
        self.keys.iter().map(|(key, state)| KeyView {
            key: Key::new(&self.settings.identity.key_columns, key),
            alarm_id: state.alarm_id.clone(),
            state: state.state,
            stale: state.judge.is_stale(),
        })
    }

    /// Occurrences that are listed and whose sensors have fallen silent.
    pub fn stale_alarms(&self) -> BTreeSet<String> {
        let stale = self.keys.values().filter(|key| key.state.is_listed() && key.judge.is_stale());
        stale.filter_map(|key| key.alarm_id.clone()).collect()
    }

    /// How many keys are kept.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// An emitted window with all its rows; `evidence(i)` is asked for the rows that change something.
    /// Several rows of one key count as one: raise before unknown before band before clear.
    /// # Errors
    /// More keys than allowed; the rule must stop.
    pub fn window(
        &mut self,
        window: Window,
        rows: &[WindowRow],
        appended: AppendTime,
        mut evidence: impl FnMut(usize) -> Evidence,
    ) -> Result<Vec<Transition>, TooManyKeys> {
        let mut out = Vec::new();
        self.expire_shelvings(appended, &mut out);
        self.fire_until(EventTime(window.end.0.saturating_sub(1)), appended, &mut out);
        let mut strongest: Vec<_> = strongest(rows).into_iter().collect();
        if sabotage::is(Fault::HashOrder) {
            strongest.sort_by_cached_key(|(key, _)| RandomState::new().hash_one(key));
        }
        for (key, (verdict, row)) in strongest {
            let no_data = self.settings.no_data;
            let key = self.key(key)?;
            self.tally.verdict(&key, verdict);
            let Some(state) = self.keys.get_mut(&key) else { continue };
            let Judge::Window(watch) = &mut state.judge else { continue };
            let (decision, _) = watch.step(window.end, verdict, MayClear::Yes, no_data);
            self.silence_from.iter().for_each(|from| watch.restart(*from));
            if let Some(due) = watch.to_queue(ForTimers::WaitForVerdict) {
                self.timers.insert((due, Arc::clone(&key), String::new()));
            }
            state.note_suppression("", rows[row].suppression);
            let event = event_of(decision);
            if event.is_none() && !state.turns_suppression("") {
                continue;
            }
            let mut happening = Happening::new(window.end, appended);
            happening.window = Some(window);
            happening.evidence = Some(evidence(row));
            recorder(&self.settings, &mut self.next_ordinal, &mut out)
                .judged(&key, state, "", event, happening);
        }
        Ok(out)
    }

    /// One reading; `evidence` is asked for when it changes something or starts a FOR.
    /// # Errors
    /// More keys than allowed; the rule must stop.
    pub fn reading(
        &mut self,
        key: &[KeyValue],
        reading: &MemberReading<'_>,
        appended: AppendTime,
        evidence: impl FnOnce() -> Evidence,
    ) -> Result<Vec<Transition>, TooManyKeys> {
        let mut out = Vec::new();
        self.expire_shelvings(appended, &mut out);
        if self.settings.judging == Judging::InEventTime {
            self.fire_until(reading.at, appended, &mut out);
        }
        let key = self.key(key)?;
        self.tally.verdict(&key, reading.verdict);
        let Some(state) = self.keys.get_mut(&key) else { return Ok(out) };
        let Judge::Members(members) = &mut state.judge else { return Ok(out) };
        let places = &self.out_of_service;
        let event = members
            .step(self.settings.member_rules(), reading, || service_of(places, reading.topic));
        let mut held = false;
        if let Some(watch) = members.watch_mut(reading.topic) {
            self.silence_from.iter().for_each(|from| watch.restart(*from));
            held = watch.is_held();
            if let Some(due) = watch.to_queue(self.settings.for_timers()) {
                self.timers.insert((due, Arc::clone(&key), reading.topic.to_owned()));
            }
        }
        let hold = held && reading.verdict != Verdict::Unknown;
        if reading.may_clear == MayClear::Yes {
            state.note_suppression(reading.topic, reading.suppression);
        }
        let happened = event.is_some() || state.turns_suppression(reading.topic);
        let shown = (happened || hold).then(evidence);
        match &shown {
            Some(evidence) if hold => {
                state.held.insert(reading.topic.to_owned(), evidence.clone());
            }
            _ if !held => drop(state.held.remove(reading.topic)),
            _ => {}
        }
        if happened {
            let mut happening = Happening::new(reading.at, appended);
            happening.topic = Some(reading.topic);
            happening.evidence = shown;
            recorder(&self.settings, &mut self.next_ordinal, &mut out).judged(
                &key,
                state,
                reading.topic,
                event,
                happening,
            );
        }
        Ok(out)
    }

    /// The rule's watermark came to `watermark`: FOR and NO DATA timers due by then fire.
    /// For a windowed rule: after the windows it closed.
    pub fn advance(&mut self, watermark: EventTime, appended: AppendTime) -> Vec<Transition> {
        let mut out = Vec::new();
        self.expire_shelvings(appended, &mut out);
        self.fire_until(watermark, appended, &mut out);
        out
    }

    /// The first reading or tick after the doors were shut is of `at`: silence counts from there.
    pub fn restart_silence(&mut self, at: EventTime) {
        self.silence_from = self.silence_from.max(Some(at));
        for state in self.keys.values_mut() {
            match &mut state.judge {
                Judge::Window(watch) => watch.restart(at),
                Judge::Members(members) => members.restart(at),
            }
        }
    }

    /// A sensor (or a windowed rule's key; then `topic` is not used) that should report from `at` on.
    /// # Errors
    /// More keys than allowed; the rule must stop.
    pub fn expect(
        &mut self,
        key: &[KeyValue],
        topic: &str,
        at: EventTime,
    ) -> Result<(), TooManyKeys> {
        let key = self.key(key)?;
        let rules = self.settings.member_rules();
        let Some(state) = self.keys.get_mut(&key) else { return Ok(()) };
        let (member, watch) = match &mut state.judge {
            Judge::Window(watch) => {
                watch.expect(at, rules.no_data);
                ("", watch)
            }
            Judge::Members(members) => {
                let service = service_of(&self.out_of_service, topic);
                (topic, members.expect(rules, topic, at, service))
            }
        };
        self.silence_from.iter().for_each(|from| watch.restart(*from));
        if let Some(due) = watch.to_queue(self.settings.for_timers()) {
            self.timers.insert((due, Arc::clone(&key), member.to_owned()));
        }
        Ok(())
    }

    /// Whether a topic path is named for the first time; it is known from now on.
    pub fn expects_anew(&mut self, topic: &str) -> bool {
        !self.expected.contains(topic) && self.expected.insert(topic.to_owned())
    }

    /// The rule is gone: its open alarms close and nothing is left.
    pub fn rule_dropped(&mut self, at: EventTime, appended: AppendTime) -> Vec<Transition> {
        self.close_all(&Happening::new(at, appended))
    }

    /// The rule has a new version that cannot carry its open alarms: they close.
    pub fn rule_replaced(&mut self, at: EventTime, appended: AppendTime) -> Vec<Transition> {
        let mut happening = Happening::new(at, appended);
        happening.reason = Some("replaced".to_owned());
        self.close_all(&happening)
    }

    fn close_all(&mut self, happening: &Happening<'_>) -> Vec<Transition> {
        let mut out = Vec::new();
        for (key, state) in &mut self.keys {
            recorder(&self.settings, &mut self.next_ordinal, &mut out).input(
                key,
                state,
                AlarmInput::RuleDropped,
                happening,
            );
        }
        self.keys.clear();
        self.timers.clear();
        self.shelvings.clear();
        out
    }

    fn key(&mut self, values: &[KeyValue]) -> Result<KeyValues, TooManyKeys> {
        if let Some((key, _)) = self.keys.get_key_value(values) {
            return Ok(Arc::clone(key));
        }
        if self.keys.len() >= self.settings.keys_max {
            let rule = self.settings.identity.name.clone();
            return Err(TooManyKeys { rule, limit: self.settings.keys_max });
        }
        let key: KeyValues = values.into();
        let state = self.new_key(values);
        self.keys.insert(Arc::clone(&key), state);
        Ok(key)
    }

    fn new_key(&self, values: &[KeyValue]) -> KeyState {
        let mut state = KeyState::new(match self.settings.judging {
            Judging::Windows => Judge::Window(Watch::new(self.settings.condition)),
            Judging::OnArrival | Judging::InEventTime => Judge::Members(Members::new()),
        });
        if !self.out_of_service.is_empty()
            && service_of(&self.out_of_service, &self.subject(values)) == Service::Out
        {
            state.state.annunciation = Annunciation::OutOfService;
        }
        state
    }

    fn subject(&self, values: &[KeyValue]) -> String {
        self.settings.subjects.of(&Key::new(&self.settings.identity.key_columns, values))
    }

    fn fire_until(&mut self, now: EventTime, appended: AppendTime, out: &mut Vec<Transition>) {
        while self.timers.first().is_some_and(|(due, _, _)| *due <= now) {
            let Some((due, key, member)) = self.timers.pop_first() else { break };
            self.fire(due, &key, &member, appended, out);
        }
    }

    /// Looks at one member; what is due exactly now fires, and its next timer is queued.
    fn fire(
        &mut self,
        due: EventTime,
        key: &KeyValues,
        member: &str,
        appended: AppendTime,
        out: &mut Vec<Transition>,
    ) {
        let timers = self.settings.for_timers();
        let Some(state) = self.keys.get_mut(key) else { return };
        let was_silent = is_silent(&mut state.judge, member);
        let event = match &mut state.judge {
            Judge::Window(watch) => {
                watch.unqueued();
                match watch.due(timers) {
                    Some(real) if real <= due => match watch.fire(due, timers) {
                        (Decision::Raise, cause) => Some(KeyEvent::Raised(cause)),
                        (Decision::Clear, _) => Some(KeyEvent::Cleared),
                        (Decision::None, _) => None,
                    },
                    Some(_) | None => None,
                }
            }
            Judge::Members(members) => {
                let Some(watch) = members.watch_mut(member) else { return };
                watch.unqueued();
                match watch.due(timers) {
                    Some(real) if real <= due => members.fire(member, due),
                    Some(_) | None => None,
                }
            }
        };
        if !was_silent && is_silent(&mut state.judge, member) {
            self.tally.silence(key);
        }
        let watch = match &mut state.judge {
            Judge::Window(watch) => Some(watch),
            Judge::Members(members) => members.watch_mut(member),
        };
        if let Some(next) = watch.and_then(|watch| watch.to_queue(timers)) {
            self.timers.insert((next, Arc::clone(key), member.to_owned()));
        }
        let Some(event) = event else { return };
        let mut happening = Happening::new(due, appended);
        happening.topic = (!member.is_empty()).then_some(member);
        happening.evidence = state.held.remove(member);
        recorder(&self.settings, &mut self.next_ordinal, out).judged(
            key,
            state,
            member,
            Some(event),
            happening,
        );
    }

    fn expire_shelvings(&mut self, appended: AppendTime, out: &mut Vec<Transition>) {
        while self.shelvings.first().is_some_and(|(until, _)| *until <= appended) {
            let Some((until, key)) = self.shelvings.pop_first() else { break };
            let Some(state) = self.keys.get_mut(&key) else { continue };
            if state.state.annunciation != (Annunciation::Shelved { until }) {
                continue;
            }
            let mut happening = Happening::new(EventTime(until.0), appended);
            happening.reason = Some("expired".to_owned());
            recorder(&self.settings, &mut self.next_ordinal, out).input(
                &key,
                state,
                AlarmInput::ShelveExpired,
                &happening,
            );
        }
    }
}

impl Recorder<'_> {
    /// What members did, as the lifecycle sees it.
    fn event(
        &mut self,
        key: &[KeyValue],
        state: &mut KeyState,
        event: KeyEvent,
        mut happening: Happening<'_>,
    ) {
        let (input, cause) = match event {
            KeyEvent::Raised(cause) => (AlarmInput::Raise, cause),
            KeyEvent::MemberAdded(cause) => (AlarmInput::MemberAdded, cause),
            KeyEvent::Cleared => (AlarmInput::Clear, Cause::Verdict),
        };
        match cause {
            Cause::Verdict => {}
            Cause::Late => happening.late = true,
            Cause::NoData => {
                happening.reason = Some("no_data".to_owned());
                happening.evidence = Some(Evidence { values: "{}".to_owned(), receipt: None });
            }
        }
        self.input(key, state, input, &happening);
    }
}

fn recorder<'a>(
    settings: &'a RuleSettings,
    next_ordinal: &'a mut u64,
    out: &'a mut Vec<Transition>,
) -> Recorder<'a> {
    Recorder { rule: &settings.identity, subjects: &settings.subjects, next_ordinal, out }
}

fn event_of(decision: Decision) -> Option<KeyEvent> {
    match decision {
        Decision::None => None,
        Decision::Raise => Some(KeyEvent::Raised(Cause::Verdict)),
        Decision::Clear => Some(KeyEvent::Cleared),
    }
}

/// Silence of what is in condition counts from `judged` on.
fn expect_active(watch: &mut Watch, judged: Option<EventTime>, no_data: Option<NoData>) {
    if let Some(judged) = judged.filter(|_| watch.in_condition()) {
        watch.expect(judged, no_data);
    }
}

fn service_of(places: &BTreeSet<String>, topic: &str) -> Service {
    match places.iter().any(|place| is_at_or_below(topic, place)) {
        true => Service::Out,
        false => Service::In,
    }
}

/// One verdict per key, in key order, with the first row that has it.
fn strongest(rows: &[WindowRow]) -> BTreeMap<&[KeyValue], (Verdict, usize)> {
    let mut strongest: BTreeMap<&[KeyValue], (Verdict, usize)> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let entry = strongest.entry(&row.key).or_insert((row.verdict, i));
        if row.verdict.strength() > entry.0.strength() {
            *entry = (row.verdict, i);
        }
    }
    strongest
}

/// Queues every timer of a key that comes from a checkpoint.
fn queue_all(
    queue: &mut BTreeSet<(EventTime, KeyValues, String)>,
    timers: ForTimers,
    key: &KeyValues,
    judge: &mut Judge,
) {
    let mut add = |member: &str, watch: &mut Watch| {
        watch.unqueued();
        if let Some(due) = watch.to_queue(timers) {
            queue.insert((due, Arc::clone(key), member.to_owned()));
        }
    };
    match judge {
        Judge::Window(watch) => add("", watch),
        Judge::Members(members) => {
            members.watches_mut().for_each(|(topic, watch)| add(topic, watch));
        }
    }
}

#[cfg(test)]
mod tests;
