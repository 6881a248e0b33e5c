//! The latest readings to those who subscribe.

use super::client::{Client, connect, publish};
use super::{Server, reading};
use crate::doors::mqtt::{LatestPage, LatestReadings, MqttLimits};
use crate::log::Stream;
use crate::model::{SeriesId, TopicPattern, reading as stored};
use arrow::array::new_null_array;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{Connect, Packet, RetainHandling, SubscriptionOptions, Unsubscribe};
use std::num::NonZeroU16;
use std::sync::Arc;

/// Every series has one, whose `n` is 1000 more than its id.
#[derive(Debug)]
pub(super) struct Numbered;

impl LatestReadings for Numbered {
    fn page(
        &self,
        stream: &Arc<Stream>,
        pattern: &TopicPattern,
        from: SeriesId,
        at_most: usize,
    ) -> Result<LatestPage, String> {
        let series = stream.series().snapshot();
        let all = from.0..u32::try_from(series.len()).unwrap();
        let matching = all.filter(|id| pattern.matches(series.topic(SeriesId(*id))));
        let ids: Vec<u32> = matching.take(at_most).collect();
        let schema = stored::stored_schema(&stream.definition(), stored::Hidden::default());
        let column = |field: &Arc<arrow::datatypes::Field>| -> ArrayRef {
            match field.name().as_str() {
                stored::TIME => {
                    let times = TimestampMicrosecondArray::from(vec![0; ids.len()]);
                    Arc::new(times.with_timezone("UTC"))
                }
                stored::SERIES => Arc::new(UInt32Array::from(ids.clone())),
                "n" => Arc::new(Int64Array::from_iter_values(
                    ids.iter().map(|id| i64::from(*id) + 1000),
                )),
                _ => new_null_array(field.data_type(), ids.len()),
            }
        };
        let columns = schema.fields().iter().map(column).collect();
        let next = ids.last().filter(|_| ids.len() == at_most).map(|last| SeriesId(last + 1));
        Ok(LatestPage { rows: RecordBatch::try_new(schema, columns).unwrap(), next })
    }
}

fn at(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: QoS::try_from(qos).unwrap(), ..SubscriptionOptions::default() }
}

/// Readings of so many rooms.
fn fill(server: &Server, rooms: usize) {
    let mut sender = server.client().named("sender");
    for room in 0..rooms {
        sender.publish(publish(&format!("/room/{room}/s"), 1, 1, reading(0)));
        assert_eq!(sender.ack().1, 0);
    }
}

fn retained(client: &mut Client) -> (String, String) {
    let Publish { topic, payload, retain, .. } = client.message();
    assert!(retain);
    (topic.to_string(), String::from_utf8(payload.to_vec()).unwrap())
}

/// Messages that were on their way to it. What is retained may come behind the first answer.
fn told(client: &mut Client) -> usize {
    let is_message = |packet: &Packet| matches!(packet, Packet::Publish(_));
    let answers = [client.ping(), client.ping()];
    answers.iter().flatten().filter(|packet| is_message(packet)).count()
}

#[test]
fn who_subscribes_gets_the_latest_reading_of_each_series_that_matches_and_live_ones_behind() {
    let server = Server::retaining(MqttLimits::default());
    fill(&server, 3);
    let mut client = server.client().named("a");
    assert_eq!(client.subscribe_as("/room/1/s", at(1), Some(7)), 1);
    let Publish { payload, qos, retain, properties, .. } = client.message();
    let expected = r#"{"topic":"/room/1/s","time":"1970-01-01T00:00:00Z","n":1001}"#;
    assert_eq!((&payload[..], qos, retain), (expected.as_bytes(), QoS::AtLeastOnce, true));
    assert_eq!(properties.unwrap().subscription_ids[0].get(), 7);
    assert_eq!(client.subscribe("/room/+/s", at(0)), 0);
    let topics: Vec<String> = (0..3).map(|_| retained(&mut client).0).collect();
    assert_eq!(topics, ["/room/0/s", "/room/1/s", "/room/2/s"]);
    server.client().named("other").publish(publish("/room/2/s", 0, 0, reading(5)));
    assert!(!client.message().retain);
}

#[test]
fn all_of_them_come_though_little_may_wait() {
    let limits = MqttLimits { waiting_max: 8, ..MqttLimits::default() };
    let server = Server::retaining(limits);
    fill(&server, 700);
    let mut client = server.client();
    client.hello(Connect { receive_max: NonZeroU16::new(2), ..connect("a") });
    assert_eq!(client.subscribe("#", at(1)), 1);
    for room in 0..700 {
        assert_eq!(retained(&mut client).0, format!("/room/{room}/s"));
    }
    assert_eq!(told(&mut client), 0);
}

#[test]
fn they_come_as_retain_handling_says_and_not_to_groups() {
    let server = Server::retaining(MqttLimits::default());
    fill(&server, 1);
    let mut client = server.client().named("a");
    let handling = |retain_handling| SubscriptionOptions { retain_handling, ..at(0) };
    for (filter, how, comes) in [
        ("#", RetainHandling::NoAtSubscribe, 0),
        ("#", RetainHandling::AtSubscribeNew, 0),
        ("#", RetainHandling::AtSubscribe, 1),
        ("/room/#", RetainHandling::AtSubscribeNew, 1),
        ("/room/#", RetainHandling::AtSubscribeNew, 0),
        ("/other/#", RetainHandling::AtSubscribe, 0),
        ("$share/g/#", RetainHandling::AtSubscribe, 0),
        ("$weir/alarms/#", RetainHandling::AtSubscribe, 0),
    ] {
        assert_eq!(client.subscribe(filter, handling(how)), 0);
        assert_eq!(told(&mut client), comes, "{filter} {how:?}");
    }
}

#[test]
fn who_unsubscribes_before_all_came_gets_no_more() {
    let limits = MqttLimits { waiting_max: 4, ..MqttLimits::default() };
    let server = Server::retaining(limits);
    fill(&server, 50);
    let mut client = server.client();
    client.hello(Connect { receive_max: NonZeroU16::new(1), ..connect("a") });
    assert_eq!(client.subscribe("#", at(1)), 1);
    client.send(Packet::Unsubscribe(Unsubscribe {
        packet_id: NonZeroU16::MIN,
        user_properties: Vec::new(),
        topic_filters: vec!["#".into()],
    }));
    let mut came = 0;
    loop {
        match client.next() {
            Packet::UnsubscribeAck(_) => break,
            Packet::Publish(_) => came += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(came <= 1, "one is in flight");
}
