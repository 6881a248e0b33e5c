//! The alarms as they are now, folded from the transitions that were written down.
//!
//! Promise: equal transitions give equal rows; a key has a row while its occurrence is active or not
//! acknowledged, or while people are not told of it (A2).

use super::columns::{text_array, time_array, utc};
use super::command::Target;
use super::lifecycle::{Acknowledged, AlarmInput, Effect, State, step};
use super::severity::Severity;
use super::transition::{Identity, Key, Place, Transition, TransitionKind, transition_id};
use super::transition_rows::members;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use weir_ingest::model::{AppendTime, EventTime};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let flag = |name| Field::new(name, DataType::Boolean, false);
    Arc::new(Schema::new(vec![
        text("rule", false),
        text("key", false),
        text("alarm_id", true),
        text("severity", false),
        text("state", false),
        text("condition", false),
        flag("acknowledged"),
        text("annunciation", false),
        Field::new("shelved_until", utc(), true),
        Field::new("raised_at", utc(), true),
        Field::new("changed_at", utc(), false),
        text("subject", false),
        Field::new("members", DataType::new_list(DataType::Utf8, true), false),
        text("values", false),
        text("reason", true),
        text("operator", true),
        text("comment", true),
        flag("stale"),
        Field::new("ordinal", DataType::UInt64, false),
    ]))
});

/// One key's alarm as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct CurrentAlarm {
    /// Name of the rule.
    pub rule: String,
    /// Identity of the rule.
    pub rule_uid: u64,
    /// What it is about.
    pub key: Key,
    /// The occurrence; `None` where nothing was ever raised and people are not told.
    pub alarm_id: Option<String>,
    /// The rule's severity.
    pub severity: Severity,
    /// The state after the newest transition.
    pub state: State,
    /// When the occurrence opened.
    pub raised_at: Option<EventTime>,
    /// When it last changed.
    pub changed_at: EventTime,
    /// Where it stands in the topic tree.
    pub subject: String,
    /// The members that the newest transition lists.
    pub members: Vec<String>,
    /// The rule's output columns.
    pub values: String,
    /// Why, where it is not the condition.
    pub reason: Option<String>,
    /// Who last did something about it.
    pub operator: Option<String>,
    /// What they said.
    pub comment: Option<String>,
    /// Its sensors have fallen silent.
    pub stale: bool,
    /// Ordinal of the newest transition.
    pub ordinal: u64,
}

impl CurrentAlarm {
    /// What closes it as `rule_dropped`, where its rule is not there to say so; `None` where nothing is open.
    /// `at`: the event time, and that of the append.
    pub fn closed(
        &self,
        rule_version: u32,
        ordinal: u64,
        at: (EventTime, AppendTime),
        reason: &str,
    ) -> Option<Transition> {
        let (state, effect) = step(self.state, AlarmInput::RuleDropped);
        if effect != Effect::RuleDropped {
            return None;
        }
        let (event_time, append_time) = at;
        let kind = TransitionKind::RuleDropped;
        let identity = Identity {
            rule_uid: self.rule_uid,
            rule_version,
            key: &self.key,
            kind,
            event_time,
            place: Place::Nowhere,
            count: 0,
        };
        Some(Transition {
            id: transition_id(&identity),
            alarm_id: self.alarm_id.clone(),
            rule: self.rule.clone(),
            rule_uid: self.rule_uid,
            rule_version,
            ordinal,
            key: self.key.clone(),
            subject: self.subject.clone(),
            kind,
            severity: self.severity,
            state,
            event_time,
            append_time,
            window: None,
            topic: None,
            members: self.members.clone(),
            values: self.values.clone(),
            late: false,
            historical: false,
            reason: Some(reason.to_owned()),
            operator: None,
            comment: None,
            receipt: None,
        })
    }

    /// What a command names when its sender saw this row; `None` where there is no occurrence.
    pub fn target(&self) -> Option<Target> {
        Some(Target {
            alarm_id: self.alarm_id.clone()?,
            rule_uid: self.rule_uid,
            key: self.key.clone(),
            seen_ordinal: Some(self.ordinal),
        })
    }
}

/// Whether the sensors of an alarm have fallen silent cannot be read from transitions; a rule says it.
pub type StaleAlarms = BTreeSet<String>;

/// The current alarms of all rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlarmBook {
    alarms: BTreeMap<(String, Key), CurrentAlarm>,
}

