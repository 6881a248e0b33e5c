//! One client's session: a packet in, what has to be done out.
//!
//! Promise: the rules of the protocol that concern one client stand here and in `inbound` and `outbound`,
//! with no clock, no socket and no log, so that each can be tried without them. Elsewhere: what the door
//! does about a [`Step`] is `connection`'s; who else gets a message is `hub`'s.

use super::ending::Ending;
use super::inbound::{Arrived, Inbound};
use super::latest::LatestLeft;
use super::limits::MqttLimits;
use super::message::{Place, own_will};
use super::outbound::Outbound;
use super::wire::Version;
use crate::model::{Offset, TopicPattern};
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{
    Connect, Disconnect, DisconnectReasonCode, LastWill, Packet, PublishAck2, PublishAck2Reason,
    PublishAckReason, Subscribe, SubscriptionOptions, Unsubscribe,
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};

/// One client's session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: ByteString,
    /// The connection it has now, by number; a newer one takes it over.
    pub(super) link: Option<u64>,
    /// How long it is kept without one.
    pub(super) expiry_s: u32,
    /// Since when it has none.
    pub(super) left_at_us: i64,
    /// Whether the catalog has it.
    pub(super) is_saved: bool,
    /// When what the catalog does not have of it should be there.
    pub(super) changed: Option<When>,
    /// The catalog did not take it the last time.
    pub(super) is_refused: bool,
    pub(super) will: Option<LastWill>,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    pub(super) subscriptions: BTreeMap<ByteString, Subscription>,
    /// Where it is behind what is sent live.
    pub(super) behind: HashMap<Place, Behind>,
    /// Where filters begin that were subscribed to while it was behind.
    pub(super) starts: HashMap<ByteString, HashMap<Place, Offset>>,
    /// What is retained and found no room yet.
    pub(super) retained_left: VecDeque<RetainedLeft>,
    /// What is retained of streams and found no room yet.
    pub(super) latest_left: VecDeque<LatestLeft>,
}

/// What is retained for a filter, behind a topic or from the first on.
#[derive(Debug)]
pub(super) struct RetainedLeft {
    pub(super) filter: ByteString,
    pub(super) pattern: TopicPattern,
    pub(super) subscription: Subscription,
    pub(super) behind: Option<ByteString>,
}

/// How long the catalog may be behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    /// Until somebody looks.
    Soon,
    /// Somebody waits.
    Now,
}

/// What a client asked for with one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) options: SubscriptionOptions,
    pub(super) id: Option<NonZeroU32>,
}

/// How far a session has come in a partition that it does not follow live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behind {
    /// It has everything below.
    pub(super) next: Offset,
    /// Whether it reads the log itself; otherwise it follows live again from `next` on.
    pub(super) reads: bool,
}

/// What the door has to do about a packet.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    Answer(Packet),
    /// Take it, confirm it when it is durable.
    Publish(Box<Publish>),
    /// Say again that it was taken, behind what is being taken.
    Repeat(NonZeroU16),
    /// Answer when it is kept that the id is free.
    Release(Packet),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    /// The client goes.
    Leave(Disconnect),
}

impl Session {
    pub(super) fn new(client: ByteString) -> Self {
        Self {
            client,
            link: None,
            expiry_s: 0,
            left_at_us: 0,
            is_saved: false,
            changed: None,
            is_refused: false,
            will: None,
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            subscriptions: BTreeMap::new(),
            behind: HashMap::new(),
            starts: HashMap::new(),
            retained_left: VecDeque::new(),
            latest_left: VecDeque::new(),
        }
    }

    /// A connection begins.
    pub(super) fn resume(
        &mut self,
        link: u64,
        connect: &Connect,
        version: Version,
        limits: &MqttLimits,
    ) {
        self.link = Some(link);
        self.expiry_s = connect.session_expiry_interval_secs.min(limits.session_expiry_s_max);
        self.will = connect.last_will.as_ref().map(own_will);
        match version {
            Version::V5 => self.inbound.resume(limits.topic_alias_max, limits.in_flight_max),
            // It knows no such bound; the door reads no further instead.
            Version::V3 => self.inbound.resume(0, u16::MAX),
        }
        self.has_changed(When::Soon);
        let takes = connect.receive_max.map_or(u16::MAX, NonZeroU16::get);
        let window = usize::from(takes.min(limits.in_flight_max));
        self.outbound.resume(window, limits.waiting_bytes_max);
    }

    /// Whether it has a connection.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Whether it is there when its connection is not.
    pub(super) fn is_kept(&self) -> bool {
        self.expiry_s > 0
    }

    /// The catalog does not have it as it is; whether it should.
    pub(super) fn has_changed(&mut self, when: When) -> bool {
        let should = self.is_kept() || self.is_saved;
        if should {
            self.changed = self.changed.max(Some(when));
        }
        should
    }

    /// It is over: its identifier is put to those that go out of the catalog, if it is there.
    pub(super) fn out_of_catalog(&mut self, gone: &mut Vec<ByteString>) {
        if std::mem::take(&mut self.is_saved) {
            gone.push(self.client.clone());
        }
        self.expiry_s = 0;
        self.changed = None;
    }

