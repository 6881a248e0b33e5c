//! Readings and alarms to those who subscribe.

use super::client::{connect, publish};
use super::{Server, TOPIC, reading};
use crate::doors::mqtt::{AlarmEvent, AlarmEvents, MqttLimits};
use crate::log::InternalLog;
use crate::model::Limits;
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{Connect, Packet, Subscribe, SubscriptionOptions};
use std::num::NonZeroU16;
use std::sync::Arc;

/// Alarms whose rows are their subjects.
#[derive(Debug)]
pub(super) struct Named;

impl AlarmEvents for Named {
    fn events(&self, rows: &RecordBatch) -> Vec<AlarmEvent> {
        let subjects = rows.column(0).as_string::<i32>().iter().flatten();
        let event = |subject: &str| format!("{{\"subject\":\"{subject}\"}}");
        subjects.map(|s| AlarmEvent { subject: s.to_owned(), event: event(s) }).collect()
    }
}

fn at(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: QoS::try_from(qos).unwrap(), ..SubscriptionOptions::default() }
}

fn kept(client: &'static str) -> Connect {
    Connect { clean_start: false, session_expiry_interval_secs: 100, ..connect(client) }
}

fn payload_of(n: usize) -> String {
    format!(r#"{{"topic":"{TOPIC}","time":"2026-01-01T00:00:00Z","n":{n}}}"#)
}

#[test]
fn a_reading_comes_to_those_who_subscribe_when_it_is_durable() {
    let server = Server::start();
    let mut new = server.client().named("new");
    let mut old = server.client().v3().named("old");
    assert_eq!(new.subscribe_as("/room/+/s", at(2), Some(7)), 2);
    assert_eq!(old.subscribe("#", at(0)), 0);
    let mut sender = server.client().named("sender");
    for n in 0..3 {
        sender.publish(publish(TOPIC, 1, 1, reading(n)));
        sender.ack();
        let message = new.message();
        assert_eq!((&*message.topic, message.qos), (TOPIC, QoS::ExactlyOnce));
        assert_eq!(message.payload, payload_of(n));
        let properties = message.properties.unwrap();
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
        assert_eq!(properties.subscription_ids[0].get(), 7);
        let message = old.message();
        assert_eq!((message.payload, message.qos), (payload_of(n).into(), QoS::AtMostOnce));
    }
}

#[test]
fn an_alarm_is_told_under_its_subject() {
    let server = Server::start();
    let mut client = server.client().named("a");
    client.subscribe("$weir/alarms/site/berlin/#", at(1));
    let subjects = StringArray::from(vec!["/site/paris/1", "/site/berlin/2"]);
    let batch = RecordBatch::try_from_iter([("subject", Arc::new(subjects) as ArrayRef)]).unwrap();
    server.log.internal(InternalLog::Alarms).append(batch).wait().unwrap();
    let message = client.message();
    assert_eq!(&*message.topic, "$weir/alarms/site/berlin/2");
    assert_eq!(&message.payload[..], br#"{"subject":"/site/berlin/2"}"#);
}

#[test]
fn a_client_that_was_away_gets_what_it_missed_from_the_log() {
    let server = Server::start();
    let mut sleeper = server.client();
    sleeper.hello(kept("sleeper"));
    sleeper.subscribe("/room/#", at(1));
    let mut sender = server.client().named("sender");
    sender.publish(publish(TOPIC, 1, 1, reading(0)));
    sender.ack();
    assert_eq!(sleeper.message().payload, payload_of(0));
    sleeper.ping();
    drop(sleeper);
    for n in 1..200 {
        sender.publish(publish(TOPIC, 1, 1, reading(n)));
        sender.ack();
    }
    let mut sleeper = server.client();
    assert!(sleeper.hello(kept("sleeper")).session_present);
    sender.publish(publish(TOPIC, 1, 1, reading(200)));
    for n in 1..=200 {
        assert_eq!(sleeper.message().payload, payload_of(n), "each once, in order");
    }
    assert_eq!(sleeper.ping(), []);
}

#[test]
fn a_client_that_is_slow_gets_all_of_qos_1_though_little_waits_for_it() {
    let server = Server::with(MqttLimits { waiting_max: 8, ..MqttLimits::default() });
    let mut slow = server.client();
    let receive_max = std::num::NonZeroU16::new(3);
    slow.hello(Connect { receive_max, ..connect("slow") });
    slow.subscribe("/room/#", at(1));
    let mut sender = server.client().named("sender");
    for n in 0..300 {
        sender.publish(publish(TOPIC, 1, 1, reading(n)));
        sender.ack();
    }
    for n in 0..300 {
        assert_eq!(slow.message().payload, payload_of(n), "each once, in order");
    }
}

#[test]
fn rows_that_the_door_leaves_out_are_read_by_each_session() {
    let limits = MqttLimits { live_behind_rows_max: 5, ..MqttLimits::default() };
    let server = Server::manual_with(Limits::default(), limits);
    let mut reader = server.client().named("reader");
    assert_eq!(reader.subscribe("/room/#", at(1)), 1);
    let mut sender = server.client().named("sender");
    for n in 0..20 {
        sender.publish(publish(TOPIC, 1, 1 + n, reading(usize::from(n))));
    }
    sender.ping();
    server.log.step_committers();
    for n in 0..20 {
        assert_eq!(reader.message().payload, payload_of(n), "each once, in order");
    }
}

#[test]
fn a_filter_begins_when_it_is_subscribed_to_though_the_session_is_behind() {
    let server = Server::with(MqttLimits { waiting_max: 8, ..MqttLimits::default() });
    let mut sleeper = server.client();
    sleeper.hello(kept("sleeper"));
    sleeper.subscribe(TOPIC, at(1));
    sleeper.leave();
    let mut sender = server.client().named("sender");
    for n in 0..40 {
        sender.publish(publish(TOPIC, 1, 1, reading(n)));
        sender.ack();
        sender.publish(publish("/room/2/s", 1, 1, reading(n)));
        sender.ack();
    }
    let mut sleeper = server.client();
    let receive_max = NonZeroU16::new(1);
    assert!(sleeper.hello(Connect { receive_max, ..kept("sleeper") }).session_present);
    sleeper.send(Packet::Subscribe(Subscribe {
        packet_id: NonZeroU16::MIN,
        id: None,
        user_properties: Vec::new(),
        topic_filters: vec![("/room/2/s".into(), at(1))],
    }));
    for n in 0..40 {
        assert_eq!(sleeper.message().payload, payload_of(n), "nothing of the other before that");
    }
    sender.publish(publish("/room/2/s", 1, 1, reading(99)));
    assert_eq!(&*sleeper.message().topic, "/room/2/s");
}

#[test]
fn no_further_back_is_read_than_is_configured() {
    let server = Server::with(MqttLimits { catch_up_rows_max: 5, ..MqttLimits::default() });
    let mut sleeper = server.client();
    sleeper.hello(kept("sleeper"));
    sleeper.subscribe("/room/#", at(1));
    sleeper.leave();
    let mut sender = server.client().named("sender");
    for n in 0..20 {
        sender.publish(publish(TOPIC, 1, 1, reading(n)));
        sender.ack();
    }
    let mut sleeper = server.client();
    sleeper.hello(kept("sleeper"));
    assert_eq!(sleeper.message().payload, payload_of(15));
}
