//! What leaves: a transition as a CloudEvents 1.0 event, in either HTTP shape.
//!
//! Promise: pure; the same transition gives the same bytes, so a repeat differs in nothing but its
//! signature. Elsewhere: which transitions leave is `filter`'s, how they are signed `signature`'s.

use crate::alarms::{Acknowledged, Annunciation, ConditionState, Transition, TransitionKind};
use crate::sql::EventMode;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::Arc;
use weir_ingest::model::EventTime;

/// Content type of the data, and of a binary-mode body.
pub const DATA_CONTENT_TYPE: &str = "application/json";
/// Content type of a structured-mode body.
pub const STRUCTURED_CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// A transition made ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// CloudEvents id: the transition's.
    pub id: String,
    /// The occurrence, if there is one.
    pub alarm_id: Option<String>,
    /// CloudEvents subject.
    pub subject: String,
    /// What order is kept by: rule and key.
    pub key: Arc<str>,
    /// Headers, `content-type` among them; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

impl Outgoing {
    /// Renders a transition.
    pub fn new(transition: &Transition, mode: EventMode) -> Self {
        let (headers, body) = match mode {
            EventMode::Binary => (binary_headers(transition), data(transition).to_string()),
            EventMode::Structured => {
                let headers = vec![("content-type", STRUCTURED_CONTENT_TYPE.to_owned())];
                (headers, cloud_event(transition).to_string())
            }
        };
        Self {
            id: transition.id.clone(),
            alarm_id: transition.alarm_id.clone(),
            subject: transition.subject.clone(),
            key: order_key(transition),
            headers,
            body: Bytes::from(body),
        }
    }

    /// What it takes in memory.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(_, value)| value.len() + 16).sum();
        self.body.len() + headers + self.key.len() + 256
    }
}

/// Order is kept per rule and key, over all occurrences of that alarm.
fn order_key(transition: &Transition) -> Arc<str> {
    format!("{} {}", transition.rule_uid, transition.key.to_json()).into()
}

/// CloudEvents source: the rule.
pub fn source(transition: &Transition) -> String {
    format!("/weir/rules/{}", percent_encoded(&transition.rule))
}

/// CloudEvents type: `weir.row`, or `weir.alarm.` and what happened.
pub fn event_type(kind: TransitionKind) -> String {
    match kind {
        TransitionKind::Row => "weir.row".to_owned(),
        _ => format!("weir.alarm.{}", kind.as_str()),
    }
}

/// The event in the JSON format of CloudEvents 1.0; also what live tails carry.
pub fn cloud_event(transition: &Transition) -> Value {
    json!({
        "specversion": "1.0",
        "id": transition.id,
        "source": source(transition),
        "type": event_type(transition.kind),
        "subject": transition.subject,
        "time": rfc3339(transition.event_time),
        "datacontenttype": DATA_CONTENT_TYPE,
        "data": data(transition),
    })
}

fn binary_headers(transition: &Transition) -> Vec<(&'static str, String)> {
    vec![
        ("content-type", DATA_CONTENT_TYPE.to_owned()),
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", percent_encoded(&transition.id)),
        ("ce-source", source(transition)),
        ("ce-type", event_type(transition.kind)),
        ("ce-subject", percent_encoded(&transition.subject)),
        ("ce-time", rfc3339(transition.event_time)),
    ]
}

/// The event's `data`.
pub fn data(transition: &Transition) -> Value {
    let mut data = Map::new();
    let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
    set("alarm_id", json!(transition.alarm_id));
    set("rule", json!(transition.rule));
    set("rule_version", json!(transition.rule_version));
    set("severity", json!(transition.severity.as_str()));
    set("state", json!(transition.kind.as_str()));
    if transition.kind != TransitionKind::Row {
        let state = transition.state;
        set("active", json!(state.condition == ConditionState::Active));
        set("acknowledged", json!(state.acknowledged == Acknowledged::Yes));
        set("annunciation", json!(state.annunciation.as_str()));
        set("isa_state", json!(state.isa_name()));
        if let Annunciation::Shelved { until } = state.annunciation {
            set("shelved_until", json!(rfc3339(EventTime(until.0))));
        }
    }
    set("key", json!(transition.key));
    set("members", json!(transition.members));
    set("values", values(transition));
    set("time", json!(rfc3339(transition.event_time)));
    set("appended_at", json!(rfc3339(EventTime(transition.append_time.0))));
    if let Some(window) = transition.window {
        let (start, end) = (rfc3339(window.start), rfc3339(window.end));
        set("window", json!({ "start": start, "end": end }));
    }
    let optional = [
        ("topic", &transition.topic),
        ("reason", &transition.reason),
        ("operator", &transition.operator),
        ("comment", &transition.comment),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            set(name, json!(value));
        }
    }
    set("late", json!(transition.late));
    set("historical", json!(transition.historical));
    if let Some(receipt) = &transition.receipt {
        set("receipt", json!(receipt));
    }
    Value::Object(data)
}

/// The rule's output columns; an empty object where there are none.
pub(super) fn values(transition: &Transition) -> Value {
    serde_json::from_str(&transition.values).unwrap_or_else(|_| Value::Object(Map::new()))
}

/// Microseconds since 1970 as RFC 3339 UTC.
pub fn rfc3339(time: EventTime) -> String {
    match DateTime::from_timestamp_micros(time.0) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{} us", time.0),
    }
}

/// A header value as the CloudEvents HTTP binding wants it (3.1.3.2): space, `"`, `%` and everything
/// outside printable ASCII is percent-encoded.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => write!(encoded, "%{byte:02X}"),
            0x21..=0x7e => write!(encoded, "{}", char::from(byte)),
            _ => write!(encoded, "%{byte:02X}"),
        }
        .expect("writing to a String cannot fail");
    }
    encoded
}

#[cfg(test)]
pub(super) mod tests;
