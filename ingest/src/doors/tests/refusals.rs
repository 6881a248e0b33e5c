//! Abuse, by table: each gets a clear refusal, and the next good request succeeds.

use super::client::{Answer, Client};
use super::{JSON, LINES, Server, row};
use crate::decode::testing::{options, sensors};
use crate::io::{RealClock, RealDisk};
use crate::log::{Log, LogConfig, RoomMarks};
use crate::model::Limits;
use arrow::array::RecordBatch;
use std::sync::Arc;
use std::time::Duration;

struct Case {
    name: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
    status: u16,
    says: &'static str,
}

fn case(
    name: &'static str,
    content_type: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    says: &'static str,
) -> Case {
    Case { name, content_type, body: body.into(), status, says }
}

fn reading(rest: &str) -> String {
    format!(r#"{{"topic":"/room/1/s","time":"2026-01-01T00:00:00Z",{rest}}}"#)
}

fn at(time: &str) -> String {
    format!(r#"{{"topic":"/room/1/s","time":{time}}}"#)
}

fn on(topic: &str) -> String {
    format!(r#"{{"topic":"{topic}","time":1}}"#)
}

fn bodies() -> Vec<Case> {
    let deep = format!("{{\"x\":{}", "[".repeat(10_000));
    let arrow = "application/vnd.apache.arrow.stream";
    vec![
        case("truncated JSON", JSON, &row(1)[..20], 400, "it ends too early"),
        case("a truncated array", JSON, format!("[{},", row(1)), 400, "nothing of this document"),
        case("wrong type", JSON, reading(r#""n":"1""#), 400, "should be an integer"),
        case("NaN", JSON, reading(r#""value":NaN"#), 400, "NaN and Infinity are not JSON"),
        case("1e400", JSON, reading(r#""value":1e400"#), 400, "not a finite number"),
        case("invalid UTF-8", LINES, b"{\"topic\":\"\xff\"}".to_vec(), 400, "not valid UTF-8"),
        case("nesting", JSON, deep.clone(), 400, "nested deeper than 32"),
        case("nesting in a line", LINES, deep, 400, "nested deeper than 32"),
        case("an empty topic", JSON, on(""), 400, "the topic is empty"),
        case("a wildcard", JSON, on("/room/+/s"), 400, "the wildcard '+'"),
        case("a NUL", JSON, on(r"/room/\u0000/s"), 400, "a NUL"),
        case("a long topic", JSON, on(&"x".repeat(600)), 400, "600 bytes long"),
        case("a deep topic", JSON, on(&"/x".repeat(40)), 400, "levels"),
        case("no stream", JSON, on("/nobody/listens"), 400, "no stream takes the topic"),
        case("year 9999", JSON, at(r#""9999-12-31T00:00:00Z""#), 400, "max_future_skew"),
        case("before 1970", JSON, at(r#""1969-07-20T20:17:00Z""#), 400, "before 1970"),
        case("a fraction", JSON, at("1700000000.5"), 400, "a fraction or an exponent"),
        case("no zone", JSON, at(r#""2026-01-01T00:00:00""#), 400, "has no zone"),
        case("duplicate keys", JSON, reading(r#""n":1,"n":2"#), 400, "stands twice"),
        case("an empty body", JSON, "", 400, "the body is empty"),
        case("not JSON at all", "text/plain", "hello", 400, "neither a JSON object"),
        case("a foreign type", "application/xml", "<a/>", 415, "is not taken here"),
        case("no Arrow", arrow, "ARROW1", 400, "not an Arrow IPC stream"),
        case("Arrow with a huge length", arrow, [0xff; 64], 400, "not an Arrow IPC stream"),
        case("many tiny rows", LINES, "1\n".repeat(400_000), 413, "of columns and refusals"),
    ]
}

/// The next good request succeeds, on the same connection unless the answer ends it.
#[track_caller]
fn goes_on(server: &Server, mut client: Client, answer: &Answer, name: &str) -> Client {
    if answer.header("connection") == Some("close") {
        client = server.client();
    }
    let good = client.post("/v1/readings", JSON, row(7).as_bytes());
    assert_eq!(good.status, 200, "after {name}: {good:?}");
    client
}

#[test]
fn bad_bodies_are_refused_and_nothing_else_is_harmed() {
    let server = Server::start();
    let mut client = server.client();
    let mut good = 0;
    for case in bodies() {
        let answer = client.post("/v1/readings", case.content_type, &case.body);
        assert_eq!(answer.status, case.status, "{}: {answer:?}", case.name);
        assert!(answer.text.contains(case.says), "{}: {}", case.name, answer.text);
        assert!(answer.body["error"]["message"].is_string(), "{}: {}", case.name, answer.text);
        client = goes_on(&server, client, &answer, case.name);
        good += 1;
        assert_eq!(server.rows(), good, "{}", case.name);
    }
    assert_eq!(server.budget.in_flight(), 0);
}

#[test]
fn bad_requests_are_refused_and_nothing_else_is_harmed() {
    let server = Server::start();
    let mut client = server.client();
    for (method, path, headers, status, says) in [
        ("POST", "/v1/reading", "", 404, "there is nothing at /v1/reading"),
        ("GET", "/v1/readings", "", 405, "GET is not a method of /v1/readings"),
        ("DELETE", "/healthz", "", 405, "DELETE is not a method"),
        ("POST", "/v1/readings?validate=some", "", 400, "'validate=some' is not known"),
        ("POST", "/v1/readings", "content-encoding: gzip\r\n", 415, "compressed bodies"),
        ("POST", "/v1/events", "content-type: application/json\r\n", 415, "is not taken here"),
        ("GET", "/healthz", "origin: https://example.com\r\n", 403, "on this machine"),
    ] {
        let answer = client.send(method, path, headers, &[b' '; 20_000]);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(answer.text.contains(says), "{method} {path}: {}", answer.text);
        client = goes_on(&server, client, &answer, path);
    }
    client.write(b"GET /healthz HTTP/1.1\r\nhost: evil.example:8520\r\n\r\n");
    assert_eq!(client.answer().status, 403);
    let mut rude = server.client();
    rude.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello?\r\n\r\n");
    assert!(rude.try_answer().is_none_or(|answer| answer.status == 400));
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let limits = Limits { request_bytes_max: 100_000, ..Limits::default() };
    let server = Server::with(limits, sensors(options()));
    let mut said = server.client();
    said.start("POST", "/v1/readings", "", 100 * 1024 * 1024);
    let answer = said.answer();
    assert_eq!(answer.status, 413, "{answer:?}");
    goes_on(&server, said, &answer, "100 MiB");

    let mut chunked = server.client();
    let host = server.served.address;
    let head =
        format!("POST /v1/readings HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n");
    chunked.write(head.as_bytes());
    for _ in 0..11 {
        chunked.write(b"2710\r\n");
        chunked.write(&[b' '; 10_000]);
        chunked.write(b"\r\n");
    }
    let answer = chunked.answer();
    assert_eq!(answer.status, 413, "{answer:?}");
    goes_on(&server, chunked, &answer, "chunks");
    assert_eq!((server.rows(), server.budget.in_flight()), (2, 0));
}

#[test]
fn a_slow_client_is_not_waited_for() {
    let limits = Limits { header_timeout_ms: 400, body_timeout_ms: 400, ..Limits::default() };
    let server = Server::with(limits, sensors(options()));
    let mut slow = server.client();
    slow.start("POST", "/v1/readings", "content-type: application/json\r\n", row(1).len());
    for byte in row(1).as_bytes().iter().take(6) {
        slow.write(&[*byte]);
        std::thread::sleep(Duration::from_millis(100));
        let quick = server.client().post("/v1/readings", JSON, row(2).as_bytes());
        assert_eq!(quick.status, 200);
    }
    let answer = slow.answer();
    assert_eq!(answer.status, 408, "{answer:?}");

    let mut head = server.client();
    for byte in b"POST /v1/" {
        head.write(&[*byte]);
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(head.try_answer().is_none_or(|answer| answer.status == 408));
    assert_eq!((server.rows(), server.budget.in_flight()), (6, 0));
}

#[test]
fn idle_connections_keep_nobody_out_for_long() {
    let limits = Limits { connections_max: 20, header_timeout_ms: 600, ..Limits::default() };
    let server = Server::with(limits, sensors(options()));
    let idle: Vec<Client> = (0..20).map(|_| server.client()).collect();
    std::thread::sleep(Duration::from_millis(100));
    let mut beyond = server.client();
    let answer = beyond.try_answer().expect("told");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
    std::thread::sleep(Duration::from_millis(1_000));
    let good = server.client().post("/v1/readings", JSON, row(1).as_bytes());
    assert_eq!(good.status, 200);
    drop(idle);
}

#[test]
fn three_hundred_idle_connections_cost_a_good_one_nothing() {
    let server = Server::start();
    let idle: Vec<Client> = (0..300).map(|_| server.client()).collect();
    let good = server.client().post("/v1/readings", JSON, row(1).as_bytes());
    assert_eq!(good.status, 200);
    drop(idle);
}

#[test]
fn more_refused_rows_than_one_append_takes_are_kept() {
    let server = Server::start();
    let text = "x".repeat(13_800);
    let body: String = (0..1200).map(|_| reading(&format!("\"n\":\"{text}\"")) + "\n").collect();
    let answer = server.client().post("/v1/readings", LINES, body.as_bytes());
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("the rows are in the table dead_letters"), "{}", answer.text);
    let letters = server.dead_letters();
    assert_eq!(letters.iter().map(RecordBatch::num_rows).sum::<usize>(), 1200);
}

#[test]
fn where_refused_rows_cannot_be_kept_nobody_is_told_that_they_are() {
    let server = Server::over(Limits::default(), sensors(options()), |config| {
        let room = RoomMarks { hard_bytes: u64::MAX, ..RoomMarks::default() };
        let config = LogConfig { room, ..config };
        Log::open(Arc::new(RealDisk), Arc::new(RealClock::new()), config).expect("a log")
    });
    let answer = server.client().post("/v1/readings", JSON, reading("\"n\":\"x\"").as_bytes());
    assert_eq!((answer.status, server.dead_letters().len()), (400, 0), "{}", answer.text);
    assert!(answer.text.contains("the rows could not be kept"), "{}", answer.text);
}
