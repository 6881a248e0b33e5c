//! Readings go the way of readings over HTTP.

use super::client::{connect, publish, will};
use super::{Server, TOPIC, reading};
use crate::decode::testing::{options, stream};
use crate::doors::mqtt::MqttLimits;
use crate::model::Limits;
use rmqtt_codec::v5::{Connect, Packet, PublishAck2};
use std::num::NonZeroU16;
use std::time::Duration;

#[test]
fn readings_of_every_qos_and_version_become_rows() {
    let server = Server::start();
    for (client, v3) in [("old", true), ("new", false)] {
        let client =
            if v3 { server.client().v3().named(client) } else { server.client().named(client) };
        let mut client = client;
        client.publish(publish(TOPIC, 0, 0, reading(0)));
        client.publish(publish(TOPIC, 1, 1, reading(1)));
        assert_eq!(client.ack(), (1, 0, String::new()));
        client.publish(publish(TOPIC, 2, 1, reading(2)));
        assert_eq!(client.ack(), (1, 0, String::new()));
        let ack = PublishAck2 { packet_id: NonZeroU16::MIN, ..PublishAck2::default() };
        client.send(Packet::PublishRelease(ack));
        assert!(matches!(client.next(), Packet::PublishComplete(ack) if ack.packet_id.get() == 1));
        client.publish(publish(TOPIC, 1, 2, format!("[{},{}]", reading(3), reading(4))));
        assert_eq!(client.ack(), (2, 0, String::new()));
    }
    assert_eq!((server.rows(), server.dead_letters().len()), (10, 0));
}

#[test]
fn the_confirmation_comes_when_the_rows_are_durable_and_not_before() {
    let server = Server::manual(Limits::default());
    let mut client = server.client().named("a");
    for id in 1..=3 {
        client.publish(publish(TOPIC, if id == 2 { 2 } else { 1 }, id, reading(1)));
        assert_eq!(client.ping(), [], "the connection goes on, nothing is confirmed");
    }
    assert_eq!(server.rows(), 0);
    assert!(server.budget.in_flight() > 0);
    server.log.step_committers();
    assert_eq!([1, 2, 3].map(|_| client.ack().0), [1, 2, 3]);
    client.ping();
    assert_eq!((server.rows(), server.budget.in_flight()), (3, 0));
}

#[test]
fn a_thousand_in_flight_are_confirmed_in_order_in_few_syncs() {
    let server = Server::start();
    let mut client = server.client().named("a");
    for id in 1..=1000 {
        client.publish(publish(TOPIC, 1, id, reading(usize::from(id))));
    }
    for id in 1..=1000 {
        assert_eq!(client.ack().0, id);
    }
    assert_eq!(server.rows(), 1000);
}

