//! A message on its way to those who subscribed.
//!
//! Promise: one message is kept once, however many sessions it waits for; what differs between them is in
//! the [`Delivery`].

use crate::model::{Offset, PartitionId, StreamUid};
use bytes::Bytes;
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::PublishProperties;
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
}

impl Message {
    /// What a client published.
    pub(super) fn published(publish: &Publish, arrived_us: i64) -> Self {
        let mut properties = publish.properties.clone().unwrap_or_default();
        properties.topic_alias = None;
        properties.subscription_ids.clear();
        Self {
            topic: publish.topic.clone(),
            payload: publish.payload.clone(),
            qos: publish.qos,
            retain: publish.retain,
            properties,
            arrived_us,
            logged: None,
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
        }
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
