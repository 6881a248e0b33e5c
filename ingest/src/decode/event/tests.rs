use super::super::testing::{NOW, options, refusals, sensors, shown, streams};
use super::*;

const ONE: Option<&str> = Some("application/cloudevents+json; charset=utf-8");
const BATCH: Option<&str> = Some("application/cloudevents-batch+json");
const TOPIC: &str = r#""subject":"/room/1/s""#;

fn decode(
    content_type: Option<&str>,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(Vec<String>, Vec<String>), BodyError> {
    let streams = streams(vec![sensors(options())]);
    let get = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_bytes());
    let decoded = decode_events(&streams, content_type, get, body.as_bytes(), NOW)?;
    Ok((shown(&decoded), refusals(&decoded)))
}

fn event(rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"1","source":"/gw","type":"reading",{rest}}}"#)
}

#[track_caller]
fn taken(body: &str, expected: &str) {
    let (rows, refused) = decode(ONE, &[], body).expect(body);
    assert_eq!((rows, refused), (vec![format!("0: {expected} dedupe=yes")], vec![]), "{body}");
}

#[track_caller]
fn refused(body: &str, expected: &str) {
    let (rows, refused) = decode(ONE, &[], body).expect(body);
    assert_eq!((rows.len(), refused.len()), (0, 1), "{body} {rows:?}");
    assert!(refused[0].contains(expected), "{body}\n  {}", refused[0]);
}

#[test]
fn a_structured_event_is_a_reading() {
    let time = r#""time":"2026-01-31T11:00:00Z""#;
    taken(&event(&format!(r#"{TOPIC},{time},"data":{{"n":5}}"#)), "time=2026-01-31T11:00:00Z n=5");
    taken(
        &event(&format!(r#"{TOPIC},{time},"data_base64":"eyJuIjo1fQ==""#)),
        "time=2026-01-31T11:00:00Z n=5",
    );
    taken(&event(&format!("{TOPIC},{time}")), "time=2026-01-31T11:00:00Z");
    taken(
        &event(&format!(r#"{TOPIC},{time},"data":{{"time":60,"n":5}}"#)),
        "time=1970-01-01T00:01:00Z n=5",
    );
    taken(
        &event(r#""topic":"/room/9/s","subject":"elsewhere","data":{"time":60}"#),
        "time=1970-01-01T00:01:00Z",
    );
    taken(
        &event(&format!(r#"{TOPIC},{time},"dataschema":null,"data":{{"topic":"/x","data":{{}}}}"#)),
        "time=2026-01-31T11:00:00Z",
    );
}

#[test]
fn an_event_that_breaks_the_specification_is_refused() {
    for (body, expected) in [
        (event(TOPIC), "missing_time"),
        (event(r#""data":{}"#), "neither 'topic' nor 'subject'"),
        (event(&format!("{TOPIC},\"time\":\"2026\"")), "bad_time: 'time' is not a time"),
        (event(&format!("{TOPIC},\"data\":\"text\"")), "should be an object"),
        (event(&format!("{TOPIC},\"data\":[1]")), "should be an object"),
        (
            event(&format!("{TOPIC},\"data\":{{}},\"data_base64\":\"\"")),
            "both 'data' and 'data_base64'",
        ),
        (event(&format!("{TOPIC},\"data_base64\":\"?\"")), "is not base64"),
        (event(&format!("{TOPIC},\"datacontenttype\":\"text/xml\"")), "only JSON is taken"),
        (event(&format!("{TOPIC},\"id\":\"2\"")), "duplicate_key"),
        (event(TOPIC).replace("\"1.0\"", "\"0.3\""), "specversion is '0.3'"),
        (event(TOPIC).replace("\"id\":\"1\"", "\"id\":\"\""), "'id' is missing or empty"),
        (event(TOPIC).replace("\"id\":\"1\"", "\"id\":1"), "'id' should be a text"),
        (event(TOPIC).replace("source", "sauce"), "'source' is missing"),
        (event(TOPIC).replace("\"type\"", "\"typ\""), "'type' is missing"),
        ("[]".to_owned(), "cloudevents-batch+json"),
        ("{".to_owned(), "json"),
        ("5".to_owned(), "not_an_object"),
    ] {
        refused(&body, expected);
    }
}

#[test]
fn a_batch_is_judged_event_by_event() {
    let good = event(&format!(r#"{TOPIC},"data":{{"time":1}}"#));
    let bad = event(TOPIC);
    let (rows, refused) = decode(BATCH, &[], &format!("[{good},{bad},{good}]")).expect("a batch");
    assert_eq!((rows.len(), refused.len()), (2, 1));
    assert!(refused[0].starts_with("1 missing_time"));
    let (rows, refused) = decode(BATCH, &[], &format!("[{good},")).expect("a batch");
    assert_eq!((rows.len(), refused.len()), (0, 1));
    let (_, refused) = decode(BATCH, &[], &good).expect("a batch");
    assert!(refused[0].contains("a batch is a JSON array"));
}

#[test]
fn a_binary_event_has_its_attributes_in_headers() {
    let json = Some("application/json");
    let headers = [
        ("specversion", "1.0"),
        ("id", "a%20b"),
        ("source", "\"/g\\\"w\""),
        ("type", "reading"),
        ("subject", "/room/caf%C3%A9/s"),
        ("time", "2026-01-31T11:00:00Z"),
    ];
    let (rows, refused) = decode(json, &headers, r#"{"n":1}"#).expect("an event");
    assert_eq!(rows, ["0: time=2026-01-31T11:00:00Z n=1 dedupe=yes"], "{refused:?}");
    let (rows, _) = decode(None, &headers, "").expect("an event");
    assert_eq!(rows.len(), 1);
    let (_, refused) = decode(Some("image/png"), &headers, "x").expect("an event");
    assert!(refused[0].contains("only JSON is taken"), "{refused:?}");
    let mut broken = headers;
    broken[4].1 = "/room/%zz/s";
    let (_, refused) = decode(json, &broken, "{}").expect("an event");
    assert!(refused[0].contains("ce-subject is not percent-encoded"), "{refused:?}");
    let none = decode(json, &[], r#"{"n":1}"#);
    assert!(matches!(none, Err(BodyError::ContentType(_))));
}

#[test]
fn header_values_are_unquoted_and_decoded() {
    for (raw, expected) in [
        ("plain", Some("plain")),
        ("Euro%20%E2%82%AC", Some("Euro €")),
        ("\"a \\\"b\\\" c\"", Some("a \"b\" c")),
        ("%", None),
        ("%f", None),
        ("%FF", None),
        ("%+1", None),
    ] {
        assert_eq!(header_value(raw.as_bytes()).as_deref(), expected, "{raw}");
    }
}
