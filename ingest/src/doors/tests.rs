//! Real sockets against the doors: what is taken, what is refused, and that nothing else is harmed.

mod acks;
mod client;
mod http2;
mod producers;
mod refusals;

use crate::decode::testing::{options, sensors};
use crate::doors::testing::{Served, batches, rows};
use crate::doors::{IngestBudget, Metrics, listen, router, serve};
use crate::io::{RealClock, RealDisk};
use crate::log::{InternalLog, Log, LogConfig};
use crate::model::{FutureTimes, Limits, StreamDefinition, StreamOptions};
use arrow::array::RecordBatch;
use client::Client;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const LINES: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// A server of the doors over a log of its own; gone when dropped.
struct Server {
    served: Served,
    log: Arc<Log>,
    budget: Arc<IngestBudget>,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        Self::with(Limits::default(), sensors(options()))
    }

    fn with(limits: Limits, stream: StreamDefinition) -> Self {
        Self::over(limits, stream, |config| {
            Log::open(Arc::new(RealDisk), Arc::new(RealClock::new()), config).expect("a log")
        })
    }

    /// Over a log that commits only when it is told to.
    fn manual(limits: Limits) -> Self {
        Self::over(limits, sensors(options()), |config| {
            Log::open_manual(Arc::new(RealDisk), Arc::new(RealClock::new()), config).expect("a log")
        })
    }

    fn over(
        limits: Limits,
        stream: StreamDefinition,
        open: impl FnOnce(LogConfig) -> Arc<Log>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let log = open(LogConfig { limits: limits.clone(), ..LogConfig::new(directory.path()) });
        log.create_stream(stream).expect("a stream");
        let budget = IngestBudget::new(limits.ingest_bytes_max);
        let routes = router(Arc::clone(&log), Arc::clone(&budget), limits.clone(), Metrics::new());
        let served = Served::by(async move |listener, stopped| {
            let stopped = async { drop(stopped.await) };
            serve(listener, routes, &limits, stopped).await.expect("served");
        });
        Self { served, log, budget, _directory: directory }
    }

    fn client(&self) -> Client {
        Client::connect(self.served.address)
    }

    /// Rows in the stream's only partition.
    fn rows(&self) -> usize {
        rows(&self.log)
    }

    fn dead_letters(&self) -> Vec<RecordBatch> {
        batches(self.log.internal(InternalLog::DeadLetters))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.served.stop();
        self.log.stop();
    }
}

