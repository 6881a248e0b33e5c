//! What one alarm key remembers, and how a step of its lifecycle becomes transitions.
//!
//! Promise: the same steps give the same ids; the memory for counting is bounded.

use super::lifecycle::{AlarmInput, Effect, State, Why, step};
use super::members::{Members, Watch};
use super::subject::Subjects;
use super::transition::{
    Identity, Key, KeyValue, Place, Receipt, Transition, TransitionKind, Window, is_historical,
    transition_id,
};
use super::{RuleIdentity, Severity};
use crate::sabotage::{self, Fault};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use weir_ingest::model::{AppendTime, EventTime};

/// How many transitions a key has had at each event time.
///
/// Exact for the [`Counts::KEPT`] largest event times; for older ones it answers at least as high as
/// ever before, so that no id comes twice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    recent: BTreeMap<EventTime, u32>,
    forgotten_until: Option<EventTime>,
    forgotten_most: u32,
}

impl Counts {
    /// Event times that are counted exactly.
    pub const KEPT: usize = 64;

    /// How many there were at `at`; there is one more now.
    pub fn next(&mut self, at: EventTime) -> u32 {
        let forgotten = self.forgotten_until.is_some_and(|until| at <= until);
        let first = if forgotten { self.forgotten_most } else { 0 };
        let count = self.recent.entry(at).or_insert(first);
        let before = *count;
        *count += 1;
        if self.recent.len() > Self::KEPT
            && let Some((oldest, count)) = self.recent.pop_first()
        {
            self.forgotten_until = self.forgotten_until.max(Some(oldest));
            self.forgotten_most = self.forgotten_most.max(count);
        }
        before
    }
}

/// Who judges a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Judge {
    /// Windows, as one.
    Window(Watch),
    /// Readings, each series for itself.
    Members(Members),
}

impl Judge {
    fn in_condition(&self) -> Vec<String> {
        match self {
            Self::Window(_) => Vec::new(),
            Self::Members(members) => members.in_condition(),
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::Window(watch) => watch.is_stale(),
            Self::Members(members) => members.is_stale(),
        }
    }
}

/// What a verdict shows: asked for only when something is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The output columns as one JSON object.
    pub values: String,
    /// What they rest on.
    pub receipt: Option<Receipt>,
}

/// State of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyState {
    pub(super) state: State,
    /// The open occurrence, or the last one.
    pub(super) alarm_id: Option<String>,
    pub(super) raised_at: Option<EventTime>,
    pub(super) changed_at: Option<EventTime>,
    /// Ordinal of the newest raise or member.
    pub(super) newest_ordinal: u64,
    pub(super) values: String,
    /// Every member that has been in condition in the open occurrence, or the last one.
    involved: BTreeSet<String>,
    pub(super) judge: Judge,
    /// What the running FOR clocks have last seen, by member.
    pub(super) held: BTreeMap<String, Evidence>,
    /// Members (`""` for a window's key) whose newest row SUPPRESS WHEN is true of.
    pub(super) suppressing: BTreeSet<String>,
    counts: Counts,
}

impl KeyState {
    pub(super) fn new(judge: Judge) -> Self {
        Self {
            state: State::default(),
            alarm_id: None,
            raised_at: None,
            changed_at: None,
            newest_ordinal: 0,
            values: "{}".to_owned(),
            involved: BTreeSet::new(),
            judge,
            held: BTreeMap::new(),
            suppressing: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// The members that a transition lists: those in condition where one joins, else all involved.
    fn members_listed(&mut self, kind: TransitionKind) -> Vec<String> {
        match kind {
            TransitionKind::Raised => {
                let members = self.judge.in_condition();
                self.involved = members.iter().cloned().collect();
                members
            }
            TransitionKind::MemberAdded => {
                let members = self.judge.in_condition();
                self.involved.extend(members.iter().cloned());
                members
            }
            TransitionKind::Cleared
            | TransitionKind::Superseded
            | TransitionKind::RuleDropped
            | TransitionKind::Acknowledged
            | TransitionKind::Shelved
            | TransitionKind::Unshelved
            | TransitionKind::Suppressed
            | TransitionKind::Unsuppressed
            | TransitionKind::OutOfService
            | TransitionKind::Returned
            | TransitionKind::Ineffective
            | TransitionKind::Row => self.involved.iter().cloned().collect(),
        }
    }
}

/// Everything about a step that is not the lifecycle's.
#[derive(Debug, Clone)]
pub(super) struct Happening<'a> {
    pub(super) at: EventTime,
    pub(super) appended: AppendTime,
    pub(super) window: Option<Window>,
    pub(super) topic: Option<&'a str>,
    pub(super) late: bool,
    pub(super) reason: Option<String>,
    pub(super) operator: Option<&'a str>,
    pub(super) comment: Option<String>,
    pub(super) evidence: Option<Evidence>,
}

impl Happening<'_> {
    pub(super) fn new(at: EventTime, appended: AppendTime) -> Self {
        Self {
            at,
            appended,
            window: None,
            topic: None,
            late: false,
            reason: None,
            operator: None,
            comment: None,
            evidence: None,
        }
    }
}

