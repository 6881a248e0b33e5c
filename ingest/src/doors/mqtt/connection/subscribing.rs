//! SUBSCRIBE and UNSUBSCRIBE.
//!
//! Promise: every filter gets its own answer, when a session to keep is durable with it, and none if that
//! cannot be; what is retained comes behind it.

use super::{Connection, End};
use crate::doors::mqtt::ending::Ending;
use crate::doors::mqtt::session::Subscription;
use rmqtt_codec::v5::{
    DisconnectReasonCode, Packet, Subscribe, SubscribeAck, Unsubscribe, UnsubscribeAck,
};

impl Connection<'_> {
    pub(super) async fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), End> {
        let now = self.door.now().0;
        self.check_filters(subscribe.topic_filters.len())?;
        let (mut status, mut reasons) = (Vec::new(), Vec::new());
        for (filter, options) in subscribe.topic_filters {
            let subscription = Subscription { options, id: subscribe.id };
            let (at, limits) = ((&self.seat, self.link), &self.door.mqtt);
            let one = self.door.hub.subscribe(at, &filter, subscription, now, limits);
            let one = one.map_err(End::Told)?;
            if one.wants_retained {
                self.wants_latest(&filter, subscription);
            }
            status.push(one.reason);
            reasons.extend(one.why);
        }
        self.door.keep(&self.seat).await.map_err(|error| End::Told(error.into()))?;
        let reason_string = (!reasons.is_empty()).then(|| reasons.join("; ").into());
        self.say(Packet::SubscribeAck(SubscribeAck {
            packet_id: subscribe.packet_id,
            properties: Vec::new(),
            reason_string,
            status,
        }));
        Ok(())
    }

    pub(super) async fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), End> {
        self.check_filters(unsubscribe.topic_filters.len())?;
        let filters = unsubscribe.topic_filters.iter();
        let one = |filter| self.door.hub.unsubscribe((&self.seat, self.link), filter);
        let status = filters.map(one).collect::<Result<_, _>>().map_err(End::Told)?;
        self.door.keep(&self.seat).await.map_err(|error| End::Told(error.into()))?;
        self.say(Packet::UnsubscribeAck(UnsubscribeAck {
            packet_id: unsubscribe.packet_id,
            properties: Vec::new(),
            reason_string: None,
            status,
        }));
        Ok(())
    }

    /// A packet of a megabyte has room for hundreds of thousands of filters.
    fn check_filters(&self, filters: usize) -> Result<(), End> {
        let most = self.door.mqtt.subscriptions_max;
        if filters <= most {
            return Ok(());
        }
        let what = format!("the packet has {filters} filters, a session has at most {most}");
        Err(End::Told(Ending::new(DisconnectReasonCode::QuotaExceeded, what)))
    }

    /// Goes on with what is retained when what waits has become less.
    pub(super) fn feed_retained(&self) {
        let session = self.seat.session.lock();
        let is_fed = session.retained_left.is_empty();
        if is_fed || !session.outbound.is_half_empty(&self.door.mqtt) {
            return;
        }
        drop(session);
        self.door.hub.more_retained(&self.seat, self.door.now().0, &self.door.mqtt);
    }
}
