//! Who gets what, without sockets.

use super::*;
use crate::doors::mqtt::session::{Behind, Subscription, When};
use crate::doors::mqtt::wire::Version;
use bytes::Bytes;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{
    Connect, Disconnect, DisconnectReasonCode, LastWill, Packet, PublishProperties, RetainHandling,
    SubscribeAckReason, SubscriptionOptions,
};
use std::num::NonZeroU32;

const SECOND: i64 = 1_000_000;

fn hub() -> Hub {
    Hub::new(&MqttLimits::default()).unwrap()
}

fn connect(hub: &Hub, client: &'static str) -> Connected {
    connect_as(hub, &kept(client, 100))
}

fn kept(client: &'static str, expiry_s: u32) -> Connect {
    Connect {
        client_id: client.into(),
        session_expiry_interval_secs: expiry_s,
        ..Connect::default()
    }
}

fn connect_as(hub: &Hub, connect: &Connect) -> Connected {
    hub.connect(connect, Version::V5, &MqttLimits::default()).unwrap()
}

fn subscription(qos: QoS, id: u32) -> Subscription {
    let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    Subscription { options, id: NonZeroU32::new(id) }
}

/// A seat and the connection it has.
fn at(seat: &Arc<Seat>) -> (&Arc<Seat>, u64) {
    (seat, seat.session.lock().link.unwrap())
}

fn subscribe(hub: &Hub, seat: &Arc<Seat>, filter: &'static str, with: Subscription) {
    let one = hub.subscribe(at(seat), &filter.into(), with, 0, &MqttLimits::default()).unwrap();
    assert!(one.why.is_none(), "{:?}", one.why);
}

/// What comes with a subscription.
fn retained(hub: &Hub, seat: &Arc<Seat>, filter: &'static str, with: Subscription) -> Vec<String> {
    got(seat);
    subscribe(hub, seat, filter, with);
    topics(seat)
}

fn topics(seat: &Arc<Seat>) -> Vec<String> {
    got(seat).iter().map(|one| one.split(' ').next().unwrap().to_owned()).collect()
}

fn message(topic: &'static str, payload: &'static str, retain: bool) -> Arc<Message> {
    Arc::new(Message {
        topic: topic.into(),
        payload: Bytes::from_static(payload.as_bytes()),
        qos: QoS::ExactlyOnce,
        retain,
        properties: PublishProperties::default(),
        arrived_us: 0,
        logged: None,
        counted: Default::default(),
    })
}

fn route(hub: &Hub, topic: &'static str, from: Option<&Arc<Seat>>) -> usize {
    hub.route(&message(topic, "x", false), from, &MqttLimits::default()).matched
}

/// What waits for a client: `topic qos [ids]`.
fn got(seat: &Arc<Seat>) -> Vec<String> {
    use crate::doors::mqtt::outbound::Next;
    let mut session = seat.session.lock();
    let mut all = Vec::new();
    while let Some(Next::Publish(publish)) = session.outbound.next(0) {
        let ids = publish.properties.unwrap().subscription_ids;
        all.push(format!("{} {} {ids:?}", publish.topic, publish.qos.value()));
    }
    all
}

#[test]
fn a_message_comes_once_with_the_highest_qos_and_all_identifiers() {
    let hub = hub();
    let a = connect(&hub, "a").seat;
    subscribe(&hub, &a, "x/#", subscription(QoS::AtLeastOnce, 3));
    subscribe(&hub, &a, "x/+", subscription(QoS::ExactlyOnce, 2));
    assert_eq!(route(&hub, "x/y", None), 1);
    assert_eq!(got(&a), ["x/y 2 [3, 2]"]);
    assert_eq!(route(&hub, "y", None), 0);
    subscribe(&hub, &a, "x/+", subscription(QoS::AtMostOnce, 9));
    route(&hub, "x/y", None);
    assert_eq!(got(&a), ["x/y 1 [3, 9]"], "the newer of two alike holds");
    hub.unsubscribe(at(&a), &"x/#".into()).unwrap();
    route(&hub, "x/y", None);
    assert_eq!(got(&a), ["x/y 0 [9]"]);
}

