//! A message on its way to those who subscribed.
//!
//! Promise: one message is kept once, however many sessions it waits for; what differs between them is in
//! the [`Delivery`].

use super::held::Counted;
use crate::model::{Offset, PartitionId, StreamUid};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{LastWill, PublishProperties};
use serde::{Deserialize, Serialize};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

/// What a message takes besides its texts, about.
const MESSAGE_BYTES: usize = 200;
/// Content types of what comes from the log.
const READING: &str = "application/json";
const EVENT: &str = "application/cloudevents+json";
const MICROSECONDS: i64 = 1_000_000;

/// Where a message of the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Place {
    /// A partition of a stream.
    Readings(StreamUid, PartitionId),
    /// The log of alarms.
    Alarms,
}

/// What was published, or what a row of the log says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) topic: ByteString,
    #[serde(with = "in_base64")]
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    /// As published.
    pub(super) retain: bool,
    /// Those that go with it to every subscriber.
    pub(super) properties: PublishProperties,
    pub(super) arrived_us: i64,
    /// Where it can be read again; not of messages that are only passed on.
    pub(super) logged: Option<(Place, Offset)>,
    #[serde(skip)]
    pub(super) counted: Counted,
}

impl Message {
    /// What a client published.
    pub(super) fn published(publish: &Publish, arrived_us: i64) -> Self {
        let of = publish.properties.clone().unwrap_or_default();
        let properties = PublishProperties {
            topic_alias: None,
            subscription_ids: Vec::new(),
            correlation_data: of.correlation_data.as_ref().map(own_bytes),
            content_type: of.content_type.as_ref().map(own),
            response_topic: of.response_topic.as_ref().map(own),
            user_properties: own_pairs(&of.user_properties),
            ..of
        };
        Self {
            topic: own(&publish.topic),
            payload: own_bytes(&publish.payload),
            qos: publish.qos,
            retain: publish.retain,
            properties,
            arrived_us,
            logged: None,
            counted: Counted::default(),
        }
    }

    /// What a row of the log says.
    pub(super) fn logged(topic: &str, payload: String, at: (Place, Offset), now_us: i64) -> Self {
        let events = Place::Alarms == at.0;
        let content_type = if events { EVENT } else { READING };
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: PublishProperties {
                content_type: Some(ByteString::from_static(content_type)),
                is_utf8_payload: true,
                ..PublishProperties::default()
            },
            arrived_us: now_us,
            logged: Some(at),
            counted: Counted::default(),
        }
    }

    /// The latest reading of a series, which a session keeps whole: where it stands a newer one may be.
    pub(super) fn latest(topic: &str, payload: String, now_us: i64) -> Self {
        let at = (Place::Readings(StreamUid(0), PartitionId(0)), Offset(0));
        Self { logged: None, ..Self::logged(topic, payload, at, now_us) }
    }

    /// About what it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let user = self.properties.user_properties.iter().map(|(k, v)| k.len() + v.len() + 64);
        self.topic.len() + self.payload.len() + user.sum::<usize>() + MESSAGE_BYTES
    }

    /// Whether its time will pass.
    pub(super) fn expires(&self) -> bool {
        self.properties.message_expiry_interval.is_some()
    }

    /// Whether its time has passed.
    pub(super) fn is_expired(&self, now_us: i64) -> bool {
        self.expires() && self.expires_in(now_us).is_none()
    }

    /// Seconds until nobody wants it any more, at least 1; `None` if it has passed or has no end.
    fn expires_in(&self, now_us: i64) -> Option<NonZeroU32> {
        let lives = i64::from(self.properties.message_expiry_interval?.get());
        let left = lives - (now_us - self.arrived_us).max(0) / MICROSECONDS;
        NonZeroU32::new(u32::try_from(left).ok()?)
    }
}

/// A text of its own: one of a packet keeps all bytes that were read with it.
pub(super) fn own(text: &ByteString) -> ByteString {
    ByteString::from(&**text)
}

