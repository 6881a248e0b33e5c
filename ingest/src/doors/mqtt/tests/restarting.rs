//! Sessions and retained messages go on after a restart, in order or not.

use super::client::{Client, connect, publish};
use super::{Server, TOPIC, open, reading};
use crate::doors::mqtt::MqttLimits;
use crate::model::Limits;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{Connect, Packet, PublishAck2, SubscriptionOptions};
use std::num::NonZeroU16;
use std::path::Path;

fn at(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: QoS::try_from(qos).unwrap(), ..SubscriptionOptions::default() }
}

fn kept(client: &'static str) -> Connect {
    Connect { clean_start: false, session_expiry_interval_secs: 100, ..connect(client) }
}

/// A server over this directory; it is stopped in order when dropped.
fn server(directory: &Path) -> Server {
    let limits = MqttLimits { relay: vec!["chat/#".to_owned()], ..MqttLimits::default() };
    Server::over(open(directory), limits, Limits::default())
}

/// What a crash now would leave.
#[allow(clippy::disallowed_methods, reason = "the image is made behind the disk's back")]
fn crashed(directory: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).unwrap() {
            let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if from.is_dir() {
                std::fs::create_dir(&to).unwrap();
                copy(&from, &to);
            } else {
                std::fs::copy(&from, &to).unwrap();
            }
        }
    }
    let image = tempfile::tempdir().unwrap();
    copy(directory, image.path());
    image
}

fn resumed(server: &Server, client: &'static str) -> Client {
    let mut resumed = server.client();
    assert!(resumed.hello(kept(client)).session_present);
    resumed
}

#[test]
fn a_session_gets_what_it_missed_before_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = server(directory.path());
    let mut sleeper = first.client();
    assert!(!sleeper.hello(kept("sleeper")).session_present);
    sleeper.subscribe("/room/#", at(1));
    sleeper.subscribe("chat/#", at(1));
    sleeper.leave();
    let mut sender = first.client().named("sender");
    for n in 0..3 {
        sender.publish(publish(TOPIC, 1, 1, reading(n)));
        sender.ack();
    }
    drop(first);
    let second = server(directory.path());
    let mut sender = second.client().named("sender");
    sender.publish(publish(TOPIC, 1, 1, reading(3)));
    sender.ack();
    let mut sleeper = resumed(&second, "sleeper");
    for n in 0..4 {
        let payload = sleeper.message().payload;
        assert!(payload.ends_with(format!("\"n\":{n}}}").as_bytes()), "{payload:?}");
    }
    sender.publish(publish("chat/x", 1, 1, "hello"));
    assert_eq!(sleeper.message().payload, "hello", "its filters are there");
}

#[test]
fn what_waited_and_is_in_no_log_waits_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = server(directory.path());
    let mut sleeper = first.client();
    sleeper.hello(kept("sleeper"));
    sleeper.subscribe("chat/#", at(1));
    drop(sleeper);
    let mut sender = first.client().named("sender");
    for payload in ["1", "2", "3"] {
        sender.publish(publish("chat/x", 1, 1, payload));
        sender.ack();
    }
    drop(first);
    let second = server(directory.path());
    let mut sleeper = resumed(&second, "sleeper");
    for payload in ["1", "2", "3"] {
        assert_eq!(sleeper.message().payload, payload);
    }
}

#[test]
fn what_was_under_way_comes_again_under_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let first = server(directory.path());
    let mut sleeper = first.client();
    sleeper.hello(kept("sleeper"));
    sleeper.subscribe("/room/#", at(2));
    let mut sender = first.client().named("sender");
    sender.publish(publish(TOPIC, 1, 1, reading(1)));
    let sent = loop {
        if let Packet::Publish(publish) = sleeper.next() {
            break publish;
        }
    };
    drop(first);
    let second = server(directory.path());
    let again = resumed(&second, "sleeper").message();
    assert!(again.dup && !sent.dup);
    assert_eq!((again.packet_id, again.payload), (sent.packet_id, sent.payload));
}

#[test]
fn what_was_subscribed_is_there_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let first = server(directory.path());
    let mut sleeper = first.client();
    sleeper.hello(kept("sleeper"));
    sleeper.subscribe("/room/+/s", at(1));
    sleeper.subscribe("/room/#", at(2));
    let image = crashed(directory.path());
    let second = server(image.path());
    let mut sender = second.client().named("sender");
    sender.publish(publish(TOPIC, 1, 1, reading(3)));
    sender.ack();
    assert_eq!(resumed(&second, "sleeper").message().qos, QoS::ExactlyOnce);
}

#[test]
fn a_qos_2_message_that_comes_again_after_a_crash_is_not_taken_again() {
    let directory = tempfile::tempdir().unwrap();
    let first = server(directory.path());
    let mut sender = first.client();
    sender.hello(kept("sender"));
    sender.publish(publish(TOPIC, 2, 7, reading(1)));
    assert_eq!(sender.ack().0, 7);
    let image = crashed(directory.path());
    let second = server(image.path());
    let mut sender = resumed(&second, "sender");
    let mut repeat = publish(TOPIC, 2, 7, reading(1));
    repeat.dup = true;
    sender.publish(repeat);
    assert_eq!(sender.ack(), (7, 0, String::new()));
    assert_eq!(second.rows(), 1);
}

#[test]
fn an_id_that_was_released_is_another_message_s_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let first = server(directory.path());
    let mut sender = first.client();
    sender.hello(kept("sender"));
    sender.publish(publish(TOPIC, 2, 7, reading(1)));
    sender.ack();
    let packet_id = NonZeroU16::new(7).unwrap();
    sender.send(Packet::PublishRelease(PublishAck2 { packet_id, ..PublishAck2::default() }));
    while !matches!(sender.next(), Packet::PublishComplete(_)) {}
    let image = crashed(directory.path());
    let second = server(image.path());
    let mut sender = resumed(&second, "sender");
    let mut other = publish(TOPIC, 2, 7, reading(2));
    other.dup = true;
    sender.publish(other);
    assert_eq!(sender.ack(), (7, 0, String::new()));
    assert_eq!(second.rows(), 2);
}

#[test]
fn what_is_retained_is_there_after_a_restart_and_what_was_taken_away_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let first = server(directory.path());
    let mut client = first.client().named("a");
    for (topic, payload) in [("chat/1", "one"), ("chat/2", "two"), ("chat/2", "")] {
        let mut message = publish(topic, 1, 1, payload);
        message.retain = true;
        client.publish(message);
        client.ack();
    }
    drop(first);
    let second = server(directory.path());
    let mut client = second.client().named("a");
    client.subscribe("chat/#", at(1));
    let message = client.message();
    assert_eq!((&*message.topic, &message.payload[..]), ("chat/1", &b"one"[..]));
    assert_eq!(client.ping(), []);
}

#[test]
fn a_session_that_is_over_is_not_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = server(directory.path());
    for client in ["anew", "short"] {
        let mut client_of = first.client();
        client_of.hello(kept(client));
        client_of.subscribe("chat/#", at(1));
        client_of.leave();
    }
    first.client().named("anew").leave();
    let mut short = first.client();
    let until_it_leaves = Connect { session_expiry_interval_secs: 0, ..kept("short") };
    assert!(short.hello(until_it_leaves).session_present);
    drop(first);
    let second = server(directory.path());
    for client in ["anew", "short"] {
        assert!(!second.client().hello(kept(client)).session_present, "{client}");
    }
}