#[test]
fn wildcards_do_not_see_what_begins_with_a_dollar() {
    let hub = hub();
    let a = connect(&hub, "a").seat;
    for filter in ["#", "+/alarms"] {
        subscribe(&hub, &a, filter, subscription(QoS::AtMostOnce, 0));
    }
    assert_eq!(route(&hub, "$weir/alarms", None), 0);
    subscribe(&hub, &a, "$weir/#", subscription(QoS::AtMostOnce, 0));
    assert_eq!(route(&hub, "$weir/alarms", None), 1);
}

#[test]
fn one_member_of_a_group_gets_it_and_they_take_turns() {
    let hub = hub();
    let (a, b) = (connect(&hub, "a"), connect(&hub, "b").seat);
    for seat in [&a.seat, &b] {
        subscribe(&hub, seat, "$share/g/x", subscription(QoS::AtLeastOnce, 0));
    }
    for _ in 0..4 {
        assert_eq!(route(&hub, "x", None), 1);
    }
    assert_eq!((got(&a.seat).len(), got(&b).len()), (2, 2));
    hub.disconnect(&a.seat, a.link, 0, &MqttLimits::default());
    route(&hub, "x", None);
    route(&hub, "x", None);
    assert_eq!(got(&b).len(), 2, "those that are connected come first");
}

/// Rows of the log of alarms from an offset on; how many found no room.
fn tell(hub: &Hub, offsets: std::ops::Range<u64>, limits: &MqttLimits) -> u64 {
    let end = Offset(offsets.end);
    let row = |offset| Row { offset: Offset(offset), topic: "$weir/alarms/x", series: None };
    let make = |row: &Row<'_>| {
        Message::logged(row.topic, row.offset.0.to_string(), (Place::Alarms, row.offset), 0)
    };
    hub.tell(Place::Alarms, offsets.map(row), end, make, limits)
}

#[test]
fn a_row_that_a_group_shares_goes_to_a_member_with_room_and_is_counted_without_one() {
    let (hub, limits) = (hub(), MqttLimits { waiting_max: 2, ..MqttLimits::default() });
    let (a, b) = (connect(&hub, "a"), connect(&hub, "b"));
    for seat in [&a.seat, &b.seat] {
        subscribe(&hub, seat, "$share/g/$weir/alarms/#", subscription(QoS::AtLeastOnce, 0));
    }
    let waiting = |seat: &Arc<Seat>| seat.session.lock().outbound.waiting();
    assert_eq!(tell(&hub, 0..3, &limits), 0);
    assert_eq!((waiting(&a.seat), waiting(&b.seat)), (2, 1));
    assert_eq!((tell(&hub, 3..5, &limits), waiting(&b.seat)), (1, 2), "the fifth found no room");
    assert_eq!(got(&a.seat).len(), 2);
    assert_eq!((tell(&hub, 5..7, &limits), waiting(&a.seat)), (0, 2), "though b's turn would be");
    hub.disconnect(&a.seat, a.link, 0, &limits);
    assert_eq!(waiting(&a.seat), 2, "nobody else gets them: they wait for it");
    got(&b.seat);
    hub.disconnect(&b.seat, b.link, 0, &limits);
    assert_eq!((tell(&hub, 7..9, &limits), waiting(&b.seat)), (0, 2), "one that is away has room");
}

#[test]
fn no_local_is_without_one_s_own() {
    let hub = hub();
    let (a, b) = (connect(&hub, "a").seat, connect(&hub, "b").seat);
    let mut with = subscription(QoS::AtMostOnce, 0);
    with.options.no_local = true;
    for seat in [&a, &b] {
        subscribe(&hub, seat, "x", with);
    }
    assert_eq!(route(&hub, "x", Some(&a)), 1);
    assert_eq!((got(&a).len(), got(&b).len()), (0, 1));
}

