//! Requests that are sent again.

use super::{LINES, Server, row};
use serde_json::json;

fn headers(producer: u64, epoch: u16, sequence: u64) -> String {
    format!(
        "content-type: {LINES}\r\nweir-producer: {producer}\r\nweir-epoch: {epoch}\r\nweir-sequence: {sequence}\r\n"
    )
}

#[test]
fn a_request_sent_again_is_stored_once() {
    let server = Server::start();
    let mut client = server.client();
    let body = format!("{}\n{}\n", row(1), row(2));
    let mut send = |headers: &str| client.send("POST", "/v1/readings", headers, body.as_bytes());
    let first = send(&headers(7, 0, 0));
    assert_eq!((first.status, &first.body["accepted"]), (200, &json!(2)), "{first:?}");
    let again = send(&headers(7, 0, 0));
    assert_eq!((again.status, &again.body["accepted"]), (200, &json!(0)), "{again:?}");
    assert_eq!(again.body["duplicates"], 2);
    assert_eq!(send(&headers(7, 0, 2)).body["accepted"], 2);
    assert_eq!(send(&headers(8, 0, 0)).body["accepted"], 2, "another producer");
    assert_eq!(server.rows(), 6);
}

#[test]
fn what_a_producer_may_not_send_is_refused_with_what_to_do() {
    let server = Server::start();
    let mut client = server.client();
    let mut send = |headers: &str| client.send("POST", "/v1/readings", headers, row(1).as_bytes());
    for n in 0..7 {
        assert_eq!(send(&headers(7, 1, n)).status, 200);
    }
    for (refused, status, says) in [
        (headers(7, 0, 9), 409, "epoch 1"),
        (headers(7, 1, 0), 409, "older than the batches remembered"),
        (format!("content-type: {LINES}\r\nweir-producer: 7\r\n"), 400, "belong together"),
        (format!("content-type: {LINES}\r\nweir-sequence: 7\r\n"), 400, "belong together"),
        (headers(7, 1, 9).replace("epoch: 1", "epoch: 70000"), 400, "70000"),
    ] {
        let answer = send(&refused);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body["error"].to_string().contains(says), "{answer:?}");
    }
    assert_eq!(server.rows(), 7);
}
