//! A3, P8 over real sockets: at least once, the same id, in order per key, or a dead letter.

#![allow(clippy::disallowed_methods, reason = "a test measures with its own clock")]

mod receiver;

use super::*;
use crate::alarms::{Transition, TransitionKind, transition_rows};
use crate::deliver::event::tests::transition;
use crate::sql::{Statement, parse_statements};
use arrow::array::{Array, AsArray};
use receiver::{Receiver, Seen};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use weir_ingest::io::{RealClock, RealDisk};
use weir_ingest::log::{EntryBody, LogConfig};
use weir_ingest::model::{AppendTime, EventTime, Retention};

fn open(directory: &Path) -> Arc<Log> {
    let clock = Arc::new(RealClock::new());
    Log::open(Arc::new(RealDisk), clock, LogConfig::new(directory)).unwrap()
}

fn start(log: &Arc<Log>) -> Arc<Deliverer> {
    let allow = vec!["127.0.0.1".parse().unwrap()];
    Deliverer::start(Arc::clone(log), DeliverConfig { allow, ..DeliverConfig::default() }).unwrap()
}

fn statement(text: &str) -> SubscriptionStatement {
    match parse_statements(text).unwrap().remove(0) {
        Statement::CreateSubscription(statement) => statement,
        other => panic!("{other:?}"),
    }
}

async fn create(deliverer: &Deliverer, text: &str) -> Created {
    deliverer.create(statement(text), BTreeMap::new()).await.unwrap()
}

fn to(receiver: &Receiver, name: &str, rest: &str) -> String {
    format!("CREATE SUBSCRIPTION {name} TO '{}' {rest}", receiver.url())
}

const FAST: &str = "WITH (retry = '50ms, 100ms, ...', handshake = 'skip')";

/// Logs one transition a pair (id, floor), in this order; durable when it returns.
async fn raise(log: &Log, events: &[(&str, &str)]) {
    let now = log.clock().wall_us();
    let transitions: Vec<Transition> = events
        .iter()
        .map(|(id, floor)| Transition {
            event_time: EventTime(now),
            append_time: AppendTime(now),
            ..transition(id, floor)
        })
        .collect();
    log.internal(InternalLog::Alarms).append(transition_rows::encode(&transitions)).await.unwrap();
}

/// Waits until `done`, for ten seconds at most.
async fn eventually(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(10), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The texts of one column of an internal log.
fn column(log: &Log, which: InternalLog, name: &str) -> Vec<String> {
    let mut reader = log.internal(which).reader(log.internal(which).ends().log_start);
    let mut found = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let EntryBody::Rows(batch) = entry.body else { continue };
        let values = arrow::compute::cast(batch.column_by_name(name).unwrap(), &DataType::Utf8);
        let values = values.unwrap();
        let values = values.as_string::<i32>();
        found.extend((0..values.len()).map(|row| values.value(row).to_owned()));
    }
    found
}