#[test]
fn what_is_retained_comes_as_the_subscriber_asks() {
    let (hub, limits) = (hub(), MqttLimits { retained_max: 2, ..MqttLimits::default() });
    for topic in ["x/1", "x/2", "x/3"] {
        hub.route(&message(topic, "v", true), None, &limits);
    }
    let a = connect(&hub, "a").seat;
    let mut with = subscription(QoS::AtMostOnce, 0);
    assert_eq!(retained(&hub, &a, "x/#", with), ["x/1", "x/2"], "no more than may be kept");
    with.options.retain_handling = RetainHandling::AtSubscribeNew;
    assert_eq!(retained(&hub, &a, "x/#", with).len(), 0);
    assert_eq!(retained(&hub, &a, "x/1", with), ["x/1"]);
    with.options.retain_handling = RetainHandling::NoAtSubscribe;
    assert_eq!(retained(&hub, &a, "x/2", with).len(), 0);
    with.options.retain_handling = RetainHandling::AtSubscribe;
    assert_eq!(retained(&hub, &a, "$share/g/x/1", with).len(), 0);
    hub.route(&message("x/1", "", true), None, &limits);
    assert_eq!(retained(&hub, &a, "x/+", with), ["x/2"]);
}

#[test]
fn what_is_retained_comes_on_when_there_is_room_and_as_it_is_then() {
    let (hub, limits) = (hub(), MqttLimits { waiting_max: 2, ..MqttLimits::default() });
    for topic in ["x/1", "x/2", "x/3", "x/4", "x/5"] {
        hub.route(&message(topic, "v", true), None, &limits);
    }
    let a = connect(&hub, "a").seat;
    let with = subscription(QoS::AtMostOnce, 0);
    assert!(hub.subscribe(at(&a), &"x/#".into(), with, 0, &limits).is_ok());
    assert_eq!(topics(&a), ["x/1", "x/2"]);
    hub.state.lock().retained.set(&message("x/4", "", true), &limits);
    hub.more_retained(&a, 0, &limits);
    assert_eq!(topics(&a), ["x/3", "x/5"]);
    hub.more_retained(&a, 0, &limits);
    assert!(topics(&a).is_empty() && a.session.lock().retained_left.is_empty());
    for filter in ["x/#", "x/#"] {
        assert!(hub.subscribe(at(&a), &filter.into(), with, 0, &limits).is_ok());
    }
    assert_eq!(a.session.lock().retained_left.len(), 1, "of a filter that comes again, one");
    hub.unsubscribe(at(&a), &"x/#".into()).unwrap();
    assert!(a.session.lock().retained_left.is_empty());
}

#[test]
fn filters_that_cannot_be_are_refused_with_a_sentence() {
    let hub = hub();
    let a = connect(&hub, "a").seat;
    let limits = MqttLimits { subscriptions_max: 1, ..MqttLimits::default() };
    let mut alone = subscription(QoS::AtMostOnce, 0);
    alone.options.no_local = true;
    let plain = subscription(QoS::AtMostOnce, 0);
    assert!(hub.subscribe(at(&a), &"first".into(), plain, 0, &limits).unwrap().why.is_none());
    for (filter, with, reason, says) in [
        ("a/#/b", plain, SubscribeAckReason::TopicFilterInvalid, "only be the last level"),
        ("$share/g/x", alone, SubscribeAckReason::TopicFilterInvalid, "one's own"),
        ("second", plain, SubscribeAckReason::QuotaExceeded, "1 subscriptions, its limit"),
    ] {
        let one = hub.subscribe(at(&a), &filter.into(), with, 0, &limits).unwrap();
        assert_eq!(one.reason, reason);
        assert!(one.why.as_deref().is_some_and(|why| why.contains(says)), "{:?}", one.why);
    }
}

