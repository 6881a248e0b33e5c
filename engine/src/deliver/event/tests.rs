//! A3: what leaves is CloudEvents 1.0, the same bytes every time.

use super::*;
use crate::alarms::{Key, Severity, State, Window};
use weir_ingest::model::AppendTime;

/// A raise of `rule` for one floor of building 41.
pub(in crate::deliver) fn transition(id: &str, floor: &str) -> Transition {
    let pair = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    Transition {
        id: id.to_owned(),
        alarm_id: Some(id.to_owned()),
        rule: "floor_hvac".to_owned(),
        rule_uid: 7,
        rule_version: 1,
        ordinal: 0,
        key: Key(vec![pair("building", "41"), pair("floor", floor)]),
        subject: format!("/building/41/floor/{floor}"),
        kind: TransitionKind::Raised,
        severity: Severity::High,
        state: State {
            condition: ConditionState::Active,
            acknowledged: Acknowledged::No,
            annunciation: Annunciation::InService,
        },
        event_time: EventTime(1_767_225_600_500_000),
        append_time: AppendTime(1_767_225_601_000_000),
        window: Some(Window {
            start: EventTime(1_767_225_540_000_000),
            end: EventTime(1_767_225_600_000_000),
        }),
        topic: None,
        members: vec![],
        values: r#"{"avg_temp":23.5,"readings":6,"ok":true,"note":"hot"}"#.to_owned(),
        late: false,
        historical: false,
        reason: None,
        operator: None,
        comment: None,
        receipt: None,
    }
}

#[test]
fn a_structured_event_carries_everything_in_one_body() {
    let outgoing = Outgoing::new(&transition("a1", "3"), EventMode::Structured);
    let body: Value = serde_json::from_slice(&outgoing.body).unwrap();
    assert_eq!(body["specversion"], "1.0");
    assert_eq!(body["id"], "a1");
    assert_eq!(body["source"], "/weir/rules/floor_hvac");
    assert_eq!(body["type"], "weir.alarm.raised");
    assert_eq!(body["subject"], "/building/41/floor/3");
    assert_eq!(body["time"], "2026-01-01T00:00:00.500Z");
    assert_eq!(body["datacontenttype"], "application/json");
    assert_eq!(body["data"]["severity"], "high");
    assert_eq!(body["data"]["state"], "raised");
    assert_eq!(body["data"]["key"], json!({ "building": "41", "floor": "3" }));
    assert_eq!(body["data"]["values"]["avg_temp"], 23.5);
    assert_eq!(body["data"]["window"]["end"], "2026-01-01T00:00:00Z");
    assert_eq!(
        outgoing.headers,
        [("content-type", "application/cloudevents+json; charset=utf-8".to_owned())]
    );
}

#[test]
fn a_binary_event_carries_its_attributes_in_headers() {
    let mut transition = transition("a1", "3");
    transition.subject = "/gebäude/4 1".to_owned();
    let outgoing = Outgoing::new(&transition, EventMode::Binary);
    let header = |name| {
        let found = outgoing.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("ce-specversion"), Some("1.0"));
    assert_eq!(header("ce-id"), Some("a1"));
    assert_eq!(header("ce-type"), Some("weir.alarm.raised"));
    assert_eq!(header("ce-subject"), Some("/geb%C3%A4ude/4%201"));
    assert_eq!(header("ce-time"), Some("2026-01-01T00:00:00.500Z"));
    let body: Value = serde_json::from_slice(&outgoing.body).unwrap();
    assert_eq!(body["alarm_id"], "a1");
}

#[test]
fn a_row_has_no_alarm() {
    let mut transition = transition("r1", "3");
    transition.kind = TransitionKind::Row;
    transition.alarm_id = None;
    let body = cloud_event(&transition);
    assert_eq!(body["type"], "weir.row");
    assert_eq!(body["data"]["alarm_id"], Value::Null);
    assert_eq!(body["data"].get("active"), None);
}

#[test]
fn the_same_transition_gives_the_same_bytes_and_order_is_by_rule_and_key() {
    let (a, b) = (transition("a1", "3"), transition("a2", "3"));
    for mode in [EventMode::Binary, EventMode::Structured] {
        assert_eq!(Outgoing::new(&a, mode), Outgoing::new(&a, mode));
        assert_eq!(Outgoing::new(&a, mode).key, Outgoing::new(&b, mode).key);
        assert_ne!(Outgoing::new(&a, mode).key, Outgoing::new(&transition("a3", "4"), mode).key);
    }
}
