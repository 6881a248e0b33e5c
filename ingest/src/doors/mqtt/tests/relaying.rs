//! Messages that are only passed on.

use super::Server;
use super::client::{connect, publish, will};
use crate::doors::mqtt::MqttLimits;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{Connect, Packet, Subscribe, SubscriptionOptions};
use std::num::NonZeroU16;

fn at(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: QoS::try_from(qos).unwrap(), ..SubscriptionOptions::default() }
}

#[test]
fn a_message_goes_as_it_is_to_those_who_subscribe() {
    let server = Server::relaying();
    let mut new = server.client().named("new");
    let mut old = server.client().v3().named("old");
    assert_eq!((new.subscribe("chat/#", at(2)), old.subscribe("chat/+", at(1))), (2, 1));
    let mut message = publish("chat/1", 2, 1, "hello");
    message.properties.as_mut().unwrap().user_properties = vec![("a".into(), "b".into())];
    new.publish(message);
    let (to_new, to_old) = (new.message(), old.message());
    assert_eq!((to_new.qos.value(), to_old.qos.value()), (2, 1));
    assert_eq!((&to_new.payload[..], &to_old.payload[..]), (&b"hello"[..], &b"hello"[..]));
    assert_eq!(to_new.properties.unwrap().user_properties.len(), 1);
}

#[test]
fn nobody_may_subscribe_to_what_is_private() {
    let text = |filter: &str| vec![filter.to_owned()];
    let server = Server::with(MqttLimits {
        relay: text("#"),
        private: text("own/#"),
        ..MqttLimits::default()
    });
    let mut client = server.client().named("new");
    for filter in ["own/a", "own/+/b", "own/#", "own"] {
        assert_eq!(client.subscribe(filter, at(2)), 0x80, "{filter}");
    }
    assert_eq!(server.client().v3().named("old").subscribe("own/a", at(2)), 0x80);
    assert_eq!(client.subscribe("#", at(1)), 1);
    for (topic, code) in [("own/a", 0x10), ("others/a", 0)] {
        client.publish(publish(topic, 1, 1, "hello"));
        assert_eq!(client.ack().1, code, "{topic}");
    }
}

#[test]
fn nobody_to_hear_it_is_told() {
    let server = Server::relaying();
    let mut client = server.client().named("a");
    client.publish(publish("chat/1", 1, 1, "hello"));
    assert_eq!(client.ack().1, 0x10);
    assert_eq!((server.rows(), server.dead_letters().len()), (0, 0));
}

#[test]
fn topics_to_the_client_become_aliases() {
    let server = Server::relaying();
    let mut client = server.client();
    client.hello(Connect { topic_alias_max: 1, ..connect("a") });
    client.subscribe("#", at(0));
    let mut seen = Vec::new();
    for topic in ["x", "x", "y", "x"] {
        client.publish(publish(topic, 0, 0, "p"));
        let message = client.message();
        let alias = message.properties.unwrap().topic_alias.map(NonZeroU16::get);
        seen.push((message.topic.to_string(), alias));
    }
    let expected = [("x", Some(1)), ("", Some(1)), ("y", None), ("", Some(1))];
    assert_eq!(seen, expected.map(|(topic, alias)| (topic.to_owned(), alias)));
}

#[test]
fn a_will_is_told_when_the_client_is_gone_without_a_word() {
    let server = Server::relaying();
    let mut watcher = server.client().named("watcher");
    watcher.subscribe("wills/#", at(1));
    let mut mortal = server.client();
    mortal.hello(Connect { last_will: Some(will("wills/a", "gone")), ..connect("mortal") });
    drop(mortal);
    let message = watcher.message();
    assert_eq!((&*message.topic, &message.payload[..]), ("wills/a", &b"gone"[..]));
    assert_eq!(message.properties.unwrap().user_properties.len(), 1);
}

