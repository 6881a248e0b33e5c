//! A session and a message as the catalog has them, in JSON.

use crate::doors::mqtt::inbound::Inbound;
use crate::doors::mqtt::message::{Delivery, Message, Place};
use crate::doors::mqtt::outbound::{Outbound, Sent};
use crate::doors::mqtt::session::{Behind, Session, Subscription};
use crate::model::Offset;
use bytestring::ByteString;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{LastWill, RetainHandling, SubscriptionOptions};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::num::{NonZeroU16, NonZeroU32};

/// Where filters begin that are younger than what the session has still to read.
type Starts = HashMap<ByteString, HashMap<Place, Offset>>;

/// A session.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct Kept {
    pub(super) client: ByteString,
    expiry_s: u32,
    /// Not known of one that was connected.
    left_at_us: Option<i64>,
    will: Option<LastWill>,
    received: BTreeSet<NonZeroU16>,
    last_id: u16,
    subscriptions: Vec<KeptSubscription>,
    sent: Vec<Sent>,
    waiting: Vec<Delivery>,
    behind: Vec<(Place, Offset)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptSubscription {
    filter: ByteString,
    qos: QoS,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: u8,
    id: Option<NonZeroU32>,
    /// Where it begins in partitions in which the session was behind.
    #[serde(default)]
    starts: Vec<(Place, Offset)>,
}

/// The bytes of an entry.
pub(super) fn record(entry: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(entry).expect("plain values are JSON")
}

/// A message of an earlier process.
/// # Errors
/// It cannot be read.
pub(super) fn message_of(bytes: &[u8]) -> Result<Message, serde_json::Error> {
    serde_json::from_slice(bytes)
}

impl Kept {
    /// A session as it is, and how far it has come where.
    pub(in super::super) fn of(session: &Session, behind: Vec<(Place, Offset)>) -> Self {
        let (sent, waiting) = session.outbound.kept();
        Self {
            client: session.client.clone(),
            expiry_s: session.expiry_s,
            left_at_us: session.link.is_none().then_some(session.left_at_us),
            will: session.will.clone(),
            received: session.inbound.taken(),
            last_id: session.outbound.last_id(),
            subscriptions: session
                .subscriptions
                .iter()
                .map(|one| KeptSubscription::of(one, &session.starts))
                .collect(),
            sent,
            waiting,
            behind,
        }
    }

    /// The session, without a connection.
    pub(in super::super) fn session(self, now_us: i64) -> Session {
        let behind = |(place, next)| (place, Behind { next, reads: true });
        let begun = self.subscriptions.iter().filter(|one| !one.starts.is_empty());
        let starts = begun.map(|one| (one.filter.clone(), one.starts.iter().copied().collect()));
        let starts = starts.collect();
        Session {
            expiry_s: self.expiry_s,
            left_at_us: self.left_at_us.unwrap_or(now_us),
            is_saved: true,
            will: self.will,
            inbound: Inbound::restored(self.received),
            outbound: Outbound::restored(self.sent, self.waiting, self.last_id),
            subscriptions: self.subscriptions.into_iter().map(KeptSubscription::both).collect(),
            behind: self.behind.into_iter().map(behind).collect(),
            starts,
            ..Session::new(self.client)
        }
    }
}

impl KeptSubscription {
    fn of((filter, subscription): (&ByteString, &Subscription), starts: &Starts) -> Self {
        let Subscription { options, id } = *subscription;
        let starts = starts.get(filter).into_iter().flatten();
        Self {
            filter: filter.clone(),
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            retain_handling: u8::from(options.retain_handling),
            id,
            starts: starts.map(|(place, next)| (*place, *next)).collect(),
        }
    }

    fn both(self) -> (ByteString, Subscription) {
        let options = SubscriptionOptions {
            qos: self.qos,
            no_local: self.no_local,
            retain_as_published: self.retain_as_published,
            retain_handling: RetainHandling::try_from(self.retain_handling)
                .unwrap_or(RetainHandling::AtSubscribe),
        };
        (self.filter, Subscription { options, id: self.id })
    }
}