fn own_bytes(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Many short texts in one piece.
fn own_pairs(pairs: &[(ByteString, ByteString)]) -> Vec<(ByteString, ByteString)> {
    let bytes = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    let mut all = BytesMut::with_capacity(bytes);
    let mut piece = |text: &ByteString| {
        all.extend_from_slice(text.as_bytes());
        ByteString::try_from(all.split().freeze()).unwrap_or_default()
    };
    pairs.iter().map(|(name, value)| (piece(name), piece(value))).collect()
}

/// A will that outlives its CONNECT.
pub(super) fn own_will(will: &LastWill) -> LastWill {
    LastWill {
        topic: own(&will.topic),
        message: own_bytes(&will.message),
        correlation_data: will.correlation_data.as_ref().map(own_bytes),
        content_type: will.content_type.as_ref().map(own),
        response_topic: will.response_topic.as_ref().map(own),
        user_properties: own_pairs(&will.user_properties),
        ..will.clone()
    }
}

/// A message for one session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Delivery {
    #[serde(with = "shared")]
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// Of the subscriptions it matched.
    pub(super) ids: Vec<NonZeroU32>,
    /// Whose it is.
    #[serde(default)]
    pub(super) to: To,
}

/// Whom a message was meant for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum To {
    /// The session, by a filter of its own.
    #[default]
    Session,
    /// One member of a group, whichever had room: no other gets it.
    Group,
}

impl Delivery {
    /// Where the session can read it again.
    pub(super) fn logged(&self) -> Option<(Place, Offset)> {
        self.message.logged.filter(|_| self.to == To::Session)
    }

    /// The packet that carries it, without a topic alias.
    pub(super) fn packet(&self, id: Option<NonZeroU16>, dup: bool, now_us: i64) -> Publish {
        let mut properties = self.message.properties.clone();
        properties.message_expiry_interval = self.message.expires_in(now_us);
        properties.subscription_ids.clone_from(&self.ids);
        Publish {
            dup,
            retain: self.retain,
            qos: self.qos,
            topic: self.message.topic.clone(),
            packet_id: id,
            payload: self.message.payload.clone(),
            properties: Some(properties),
        }
    }
}

/// A message in JSON: once for each delivery.
mod shared {
    use super::Message;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(
        message: &Arc<Message>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        Message::serialize(message, to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Arc<Message>, D::Error> {
        Message::deserialize(from).map(Arc::new)
    }
}

/// A payload in JSON.
mod in_base64 {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Bytes, D::Error> {
        let text = Cow::<'_, str>::deserialize(from)?;
        BASE64_STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(of: &Bytes) -> ByteString {
        ByteString::try_from(of.slice(10..20)).unwrap()
    }

    #[test]
    fn what_outlives_its_packet_keeps_no_more_than_itself() {
        let read = Bytes::from(vec![b'x'; 64 * 1024]);
        let properties = PublishProperties {
            correlation_data: Some(read.slice(..5)),
            content_type: Some(text(&read)),
            response_topic: Some(text(&read)),
            user_properties: vec![(text(&read), text(&read)); 3],
            ..PublishProperties::default()
        };
        let publish = Publish {
            dup: false,
            retain: false,
            qos: QoS::AtMostOnce,
            topic: text(&read),
            packet_id: None,
            payload: read.slice(..9),
            properties: Some(properties.clone()),
        };
        let message = Message::published(&publish, 0);
        assert_eq!((message.topic.len(), message.payload.len()), (10, 9));
        assert_eq!(message.properties, properties);
        let will = LastWill {
            qos: QoS::AtMostOnce,
            retain: false,
            topic: text(&read),
            message: read.slice(..9),
            will_delay_interval_sec: None,
            correlation_data: properties.correlation_data,
            message_expiry_interval: None,
            content_type: properties.content_type,
            user_properties: properties.user_properties,
            is_utf8_payload: None,
            response_topic: properties.response_topic,
        };
        let kept = own_will(&will);
        assert_eq!(kept, will);
        drop((publish, will));
        assert!(read.is_unique());
    }
}
