//! Events reach a webhook at least once, in order per key, under the same id each time (A3).

use crate::harness::Server;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a receiver got: the events' JSON and their `ce-id`, in order.
#[derive(Debug, Default)]
struct Received {
    events: Vec<(String, Value)>,
    answers: Vec<StatusCode>,
}

#[derive(Debug, Clone)]
struct Receiver {
    received: Arc<Mutex<Received>>,
    address: SocketAddr,
}

impl Receiver {
    /// Answers with `answers` one after another, then 204.
    fn start(answers: Vec<StatusCode>) -> Self {
        let received = Arc::new(Mutex::new(Received { events: Vec::new(), answers }));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("tokio wants it so");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::clone(&received);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let router = Router::new()
                    .route("/hook", axum::routing::post(take).options(grant))
                    .with_state(state);
                axum::serve(listener, router).await.expect("it serves until the test ends");
            });
        });
        Self { received, address }
    }

    fn events(&self) -> Vec<(String, Value)> {
        self.received.lock().events.clone()
    }

    fn wait_for(&self, events: usize) -> Vec<(String, Value)> {
        let until = Instant::now() + Duration::from_secs(60);
        while self.events().len() < events {
            assert!(Instant::now() < until, "{} of {events} events", self.events().len());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.events()
    }
}

/// The CloudEvents handshake: whoever asks may send.
async fn grant(headers: HeaderMap) -> impl IntoResponse {
    let origin = headers.get("webhook-request-origin").cloned();
    let origin = origin.unwrap_or_else(|| HeaderValue::from_static("*"));
    [
        (HeaderName::from_static("webhook-allowed-origin"), origin),
        (HeaderName::from_static("webhook-allowed-rate"), HeaderValue::from_static("*")),
    ]
}

async fn take(
    State(received): State<Arc<Mutex<Received>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let json: Value = serde_json::from_slice(&body).expect("an event's body is JSON");
    let id = headers.get("ce-id").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let id = id.or_else(|| json["id"].as_str().map(str::to_owned)).expect("an event has an id");
    assert!(headers.contains_key("weir-signature"), "bodies are signed");
    let mut received = received.lock();
    received.events.push((id, json));
    if received.answers.is_empty() { StatusCode::NO_CONTENT } else { received.answers.remove(0) }
}

const CONFIGURATION: &str = "[engine]\nwebhook_allow = [\"127.0.0.0/8\"]\n";

const RULES: &str = "
CREATE STREAM freezers (temperature DOUBLE) TOPIC '/shop/{shop}/freezer/{freezer}';
CREATE RULE too_warm SEVERITY high KEY (shop, freezer)
  RAISE WHEN temperature > -15 CLEAR WHEN temperature < -17
AS SELECT shop, freezer, temperature FROM freezers;";

fn subscribed(receiver: &Receiver, retry: &str) -> Server {
    let mut server = Server::start_configured(CONFIGURATION);
    server.expect("deliver");
    server.define(RULES);
    server.define(&format!(
        "CREATE SUBSCRIPTION pager TO 'http://{}/hook' ON '/shop/1' WITH (retry = '{retry}');",
        receiver.address
    ));
    server
}

/// Readings of now: what lies far back is history, and nobody is woken for it.
fn readings(temperatures: &[(u32, f64)]) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later");
    let start = now.as_millis() - 10_000;
    let line = |(at, (freezer, temperature)): (usize, &(u32, f64))| {
        let time = start + at as u128;
        format!(
            "{{\"topic\":\"/shop/1/freezer/{freezer}\",\"time\":{time},\"temperature\":{temperature}}}\n"
        )
    };
    temperatures.iter().enumerate().map(line).collect()
}

