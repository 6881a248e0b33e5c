//! SUBSCRIBE and UNSUBSCRIBE.
//!
//! Promise: every filter gets its own answer, when a session to keep is durable with it; what is retained
//! comes behind it.

use super::{Connection, End};
use crate::doors::mqtt::outbound::Offered;
use crate::doors::mqtt::session::Subscription;
use rmqtt_codec::v5::{Packet, Subscribe, SubscribeAck, Unsubscribe, UnsubscribeAck};

impl Connection<'_> {
    pub(super) async fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), End> {
        let now = self.door.now().0;
        let (mut status, mut retained, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for (filter, options) in subscribe.topic_filters {
            let subscription = Subscription { options, id: subscribe.id };
            let (at, limits) = ((&self.seat, self.link), &self.door.mqtt);
            let one = self.door.hub.subscribe(at, &filter, subscription, now, limits);
            let one = one.map_err(End::Told)?;
            status.push(one.reason);
            retained.extend(one.retained);
            reasons.extend(one.why);
        }
        // They wait before anything newer; the connection sends what waits behind the answer.
        let full = |delivery| self.seat.offer(delivery, &self.door.mqtt) == Offered::Full;
        let dropped = retained.into_iter().filter(|delivery| full(delivery.clone())).count();
        self.door.count("weir_mqtt_dropped_total", "queue_full", dropped as u64);
        self.door.keep(&self.seat).await;
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
        let filters = unsubscribe.topic_filters.iter();
        let one = |filter| self.door.hub.unsubscribe((&self.seat, self.link), filter);
        let status = filters.map(one).collect::<Result<_, _>>().map_err(End::Told)?;
        self.door.keep(&self.seat).await;
        self.say(Packet::UnsubscribeAck(UnsubscribeAck {
            packet_id: unsubscribe.packet_id,
            properties: Vec::new(),
            reason_string: None,
            status,
        }));
        Ok(())
    }
}
