//! What is made durable for those who wait, whatever others do meanwhile.

use super::Server;
use super::client::{connect, publish};
use crate::doors::mqtt::MqttLimits;
use crate::doors::mqtt::message::Message;
use crate::io::{Call, Disk, Fault, Plan, RealClock, SimulatedDisk};
use crate::log::{Log, LogConfig};
use crate::model::Limits;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{Connect, Packet, PublishAck2, Subscribe, SubscriptionOptions, Unsubscribe};
use std::io::ErrorKind;
use std::num::NonZeroU16;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn at(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: QoS::try_from(qos).unwrap(), ..SubscriptionOptions::default() }
}

fn kept(client: &'static str) -> Connect {
    Connect { clean_start: false, session_expiry_interval_secs: 100, ..connect(client) }
}

#[test]
fn who_subscribes_is_answered_while_another_session_changes_all_the_time() {
    let server = Server::relaying();
    let mut busy = server.client();
    busy.hello(kept("busy"));
    busy.subscribe("chat/#", at(1));
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let message = Message::published(&publish("chat/x", 1, 1, "x"), 0);
            let message = Arc::new(message);
            while !over.load(Ordering::SeqCst) {
                server.door.hub.route(&message, None, &server.door.mqtt);
                std::thread::yield_now();
            }
        });
        let answered = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut other = server.client();
            other.hello(kept("other"));
            other.subscribe("quiet/#", at(1))
        }));
        over.store(true, Ordering::SeqCst);
        assert_eq!(answered.expect("an answer"), 1);
    });
}

#[test]
fn what_cannot_be_made_durable_is_not_answered_and_ends_the_connection() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let (seen, clock) = (Arc::clone(&disk) as Arc<dyn Disk>, Arc::new(RealClock::new()));
    let log = Log::open(seen, clock, LogConfig::new("/log")).expect("a log");
    let limits = MqttLimits { relay: vec!["chat/#".to_owned()], ..MqttLimits::default() };
    let server = Server::over(log, limits, Limits::default());
    let as_before = || {
        let mut client = server.client();
        client.hello(kept("a"));
        client
    };
    let mut client = as_before();
    assert_eq!(client.subscribe("chat/#", at(1)), 1);
    client.publish(publish("chat/x", 2, 1, "x"));
    assert_eq!(client.ack().0, 1);
    let full = Fault::Error(ErrorKind::StorageFull);
    disk.plan(Plan::always(Call::Write, "catalog.redb", full));
    disk.plan(Plan::always(Call::Allocate, "catalog.ballast", full));
    for packet in [
        Packet::Subscribe(Subscribe {
            packet_id: NonZeroU16::MIN,
            id: None,
            user_properties: Vec::new(),
            topic_filters: vec![("quiet/#".into(), at(1))],
        }),
        Packet::Unsubscribe(Unsubscribe {
            packet_id: NonZeroU16::MIN,
            user_properties: Vec::new(),
            topic_filters: vec!["chat/#".into()],
        }),
        Packet::Publish(Box::new(publish("chat/x", 2, 2, "x"))),
        Packet::PublishRelease(PublishAck2 { packet_id: NonZeroU16::MIN, ..Default::default() }),
    ] {
        let mut client = as_before();
        client.send(packet.clone());
        loop {
            match client.next() {
                Packet::Publish(_) => {}
                Packet::Disconnect(end) => break assert_eq!(u8::from(end.reason_code), 0x97),
                other => panic!("{packet:?} was answered: {other:?}"),
            }
        }
    }
    disk.behave();
    assert_eq!(as_before().subscribe("chat/#", at(1)), 1);
}
