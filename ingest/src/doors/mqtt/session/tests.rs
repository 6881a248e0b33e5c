//! The rules that concern one client, without a socket.

use super::*;
use crate::doors::mqtt::publish::Ack;
use crate::doors::mqtt::verdict::Verdict;
use bytes::Bytes;
use rmqtt_codec::v5::{PublishAck, PublishProperties};

fn session(version: Version) -> Session {
    let mut session = Session::new("c".into());
    let limits = MqttLimits { in_flight_max: 2, topic_alias_max: 3, ..MqttLimits::default() };
    session.resume(1, &Connect::default(), version, &limits);
    session
}

fn publish(topic: &'static str, qos: QoS, id: u16) -> Publish {
    Publish {
        dup: false,
        retain: false,
        qos,
        topic: topic.into(),
        packet_id: NonZeroU16::new(id),
        payload: Bytes::new(),
        properties: Some(PublishProperties::default()),
    }
}

fn with_alias(topic: &'static str, alias: u16) -> Packet {
    let mut publish = publish(topic, QoS::AtMostOnce, 0);
    publish.properties.as_mut().unwrap().topic_alias = NonZeroU16::new(alias);
    Packet::Publish(Box::new(publish))
}

fn ack(id: u16, verdict: Verdict) -> Ack {
    Ack { id: NonZeroU16::new(id), qos: QoS::ExactlyOnce, verdict }
}

fn ending(taken: Result<Step, Ending>) -> (u8, String) {
    let ending = taken.unwrap_err();
    (u8::from(ending.code), ending.what)
}

#[test]
fn a_qos_2_message_is_taken_once_until_its_id_is_released() {
    let mut session = session(Version::V5);
    let packet = || Packet::Publish(Box::new(publish("a", QoS::ExactlyOnce, 7)));
    let id = NonZeroU16::new(7).unwrap();
    assert!(matches!(session.take(packet()), Ok(Step::Publish(_))));
    assert_eq!(session.take(packet()), Ok(Step::Nothing), "the first is on its way");
    session.inbound.settled(&ack(7, Verdict::Taken), Version::V5);
    assert_eq!(session.take(packet()), Ok(Step::Repeat(id)));
    let release = Packet::PublishRelease(ack_2(id, true));
    for code in [0, 0x92] {
        let Ok(Step::Release(Packet::PublishComplete(ack))) = session.take(release.clone()) else {
            panic!()
        };
        assert_eq!(u8::from(ack.reason_code), code);
    }
    assert!(matches!(session.take(packet()), Ok(Step::Publish(_))), "the id is free again");
}

#[test]
fn a_qos_2_message_that_was_not_taken_may_come_again() {
    let failed =
        || Verdict::Failed { code: PublishAckReason::UnspecifiedError, why: String::new() };
    let refused =
        || Verdict::Refused { code: PublishAckReason::UnspecifiedError, why: String::new() };
    for (version, verdict, is_free) in [
        (Version::V5, failed(), true),
        (Version::V3, failed(), true),
        (Version::V5, refused(), true),
        (Version::V3, refused(), false),
        (Version::V5, Verdict::Unheard, false),
    ] {
        let mut session = session(version);
        let packet = || Packet::Publish(Box::new(publish("a", QoS::ExactlyOnce, 7)));
        assert!(matches!(session.take(packet()), Ok(Step::Publish(_))));
        let what = format!("{version:?} {verdict:?}");
        session.inbound.settled(&ack(7, verdict), version);
        let again = session.take(packet());
        assert_eq!(matches!(again, Ok(Step::Publish(_))), is_free, "{what}: {again:?}");
    }
}

#[test]
fn what_nobody_knows_the_end_of_is_taken_again_by_the_next_connection() {
    let mut session = session(Version::V5);
    let packet = |id| Packet::Publish(Box::new(publish("a", QoS::ExactlyOnce, id)));
    assert!(session.take(packet(1)).is_ok() && session.take(packet(2)).is_ok());
    session.inbound.settled(&ack(1, Verdict::Taken), Version::V5);
    session.inbound.begin();
    assert_eq!(session.inbound.taken().len(), 1);
    assert!(matches!(session.take(packet(1)), Ok(Step::Repeat(_))));
    assert!(matches!(session.take(packet(2)), Ok(Step::Publish(_))));
}

#[test]
fn only_a_session_to_keep_has_something_to_be_made_durable() {
    let mut session = session(Version::V5);
    assert!(!session.has_changed(When::Now) && session.changed.is_none());
    session.expiry_s = 1;
    assert!(session.has_changed(When::Now) && session.has_changed(When::Soon));
    assert_eq!(session.changed, Some(When::Now), "who waits is not forgotten");
    let mut gone = Vec::new();
    session.out_of_catalog(&mut gone);
    assert!(gone.is_empty(), "it never was there");
    session.is_saved = true;
    session.out_of_catalog(&mut gone);
    assert_eq!((gone.len(), session.changed), (1, None));
}

