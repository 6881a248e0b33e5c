//! One event says that the server was down, instead of a thousand alarms that say nothing was heard.

use crate::alarms::{Key, Severity, State, Transition, TransitionKind, transition_rows};
use crate::deliver::event::rfc3339;
use serde_json::json;
use weir_ingest::log::{InternalLog, Log, Receipt, Restart};
use weir_ingest::model::{AppendTime, EventTime};

/// The name the event carries where others carry their rule's.
pub const WAS_DOWN: &str = "weir/was_down";

/// Writes the event `weir/was_down {from, to}`, once for a start of a directory used before.
pub fn note_downtime(log: &Log) -> Option<Receipt> {
    let restart = log.restarted()?;
    let batch = transition_rows::encode(&[event(restart)]);
    Some(log.internal(InternalLog::Rows).append(batch))
}

fn event(restart: Restart) -> Transition {
    let (from, to) = (EventTime(restart.down_from.0), EventTime(restart.opened_at.0));
    let identity = format!("{WAS_DOWN} {} {}", from.0, to.0);
    let values = json!({"from": rfc3339(from), "to": rfc3339(to)}).to_string();
    Transition {
        reason: Some("was_down".to_owned()),
        ..built_in(WAS_DOWN, &identity, (to, restart.opened_at), values)
    }
}

/// An event that no rule gives out; `identity` is its own, `at` its event time and that of the append.
pub(super) fn built_in(
    name: &str,
    identity: &str,
    at: (EventTime, AppendTime),
    values: String,
) -> Transition {
    let (event_time, append_time) = at;
    Transition {
        id: blake3::hash(identity.as_bytes()).to_hex()[..32].to_owned(),
        alarm_id: None,
        rule: name.to_owned(),
        // No rule has the uid 0; the ordinal only has to differ from event to event.
        rule_uid: 0,
        rule_version: 1,
        ordinal: event_time.0.unsigned_abs(),
        key: Key::default(),
        subject: "/weir".to_owned(),
        kind: TransitionKind::Row,
        severity: Severity::Medium,
        state: State::default(),
        event_time,
        append_time,
        window: None,
        topic: None,
        members: Vec::new(),
        values,
        late: false,
        historical: false,
        reason: None,
        operator: None,
        comment: None,
        receipt: None,
    }
}