#[test]
fn a_session_waits_for_its_client_until_it_expires() {
    let hub = hub();
    let limits = MqttLimits::default();
    let a = connect(&hub, "a");
    subscribe(&hub, &a.seat, "x", subscription(QoS::AtLeastOnce, 0));
    hub.disconnect(&a.seat, a.link, 0, &limits);
    assert_eq!(route(&hub, "x", None), 1);
    hub.sweep(99 * SECOND);
    let again = connect(&hub, "a");
    assert!(again.present);
    assert_eq!(got(&again.seat), ["x 1 []"]);
    hub.disconnect(&again.seat, again.link, 99 * SECOND, &limits);
    hub.sweep(199 * SECOND);
    assert_eq!((hub.counts(), route(&hub, "x", None)), ((0, 0), 0));
    assert!(!connect(&hub, "a").present);
}

#[test]
fn a_newer_connection_takes_over_and_a_clean_one_begins_anew() {
    let hub = hub();
    let limits = MqttLimits::default();
    let first = connect(&hub, "a");
    subscribe(&hub, &first.seat, "x", subscription(QoS::AtLeastOnce, 0));
    let second = connect(&hub, "a");
    assert!(second.present && Arc::ptr_eq(&first.seat, &second.seat));
    assert!(hub.disconnect(&first.seat, first.link, 0, &limits).is_none());
    assert_eq!(hub.counts(), (1, 1), "the older one ends nothing");
    let clean = connect_as(&hub, &Connect { clean_start: true, ..kept("a", 100) });
    assert!(!clean.present && !Arc::ptr_eq(&first.seat, &clean.seat));
    assert_eq!((hub.counts(), route(&hub, "x", None)), ((1, 1), 0));
}

#[test]
fn a_connection_that_was_taken_over_acts_for_its_client_no_more() {
    for clean_start in [false, true] {
        let (hub, limits) = (hub(), MqttLimits::default());
        let first = connect(&hub, "a");
        subscribe(&hub, &first.seat, "y", subscription(QoS::AtLeastOnce, 0));
        let second = connect_as(&hub, &Connect { clean_start, ..with_will(100, 9) });
        assert!(Arc::ptr_eq(&first.seat.turn, &second.seat.turn), "they take turns");
        subscribe(&hub, &second.seat, "x", subscription(QoS::AtLeastOnce, 0));
        let (before, with) = ((&first.seat, first.link), subscription(QoS::AtMostOnce, 9));
        for filter in ["x", "y"] {
            assert!(hub.subscribe(before, &filter.into(), with, 0, &limits).is_err());
            assert!(hub.unsubscribe(before, &filter.into()).is_err());
        }
        let goodbye = Packet::Disconnect(Disconnect::default());
        let ending = first.seat.session.lock().take_from(first.link, goodbye).unwrap_err();
        assert_eq!(ending.code, DisconnectReasonCode::SessionTakenOver);
        assert!(second.seat.session.lock().will.is_some(), "it is not its to take back");
        assert_eq!(route(&hub, "y", None), usize::from(!clean_start));
        route(&hub, "x", None);
        assert!(got(&second.seat).contains(&"x 1 []".to_owned()));
        hub.disconnect(&second.seat, second.link, 0, &limits);
        hub.sweep(100 * SECOND);
        assert_eq!((hub.counts(), hub.is_unheard()), ((0, 0), true), "no filter is left over");
    }
}

fn with_will(expiry_s: u32, delay_s: u32) -> Connect {
    let will = LastWill {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "will".into(),
        message: Bytes::new(),
        will_delay_interval_sec: Some(delay_s),
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    };
    Connect { last_will: Some(will), ..kept("a", expiry_s) }
}

