//! The latest reading of each series, to a client that subscribes.
//!
//! Promise: it gets those of every series that the filter matches and that were durable, as far as there is room
//! and on from there later. They are read outside of every lock, so that a newer one may come live before them:
//! each has its time.

use super::Connection;
use crate::decode::reading_json;
use crate::doors::mqtt::filter::Filter;
use crate::doors::mqtt::latest::LatestLeft;
use crate::doors::mqtt::message::{Delivery, Message, To};
use crate::doors::mqtt::outbound::Offered;
use crate::doors::mqtt::session::Subscription;
use crate::log::Stream;
use crate::model::{SeriesId, reading};
use bytestring::ByteString;
use std::sync::Arc;

/// Series that are looked up at once.
const PAGE: usize = 256;

/// Whether there is more to be done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    All,
    More,
}

impl Connection<'_> {
    /// A filter is new: it gets the latest of all streams that it may match.
    pub(super) fn wants_latest(&self, filter: &ByteString, subscription: Subscription) {
        let pattern = Filter::parse(filter).map(|filter| filter.pattern);
        let (Ok(pattern), Some(_)) = (pattern, &self.door.sources.latest) else { return };
        let streams = self.door.log.streams().all();
        let matching = streams.iter().filter(|s| pattern.overlaps(s.definition().template()));
        let left = matching.map(|stream| LatestLeft {
            filter: filter.clone(),
            pattern: pattern.clone(),
            subscription,
            stream: stream.uid(),
            from: SeriesId(0),
        });
        let mut session = self.seat.session.lock();
        session.latest_left.retain(|left| left.filter != *filter);
        session.latest_left.extend(left);
    }

    /// Goes on with them when what waits has become less.
    pub(super) fn feed_latest(&self) -> Fed {
        let mut session = self.seat.session.lock();
        if !session.outbound.is_half_empty(&self.door.mqtt) {
            return Fed::All;
        }
        let Some(mut left) = session.latest_left.pop_front() else { return Fed::All };
        drop(session);
        let before = self.seat.session.lock().outbound.waiting();
        let next = tokio::task::block_in_place(|| self.feed_page(&left));
        let Some(next) = next else { return Fed::More };
        left.from = next;
        let mut session = self.seat.session.lock();
        // It may have been unsubscribed from, or subscribed to again, by the connection after this one.
        if session.subscriptions.get(&left.filter) == Some(&left.subscription) {
            session.latest_left.push_front(left);
        }
        // What found no room finds none before something goes out.
        if session.outbound.waiting() > before { Fed::More } else { Fed::All }
    }

    /// `None` where it was dropped.
    fn stream_of(&self, left: &LatestLeft) -> Option<Arc<Stream>> {
        let streams = self.door.log.streams().all();
        streams.into_iter().find(|stream| stream.uid() == left.stream)
    }

    /// Offers the next readings; where to go on, if there is more.
    fn feed_page(&self, left: &LatestLeft) -> Option<SeriesId> {
        let latest = self.door.sources.latest.as_ref()?;
        let stream = self.stream_of(left)?;
        let page = match latest.page(&stream, &left.pattern, left.from, PAGE) {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "who subscribes misses the latest readings");
                return None;
            }
        };
        let (series, now) = (stream.series().snapshot(), self.door.now().0);
        for (row, id) in reading::series_column(&page.rows).values().iter().enumerate() {
            let topic = series.topic(SeriesId(*id));
            if self.door.hub.is_private(topic) {
                continue;
            }
            let payload = reading_json(&page.rows, row, topic);
            let delivery = self.latest_delivery(topic, payload, left.subscription, now);
            let mut session = self.seat.session.lock();
            if session.outbound.offer(delivery, &self.door.mqtt) == Offered::Full {
                return Some(SeriesId(*id));
            }
        }
        page.next
    }

    fn latest_delivery(
        &self,
        topic: &str,
        payload: String,
        subscription: Subscription,
        now_us: i64,
    ) -> Delivery {
        let message = self.door.hub.hold(Message::latest(topic, payload, now_us));
        let ids = subscription.id.into_iter().collect();
        Delivery { message, qos: subscription.options.qos, retain: true, ids, to: To::Session }
    }
}
