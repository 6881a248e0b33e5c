//! Clients that do not wait until their rows are durable.

use super::{LINES, Server, row};
use serde_json::json;

#[test]
fn who_does_not_wait_is_told_what_is_on_its_way_and_it_arrives() {
    let server = Server::start();
    let mut client = server.client();
    let body = format!("{}\n{}\nnot json\n", row(1), row(2));
    let answer = client.post("/v1/readings?ack=none", LINES, body.as_bytes());
    assert_eq!((answer.status, &answer.body["queued"]), (202, &json!(2)), "{answer:?}");
    assert_eq!(
        (&answer.body["refused_total"], &answer.body["accepted"]),
        (&json!(1), &json!(null))
    );
    assert_eq!(answer.body["refused"][0]["index"], 2);
    server.log.stop();
    assert_eq!(server.rows(), 2);
}

#[test]
fn what_is_refused_at_once_is_told_also_to_who_does_not_wait() {
    let server = Server::start();
    let mut client = server.client();
    let mut send = |query: &str, body: &str| {
        let answer = client.post(&format!("/v1/readings{query}"), LINES, body.as_bytes());
        (answer.status, answer.text)
    };
    assert_eq!(send("?ack=none&validate=all", &format!("{}\nnot json\n", row(1))).0, 400);
    assert_eq!(send("?ack=none", "not json\n").0, 400);
    let (status, text) = send("?ack=perhaps", &row(1));
    assert!(status == 400 && text.contains("?ack=none"), "{text}");
    assert_eq!(send("?ack=durable", &row(1)).0, 200);
    server.log.stop();
    let (status, text) = send("?ack=none", &row(2));
    assert!(status == 503 && text.contains("unconfirmed"), "{text}");
}