#[test]
fn a_receiver_that_fails_ten_times_gets_every_event_in_order_under_the_same_id() {
    let receiver = Receiver::start(vec![StatusCode::SERVICE_UNAVAILABLE; 10]);
    let server = subscribed(
        &receiver,
        "50ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms, 100ms",
    );
    let warm_and_cold: Vec<(u32, f64)> =
        (0..8).map(|at| (7 + at % 2, if at / 2 % 2 == 0 { -10.0 } else { -20.0 })).collect();
    server.publish(&readings(&warm_and_cold));
    let expected: Vec<String> = server
        .wait_for_rows(
            "SELECT id FROM alarm_history ORDER BY append_time, rule_uid, ordinal",
            8,
            Duration::from_secs(20),
        )
        .iter()
        .map(|row| row["id"].as_str().expect("an id").to_owned())
        .collect();
    let until = Instant::now() + Duration::from_secs(60);
    let seen = loop {
        let events = receiver.events();
        let all = expected.iter().all(|id| events.iter().skip(10).any(|(seen, _)| seen == id));
        if all && events.len() >= 18 {
            break events;
        }
        assert!(Instant::now() < until, "{} events of {expected:?}: {events:?}", events.len());
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut by_key: HashMap<String, Vec<String>> = HashMap::new();
    for (id, event) in seen {
        let data = event.get("data").unwrap_or(&event);
        let order = by_key.entry(data["key"].to_string()).or_default();
        if !order.contains(&id) {
            order.push(id);
        }
    }
    for (key, order) in by_key {
        let wanted: Vec<&String> = expected.iter().filter(|id| order.contains(id)).collect();
        assert_eq!(order.iter().collect::<Vec<_>>(), wanted, "A3: in order for {key}");
    }
}

#[test]
fn a_receiver_that_answers_413_gets_one_attempt_and_the_event_is_a_dead_letter() {
    let receiver = Receiver::start(vec![StatusCode::PAYLOAD_TOO_LARGE; 5]);
    let server = subscribed(&receiver, "50ms, 100ms");
    server.publish(&readings(&[(7, -10.0)]));
    receiver.wait_for(1);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(receiver.events().len(), 1, "413 is not retried");
    let rows = server.wait_for_rows("SELECT * FROM deliveries", 1, Duration::from_secs(20));
    assert!(rows.iter().any(|row| row.to_string().contains("413")), "{rows:?}");
    assert!(rows.iter().any(|row| row.to_string().contains("dead")), "{rows:?}");
}

#[test]
fn where_may_ask_for_a_column_that_only_the_rule_gives() {
    let receiver = Receiver::start(Vec::new());
    let mut server = Server::start_configured(CONFIGURATION);
    server.expect("deliver");
    server.define(&RULES.replace("temperature FROM", "temperature, temperature + 15 AS over FROM"));
    let subscription = |column: &str| {
        let to = format!("http://{}/hook", receiver.address);
        format!("CREATE SUBSCRIPTION pager TO '{to}' ON '/shop/1' WHERE {column} > 5;")
    };
    let refused = server.run(&["query", &subscription("ovver")]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("no column 'ovver'"), "{said}");
    server.define(&subscription("over"));
    server.publish(&readings(&[(7, -14.0), (8, -5.0)]));
    let (_, event) = receiver.wait_for(1).remove(0);
    assert_eq!(event.get("data").unwrap_or(&event)["key"]["freezer"], "8", "{event}");
    server.wait_for_rows("SELECT * FROM alarms", 2, Duration::from_secs(20));
    assert_eq!(receiver.events().len(), 1, "the freezer that is 1 over is nobody's business");
}

#[test]
fn a_suppressed_alarm_is_listed_and_told_only_when_suppression_ends_and_it_is_still_active() {
    let receiver = Receiver::start(Vec::new());
    let mut server = Server::start_configured(CONFIGURATION);
    server.expect("deliver");
    server.define(&RULES.replace("RAISE WHEN", "SUPPRESS WHEN temperature > 0 RAISE WHEN"));
    server.define(&format!(
        "CREATE SUBSCRIPTION pager TO 'http://{}/hook' ON '/shop/1';",
        receiver.address
    ));
    server.publish(&readings(&[(7, 5.0), (8, 5.0)]));
    let rows = server.wait_for_rows("SELECT * FROM alarms", 2, Duration::from_secs(20));
    assert!(rows.iter().all(|row| row["annunciation"] == "suppressed"), "A2: {rows:?}");
    server.publish(&readings(&[(8, -20.0), (7, -10.0)]));
    let (_, event) = receiver.wait_for(1).remove(0);
    let data = event.get("data").unwrap_or(&event);
    assert_eq!((&data["state"], &data["key"]["freezer"]), (&"unsuppressed".into(), &"7".into()));
    server.wait_for_rows("SELECT * FROM alarm_history", 5, Duration::from_secs(20));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(receiver.events().len(), 1, "freezer 8 came and went unheard");
    let explained = server.query("EXPLAIN RULE too_warm");
    let row = explained.iter().find(|row| row["what"] == "suppressed").expect("it is explained");
    assert!(row["how"].as_str().is_some_and(|how| how.contains("temperature > 0")), "{row}");
}