#[test]
fn a_client_that_reads_nothing_any_more_is_gone_after_its_keep_alive() {
    let server = Server::relaying();
    let mut watcher = server.client().named("watcher");
    watcher.subscribe("wills/#", at(1));
    let mut frozen = server.client();
    let last_will = Some(will("wills/frozen", "gone"));
    frozen.hello(Connect { keep_alive: 1, last_will, ..connect("frozen") });
    frozen.send(Packet::Subscribe(Subscribe {
        packet_id: NonZeroU16::MIN,
        id: None,
        user_properties: Vec::new(),
        topic_filters: vec![("loud".into(), at(0))],
    }));
    let mut loud = server.client().named("loud");
    let payload = "x".repeat(60_000);
    for n in 1..=400 {
        loud.publish(publish("loud", 1, n, payload.clone()));
        assert_eq!(loud.ack().0, n);
    }
    assert_eq!(&*watcher.message().topic, "wills/frozen");
}

#[test]
fn a_will_is_told_before_the_goodbye() {
    let server = Server::relaying();
    let mut watcher = server.client().named("watcher");
    watcher.subscribe("wills/#", at(1));
    let mut rude = server.client();
    rude.hello(Connect { last_will: Some(will("wills/rude", "gone")), ..connect("rude") });
    rude.write(b"\x00\x00");
    assert!(matches!(rude.next(), Packet::Disconnect(_)));
    server.client().named("other").publish(publish("wills/after", 1, 1, "x"));
    assert_eq!(&*watcher.message().topic, "wills/rude");
    assert_eq!(&*watcher.message().topic, "wills/after");
}

#[test]
fn more_than_is_written_at_once_comes_without_another_word() {
    let server = Server::relaying();
    let mut sender = server.client().named("sender");
    for n in 1..=10 {
        let mut message = publish(&format!("big/{n}"), 1, n, "x".repeat(60_000));
        message.retain = true;
        sender.publish(message);
        sender.ack();
    }
    let mut reader = server.client().named("reader");
    assert_eq!(reader.subscribe("big/#", at(0)), 0);
    for _ in 0..10 {
        assert_eq!(reader.message().payload.len(), 60_000);
    }
}

#[test]
fn all_that_is_retained_comes_though_little_may_wait() {
    let server = Server::with(MqttLimits {
        relay: vec!["#".to_owned()],
        waiting_max: 8,
        ..MqttLimits::default()
    });
    let mut sender = server.client().named("sender");
    for n in 1..=100 {
        let mut message = publish(&format!("kept/{n}"), 1, n, "x");
        message.retain = true;
        sender.publish(message);
        sender.ack();
    }
    for qos in [0, 1] {
        let mut reader = server.client().named("reader");
        assert_eq!(reader.subscribe("kept/#", at(qos)), qos);
        let mut topics: Vec<_> = (0..100).map(|_| reader.message().topic).collect();
        topics.dedup();
        assert_eq!(topics.len(), 100);
    }
}

#[test]
fn what_is_no_topic_is_not_passed_on_either() {
    let server = Server::relaying();
    let mut subscriber = server.client().named("subscriber");
    assert_eq!(subscriber.subscribe("#", at(1)), 1);
    let mut sender = server.client().named("sender");
    let long = "x".repeat(513);
    for topic in ["a/+", "#", "a\0b", &long, &"a/".repeat(40)] {
        let mut message = publish(topic, 1, 1, "poison");
        message.retain = true;
        sender.publish(message);
        let (_, code, why) = sender.ack();
        assert!(code == 0x90 && !why.is_empty(), "{topic}: {code:x} {why}");
    }
    assert_eq!(subscriber.ping(), []);
    let mut late = server.client().named("late");
    assert_eq!(late.subscribe("#", at(1)), 1);
    assert_eq!(late.ping(), []);
    assert_eq!(server.dead_letters().len(), 5);
}

#[test]
fn a_session_goes_on_where_its_connection_ended() {
    let server = Server::relaying();
    let kept =
        || Connect { clean_start: false, session_expiry_interval_secs: 100, ..connect("sleeper") };
    let mut sleeper = server.client();
    assert!(!sleeper.hello(kept()).session_present);
    sleeper.subscribe("chat/#", at(1));
    drop(sleeper);
    let mut other = server.client().named("other");
    for payload in ["1", "2", "3"] {
        other.publish(publish("chat/x", 1, 1, payload));
        assert_eq!(other.ack().1, 0);
    }
    let mut again = server.client();
    assert!(again.hello(kept()).session_present);
    for payload in ["1", "2", "3"] {
        assert_eq!(again.message().payload, payload);
    }
}
