//! What is in the topic of alarms, for whoever reads committed records.

use crate::published::{LAST, ROOMS};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A hang, not a measure of speed.
const GIVE_UP: Duration = Duration::from_secs(240);

/// The events of a topic, by id.
#[derive(Debug)]
pub(crate) struct Alarms {
    /// What of each does not depend on when it was judged.
    pub(crate) by_id: BTreeMap<String, String>,
    /// How many records say something that another said before.
    pub(crate) repeated: usize,
    /// The newest time of which something was said, by room.
    newest: BTreeMap<String, String>,
    /// Rooms that came to their end.
    last: u32,
}

/// Reads until the last alarm of every room is there.
pub(crate) fn all(brokers: &str, topic: &str, partitions: i32) -> Alarms {
    until(brokers, topic, partitions, |alarms| alarms.last == ROOMS)
}

/// Reads until something was said of every room that happened at `time` or later.
pub(crate) fn since(brokers: &str, topic: &str, partitions: i32, time: &str) {
    until(brokers, topic, partitions, |alarms| {
        let later = alarms.newest.values().filter(|newest| newest.as_str() >= time);
        later.count() as u32 == ROOMS
    });
}

/// Reads until there is enough.
fn until(brokers: &str, topic: &str, partitions: i32, enough: impl Fn(&Alarms) -> bool) -> Alarms {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "reader-of-alarms");
    config.set("isolation.level", "read_committed").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut places = TopicPartitionList::new();
    for partition in 0..partitions {
        places.add_partition_offset(topic, partition, Offset::Beginning).expect("a place");
    }
    consumer.assign(&places).expect("an assignment");
    let mut alarms =
        Alarms { by_id: BTreeMap::new(), repeated: 0, newest: BTreeMap::new(), last: 0 };
    let begun = Instant::now();
    while !enough(&alarms) {
        let (events, newest) = (alarms.by_id.len(), &alarms.newest);
        assert!(begun.elapsed() < GIVE_UP, "{events} events, the newest by room {newest:?}");
        let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let event: Value =
            serde_json::from_slice(record.payload().expect("a value")).expect("JSON");
        let id = event["id"].as_str().expect("every event has an id").to_owned();
        let said = lasting(&event);
        let time = event["data"]["time"].as_str().expect("a time").to_owned();
        let newest = alarms.newest.entry(event["data"]["key"]["room"].to_string()).or_default();
        *newest = time.max(std::mem::take(newest));
        match alarms.by_id.insert(id, said.clone()) {
            None => alarms.last += u32::from(is_last(&event)),
            Some(before) => {
                assert_eq!(before, said, "the same id says the same");
                alarms.repeated += 1;
            }
        }
    }
    alarms
}

fn is_last(event: &Value) -> bool {
    let data = &event["data"];
    data["key"]["sensor"] == LAST && data["state"] == "raised"
}

/// An event without what says when it was judged, and from which offset.
fn lasting(event: &Value) -> String {
    let data = &event["data"];
    let parts = ["rule", "state", "key", "values", "time", "window", "members", "late"];
    let said: Vec<String> = parts.iter().map(|part| format!("{part}={}", data[*part])).collect();
    said.join(" ")
}
