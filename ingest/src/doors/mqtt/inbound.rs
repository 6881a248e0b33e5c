//! What one client publishes, until it is confirmed.
//!
//! Promise: a QoS 2 message that comes again under an id not yet released is not taken again; no more is
//! under way than was announced; an alias stands for a topic only on the connection that said so. No
//! clock, no I/O.

use super::ending::Ending;
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::DisconnectReasonCode;
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// QoS 2: taken, not released.
    received: BTreeSet<NonZeroU16>,
    /// QoS 1: taken, not confirmed.
    unconfirmed: usize,
    aliases: HashMap<NonZeroU16, ByteString>,
    alias_max: u16,
    in_flight_max: usize,
}

/// What a PUBLISH is.
#[derive(Debug, PartialEq)]
pub(super) enum Arrived {
    /// One to take; its topic is there.
    New,
    /// Taken before under this id.
    Repeat(NonZeroU16),
}

impl Inbound {
    /// A new connection begins.
    pub(super) fn resume(&mut self, alias_max: u16, in_flight_max: u16) {
        self.aliases.clear();
        self.unconfirmed = 0;
        self.alias_max = alias_max;
        self.in_flight_max = usize::from(in_flight_max);
    }

    /// A PUBLISH came; its alias becomes its topic.
    /// # Errors
    /// It breaks a rule of the protocol, and with it the connection.
    pub(super) fn publish(&mut self, publish: &mut Publish) -> Result<Arrived, Ending> {
        self.resolve(publish)?;
        let Some(id) = publish.packet_id else { return Ok(Arrived::New) };
        if publish.qos == QoS::ExactlyOnce && self.received.contains(&id) {
            return Ok(Arrived::Repeat(id));
        }
        if self.received.len() + self.unconfirmed >= self.in_flight_max {
            let most = self.in_flight_max;
            return Err(Ending::new(
                DisconnectReasonCode::ReceiveMaximumExceeded,
                format!("more than {most} messages are under way; wait for PUBACK and PUBCOMP"),
            ));
        }
        match publish.qos {
            QoS::ExactlyOnce => {
                self.received.insert(id);
            }
            _ => self.unconfirmed += 1,
        }
        Ok(Arrived::New)
    }

    fn resolve(&mut self, publish: &mut Publish) -> Result<(), Ending> {
        let alias = publish.properties.as_ref().and_then(|properties| properties.topic_alias);
        let Some(alias) = alias else {
            return match publish.topic.is_empty() {
                true => Err(Ending::protocol("a PUBLISH has neither a topic nor a topic alias")),
                false => Ok(()),
            };
        };
        let invalid = |what: String| Ending::new(DisconnectReasonCode::TopicAliasInvalid, what);
        if alias.get() > self.alias_max {
            let most = self.alias_max;
            return Err(invalid(format!("the topic alias is {alias}, at most {most} is taken")));
        }
        if !publish.topic.is_empty() {
            self.aliases.insert(alias, publish.topic.clone());
            return Ok(());
        }
        match self.aliases.get(&alias) {
            Some(topic) => {
                publish.topic = topic.clone();
                Ok(())
            }
            None => Err(invalid(format!("the topic alias {alias} stands for no topic yet"))),
        }
    }

    /// PUBACK is on its way.
    pub(super) fn confirmed(&mut self) {
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
    }

    /// A QoS 2 message was not taken: its id is free again.
    pub(super) fn refused(&mut self, id: NonZeroU16) {
        self.received.remove(&id);
    }

    /// PUBREL; whether the id was under way.
    pub(super) fn released(&mut self, id: NonZeroU16) -> bool {
        self.received.remove(&id)
    }
}