    /// How far it has come in a partition that was handed out up to `told`.
    pub(super) fn handed_out(&self, place: &Place, told: Offset) -> Offset {
        match self.behind.get(place) {
            None => told,
            Some(Behind { next, reads: true }) => *next,
            Some(Behind { next, reads: false }) => (*next).max(told),
        }
    }

    /// A filter is new: where the session is behind, it begins where the others are.
    pub(super) fn begins(&mut self, filter: &ByteString, told: &HashMap<Place, Offset>) {
        let is_behind = |(place, told): &(&Place, &Offset)| self.handed_out(place, **told) < **told;
        let starts: HashMap<_, _> =
            told.iter().filter(is_behind).map(|(place, told)| (*place, *told)).collect();
        if !starts.is_empty() {
            self.starts.insert(filter.clone(), starts);
        }
    }

    /// The first row of a partition that a filter is for.
    pub(super) fn start_of(&self, filter: &str, place: Place) -> Offset {
        let starts = self.starts.get(filter);
        starts.and_then(|starts| starts.get(&place)).copied().unwrap_or_default()
    }

    /// It follows a partition live again: everything there is newer than its filters.
    pub(super) fn is_level(&mut self, place: Place) {
        self.starts.retain(|_, starts| {
            starts.remove(&place);
            !starts.is_empty()
        });
    }

    /// A packet came on this connection.
    /// # Errors
    /// It breaks a rule, and with it the connection; or another connection has the session now.
    pub(super) fn take_from(&mut self, link: u64, packet: Packet) -> Result<Step, Ending> {
        match self.link == Some(link) {
            true => self.take(packet),
            false => Err(Ending::taken_over()),
        }
    }

    /// A packet came.
    /// # Errors
    /// It breaks a rule, and with it the connection.
    pub(super) fn take(&mut self, packet: Packet) -> Result<Step, Ending> {
        match packet {
            Packet::Publish(publish) => self.publish(publish),
            Packet::PublishAck(ack) => {
                self.has_changed(When::Soon);
                self.outbound.acknowledged(ack.packet_id);
                Ok(Step::Nothing)
            }
            Packet::PublishReceived(ack) => {
                self.has_changed(When::Soon);
                let refused =
                    u8::from(ack.reason_code) >= u8::from(PublishAckReason::UnspecifiedError);
                if refused {
                    self.outbound.completed(ack.packet_id);
                    return Ok(Step::Nothing);
                }
                let known = self.outbound.received(ack.packet_id);
                Ok(Step::Answer(Packet::PublishRelease(ack_2(ack.packet_id, known))))
            }
            Packet::PublishRelease(ack) => {
                self.has_changed(When::Soon);
                let known = self.inbound.released(ack.packet_id);
                Ok(Step::Release(Packet::PublishComplete(ack_2(ack.packet_id, known))))
            }
            Packet::PublishComplete(ack) => {
                self.has_changed(When::Soon);
                self.outbound.completed(ack.packet_id);
                Ok(Step::Nothing)
            }
            Packet::Subscribe(subscribe) => Ok(Step::Subscribe(subscribe)),
            Packet::Unsubscribe(unsubscribe) => Ok(Step::Unsubscribe(unsubscribe)),
            Packet::PingRequest => Ok(Step::Answer(Packet::PingResponse)),
            Packet::Disconnect(disconnect) => self.leave(disconnect),
            Packet::Connect(_) => Err(Ending::protocol("a second CONNECT on one connection")),
            Packet::Auth(_) => Err(Ending::protocol("AUTH without an authentication method")),
            Packet::ConnectAck(_)
            | Packet::SubscribeAck(_)
            | Packet::UnsubscribeAck(_)
            | Packet::PingResponse => Err(Ending::protocol("a packet that only the server sends")),
        }
    }

    fn publish(&mut self, mut publish: Box<Publish>) -> Result<Step, Ending> {
        if publish.qos == QoS::AtMostOnce && publish.dup {
            let code = DisconnectReasonCode::MalformedPacket;
            return Err(Ending::new(code, "a PUBLISH of QoS 0 cannot be a repeat"));
        }
        let subscribed = publish.properties.as_ref();
        if subscribed.is_some_and(|properties| !properties.subscription_ids.is_empty()) {
            return Err(Ending::protocol("a client's PUBLISH has no subscription identifier"));
        }
        Ok(match self.inbound.publish(&mut publish)? {
            Arrived::New => Step::Publish(publish),
            Arrived::Repeat(id) => Step::Repeat(id),
            Arrived::Known => Step::Nothing,
        })
    }

    fn leave(&mut self, disconnect: Disconnect) -> Result<Step, Ending> {
        if let Some(expiry_s) = disconnect.session_expiry_interval_secs {
            if self.expiry_s == 0 && expiry_s > 0 {
                let what = "a session that ends with its connection cannot be kept by DISCONNECT";
                return Err(Ending::protocol(what));
            }
            self.expiry_s = expiry_s;
        }
        if disconnect.reason_code == DisconnectReasonCode::NormalDisconnection {
            self.will = None;
        }
        Ok(Step::Leave(disconnect))
    }
}

fn ack_2(packet_id: NonZeroU16, known: bool) -> PublishAck2 {
    let reason_code =
        if known { PublishAck2Reason::Success } else { PublishAck2Reason::PacketIdNotFound };
    PublishAck2 { packet_id, reason_code, ..PublishAck2::default() }
}

#[cfg(test)]
mod tests;
