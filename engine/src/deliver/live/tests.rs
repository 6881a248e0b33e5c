//! Live tails: what matches, in order, and nobody waits for anybody.

use super::*;
use crate::alarms::transition_rows;
use crate::deliver::event::tests::transition;
use futures::StreamExt;
use serde_json::Value;
use std::time::Duration;
use weir_ingest::io::{RealClock, RealDisk};
use weir_ingest::log::LogConfig;
use weir_ingest::model::{
    Column, ColumnType, StreamDefinition, StreamOptions, TopicTemplate, reading::Hidden,
};

fn open(directory: &std::path::Path) -> Arc<Log> {
    Log::open(Arc::new(RealDisk), Arc::new(RealClock::new()), LogConfig::new(directory)).unwrap()
}

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::parse(text).unwrap()
}

async fn raise(log: &Log, ids: &[(&str, &str)]) {
    let transitions: Vec<_> = ids.iter().map(|(id, floor)| transition(id, floor)).collect();
    log.internal(InternalLog::Alarms).append(transition_rows::encode(&transitions)).await.unwrap();
}

async fn next(stream: &mut LiveStream) -> LiveEvent {
    tokio::time::timeout(Duration::from_secs(10), stream.next()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_gets_the_alarms_that_match_from_now_on() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let hub = LiveHub::start(Arc::clone(&log));
    raise(&log, &[("before", "1")]).await;
    let mut floor_1 = hub.subscribe(LiveKind::Alarms, pattern("/building/+/floor/1"));
    let mut all = hub.subscribe(LiveKind::Alarms, pattern("#"));
    raise(&log, &[("a", "1"), ("b", "2")]).await;
    raise(&log, &[("c", "1")]).await;
    for id in ["a", "c"] {
        let event = next(&mut floor_1).await;
        assert_eq!((&*event.id, event.event), (id, "alarm"));
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data["type"], "weir.alarm.raised");
    }
    for id in ["a", "b", "c"] {
        assert_eq!(&*next(&mut all).await.id, id);
    }
    hub.stop();
    assert_eq!(all.next().await, None);
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_listener_is_told_what_it_missed_and_delays_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let hub = LiveHub::start(Arc::clone(&log));
    let mut slow = hub.subscribe(LiveKind::Alarms, pattern("#"));
    let mut quick = hub.subscribe(LiveKind::Alarms, pattern("#"));
    let total = LIVE_EVENTS_MAX + 100;
    let mut heard = 0;
    for chunk in (0..total).collect::<Vec<_>>().chunks(100) {
        let ids: Vec<String> = chunk.iter().map(|n| format!("e{n}")).collect();
        let events: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "1")).collect();
        raise(&log, &events).await;
        for _ in chunk {
            assert_eq!(next(&mut quick).await.event, "alarm");
            heard += 1;
        }
    }
    assert_eq!(heard, total);
    for n in 0..LIVE_EVENTS_MAX {
        assert_eq!(*next(&mut slow).await.id, *format!("e{n}"));
    }
    let lagged = next(&mut slow).await;
    assert_eq!((lagged.event, &*lagged.data), ("lagged", r#"{"missed":100}"#));
    raise(&log, &[("after", "1")]).await;
    assert_eq!(&*next(&mut slow).await.id, "after");
    hub.stop();
    log.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readings_of_streams_old_and_new_are_told_as_json() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let hub = LiveHub::start(Arc::clone(&log));
    create_stream(&log, "climate");
    let mut room_1 = hub.subscribe(LiveKind::Readings, pattern("/climate/1"));
    publish(&log, "climate", &["/climate/1", "/climate/2"]).await;
    let event = next(&mut room_1).await;
    assert_eq!(event.event, "reading");
    let data: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(
        data,
        serde_json::json!({ "topic": "/climate/1", "time": "2026-01-01T00:00:00Z", "co2": 400.5 })
    );
    let mut new = hub.subscribe(LiveKind::Readings, pattern("/later/#"));
    create_stream(&log, "later");
    publish(&log, "later", &["/later/9"]).await;
    assert!(next(&mut new).await.data.contains("/later/9"));
    hub.stop();
    log.stop();
}

fn create_stream(log: &Log, name: &str) {
    let column = Column { name: "co2".to_owned(), column_type: ColumnType::Double, unit: None };
    let template = TopicTemplate::parse(&format!("/{name}/{{room}}")).unwrap();
    let definition =
        StreamDefinition::new(name, vec![column], template, StreamOptions::default()).unwrap();
    log.create_stream(definition).unwrap();
}

async fn publish(log: &Log, stream: &str, topics: &[&str]) {
    let definition = log.streams().get(stream).unwrap().definition();
    for topic in topics {
        let route = log.streams().route(topic).unwrap();
        let schema = reading::stored_schema(&definition, Hidden::default());
        let time = arrow::array::TimestampMicrosecondArray::from(vec![1_767_225_600_000_000])
            .with_timezone("UTC");
        let batch = RecordBatch::try_new(
            schema,
            vec![
                Arc::new(time),
                Arc::new(arrow::array::UInt32Array::from(vec![route.series.0])),
                Arc::new(arrow::array::Float64Array::from(vec![400.5])),
            ],
        )
        .unwrap();
        let partition = &route.stream.partitions()[route.partition.0 as usize];
        partition.append(batch).await.unwrap();
    }
}