#[test]
fn more_than_the_receive_maximum_ends_the_connection_of_5_alone() {
    for (version, code) in [(Version::V5, Some(0x93)), (Version::V3, None)] {
        let mut session = session(version);
        let packet = |id| Packet::Publish(Box::new(publish("a", QoS::AtLeastOnce, id)));
        for id in [1, 2] {
            assert!(matches!(session.take(packet(id)), Ok(Step::Publish(_))));
        }
        let third = session.take(packet(3));
        assert_eq!(third.err().map(|e| u8::from(e.code)), code);
        session.inbound.confirmed();
        assert!(matches!(session.take(packet(4)), Ok(Step::Publish(_))), "{version:?}");
    }
}

#[test]
fn an_alias_stands_for_the_topic_it_was_said_with() {
    let mut session = session(Version::V5);
    for (topic, alias, is) in [("a", 1, "a"), ("", 1, "a"), ("b", 1, "b"), ("", 1, "b")] {
        let Ok(Step::Publish(publish)) = session.take(with_alias(topic, alias)) else { panic!() };
        assert_eq!(publish.topic, is);
    }
    for (topic, alias, code, says) in
        [("a", 4, 0x94, "at most 3"), ("", 2, 0x94, "stands for no topic yet")]
    {
        let (found, why) = ending(session.take(with_alias(topic, alias)));
        assert!(found == code && why.contains(says), "{found:x} {why}");
    }
    session.resume(2, &Connect::default(), Version::V5, &MqttLimits::default());
    assert_eq!(ending(session.take(with_alias("", 1))).0, 0x94, "a new connection knows none");
}

#[test]
fn packets_that_may_not_be_end_the_connection_with_a_sentence() {
    let mut subscribed = publish("a", QoS::AtMostOnce, 0);
    let id = NonZeroU32::new(1).unwrap();
    subscribed.properties.as_mut().unwrap().subscription_ids = vec![id];
    let mut repeat = publish("a", QoS::AtMostOnce, 0);
    repeat.dup = true;
    let kept = Disconnect { session_expiry_interval_secs: Some(5), ..Disconnect::default() };
    for (packet, code, says) in [
        (Packet::Connect(Box::default()), 0x82, "a second CONNECT"),
        (Packet::ConnectAck(Box::default()), 0x82, "only the server sends"),
        (Packet::PingResponse, 0x82, "only the server sends"),
        (Packet::Publish(Box::new(publish("", QoS::AtMostOnce, 0))), 0x82, "neither a topic"),
        (Packet::Publish(Box::new(subscribed)), 0x82, "subscription identifier"),
        (Packet::Publish(Box::new(repeat)), 0x81, "cannot be a repeat"),
        (Packet::Disconnect(kept), 0x82, "cannot be kept by DISCONNECT"),
    ] {
        let (found, why) = ending(session(Version::V5).take(packet));
        assert!(found == code && why.contains(says), "{found:x} {why}");
    }
}

#[test]
fn answers_to_what_is_not_under_way_do_no_harm() {
    let mut session = session(Version::V5);
    let packet_id = NonZeroU16::new(9).unwrap();
    let ack = PublishAck { packet_id, ..PublishAck::default() };
    assert_eq!(session.take(Packet::PublishAck(ack.clone())), Ok(Step::Nothing));
    assert_eq!(
        session.take(Packet::PublishReceived(ack)),
        Ok(Step::Answer(Packet::PublishRelease(ack_2(packet_id, false))))
    );
    assert_eq!(session.take(Packet::PublishComplete(ack_2(packet_id, true))), Ok(Step::Nothing));
}

#[test]
fn a_will_is_kept_unless_the_client_says_goodbye_without_it() {
    for (code, kept) in [
        (DisconnectReasonCode::NormalDisconnection, false),
        (DisconnectReasonCode::DisconnectWithWillMessage, true),
    ] {
        let mut session = session(Version::V5);
        session.will = Some(LastWill {
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "w".into(),
            message: Bytes::new(),
            will_delay_interval_sec: None,
            correlation_data: None,
            message_expiry_interval: None,
            content_type: None,
            user_properties: Vec::new(),
            is_utf8_payload: None,
            response_topic: None,
        });
        assert!(session.take(Packet::Disconnect(Disconnect::new(code))).is_ok());
        assert_eq!(session.will.is_some(), kept);
    }
}