#[test]
fn a_will_is_due_after_its_delay_or_with_the_session_s_end() {
    for (expiry_s, delay_s, due_s) in [(5, 3, 3), (0, 5, 0), (2, 5, 2), (9, 0, 0)] {
        let hub = hub();
        let a = connect_as(&hub, &with_will(expiry_s, delay_s));
        let at_once = hub.disconnect(&a.seat, a.link, 0, &MqttLimits::default());
        assert_eq!(at_once.is_some(), due_s == 0, "{expiry_s} {delay_s}");
        if due_s > 0 {
            assert!(hub.sweep((due_s - 1) * SECOND).is_empty());
            assert_eq!(hub.sweep(due_s * SECOND).len(), 1, "{expiry_s} {delay_s}");
        }
        assert!(hub.sweep(20 * SECOND).is_empty(), "it is told once");
    }
}

#[test]
fn a_will_that_was_told_is_not_told_again_after_a_restart() {
    let hub = hub();
    let a = connect_as(&hub, &with_will(100, 3));
    hub.disconnect(&a.seat, a.link, 0, &MqttLimits::default());
    let kept = |hub: &Hub| {
        let unkept = hub.unkept(&hub.changed(When::Soon));
        let (_, kept) = unkept.sessions.into_iter().next()?;
        Some(kept.session(0).will.is_some())
    };
    assert_eq!(kept(&hub), Some(true));
    assert_eq!((hub.sweep(3 * SECOND).len(), kept(&hub)), (1, Some(false)));
}

#[test]
fn a_client_that_comes_back_in_time_takes_its_will_back() {
    let hub = hub();
    let a = connect_as(&hub, &with_will(100, 10));
    hub.disconnect(&a.seat, a.link, 0, &MqttLimits::default());
    let again = connect(&hub, "a");
    assert!(again.will.is_none() && hub.sweep(50 * SECOND).is_empty());
    let over = connect_as(&hub, &with_will(100, 0));
    assert!(over.will.is_none());
    assert!(connect(&hub, "a").will.is_some(), "taken over without a delay: it is told");
}

#[test]
fn what_is_not_kept_is_no_change_to_keep() {
    let hub = hub();
    let a = connect(&hub, "a").seat;
    subscribe(&hub, &a, "zero", subscription(QoS::AtMostOnce, 0));
    subscribe(&hub, &a, "one", subscription(QoS::AtLeastOnce, 0));
    hub.unkept(&hub.changed(When::Soon));
    route(&hub, "zero", None);
    assert_eq!(hub.changed(When::Soon).len(), 0);
    route(&hub, "one", None);
    let changed = hub.changed(When::Soon);
    assert_eq!((changed.len(), hub.changed(When::Now).len()), (1, 0));
    assert_eq!(hub.unkept(&changed).sessions.len(), 1);
    assert_eq!(hub.unkept(&changed).sessions.len(), 0, "once");
}

#[test]
fn rows_that_are_not_handed_out_are_left_to_those_who_follow_live() {
    let hub = hub();
    let (a, b) = (connect(&hub, "a").seat, connect(&hub, "b").seat);
    hub.told(Place::Alarms, Offset(5));
    let ahead = Behind { next: Offset(7), reads: false };
    b.session.lock().behind.insert(Place::Alarms, ahead);
    hub.leave_to_sessions(Place::Alarms, Offset(5), Offset(900));
    hub.leave_to_sessions(Place::Alarms, Offset(900), Offset(2000));
    for (seat, next) in [(&a, 5), (&b, 7)] {
        let behind = seat.session.lock().behind.get(&Place::Alarms).copied();
        assert_eq!(behind, Some(Behind { next: Offset(next), reads: true }));
    }
}

#[test]
fn a_filter_keeps_no_more_than_itself() {
    let hub = hub();
    let a = connect(&hub, "a").seat;
    let read = Bytes::from(vec![b'x'; 64 * 1024]);
    let filter = read.slice(..9).try_into().unwrap();
    let with = subscription(QoS::AtLeastOnce, 0);
    assert!(hub.subscribe(at(&a), &filter, with, 0, &MqttLimits::default()).is_ok());
    drop(filter);
    assert!(read.is_unique());
}
