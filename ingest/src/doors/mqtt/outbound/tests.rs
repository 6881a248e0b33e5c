//! What waits, what is under way, what is sent again.

use super::*;
use crate::doors::mqtt::message::Message;
use bytes::Bytes;
use rmqtt_codec::v5::PublishProperties;
use std::num::NonZeroU32;

const SECOND: i64 = 1_000_000;

fn message(payload: &'static str, expires_s: u32) -> Arc<Message> {
    let message_expiry_interval = NonZeroU32::new(expires_s);
    Arc::new(Message {
        topic: "a/b".into(),
        payload: Bytes::from_static(payload.as_bytes()),
        qos: QoS::ExactlyOnce,
        retain: false,
        properties: PublishProperties { message_expiry_interval, ..PublishProperties::default() },
        arrived_us: 0,
        logged: None,
        counted: Default::default(),
    })
}

fn delivery(payload: &'static str, qos: QoS) -> Delivery {
    Delivery { message: message(payload, 0), qos, retain: false, ids: Vec::new(), to: To::Session }
}

fn outbound(window: usize, deliveries: &[(&'static str, QoS)]) -> Outbound {
    let mut outbound = Outbound::default();
    outbound.resume(window, usize::MAX);
    for (payload, qos) in deliveries {
        assert_eq!(
            outbound.offer(delivery(payload, *qos), &MqttLimits::default()),
            Offered::Waiting
        );
    }
    outbound
}

/// Everything that may be sent now: `payload/id`, a `*` for a repeat, `release/id`.
fn sent(outbound: &mut Outbound, now: i64) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(next) = outbound.next(now) {
        all.push(match next {
            Next::Release(id) => format!("release/{id}"),
            Next::Publish(p) => {
                let id = p.packet_id.map_or(String::new(), |id| format!("/{id}"));
                let dup = if p.dup { "*" } else { "" };
                format!("{}{id}{dup}", String::from_utf8_lossy(&p.payload))
            }
        });
    }
    all
}

fn id(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

#[test]
fn no_more_is_under_way_than_the_client_takes() {
    use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};
    let mut outbound = outbound(2, &[("a", Q1), ("b", Q2), ("c", Q1), ("d", Q0), ("e", Q1)]);
    assert_eq!(sent(&mut outbound, 0), ["a/1", "b/2"], "order is kept: d waits behind c");
    assert!(outbound.acknowledged(id(1)));
    assert_eq!(sent(&mut outbound, 0), ["c/3", "d"]);
    assert!(!outbound.acknowledged(id(2)), "PUBACK is no answer to QoS 2");
    assert!(outbound.received(id(2)));
    assert_eq!(sent(&mut outbound, 0), [""; 0], "it is under way until PUBCOMP");
    assert!(outbound.completed(id(2)) && !outbound.completed(id(2)));
    assert_eq!(sent(&mut outbound, 0), ["e/4"]);
}

#[test]
fn what_was_not_confirmed_comes_again_in_order_before_the_rest() {
    use QoS::{AtLeastOnce as Q1, ExactlyOnce as Q2};
    let mut outbound = outbound(3, &[("a", Q1), ("b", Q2), ("c", Q1), ("d", Q1)]);
    assert_eq!(sent(&mut outbound, 0), ["a/1", "b/2", "c/3"]);
    outbound.received(id(2));
    outbound.leave();
    outbound.resume(2, usize::MAX);
    assert_eq!(sent(&mut outbound, 0), ["a/1*", "release/2"], "a smaller window holds too");
    outbound.acknowledged(id(1));
    assert_eq!(sent(&mut outbound, 0), ["c/3*"]);
    outbound.completed(id(2));
    assert_eq!(sent(&mut outbound, 0), ["d/4"]);
}

#[test]
fn the_catalog_s_copy_goes_on_where_it_was() {
    use QoS::{AtLeastOnce as Q1, AtMostOnce as Q0, ExactlyOnce as Q2};
    let mut before = outbound(2, &[("a", Q1), ("b", Q2), ("c", Q0), ("d", Q1)]);
    sent(&mut before, 0);
    before.received(id(2));
    let (under_way, waiting) = before.kept();
    let mut after = Outbound::restored(under_way, waiting, before.last_id());
    after.resume(10, usize::MAX);
    let next = 2 + u16::MAX / 2 + 1;
    let new = format!("d/{next}");
    assert_eq!(sent(&mut after, 0), ["a/1*", "release/2", &new], "an id nobody may still hold");
}

#[test]
fn nothing_waits_beyond_the_bounds() {
    let limits = MqttLimits { waiting_max: 2, ..MqttLimits::default() };
    let mut outbound = outbound(1, &[]);
    let q1 = |payload| delivery(payload, QoS::AtLeastOnce);
    assert_eq!(outbound.offer(q1("a"), &limits), Offered::Waiting);
    assert_eq!(outbound.offer(q1("b"), &limits), Offered::Waiting);
    assert_eq!(outbound.offer(q1("c"), &limits), Offered::Full);
    let tight = MqttLimits { waiting_bytes_max: 1, ..MqttLimits::default() };
    assert_eq!(outbound.offer(q1("d"), &tight), Offered::Full);
    assert_eq!(sent(&mut outbound, 0), ["a/1"]);
}

#[test]
fn an_expired_message_is_not_sent_and_others_say_what_is_left() {
    let mut outbound = outbound(9, &[]);
    for (payload, expires_s) in [("soon", 2), ("later", 9)] {
        let message = message(payload, expires_s);
        let delivery = Delivery { message, ..delivery("", QoS::AtLeastOnce) };
        outbound.offer(delivery, &MqttLimits::default());
    }
    let Some(Next::Publish(publish)) = outbound.next(3 * SECOND) else { panic!() };
    assert_eq!(&publish.payload[..], b"later");
    assert_eq!(publish.properties.unwrap().message_expiry_interval, NonZeroU32::new(6));
}

#[test]
fn what_the_log_has_is_not_kept_for_a_client_that_left() {
    use crate::model::{PartitionId, StreamUid};
    let mut outbound = outbound(9, &[("relayed", QoS::AtLeastOnce), ("lost", QoS::AtMostOnce)]);
    let place = Place::Readings(StreamUid(1), PartitionId(0));
    for offset in [7, 8] {
        let message = Arc::new(Message {
            logged: Some((place, Offset(offset))),
            ..(*message("reading", 0)).clone()
        });
        let delivery = Delivery { message, ..delivery("", QoS::AtLeastOnce) };
        outbound.offer(delivery, &MqttLimits::default());
    }
    assert_eq!(outbound.leave(), HashMap::from([(place, Offset(7))]));
    outbound.resume(9, usize::MAX);
    assert_eq!(sent(&mut outbound, 0), ["relayed/1"]);
}

#[test]
fn it_is_known_whether_more_is_worth_reading() {
    let one = message("x", 0).bytes();
    let limits =
        MqttLimits { waiting_max: 100, waiting_bytes_max: 3 * one, ..MqttLimits::default() };
    let mut outbound = outbound(10, &[]);
    for (half_empty, offered) in [
        (true, Offered::Waiting),
        (true, Offered::Waiting),
        (false, Offered::Waiting),
        (false, Offered::Full),
    ] {
        assert_eq!(outbound.is_half_empty(&limits), half_empty, "few messages, many bytes");
        assert_eq!(outbound.offer(delivery("x", QoS::AtMostOnce), &limits), offered);
    }
    assert_eq!(outbound.taken(), 0);
    assert_eq!(sent(&mut outbound, 0).len(), 3);
    assert!(outbound.is_half_empty(&limits) && outbound.taken() == 3);
}

#[test]
fn what_has_expired_makes_room() {
    let limits = MqttLimits { waiting_max: 2, ..MqttLimits::default() };
    let mut outbound = outbound(9, &[]);
    let mut offer = |payload, expires_s, now| {
        let mut message = (*message(payload, expires_s)).clone();
        message.arrived_us = now;
        let message = Arc::new(message);
        outbound.offer(Delivery { message, ..delivery("", QoS::AtLeastOnce) }, &limits)
    };
    let offered = [offer("short", 2, 0), offer("long", 0, 0), offer("early", 0, SECOND)];
    assert_eq!(offered, [Offered::Waiting, Offered::Waiting, Offered::Full]);
    assert_eq!(offer("late", 0, 2 * SECOND), Offered::Waiting);
    assert_eq!(sent(&mut outbound, 2 * SECOND), ["long/1", "late/2"]);
}

#[test]
fn no_more_bytes_are_under_way_than_may_wait() {
    let three = ["a", "b", "c"].map(|payload| (payload, QoS::AtLeastOnce));
    let mut outbound = outbound(9, &three);
    outbound.resume(9, 2 * message("a", 0).bytes());
    assert_eq!(sent(&mut outbound, 0), ["a/1", "b/2"]);
    assert!(outbound.acknowledged(id(1)));
    assert_eq!(sent(&mut outbound, 0), ["c/3"]);
    outbound.resume(9, 1);
    assert_eq!(sent(&mut outbound, 0), ["b/2*", "c/3*"], "what was under way is");
}

#[test]
fn what_all_sessions_hold_is_bounded_and_a_message_counts_once() {
    let one = message("x", 0).bytes();
    let limits = MqttLimits { messages_bytes_max: one, ..MqttLimits::default() };
    let held = Held::default();
    let mut sessions = [outbound(9, &[]), outbound(9, &[])];
    sessions.iter_mut().for_each(|outbound| outbound.share(&held));
    let offer = |outbound: &mut Outbound, message: &Arc<Message>| {
        let message = Arc::clone(message);
        outbound.offer(Delivery { message, ..delivery("", QoS::AtLeastOnce) }, &limits)
    };
    let of_two = held.hold((*message("x", 0)).clone());
    for outbound in &mut sessions {
        assert_eq!(offer(outbound, &of_two), Offered::Waiting);
        assert_eq!(offer(outbound, &of_two), Offered::Waiting, "it is held once");
    }
    drop(of_two);
    let more = held.hold((*message("y", 0)).clone());
    let [a, b] = &mut sessions;
    assert_eq!((offer(a, &more), offer(b, &more)), (Offered::Full, Offered::Full));
    sent(a, 0);
    assert_eq!(offer(a, &more), Offered::Waiting, "one may always wait");
    for outbound in &mut sessions {
        *outbound = Outbound::default();
    }
    drop(more);
    assert!(!held.is_over(&MqttLimits { messages_bytes_max: 0, ..MqttLimits::default() }));
}
