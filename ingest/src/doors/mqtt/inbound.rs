//! What one client publishes, until it is confirmed.
//!
//! Promise: a QoS 2 message that comes again under an id not yet released is not taken again; no more is
//! under way than was announced; an alias stands for a topic only on the connection that said so. No
//! clock, no I/O.

use super::ending::Ending;
use super::message::own;
use super::publish::Ack;
use super::verdict::Verdict;
use super::wire::Version;
use bytestring::ByteString;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::DisconnectReasonCode;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// QoS 2: not released.
    received: BTreeMap<NonZeroU16, Stage>,
    /// QoS 1: taken, not confirmed.
    unconfirmed: usize,
    aliases: HashMap<NonZeroU16, ByteString>,
    alias_max: u16,
    in_flight_max: usize,
}

/// How far a QoS 2 message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// On its way into the log.
    UnderWay,
    /// Its client was told what became of it, or is being told.
    Settled,
}

/// What a PUBLISH is.
#[derive(Debug, PartialEq)]
pub(super) enum Arrived {
    /// One to take; its topic is there.
    New,
    /// Taken before under this id.
    Repeat(NonZeroU16),
    /// Under way under this id: the answer to the first is the answer to this one.
    Known,
}

impl Inbound {
    /// As the catalog had it.
    pub(super) fn restored(taken: BTreeSet<NonZeroU16>) -> Self {
        let received = taken.into_iter().map(|id| (id, Stage::Settled)).collect();
        Self { received, ..Self::default() }
    }

    /// QoS 2 ids whose messages were taken and that are not released.
    pub(super) fn taken(&self) -> BTreeSet<NonZeroU16> {
        let settled = self.received.iter().filter(|(_, stage)| **stage == Stage::Settled);
        settled.map(|(id, _)| *id).collect()
    }

    /// Nothing of an earlier connection is under way any more: what nobody knows the end of is taken again.
    pub(super) fn begin(&mut self) {
        self.received.retain(|_, stage| *stage == Stage::Settled);
    }

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
        match self.received.get(&id).filter(|_| publish.qos == QoS::ExactlyOnce) {
            Some(Stage::Settled) => return Ok(Arrived::Repeat(id)),
            Some(Stage::UnderWay) => return Ok(Arrived::Known),
            None => {}
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
                self.received.insert(id, Stage::UnderWay);
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
            self.aliases.insert(alias, own(&publish.topic));
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

    /// What became of a QoS 2 message; the id of one that was not taken is free again. Of 3.1.1 a refusal
    /// cannot be told: its id stays under way until the client releases it.
    pub(super) fn settled(&mut self, ack: &Ack, version: Version) {
        let Some(id) = ack.id.filter(|id| self.received.contains_key(id)) else { return };
        let is_free = match (&ack.verdict, version) {
            (Verdict::Taken | Verdict::Unheard, _) | (Verdict::Refused { .. }, Version::V3) => {
                false
            }
            (Verdict::Refused { .. }, Version::V5) | (Verdict::Failed { .. }, _) => true,
        };
        if is_free {
            self.received.remove(&id);
        } else {
            self.received.insert(id, Stage::Settled);
        }
    }

    /// PUBREL; whether the id was under way.
    pub(super) fn released(&mut self, id: NonZeroU16) -> bool {
        self.received.remove(&id).is_some()
    }
}