#[test]
fn what_is_refused_is_told_to_5_and_a_dead_letter_for_both() {
    let cases: [(&str, &str, u8, &str, &str); 6] = [
        (TOPIC, "{", 0x99, "not valid JSON", "json"),
        (TOPIC, r#"{"time":1,"n":"x"}"#, 0x99, "should be an integer", "wrong_type"),
        (TOPIC, r#"{"n":1}"#, 0x99, "has no 'time'", "missing_time"),
        ("/nobody/listens", r#"{"time":1}"#, 0x90, "no stream takes the topic", "no_stream"),
        ("/room/+/s", r#"{"time":1}"#, 0x90, "the wildcard '+'", "topic"),
        ("$SYS/uptime", r#"{"time":1}"#, 0x90, "only the server publishes under", "topic"),
    ];
    let server = Server::start();
    let mut new = server.client().named("new");
    let mut old = server.client().v3().named("old");
    for (n, (topic, payload, code, says, word)) in cases.into_iter().enumerate() {
        new.publish(publish(topic, 1, 7, payload));
        let (_, found, why) = new.ack();
        assert!(found == code && why.contains(says), "{topic} {payload}: {found:x} {why}");
        old.publish(publish(topic, 2, u16::try_from(n).unwrap() + 1, payload));
        assert_eq!(old.ack().1, 0, "3.1.1 has no word for it");
        let letter = format!("{topic} {word}");
        assert_eq!(server.dead_letters()[2 * n..], [letter.clone(), letter]);
        new.publish(publish(TOPIC, 1, 8, reading(n)));
        assert_eq!(new.ack(), (8, 0, String::new()), "the next one is taken");
    }
    assert_eq!(server.rows(), 6);
}

#[test]
fn over_the_budget_the_socket_is_read_no_further() {
    let limits = Limits { ingest_bytes_max: 200 * 1024, ..Limits::default() };
    let server = Server::manual(limits);
    let mut client = server.client().named("a");
    let long = format!(r#"{{"time":1,"label":"{}"}}"#, "x".repeat(20_000));
    let writer = std::thread::spawn(move || {
        for id in 1..=100 {
            client.publish(publish(TOPIC, 1, id, long.as_str()));
        }
        for id in 1..=100 {
            assert_eq!(client.ack().0, id);
        }
    });
    while !writer.is_finished() {
        assert!(server.budget.in_flight() <= 200 * 1024);
        server.log.step_committers();
        std::thread::yield_now();
    }
    writer.join().expect("all confirmed");
    assert_eq!(server.rows(), 100);
}

#[test]
fn a_client_is_told_what_holds_and_who_it_is() {
    let limits = MqttLimits { keep_alive_s_max: 60, ..MqttLimits::default() };
    let server = Server::with(limits);
    let mut client = server.client();
    let ack = client.hello(Connect { keep_alive: 120, ..connect("") });
    assert_eq!((u8::from(ack.reason_code), ack.session_present), (0, false));
    assert_eq!(ack.server_keepalive_sec, Some(60));
    assert_eq!((ack.receive_max.get(), ack.topic_alias_max), (1024, 64));
    assert!(ack.assigned_client_id.is_some_and(|id| id.starts_with("weir-")));
    assert_eq!(client.ping(), []);
}

#[test]
fn a_silent_client_is_gone_after_its_keep_alive() {
    let server = Server::start();
    let mut client = server.client();
    client.hello(Connect { keep_alive: 1, ..connect("a") });
    let (code, why) = client.ended();
    assert!(code == 0x8d && why.contains("keep-alive"), "{code:x} {why}");
}

#[test]
fn the_newest_connection_of_a_client_is_the_one() {
    let server = Server::start();
    let mut first = server.client().named("a");
    let mut second = server.client().named("a");
    assert_eq!(first.ended().0, 0x8e);
    assert_eq!(second.ping(), []);
}

#[test]
fn a_stop_confirms_what_is_under_way_and_says_goodbye() {
    let mut server = Server::start();
    let mut client = server.client().named("a");
    client.publish(publish(TOPIC, 1, 1, reading(1)));
    client.ping();
    server.stop();
    let mut acks = 0;
    while let Some(packet) = client.try_next() {
        match packet {
            Packet::PublishAck(_) => acks += 1,
            Packet::Disconnect(disconnect) => assert_eq!(u8::from(disconnect.reason_code), 0x8b),
            other => panic!("{other:?}"),
        }
    }
    assert!(server.rows() == 1 && acks <= 1);
}

#[test]
fn a_will_that_is_not_confirmed_is_published_again() {
    let server = Server::manual(Limits { partition_bytes_max: 1, ..Limits::default() });
    let mut sender = server.client().named("sender");
    sender.publish(publish(TOPIC, 1, 1, reading(1)));
    sender.ping();
    let mut mortal = server.client();
    let last_will = Some(will(TOPIC, reading(2)));
    mortal.hello(Connect { last_will, ..connect("mortal") });
    drop(mortal);
    let look_again = || std::thread::sleep(Duration::from_millis(20));
    while !server.door.metrics.render().contains("again") {
        look_again();
    }
    while server.rows() < 2 {
        server.log.step_committers();
        look_again();
    }
    assert_eq!(sender.ack(), (1, 0, String::new()));
}

#[test]
fn a_partition_without_room_fails_its_own_messages_alone() {
    let server = Server::manual(Limits { partition_bytes_max: 1, ..Limits::default() });
    let halls = stream("halls", "n BIGINT", "/hall/{hall}/s", options());
    server.log.create_stream(halls).unwrap();
    let halls = server.log.streams().get("halls").unwrap();
    let mut first = server.client().named("first");
    first.publish(publish(TOPIC, 1, 1, reading(1)));
    first.ping();
    let mut second = server.client().named("second");
    let packet = |(topic, id)| Packet::Publish(Box::new(publish(topic, 1, id, reading(2))));
    second.send_together([(TOPIC, 1), ("/hall/1/s", 2)].map(packet).to_vec());
    while halls.partitions()[0].waiting_bytes() == 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    server.log.step_committers();
    let (id, code, why) = second.ack();
    assert!((id, code) == (1, 0x97) && why.contains("waiting for its disk"), "{code:x} {why}");
    assert_eq!(second.ack(), (2, 0, String::new()));
    assert_eq!((first.ack().0, server.rows()), (1, 1));
}

#[test]
fn what_is_retained_is_taken_away_only_where_it_could_be() {
    let server = Server::start();
    let mut client = server.client().named("a");
    for (topic, code) in [(TOPIC, 0), ("/room/9/s", 0), ("/nobody", 0x90)] {
        let mut message = publish(topic, 1, 1, "");
        message.retain = true;
        client.publish(message);
        assert_eq!(client.ack().1, code, "{topic}");
    }
    assert_eq!((server.rows(), server.dead_letters().len()), (0, 1));
}
