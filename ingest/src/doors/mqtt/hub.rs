//! All sessions of the door, and who gets what.
//!
//! Promise: a client identifier has one session and one connection, the newest; a message goes once to each
//! session whose filters match it, with the highest QoS of them, and to one member of each group that
//! shares a filter. Locks are taken in the order hub, session, and held across no await.

mod keeping;
mod live;
mod routes;
mod seats;
mod subscribing;

pub(super) use keeping::Unkept;
pub(super) use live::Row;
pub(super) use seats::{Connected, Seat};

use super::MqttError;
use super::filter::Filter;
use super::held::Held;
use super::limits::MqttLimits;
use super::message::{Delivery, Message, Place};
use super::outbound::Offered;
use crate::model::Offset;
use bytestring::ByteString;
use parking_lot::Mutex;
use routes::Routes;
use seats::Seats;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// See the module.
#[derive(Debug)]
pub(super) struct Hub {
    relay: Vec<Filter>,
    private: Vec<Filter>,
    links: AtomicU64,
    held: Held,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seats: Seats,
    routes: Routes,
    retained: super::retained::Retained,
    /// Sessions in the catalog that are over.
    gone: Vec<ByteString>,
    /// How far each partition has been handed out.
    told: HashMap<Place, Offset>,
}

/// What became of a message.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Routed {
    /// Sessions that asked for it.
    pub(super) matched: usize,
    /// Of those, how many had no room.
    pub(super) dropped: u64,
}

impl Hub {
    /// # Errors
    /// A filter of `relay` or `private` is none.
    pub(super) fn new(limits: &MqttLimits) -> Result<Self, MqttError> {
        let relay = filters("relay", &limits.relay)?;
        let private = filters("private", &limits.private)?;
        Ok(Self {
            relay,
            private,
            links: AtomicU64::new(0),
            held: Held::default(),
            state: Mutex::default(),
        })
    }

    /// A message that counts to what is held.
    pub(super) fn hold(&self, message: Message) -> Arc<Message> {
        self.held.hold(message)
    }

    /// Whether nobody may subscribe to messages of this topic.
    pub(super) fn is_private(&self, topic: &str) -> bool {
        self.private.iter().any(|filter| filter.pattern.matches(topic))
    }

    /// Whether any message may be passed on as it is.
    pub(super) fn relays_something(&self) -> bool {
        !self.relay.is_empty()
    }

    /// Whether messages of this topic may be passed on as they are.
    pub(super) fn relays(&self, topic: &str) -> bool {
        self.relay.iter().any(|filter| filter.pattern.matches(topic))
    }

    /// Hands a message that is in no log to everybody who asks for it, but for what `from` wants without
    /// its own; one that is retained is kept for those who subscribe later, or takes the one before it away.
    /// Nobody gets two messages of a topic in another order than they are retained in.
    pub(super) fn route(
        &self,
        message: &Arc<Message>,
        from: Option<&Arc<Seat>>,
        limits: &MqttLimits,
    ) -> Routed {
        let mut state = self.state.lock();
        if message.retain && !state.retained.set(message, limits) {
            tracing::warn!(topic = %message.topic, "there is no room for another retained message");
        }
        if self.is_private(&message.topic) {
            return Routed::default();
        }
        let audience = state.routes.audience(&message.topic, from, limits);
        let mut routed = Routed { matched: audience.len(), dropped: 0 };
        for one in audience {
            let qos = message.qos.less_value(one.qos);
            let retain = message.retain && one.retain_as_published;
            let delivery =
                Delivery { message: Arc::clone(message), qos, retain, ids: one.ids, to: one.to };
            routed.dropped += u64::from(one.seat.offer(delivery, limits) == Offered::Full);
        }
        routed
    }
}

fn filters(key: &'static str, texts: &[String]) -> Result<Vec<Filter>, MqttError> {
    let wrong = |what| MqttError::Filter { key, what };
    let parse = |text: &String| match Filter::parse(text) {
        Ok(Filter { group: Some(_), .. }) => {
            Err(wrong(format!("'{text}' is shared; write the filter alone")))
        }
        parsed => parsed.map_err(|error| wrong(error.to_string())),
    };
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests;
