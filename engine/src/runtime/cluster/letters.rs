//! Transitions as records of the topic of alarms, and which of them are there already.
//!
//! Promise: a transition that a process wrote before it ended is not written again by the one that takes
//! its place; one that differs from what was written stops the rule.

use crate::alarms::Transition;
use crate::deliver::event::{STRUCTURED_CONTENT_TYPE, cloud_event};
use std::collections::HashMap;
use weir_ingest::kafka::{Committed, Letter};
use weir_ingest::model::PartitionId;

/// Headers that tell the records of one rule over one partition apart from others.
const LANE: &str = "weir-lane";
const RULE: &str = "weir-rule";
const ORDINAL: &str = "weir-ordinal";
const ID: &str = "weir-id";

/// What a lane calls itself in the topic of alarms.
pub(super) fn lane_name(stream: &str, partition: PartitionId) -> String {
    format!("{stream}/{partition}")
}

/// A transition as a record: a CloudEvent, keyed by rule and key.
pub(super) fn letter(lane: &str, transition: &Transition) -> Letter {
    Letter {
        key: format!("{} {}", transition.rule, transition.key.to_json()),
        value: cloud_event(transition).to_string(),
        headers: vec![
            ("content-type", STRUCTURED_CONTENT_TYPE.to_owned()),
            (LANE, lane.to_owned()),
            (RULE, transition.rule_uid.to_string()),
            (ORDINAL, transition.ordinal.to_string()),
            (ID, transition.id.clone()),
        ],
    }
}

/// What was written of a lane behind its checkpoint: ids by rule and ordinal.
#[derive(Debug, Default)]
pub(super) struct Written(HashMap<(u64, u64), String>);

impl Written {
    /// Notes a record of the topic of alarms, if it is one of this lane.
    pub(super) fn note(&mut self, lane: &str, record: &Committed<'_>) {
        if record.header(LANE) != Some(lane) {
            return;
        }
        let number = |name: &str| record.header(name)?.parse::<u64>().ok();
        if let (Some(rule), Some(ordinal), Some(id)) =
            (number(RULE), number(ORDINAL), record.header(ID))
        {
            self.0.insert((rule, ordinal), id.to_owned());
        }
    }

    /// Leaves those that are not written yet.
    /// # Errors
    /// One differs from what was written in its place.
    pub(super) fn suppress(&mut self, transitions: &mut Vec<Transition>) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut different = None;
        transitions.retain(|t| match self.0.remove(&(t.rule_uid, t.ordinal)) {
            None => true,
            Some(id) => {
                if id != t.id {
                    different.get_or_insert(t.ordinal);
                }
                false
            }
        });
        match different {
            None => Ok(()),
            Some(ordinal) => Err(format!(
                "nondeterministic: output {ordinal} differs from the one that was written before; start with another group, which begins anew"
            )),
        }
    }
}
