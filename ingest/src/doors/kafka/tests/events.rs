//! CloudEvents by Kafka's binding: one event in each mode is the same row, and a row the same event.

use super::client::{Client, topic_name};
use super::{STREAM, Server, TOPIC, reading};
use crate::doors::kafka::batch::{Batch, Records};
use crate::doors::kafka::rows::{Said, Writing};
use crate::doors::testing::batches;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, MetadataRequest};

/// Header names and values, and the value.
type Event = (Vec<(String, String)>, String);

const HEADERS: [&str; 7] =
    ["content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time"];

/// The first record of a topic.
fn first_of(client: &mut Client, topic: &str) -> Event {
    let partition = FetchPartition::default().with_partition_max_bytes(1);
    let topic =
        FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
    let mut answer = client.ask(11, &request);
    let told = answer.responses[0].partitions.remove(0);
    assert_eq!(told.error_code, 0);
    let batch = Batch::read(told.records).expect("a batch");
    let mut records = Records::new(&batch.records, batch.count);
    let (_, record) = records.next().expect("whole").expect("one");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    assert_eq!(record.key.map(text).as_deref(), Some(TOPIC));
    let header = |name: &str| {
        let value = record.header(&|one| one == name.as_bytes())?;
        Some((name.to_owned(), text(value)))
    };
    (HEADERS.into_iter().filter_map(header).collect(), text(record.value.expect("a value")))
}

/// A record without a key.
fn sent(client: &mut Client, topic: &str, (headers, value): &Event) -> i16 {
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let mut bytes = Vec::new();
    let mut writing = Writing::new(&mut bytes, 0, 0);
    writing.push(&Said { offset: 0, time_ms: 0, key: None, value, headers: &headers });
    writing.finish();
    client.produce_batch(topic, 0, bytes).error_code
}

#[test]
fn a_row_is_an_event_in_either_mode_and_the_event_is_the_same_row_again() {
    let server = Server::start();
    let mut client = server.client();
    client.produce(STREAM, &[(Some(TOPIC), &reading(7))]);
    let structured = first_of(&mut client, "sensors.cloudevents");
    let binary = first_of(&mut client, "sensors.cloudevents.binary");
    let event: serde_json::Value = serde_json::from_str(&structured.1).expect("JSON");
    assert_eq!(structured.0[0].1, "application/cloudevents+json; charset=utf-8");
    assert_eq!(event["data"], serde_json::json!({ "n": 7 }));
    assert_eq!((event["source"].as_str(), event["subject"].as_str()), (Some(TOPIC), Some(TOPIC)));
    for (name, value) in &binary.0[1..] {
        assert_eq!(event[&name[3..]], value.as_str(), "{name}");
    }
    assert_eq!((binary.0.len(), binary.1.as_str()), (7, r#"{"n":7}"#));
    // As if they came from elsewhere: a repeat of an id would be known.
    let mut other = structured.clone();
    other.1 = other.1.replace("\"id\":\"", "\"id\":\"other-");
    for event in [&binary, &other] {
        assert_eq!(sent(&mut client, STREAM, event), 0);
    }
    assert_eq!(server.dead_letters(), Vec::<String>::new());
    let rows: Vec<String> = batches(&server.log.streams().get(STREAM).unwrap().partitions()[0])
        .iter()
        .flat_map(|batch| {
            (0..batch.num_rows()).map(|row| crate::decode::reading_json(batch, row, TOPIC))
        })
        .collect();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| *row == rows[0]), "{rows:?}");
    assert_eq!(sent(&mut client, STREAM, &binary), 0);
    assert_eq!(server.rows(), 3, "a repeat of its id is known");
}

#[test]
fn topics_of_events_are_there_for_who_asks_and_are_not_written() {
    let server = Server::start();
    let mut client = server.client();
    let event = (Vec::new(), reading(1));
    for topic in ["sensors.cloudevents", "sensors.cloudevents.binary"] {
        assert_eq!(sent(&mut client, topic, &event), Code::TopicAuthorizationFailed.code());
    }
    for topic in ["sensors.", "sensors.binary", ".cloudevents", "other.cloudevents"] {
        assert_eq!(sent(&mut client, topic, &event), Code::UnknownTopicOrPartition.code());
    }
    let all = client.ask(8, &MetadataRequest::default().with_topics(None));
    assert_eq!(all.topics.len(), 1, "a pattern of names does not mean the same rows three times");
}
