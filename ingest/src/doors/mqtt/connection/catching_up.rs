//! A session that fell behind reads the log itself.
//!
//! Promise: it gets what it missed of QoS 1 and 2, in order, as far back as is configured, and never more
//! than may wait for it; it delays nobody else, and reads on only when what waits has become less. Elsewhere:
//! when it is level with the others is `hub`'s.

use super::Connection;
use crate::doors::mqtt::filter::Filter;
use crate::doors::mqtt::follow::{Source, Told};
use crate::doors::mqtt::hub::Row;
use crate::doors::mqtt::message::{Delivery, Place, To};
use crate::doors::mqtt::outbound::Offered;
use crate::doors::mqtt::session::Subscription;
use crate::model::{Offset, TopicPattern};
use rmqtt_codec::types::QoS;

/// A filter whose messages are kept for the session.
struct Wanted {
    pattern: TopicPattern,
    subscription: Subscription,
    /// What came before was before it was subscribed to.
    from: Offset,
}

impl Wanted {
    fn takes(&self, row: &Row<'_>) -> bool {
        row.offset >= self.from
            && row.topic.starts_with('$') == self.pattern.as_str().starts_with('$')
            && self.pattern.matches(row.topic)
    }
}

impl Connection<'_> {
    /// The partition to read on in, if there is room for what is found.
    pub(super) fn behind(&self) -> Option<(Place, Offset)> {
        let session = self.seat.session.lock();
        let outbound = &session.outbound;
        if !outbound.is_half_empty(&self.door.mqtt) || self.stalled == Some(outbound.taken()) {
            return None;
        }
        let mut behind = session.behind.iter().filter(|(_, behind)| behind.reads);
        behind.next().map(|(place, behind)| (*place, behind.next))
    }

    /// Reads one frame of it.
    pub(super) async fn catch_up(&mut self, place: Place, from: Offset) {
        let Some(source) = self.door.source(place) else {
            return self.door.hub.forget_place(&self.seat, place);
        };
        let end = source.partition.ends().durable_end;
        let wanted = self.wanted(&source);
        if wanted.is_empty() {
            return self.door.hub.caught_up(&self.seat, place, end);
        }
        let oldest = Offset(end.0.saturating_sub(self.door.mqtt.catch_up_rows_max));
        if from < oldest {
            self.door.count("weir_mqtt_dropped_total", "too_far_behind", oldest.0 - from.0);
        }
        let from = from.max(oldest);
        let known =
            self.reader.take().filter(|(p, reader)| *p == place && reader.position() == from);
        let mut reader = known.map_or_else(|| source.partition.reader(from), |(_, reader)| reader);
        let told = tokio::task::block_in_place(|| self.door.read_on(&source, &mut reader));
        match told {
            Ok(Some(told)) => {
                let next = self.take_over(&told, from, &wanted);
                self.door.hub.caught_up(&self.seat, place, next);
                let is_full = next < told.end();
                self.stalled = is_full.then(|| self.seat.session.lock().outbound.taken());
                self.reader = (next == reader.position()).then_some((place, reader));
            }
            Ok(None) => self.door.hub.caught_up(&self.seat, place, end.max(from)),
            Err(error) => {
                tracing::warn!(%error, "a session misses rows that cannot be read");
                self.door.hub.caught_up(&self.seat, place, end);
            }
        }
    }

    /// Filters of QoS 1 and 2 that may match rows of a partition; what a group shares is live only.
    fn wanted(&self, source: &Source) -> Vec<Wanted> {
        let session = self.seat.session.lock();
        let of_log = session.subscriptions.iter().filter_map(|(text, subscription)| {
            let filter = Filter::parse(text).ok().filter(|filter| filter.group.is_none())?;
            let kept = subscription.options.qos != QoS::AtMostOnce;
            let (pattern, subscription) = (filter.pattern, *subscription);
            let from = session.start_of(text, source.place);
            (kept && source.may_match(&pattern)).then_some(Wanted { pattern, subscription, from })
        });
        of_log.collect()
    }

    /// Keeps what is wanted of a frame; how far there was room.
    fn take_over(&self, told: &Told, from: Offset, wanted: &[Wanted]) -> Offset {
        let now = self.door.now().0;
        let may_be_told =
            |row: &Row<'_>| row.offset >= from && !self.door.hub.is_private(row.topic);
        for row in told.rows().filter(may_be_told) {
            let mut qos = None;
            let mut ids = Vec::new();
            for Wanted { subscription, .. } in wanted.iter().filter(|one| one.takes(&row)) {
                let asked = subscription.options.qos;
                qos = qos.filter(|known: &QoS| known.value() >= asked.value()).or(Some(asked));
                ids.extend(subscription.id);
            }
            let Some(qos) = qos else { continue };
            let message = self.door.hub.hold(told.message(&row, now));
            let delivery = Delivery { message, qos, retain: false, ids, to: To::Session };
            let mut session = self.seat.session.lock();
            if session.outbound.offer(delivery, &self.door.mqtt) == Offered::Full {
                return row.offset;
            }
        }
        told.end()
    }
}
