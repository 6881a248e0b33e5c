//! Requests that are sent again.

use super::client::{Answer, Client};
use super::{LINES, Server, row};
use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use serde_json::json;
use std::sync::Arc;

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

/// An Arrow stream of one batch for each of `rows`; those without a number are refused.
fn batches_of(rows: &[Option<i64>]) -> Vec<u8> {
    let batch = |row: &Option<i64>| {
        let time = row.map(|_| 1_700_000_000);
        RecordBatch::try_from_iter([
            ("topic", Arc::new(StringArray::from(vec!["/room/1/s"])) as _),
            ("time", Arc::new(Int64Array::from(vec![time])) as _),
            ("n", Arc::new(Int64Array::from(vec![*row])) as _),
        ])
        .expect("a batch")
    };
    let batches: Vec<RecordBatch> = rows.iter().map(batch).collect();
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).expect("a writer");
    for batch in &batches {
        writer.write(batch).expect("written");
    }
    writer.into_inner().expect("finished")
}

fn send_batches(client: &mut Client, rows: &[Option<i64>]) -> Answer {
    let headers = headers(7, 0, 0).replace(LINES, "application/vnd.apache.arrow.stream");
    client.send("POST", "/v1/readings", &headers, &batches_of(rows))
}

#[test]
fn a_request_of_many_batches_is_one_to_its_partition() {
    let server = Server::start();
    let mut client = server.client();
    let rows: Vec<_> = (0..10).map(Some).collect();
    let first = send_batches(&mut client, &rows);
    assert_eq!((first.status, &first.body["accepted"]), (200, &json!(10)), "{first:?}");
    let again = send_batches(&mut client, &rows);
    assert_eq!((again.status, &again.body["duplicates"]), (200, &json!(10)), "{again:?}");
    assert_eq!(server.rows(), 10);
}

#[test]
fn a_row_that_is_good_only_when_it_is_sent_again_makes_no_other_row_new() {
    let server = Server::start();
    let mut client = server.client();
    // As where a time was too far ahead of the clock the first time and is not any more.
    let first = send_batches(&mut client, &[None, Some(2)]);
    assert_eq!((first.status, &first.body["accepted"]), (200, &json!(1)), "{first:?}");
    let again = send_batches(&mut client, &[Some(1), Some(2)]);
    assert_eq!((again.status, &again.body["accepted"]), (200, &json!(0)), "{again:?}");
    assert_eq!(server.rows(), 1);
}

#[test]
fn more_rows_than_one_append_takes_are_refused_whole() {
    let server = Server::start();
    let label = "x".repeat(1_040_000);
    let lines = |n| format!("{{\"topic\":\"/room/1/s\",\"time\":{n},\"label\":\"{label}\"}}\n");
    let body: String = (1..=16).map(lines).collect();
    let mut client = server.client();
    let refused = client.send("POST", "/v1/readings", &headers(7, 0, 0), body.as_bytes());
    assert_eq!(refused.status, 413, "{}", refused.text);
    assert_eq!(server.rows(), 0);
    let taken = client.post("/v1/readings", LINES, body.as_bytes());
    assert_eq!((taken.status, server.rows()), (200, 16), "{}", taken.text);
}