impl AlarmBook {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one transition; rows of rules without RAISE WHEN are passed over.
    pub fn apply(&mut self, transition: &Transition) {
        let place = (transition.rule.clone(), transition.key.clone());
        match transition.kind {
            TransitionKind::Row => {}
            TransitionKind::Ineffective => {
                if let Some(alarm) = self.alarms.get_mut(&place) {
                    alarm.ordinal = transition.ordinal;
                }
            }
            TransitionKind::Superseded => drop(self.alarms.remove(&place)),
            TransitionKind::Raised
            | TransitionKind::Cleared
            | TransitionKind::MemberAdded
            | TransitionKind::RuleDropped
            | TransitionKind::Acknowledged
            | TransitionKind::Shelved
            | TransitionKind::Unshelved
            | TransitionKind::Suppressed
            | TransitionKind::Unsuppressed
            | TransitionKind::OutOfService
            | TransitionKind::Returned => {
                let before = self.alarms.remove(&place);
                if transition.state.is_listed() {
                    self.alarms.insert(place, current(transition, before));
                }
            }
        }
    }

    /// Which alarms of `rule` rest on sensors that have fallen silent.
    pub fn set_stale(&mut self, rule: &str, stale: &StaleAlarms) {
        for alarm in self.alarms.values_mut().filter(|alarm| alarm.rule == rule) {
            alarm.stale = alarm.alarm_id.as_ref().is_some_and(|id| stale.contains(id));
        }
    }

    /// The row of one occurrence.
    pub fn find(&self, alarm_id: &str) -> Option<&CurrentAlarm> {
        self.alarms.values().find(|alarm| alarm.alarm_id.as_deref() == Some(alarm_id))
    }

    /// Every row, by (rule, key).
    pub fn alarms(&self) -> impl Iterator<Item = &CurrentAlarm> {
        self.alarms.values()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.alarms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.alarms.is_empty()
    }

    /// The columns of [`Self::rows`].
    pub fn schema() -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    /// The `alarms` table, by (rule, key).
    pub fn rows(&self) -> RecordBatch {
        let all: Vec<&CurrentAlarm> = self.alarms.values().collect();
        let text =
            |of: &dyn Fn(&CurrentAlarm) -> String| text_array(all.iter().map(|a| Some(of(a))));
        let optional = |of: &dyn Fn(&CurrentAlarm) -> Option<String>| {
            text_array(all.iter().map(|alarm| of(alarm)))
        };
        let time = |of: &dyn Fn(&CurrentAlarm) -> Option<i64>| {
            time_array(all.iter().map(|alarm| of(alarm)))
        };
        let flag = |of: &dyn Fn(&CurrentAlarm) -> bool| -> ArrayRef {
            Arc::new(all.iter().map(|a| Some(of(a))).collect::<BooleanArray>())
        };
        let columns = vec![
            text(&|a| a.rule.clone()),
            text(&|a| a.key.to_json()),
            optional(&|a| a.alarm_id.clone()),
            text(&|a| a.severity.to_string()),
            text(&|a| a.state.isa_name().to_owned()),
            text(&|a| a.state.condition.as_str().to_owned()),
            flag(&|a| a.state.acknowledged == Acknowledged::Yes),
            text(&|a| a.state.annunciation.as_str().to_owned()),
            time(&|a| a.state.annunciation.until().map(|until| until.0)),
            time(&|a| a.raised_at.map(|at| at.0)),
            time(&|a| Some(a.changed_at.0)),
            text(&|a| a.subject.clone()),
            members(all.iter().map(|a| a.members.as_slice())),
            text(&|a| a.values.clone()),
            optional(&|a| a.reason.clone()),
            optional(&|a| a.operator.clone()),
            optional(&|a| a.comment.clone()),
            flag(&|a| a.stale),
            Arc::new(UInt64Array::from_iter_values(all.iter().map(|a| a.ordinal))),
        ];
        RecordBatch::try_new(Self::schema(), columns).expect("the columns are the schema's")
    }
}

fn current(transition: &Transition, before: Option<CurrentAlarm>) -> CurrentAlarm {
    let before = before.as_ref();
    let opened = transition.kind == TransitionKind::Raised;
    let kept = |of: fn(&CurrentAlarm) -> Option<String>| before.filter(|_| !opened).and_then(of);
    CurrentAlarm {
        rule: transition.rule.clone(),
        rule_uid: transition.rule_uid,
        key: transition.key.clone(),
        alarm_id: transition.alarm_id.clone(),
        severity: transition.severity,
        state: transition.state,
        raised_at: if opened {
            Some(transition.event_time)
        } else {
            before.and_then(|before| before.raised_at)
        },
        changed_at: transition.event_time,
        subject: transition.subject.clone(),
        members: transition.members.clone(),
        values: transition.values.clone(),
        reason: transition.reason.clone(),
        operator: transition.operator.clone().or_else(|| kept(|alarm| alarm.operator.clone())),
        comment: transition.comment.clone().or_else(|| kept(|alarm| alarm.comment.clone())),
        stale: before.is_some_and(|before| before.stale && !opened),
        ordinal: transition.ordinal,
    }
}

#[cfg(test)]
mod tests;