/// Writes down what happens to the keys of one rule, in order.
#[derive(Debug)]
pub(super) struct Recorder<'a> {
    pub(super) rule: &'a RuleIdentity,
    pub(super) subjects: &'a Subjects,
    pub(super) next_ordinal: &'a mut u64,
    pub(super) out: &'a mut Vec<Transition>,
}

impl Recorder<'_> {
    /// Takes the key through one input of the lifecycle.
    pub(super) fn input(
        &mut self,
        key: &[KeyValue],
        state: &mut KeyState,
        input: AlarmInput,
        happening: &Happening<'_>,
    ) {
        let before = state.state;
        let (after, effect) = step(before, input);
        state.state = after;
        let kind = match effect {
            Effect::None => return,
            Effect::Ineffective(why) => return self.ineffective(key, state, why, happening),
            Effect::RaisedAnew => {
                state.state = before;
                let mut closing = happening.clone();
                closing.evidence = None;
                self.emit(key, state, TransitionKind::Superseded, &closing);
                state.state = after;
                TransitionKind::Raised
            }
            Effect::Raised => TransitionKind::Raised,
            Effect::Cleared => TransitionKind::Cleared,
            Effect::MemberAdded => TransitionKind::MemberAdded,
            Effect::Acknowledged => TransitionKind::Acknowledged,
            Effect::Shelved => TransitionKind::Shelved,
            Effect::Unshelved => TransitionKind::Unshelved,
            Effect::Suppressed => TransitionKind::Suppressed,
            Effect::Unsuppressed => TransitionKind::Unsuppressed,
            Effect::OutOfService => TransitionKind::OutOfService,
            Effect::Returned => TransitionKind::Returned,
            Effect::RuleDropped => TransitionKind::RuleDropped,
        };
        self.emit(key, state, kind, happening);
    }

    /// Writes down a command that changed nothing.
    pub(super) fn ineffective(
        &mut self,
        key: &[KeyValue],
        state: &mut KeyState,
        why: Why,
        happening: &Happening<'_>,
    ) {
        let mut happening = happening.clone();
        happening.reason = Some(match happening.reason {
            Some(verb) => format!("{verb}: {why}"),
            None => why.to_string(),
        });
        self.emit(key, state, TransitionKind::Ineffective, &happening);
    }

    fn emit(
        &mut self,
        key: &[KeyValue],
        state: &mut KeyState,
        kind: TransitionKind,
        happening: &Happening<'_>,
    ) {
        let key = Key::new(&self.rule.key_columns, key);
        let count = state.counts.next(happening.at);
        let id = self.id(&key, kind, happening, count);
        let ordinal = *self.next_ordinal;
        *self.next_ordinal += 1;
        if kind == TransitionKind::Raised {
            state.alarm_id = Some(id.clone());
            state.raised_at = Some(happening.at);
        }
        if matches!(kind, TransitionKind::Raised | TransitionKind::MemberAdded) {
            state.newest_ordinal = ordinal;
        }
        if kind != TransitionKind::Ineffective {
            state.changed_at = Some(happening.at);
        }
        if let Some(evidence) = &happening.evidence {
            state.values.clone_from(&evidence.values);
        }
        self.out.push(Transition {
            id,
            alarm_id: state.alarm_id.clone(),
            rule: self.rule.name.clone(),
            rule_uid: self.rule.uid,
            rule_version: self.rule.version,
            ordinal,
            subject: self.subjects.of(&key),
            key,
            kind,
            severity: self.rule.severity,
            state: state.state,
            event_time: happening.at,
            append_time: happening.appended,
            window: happening.window,
            topic: happening.topic.map(str::to_owned),
            members: state.members_listed(kind),
            values: state.values.clone(),
            late: happening.late,
            historical: is_historical(happening.at, happening.appended),
            reason: happening.reason.clone(),
            operator: happening.operator.map(str::to_owned),
            comment: happening.comment.clone(),
            receipt: happening.evidence.as_ref().and_then(|evidence| evidence.receipt.clone()),
        });
    }

    fn id(&self, key: &Key, kind: TransitionKind, at: &Happening<'_>, count: u32) -> String {
        let place = match (at.window, at.topic) {
            (Some(window), _) => Place::Window(window),
            (None, Some(topic)) => Place::Topic(topic),
            (None, None) => Place::Nowhere,
        };
        transition_id(&Identity {
            rule_uid: self.rule.uid,
            rule_version: self.rule.version,
            key,
            kind,
            event_time: if sabotage::is(Fault::AppendTimeInId) {
                EventTime(at.appended.0)
            } else {
                at.at
            },
            place,
            count,
        })
    }
}

/// Whether a critical alarm may be shelved so.
pub(super) fn may_shelve(severity: Severity, authority: super::Authority) -> Result<(), Why> {
    match (severity, authority) {
        (Severity::Critical, super::Authority::Operator) => Err(Why::NotAllowed),
        (Severity::Critical, super::Authority::Admin)
        | (Severity::Low | Severity::Medium | Severity::High, _) => Ok(()),
    }
}
