//! Messages into rows, as the door hands them over.

use super::*;
use crate::decode::testing::{options, refusals, sensors, shown, streams};

const TOPIC: &str = "/room/1/s";
const NOW: AppendTime = AppendTime(1_767_225_600_000_000);

struct Case {
    content_type: Option<&'static str>,
    properties: &'static [(&'static str, &'static str)],
    payload: &'static str,
}

fn plain(payload: &'static str) -> Case {
    Case { content_type: None, properties: &[], payload }
}

/// Rows and refusals of one message.
fn decoded(case: &Case) -> (Vec<String>, Vec<String>) {
    let streams = streams(vec![sensors(options())]);
    let mut decoder = Decoder::new(&streams);
    let attribute = |name: &str| {
        let found = case.properties.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| *value)
    };
    let payload = case.payload.as_bytes();
    let content_type = case.content_type;
    decoder.push_published(
        &Published { topic: Some(TOPIC), payload, content_type, attribute },
        3,
        NOW,
    );
    let decoded = decoder.finish();
    (shown(&decoded), refusals(&decoded))
}

#[test]
fn a_reading_belongs_to_the_topic_it_was_published_to() {
    let row = "3: time=2025-12-31T00:00:00Z n=7";
    for payload in [
        r#"{"time":"2025-12-31T00:00:00Z","n":7}"#,
        r#" {"topic":"/room/1/s","time":"2025-12-31T00:00:00Z","data":{"n":7}} "#,
        r#"[{"time":"2025-12-31T00:00:00Z","n":7}]"#,
    ] {
        assert_eq!(decoded(&plain(payload)), (vec![row.to_owned()], Vec::new()), "{payload}");
    }
}

#[test]
fn one_event_in_both_modes_gives_the_row_that_http_gives() {
    let binary: &[(&str, &str)] = &[
        ("specversion", "1.0"),
        ("id", "e1"),
        ("source", "/gateway"),
        ("type", "reading"),
        ("time", "2025-12-31T00:00:00Z"),
        ("subject", "elsewhere"),
    ];
    let row = "3: time=2025-12-31T00:00:00Z n=7 dedupe=yes";
    for case in [
        Case { content_type: Some("application/json"), properties: binary, payload: r#"{"n":7}"# },
        Case { content_type: None, properties: binary, payload: r#"{"n":7}"# },
        Case {
            content_type: Some("application/cloudevents+json; charset=utf-8"),
            properties: &[],
            payload: r#"{"specversion":"1.0","id":"e1","source":"/gateway","type":"reading","subject":"x",
                "time":"2025-12-31T00:00:00Z","data":{"n":7}}"#,
        },
    ] {
        assert_eq!(decoded(&case), (vec![row.to_owned()], Vec::new()), "{}", case.payload);
    }
}

#[test]
fn what_is_no_reading_is_refused_with_a_sentence() {
    let events = Some("application/cloudevents+json");
    for (case, says) in [
        (plain(""), "json: "),
        (plain("21.5"), "a reading is a JSON object"),
        (
            plain(r#"{"topic":"/room/2/s","time":1}"#),
            "'topic' should be the topic it is published to",
        ),
        (plain(r#"[{"time":1},"#), "json: "),
        (plain(r#"[{"time":1},7]"#), "a reading is a JSON object"),
        (plain(r#"{"time":1} {"time":2}"#), "something follows"),
        (Case { content_type: events, ..plain("[]") }, "one event in a message"),
        (Case { content_type: events, ..plain("{}") }, "'specversion' is missing"),
        (Case { properties: &[("specversion", "1.0")], ..plain("{}") }, "'id' is missing"),
        (
            Case {
                content_type: Some("image/png"),
                properties: &[("specversion", "1.0")],
                payload: "{}",
            },
            "only JSON is taken",
        ),
    ] {
        let (_, refused) = decoded(&case);
        assert!(refused.len() == 1 && refused[0].contains(says), "{}: {refused:?}", case.payload);
    }
}

#[test]
fn nothing_is_taken_of_an_array_that_breaks_off() {
    let (rows, refused) = decoded(&plain(r#"[{"time":1,"n":1},{"time":2"#));
    assert_eq!((rows.len(), refused.len()), (0, 1), "{refused:?}");
}

#[test]
fn a_message_of_several_lines_does_not_join_the_lines_of_a_request() {
    let streams = streams(vec![sensors(options())]);
    let text = "{\"topic\":\"/room/1/s\",\n\"time\":\"2025-12-31T00:00:00Z\",\"n\":7}";
    let attribute = |_: &str| None;
    let payload = text.as_bytes();
    for index in 0..2 {
        let mut decoder = Decoder::new(&streams);
        let message = Published { topic: Some(TOPIC), payload, content_type: None, attribute };
        decoder.push_published(&message, index, NOW);
        assert_eq!(shown(&decoder.finish()).len(), 1);
    }
    let lines = crate::decode::decode_body(&streams, Some("application/x-ndjson"), payload, NOW);
    let decoded = lines.expect("a body");
    assert_eq!((shown(&decoded), refusals(&decoded).len()), (Vec::new(), 2));
}
