//! The outputs of a rule without RAISE WHEN: each result row is an event of its own.
//!
//! Promise: ids are made as a transition's are, with the kind `row`; nothing but counts is kept.

use super::keys::{Counts, Evidence};
use super::lifecycle::State;
use super::rule_alarms::{RuleIdentity, TooManyKeys};
use super::subject::Subjects;
use super::transition::{
    Identity, Key, KeyValue, Place, Transition, TransitionKind, Window, is_historical,
    transition_id,
};
use crate::sabotage::{self, Fault};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{AppendTime, EventTime};

/// What a checkpoint keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RuleRowsState {
    counts: Vec<(Vec<KeyValue>, Counts)>,
    next_ordinal: u64,
}

/// One result row.
#[derive(Debug, Clone, Copy)]
pub struct ResultRow<'a> {
    /// Values of the key columns, in order.
    pub key: &'a [KeyValue],
    /// Event time: the window's end, or the reading's time.
    pub at: EventTime,
    /// Where it was seen.
    pub place: Place<'a>,
}

/// What all rows of a rule have in common.
#[derive(Debug)]
pub struct RowSource {
    identity: RuleIdentity,
    subjects: Subjects,
}

/// The rows of one rule.
#[derive(Debug)]
pub struct RuleRows {
    source: Arc<RowSource>,
    keys_max: usize,
    counts: BTreeMap<Vec<KeyValue>, Counts>,
    next_ordinal: u64,
}

impl RuleRows {
    /// No rows yet.
    pub fn new(identity: RuleIdentity, subjects: Subjects, keys_max: usize) -> Self {
        let source = Arc::new(RowSource { identity, subjects });
        Self { source, keys_max, counts: BTreeMap::new(), next_ordinal: 0 }
    }

    /// Goes on from a checkpoint.
    pub fn restore(&mut self, state: RuleRowsState) {
        self.counts = state.counts.into_iter().collect();
        self.next_ordinal = state.next_ordinal;
    }

    /// For a checkpoint.
    pub fn state(&self) -> RuleRowsState {
        let counts = self.counts.iter().map(|(key, counts)| (key.clone(), counts.clone()));
        RuleRowsState { counts: counts.collect(), next_ordinal: self.next_ordinal }
    }

    /// Ordinal that the next output will have.
    pub fn next_ordinal(&self) -> u64 {
        self.next_ordinal
    }

    /// Counts outputs from `ordinal` on.
    pub fn go_on_from(&mut self, ordinal: u64) {
        self.next_ordinal = ordinal;
    }

    /// What the rows have in common.
    pub fn source(&self) -> &Arc<RowSource> {
        &self.source
    }

    /// Ordinals for the rows of a closed window: the first of `rows`. A key has one row in a window, so
    /// nothing is kept of them.
    pub fn window(&mut self, rows: u64) -> u64 {
        self.next_ordinal += rows;
        self.next_ordinal - rows
    }

    /// One result row of a reading as an event.
    /// # Errors
    /// More keys than allowed; the rule must stop.
    pub fn row(
        &mut self,
        row: ResultRow<'_>,
        appended: AppendTime,
        evidence: Evidence,
    ) -> Result<Transition, TooManyKeys> {
        let count = self.count(row.key, row.at)?;
        let ordinal = self.window(1);
        Ok(self.source.transition(row, ordinal, count, appended, evidence))
    }

    fn count(&mut self, key: &[KeyValue], at: EventTime) -> Result<u32, TooManyKeys> {
        if let Some(counts) = self.counts.get_mut(key) {
            return Ok(counts.next(at));
        }
        if self.counts.len() >= self.keys_max {
            let rule = self.source.identity.name.clone();
            return Err(TooManyKeys { rule, limit: self.keys_max });
        }
        Ok(self.counts.entry(key.to_vec()).or_default().next(at))
    }
}

impl RowSource {
    /// The rule.
    pub fn identity(&self) -> &RuleIdentity {
        &self.identity
    }

    /// A result row as an event; `count` is of its key's rows at its event time before it.
    pub fn transition(
        &self,
        row: ResultRow<'_>,
        ordinal: u64,
        count: u32,
        appended: AppendTime,
        evidence: Evidence,
    ) -> Transition {
        let key = Key::new(&self.identity.key_columns, row.key);
        let id = transition_id(&Identity {
            rule_uid: self.identity.uid,
            rule_version: self.identity.version,
            key: &key,
            kind: TransitionKind::Row,
            event_time: if sabotage::is(Fault::AppendTimeInId) {
                EventTime(appended.0)
            } else {
                row.at
            },
            place: row.place,
            count,
        });
        let (window, topic): (Option<Window>, Option<String>) = match row.place {
            Place::Window(window) => (Some(window), None),
            Place::Topic(topic) => (None, Some(topic.to_owned())),
            Place::Nowhere => (None, None),
        };
        Transition {
            id,
            alarm_id: None,
            rule: self.identity.name.clone(),
            rule_uid: self.identity.uid,
            rule_version: self.identity.version,
            ordinal,
            subject: self.subjects.of(&key),
            key,
            kind: TransitionKind::Row,
            severity: self.identity.severity,
            state: State::default(),
            event_time: row.at,
            append_time: appended,
            window,
            topic,
            members: Vec::new(),
            values: evidence.values,
            late: false,
            historical: is_historical(row.at, appended),
            reason: None,
            operator: None,
            comment: None,
            receipt: evidence.receipt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::Severity;

    #[test]
    fn equal_rows_of_one_instant_have_different_ids_and_a_restored_rule_goes_on() {
        let identity = RuleIdentity {
            name: "avg".to_owned(),
            uid: 3,
            version: 1,
            severity: Severity::Low,
            key_columns: vec!["room".to_owned()],
        };
        let new = || RuleRows::new(identity.clone(), Subjects::new("avg", Vec::new()), 1);
        let key = [Some("3J".to_owned())];
        let row = ResultRow { key: &key, at: EventTime(5), place: Place::Topic("/a") };
        let evidence = || Evidence { values: "{}".to_owned(), receipt: None };
        let mut rows = new();
        let first = rows.row(row, AppendTime(9), evidence()).unwrap();
        let mut restored = new();
        restored.restore(rows.state());
        let second = rows.row(row, AppendTime(9), evidence()).unwrap();
        assert_ne!(first.id, second.id);
        assert_eq!((first.ordinal, second.ordinal), (0, 1));
        assert_eq!(restored.row(row, AppendTime(9), evidence()).unwrap(), second);
        let other = [None];
        let one_too_many = ResultRow { key: &other, ..row };
        assert!(rows.row(one_too_many, AppendTime(9), evidence()).is_err());
    }
}