fn row(n: u32) -> String {
    format!(r#"{{"topic":"/room/{n}/s","time":{},"n":{n}}}"#, 1_700_000_000 + n)
}

#[test]
fn readings_are_durable_when_they_are_confirmed() {
    let server = Server::start();
    let mut client = server.client();
    let bodies = [
        (JSON, row(1), 1),
        (JSON, format!("[{},{}]", row(1), row(2)), 2),
        (LINES, format!("{}\n{}\n{}\n", row(1), row(2), row(3)), 3),
    ];
    let mut rows = 0;
    for (content_type, body, n) in bodies {
        let answer = client.post("/v1/readings", content_type, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let expected = json!({"accepted": n, "duplicates": 0, "refused": [], "refused_total": 0});
        assert_eq!(answer.body, expected);
        rows += n;
        assert_eq!(server.rows(), rows);
    }
    assert_eq!(server.budget.in_flight(), 0);
}

#[test]
fn a_refused_row_is_answered_with_index_and_reason_and_is_a_dead_letter() {
    let server = Server::start();
    let bad = r#"{"topic":"/room/1/s","time":1,"n":"x"}"#;
    let body = format!("{}\n{bad}\nnonsense\n{}\n", row(1), row(2));
    let answer = server.client().post("/v1/readings", LINES, body.as_bytes());
    assert_eq!((answer.status, &answer.body["accepted"]), (200, &json!(2)), "{answer:?}");
    assert_eq!(answer.body["refused_total"], 2);
    let refused = &answer.body["refused"];
    assert_eq!((&refused[0]["index"], &refused[0]["code"]), (&json!(1), &json!("wrong_type")));
    assert_eq!((&refused[1]["index"], &refused[1]["code"]), (&json!(2), &json!("json")));
    let letters = server.dead_letters();
    let shown = arrow::util::pretty::pretty_format_batches(&letters).expect("shown").to_string();
    for expected in ["readings", "/room/1/s", "sensors", "wrong_type", "should be an integer"] {
        assert!(shown.contains(expected), "{shown}");
    }
    assert_eq!(letters.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[test]
fn validate_all_takes_all_or_nothing() {
    let server = Server::start();
    let mut client = server.client();
    let body = format!("{}\n{{\n", row(1));
    let answer = client.post("/v1/readings?validate=all", LINES, body.as_bytes());
    assert_eq!((answer.status, &answer.body["accepted"]), (400, &json!(0)), "{answer:?}");
    assert_eq!(answer.body["refused"][0]["index"], 1);
    assert_eq!((server.rows(), server.dead_letters().len()), (0, 0));
    let answer = client.post("/v1/readings?validate=all", LINES, row(1).as_bytes());
    assert_eq!((answer.status, server.rows()), (200, 1));
}

#[test]
fn a_repeated_id_is_counted_and_not_stored_again() {
    let server = Server::start();
    let mut client = server.client();
    let row = r#"{"topic":"/room/1/s","time":1,"id":"a"}"#;
    let first = client.post("/v1/readings", JSON, row.as_bytes());
    assert_eq!((&first.body["accepted"], &first.body["duplicates"]), (&json!(1), &json!(0)));
    let again = client.post("/v1/readings", JSON, row.as_bytes());
    assert_eq!(again.status, 200);
    assert_eq!((&again.body["accepted"], &again.body["duplicates"]), (&json!(0), &json!(1)));
    assert_eq!(server.rows(), 1);
}

#[test]
fn events_come_binary_structured_and_batched() {
    let server = Server::start();
    let mut client = server.client();
    let attributes = r#""specversion":"1.0","source":"/gw","type":"t","subject":"/room/1/s""#;
    let event = |id: u32| format!(r#"{{{attributes},"id":"{id}","data":{{"time":1,"n":{id}}}}}"#);
    let one = client.post("/v1/events", "application/cloudevents+json", event(1).as_bytes());
    assert_eq!((one.status, &one.body["accepted"]), (200, &json!(1)), "{one:?}");
    let batch = format!("[{},{},{}]", event(1), event(2), event(3));
    let many = client.post("/v1/events", "application/cloudevents-batch+json", batch.as_bytes());
    assert_eq!((&many.body["accepted"], &many.body["duplicates"]), (&json!(2), &json!(1)));
    let headers = "content-type: application/json\r\nce-specversion: 1.0\r\nce-id: 4\r\n\
                   ce-source: /gw\r\nce-type: t\r\nce-subject: /room/2/s\r\n\
                   ce-time: 2026-01-01T00:00:00Z\r\n";
    let binary = client.send("POST", "/v1/events", headers, br#"{"n":4}"#);
    assert_eq!((binary.status, &binary.body["accepted"]), (200, &json!(1)), "{binary:?}");
    assert_eq!(server.rows(), 4);
}

#[test]
fn a_full_budget_is_told_with_the_time_to_come_back() {
    let server = Server::start();
    let all = server.budget.take(server.budget.bytes_max()).expect("room");
    let answer = server.client().post("/v1/readings", JSON, row(1).as_bytes());
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{answer:?}");
    drop(all);
    let answer = server.client().post("/v1/readings", JSON, row(1).as_bytes());
    assert_eq!((answer.status, server.rows()), (200, 1));
    assert_eq!(server.budget.in_flight(), 0);
}

#[test]
fn a_partition_that_is_slow_holds_only_its_share_of_the_budget() {
    let server = Server::manual(Limits { partition_bytes_max: 0, ..Limits::default() });
    let stream = server.log.streams().get("sensors").expect("it was created");
    let waits = |yes: bool| {
        let waiting = || stream.partitions().iter().map(|p| p.waiting_bytes()).sum::<usize>() > 0;
        while waiting() != yes {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.client().post("/v1/readings", JSON, row(1).as_bytes()));
        waits(true);
        let second = server.client().post("/v1/readings", JSON, row(2).as_bytes());
        assert_eq!((second.status, second.header("retry-after")), (429, Some("1")), "{second:?}");
        server.log.step_committers();
        waits(false);
        assert_eq!(first.join().expect("answered").status, 200);
    });
    assert_eq!((server.rows(), server.budget.in_flight()), (1, 0));
}

#[test]
fn the_server_is_watched() {
    let server = Server::start();
    let mut client = server.client();
    client.post("/v1/readings", LINES, format!("{}\n{{\n", row(1)).as_bytes());
    assert_eq!(client.get("/healthz").body, json!({"status": "ok"}));
    let ready = client.get("/readyz");
    assert_eq!((ready.status, &ready.body["degraded"]), (200, &json!([])), "{ready:?}");
    let metrics = client.get("/metrics").text;
    for expected in [
        "weir_rows_decoded_total{stream=\"sensors\"} 1",
        "weir_rows_refused_total{code=\"json\"} 1",
        "weir_requests_total{door=\"readings\",status=\"200\"} 1",
        "weir_request_seconds_count{door=\"readings\"} 1",
        "weir_ingest_bytes_in_flight 0",
        "weir_partition_log_start{stream=\"sensors\",partition=\"0\"} 0",
        "weir_partition_durable_end{stream=\"sensors\",partition=\"0\"} 1",
        "weir_partition_waiting_bytes{stream=\"sensors\",partition=\"0\"} 0",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }
}

#[test]
fn the_log_tells_its_groups_syncs_and_refusals() {
    let server = Server::start();
    let mut client = server.client();
    client.post("/v1/readings", LINES, format!("{}\n{}\n", row(1), row(2)).as_bytes());
    server.log.stop();
    client.post("/v1/readings", LINES, row(3).as_bytes());
    let metrics = client.get("/metrics").text;
    for expected in [
        "# TYPE weir_log_append_seconds histogram",
        "weir_log_append_seconds_count{log=\"streams\"} 1",
        "weir_log_append_seconds_bucket{log=\"streams\",le=\"0.000016\"} 0",
        "weir_log_append_seconds_bucket{log=\"streams\",le=\"+Inf\"} 1",
        "weir_log_group_rows_sum{log=\"streams\"} 2",
        "weir_log_group_rows_bucket{log=\"streams\",le=\"1\"} 0",
        "weir_log_group_rows_bucket{log=\"streams\",le=\"2\"} 1",
        "weir_log_group_rows_quantile{log=\"streams\",quantile=\"0.99\"} 2",
        "weir_log_sync_seconds_quantile{log=\"internal\",quantile=\"0.5\"}",
        "weir_appends_refused_total{log=\"streams\",reason=\"stopped\"} 1",
        "weir_appends_refused_total{log=\"streams\",reason=\"full\"} 0",
        "weir_log_segments_removed_total 0",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }
}

#[test]
fn readings_from_the_future_are_counted_once_they_are_kept() {
    let stamping = StreamOptions { future: FutureTimes::Stamp, ..options() };
    let server = Server::with(Limits::default(), sensors(stamping));
    let mut client = server.client();
    let counted = || server.log.streams().get("sensors").expect("a stream").stamped().list();
    let row = r#"{"topic":"/room/1/s","time":"2100-01-01T00:00:00Z"}"#;
    let body = format!("{row}\n{{\n");
    let refused = client.post("/v1/readings?validate=all", LINES, body.as_bytes());
    assert_eq!((refused.status, counted()), (400, vec![]));
    assert_eq!(client.post("/v1/readings", LINES, row.as_bytes()).status, 200);
    server.log.stop();
    assert_eq!(client.post("/v1/readings", LINES, row.as_bytes()).status, 503);
    assert_eq!(counted(), [("anonymous".to_owned(), 1)]);
}

#[test]
fn a_stop_lets_an_answer_finish_and_takes_no_more() {
    let server = Server::start();
    let address = server.served.address;
    let mut client = server.client();
    client.start("POST", "/v1/readings", "content-type: application/json\r\n", row(1).len());
    let body = row(1);
    client.write(&body.as_bytes()[..10]);
    std::thread::sleep(Duration::from_millis(50));
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        client.write(&body.as_bytes()[10..]);
        client.answer()
    });
    let stopped_log = Arc::clone(&server.log);
    drop(server);
    let answer = late.join().expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{answer:?}");
    assert!(std::net::TcpStream::connect(address).is_err());
    drop(stopped_log);
}

#[tokio::test]
async fn only_loopback_is_listened_on() {
    let error = listen(([0, 0, 0, 0], 0).into()).await.expect_err("refused");
    assert!(error.to_string().starts_with("0.0.0.0:0 is not a loopback address"), "{error}");
    listen("[::1]:0".parse().expect("an address")).await.map_or_else(
        |error| assert!(matches!(error, crate::doors::ListenError::Bind { .. }), "{error}"),
        drop,
    );
}