/// Ids in the order they were first accepted.
fn without_repeats(seen: &[Seen]) -> Vec<String> {
    let mut ids = Vec::new();
    for one in seen.iter().filter(|one| one.status < 300) {
        if !ids.contains(&one.id()) {
            ids.push(one.id());
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_waits_for_what_a_subscription_has_not_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let old = Retention { age: Some(Duration::from_millis(1)), bytes: None };
    let config = LogConfig {
        segment_bytes_max: 1024,
        retention: [(InternalLog::Alarms, old)].into(),
        ..LogConfig::new(directory.path())
    };
    let log = Log::open(Arc::new(RealDisk), Arc::new(RealClock::new()), config).unwrap();
    let open = Arc::new(AtomicBool::new(false));
    let doors = Arc::clone(&open);
    let receiver =
        Receiver::start(move |_, _| if doors.load(Ordering::SeqCst) { 204 } else { 503 }).await;
    let deliverer = start(&log);
    create(&deliverer, &to(&receiver, "s", FAST)).await;
    for id in ["a", "b", "c", "d"] {
        raise(&log, &[(id, "1")]).await;
    }
    eventually("it was tried", || !receiver.seen().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(log.step_retention(), 0);
    let held = log.internal(InternalLog::Alarms).held_by().unwrap();
    assert_eq!((held.name.as_str(), held.from.0), ("subscription s", 0));
    open.store(true, Ordering::SeqCst);
    eventually("delivered, and then removed", || log.step_retention() > 0).await;
    eventually("all are delivered", || without_repeats(&receiver.seen()).len() == 4).await;
    deliverer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_fails_ten_times_gets_every_event_in_order_per_key_with_the_same_ids() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let receiver = Receiver::start(|n, _| if n < 10 { 503 } else { 204 }).await;
    let deliverer = start(&log);
    create(&deliverer, &to(&receiver, "s", FAST)).await;
    let events: Vec<(String, String)> =
        (0..12).map(|n| (format!("e{n:02}"), (n % 3).to_string())).collect();
    for (id, floor) in &events {
        raise(&log, &[(id, floor)]).await;
    }
    eventually("all delivered", || without_repeats(&receiver.seen()).len() == 12).await;
    let seen = receiver.seen();
    assert_eq!(seen.iter().filter(|one| one.status == 503).count(), 10);
    for floor in ["0", "1", "2"] {
        let of_floor: Vec<Seen> =
            seen.iter().filter(|one| one.data()["key"]["floor"] == floor).cloned().collect();
        let expected: Vec<&String> =
            events.iter().filter(|(_, of)| of == floor).map(|(id, _)| id).collect();
        assert_eq!(without_repeats(&of_floor).iter().collect::<Vec<_>>(), expected, "{floor}");
    }
    deliverer.stop().await;
    eventually("attempts are rows", || {
        column(&log, InternalLog::Deliveries, "outcome").len() == seen.len()
    })
    .await;
    let outcomes = column(&log, InternalLog::Deliveries, "outcome");
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "retry").count(), 10);
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_answers_413_gets_one_attempt_and_the_event_is_a_dead_letter() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let receiver = Receiver::start(|n, _| if n == 0 { 413 } else { 200 }).await;
    let deliverer = start(&log);
    create(&deliverer, &to(&receiver, "s", FAST)).await;
    raise(&log, &[("too_big", "1"), ("next", "1")]).await;
    eventually("the next of the key", || receiver.seen().len() == 2).await;
    let seen = receiver.seen();
    assert_eq!([seen[0].id(), seen[1].id()], ["too_big", "next"]);
    let dead_letters = column(&log, InternalLog::DeadLetters, "reason");
    assert_eq!(
        dead_letters,
        [
            "event too_big of subscription s: the endpoint will not take it; attempts 1, last outcome: HTTP 413"
        ]
    );
    assert_eq!(column(&log, InternalLog::DeadLetters, "code"), ["delivery_refused"]);
    eventually("its attempt is a row", || {
        column(&log, InternalLog::Deliveries, "event_id").contains(&"too_big".to_owned())
    })
    .await;
    assert_eq!(deliverer.redeliver("too_big").await.unwrap(), ["s"]);
    eventually("sent again", || receiver.seen().len() == 3).await;
    assert_eq!(receiver.seen()[2].id(), "too_big");
    assert!(matches!(
        deliverer.redeliver("nobody").await,
        Err(RedeliverError::UnknownEvent(id)) if id == "nobody"
    ));
    deliverer.stop().await;
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_resumes_where_the_old_one_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_, seen| if seen.id() == "stuck" { 500 } else { 204 }).await;
    let secret;
    {
        let log = open(directory.path());
        let deliverer = start(&log);
        raise(&log, &[("before", "1")]).await;
        secret = create(&deliverer, &to(&receiver, "s", FAST)).await.secret.unwrap();
        raise(&log, &[("a", "1"), ("stuck", "2"), ("b", "1")]).await;
        eventually("all but one", || without_repeats(&receiver.seen()).len() == 2).await;
        deliverer.stop().await;
        raise(&log, &[("c", "1"), ("d", "2")]).await;
        log.stop();
    }
    assert_eq!(without_repeats(&receiver.seen()), ["a", "b"]);
    receiver.forget(|_, _| 204);
    let log = open(directory.path());
    let deliverer = start(&log);
    eventually("the rest", || receiver.seen().len() == 3).await;
    let mut ids = without_repeats(&receiver.seen());
    assert!(ids.iter().position(|id| id == "stuck") < ids.iter().position(|id| id == "d"));
    ids.sort();
    assert_eq!(ids, ["c", "d", "stuck"]);
    assert!(receiver.seen().iter().all(|one| one.is_signed_with(&secret)));
    deliverer.stop().await;
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_pending_until_its_endpoint_grants_the_handshake() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let receiver = Receiver::start(|_, _| 204).await;
    receiver.refuse_handshakes(3);
    let deliverer = start(&log);
    let text = to(&receiver, "s", "WITH (retry = '20ms')");
    assert_eq!(create(&deliverer, &text).await.state, SubscriptionState::Pending);
    raise(&log, &[("a", "1")]).await;
    eventually("granted", || deliverer.list()[0].state == SubscriptionState::Active).await;
    eventually("what was logged meanwhile", || receiver.seen().len() == 1).await;
    assert_eq!(receiver.handshakes(), 4);
    deliverer.stop().await;
    let again = start(&log);
    assert_eq!(again.list()[0].state, SubscriptionState::Active, "the grant is durable");
    again.stop().await;
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_receiver_delays_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let slow = Receiver::start(|_, _| 0).await;
    let quick = Receiver::start(|_, _| 204).await;
    let deliverer = start(&log);
    create(&deliverer, &to(&slow, "slow", FAST)).await;
    create(&deliverer, &to(&quick, "quick", FAST)).await;
    for n in 0..50 {
        raise(&log, &[(&format!("e{n}"), "1")]).await;
    }
    eventually("the quick one has all", || quick.seen().len() == 50).await;
    assert_eq!(slow.seen().len(), 1, "one in flight per key");
    deliverer.stop().await;
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_filter_and_where_decide_what_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let receiver = Receiver::start(|_, _| 204).await;
    let deliverer = start(&log);
    let rest = format!("ON '/building/41' FILTER '/floor/*' WHERE floor <> '2' {FAST}");
    let columns = BTreeMap::from([("floor".to_owned(), DataType::Utf8)]);
    let statement = statement(&to(&receiver, "s", &rest));
    deliverer.create(statement, columns).await.unwrap();
    raise(&log, &[("one", "1"), ("two", "2"), ("three", "3")]).await;
    eventually("two of three", || receiver.seen().len() >= 2).await;
    eventually("no lag", || deliverer.list()[0].lag == 0).await;
    let mut ids = without_repeats(&receiver.seen());
    ids.sort();
    assert_eq!(ids, ["one", "three"]);
    deliverer.stop().await;
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_shapes_are_cloud_events() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let receiver = Receiver::start(|_, _| 204).await;
    let deliverer = start(&log);
    let with = |mode| format!("WITH (mode = '{mode}', handshake = 'skip')");
    create(&deliverer, &to(&receiver, "b", &with("binary"))).await;
    create(&deliverer, &to(&receiver, "s", &with("structured"))).await;
    raise(&log, &[("a", "1")]).await;
    eventually("both", || receiver.seen().len() == 2).await;
    let seen = receiver.seen();
    let binary = seen.iter().find(|one| one.header("ce-specversion").is_some()).unwrap();
    assert_eq!(binary.header("content-type").unwrap(), "application/json");
    assert_eq!(binary.header("ce-type").unwrap(), "weir.alarm.raised");
    let structured = seen.iter().find(|one| one.header("ce-specversion").is_none()).unwrap();
    assert!(structured.header("content-type").unwrap().starts_with("application/cloudevents+json"));
    assert_eq!(structured.data(), binary.data());
    deliverer.stop().await;
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_created_is_refused_and_names_are_kept_apart() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let receiver = Receiver::start(|_, _| 204).await;
    let deliverer = start(&log);
    let refused = |text: String| {
        let deliverer = Arc::clone(&deliverer);
        async move { deliverer.create(statement(&text), BTreeMap::new()).await.unwrap_err() }
    };
    let private = "CREATE SUBSCRIPTION p TO 'http://192.168.7.7/hook'".to_owned();
    assert!(matches!(refused(private).await, SubscriptionError::Target(_)));
    let unknown = to(&receiver, "w", "WHERE nosuch = 1");
    assert!(matches!(refused(unknown).await, SubscriptionError::Condition(_)));
    create(&deliverer, &to(&receiver, "s", FAST)).await;
    let twice = to(&receiver, "s", FAST);
    assert!(matches!(refused(twice).await, SubscriptionError::Exists(_)));
    assert_eq!(deliverer.list().len(), 1);
    deliverer.remove("s").await.unwrap();
    assert!(matches!(deliverer.remove("s").await, Err(SubscriptionError::Unknown(_))));
    raise(&log, &[("a", "1")]).await;
    deliverer.stop().await;
    assert_eq!(start(&log).list(), []);
    assert!(receiver.seen().is_empty());
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_leaves_soon_after_it_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let receiver = Receiver::start(|_, _| 204).await;
    let deliverer = start(&log);
    create(&deliverer, &to(&receiver, "s", FAST)).await;
    let mut took = Vec::new();
    for n in 0..60 {
        raise(&log, &[(&format!("e{n}"), &n.to_string())]).await;
        let durable = Instant::now();
        eventually("one more", || receiver.seen().len() == n + 1).await;
        took.push(receiver.seen()[n].at.saturating_duration_since(durable));
    }
    took.sort();
    // The bench measures this; here only that no pause or poll stands between log and wire.
    assert!(took[30] < Duration::from_millis(10), "p50 {:?}, max {:?}", took[30], took[59]);
    deliverer.stop().await;
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_rules_leave_too() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let receiver = Receiver::start(|_, _| 204).await;
    let deliverer = start(&log);
    create(&deliverer, &to(&receiver, "s", FAST)).await;
    let row = Transition { kind: TransitionKind::Row, alarm_id: None, ..transition("r", "1") };
    log.internal(InternalLog::Rows).append(transition_rows::encode(&[row])).await.unwrap();
    eventually("the row", || receiver.seen().len() == 1).await;
    assert_eq!(receiver.seen()[0].body()["type"], "weir.row");
    deliverer.stop().await;
    log.stop();
}
