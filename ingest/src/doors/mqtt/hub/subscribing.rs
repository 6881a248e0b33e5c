//! SUBSCRIBE and UNSUBSCRIBE, and what is retained for a filter.
//!
//! Promise: a filter is live from the moment on in which what is retained is offered, so that nothing newer is
//! missed and nothing older comes behind it; it comes as far as there is room, and on from there later.

use super::super::ending::Ending;
use super::super::filter::Filter;
use super::super::limits::MqttLimits;
use super::super::message::{Delivery, Message, To, own};
use super::super::outbound::Offered;
use super::super::retained::Retained;
use super::super::session::{RetainedLeft, Session, Subscription, When};
use super::{Hub, Seat};
use bytestring::ByteString;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{RetainHandling, SubscribeAckReason, UnsubscribeAckReason};
use std::sync::Arc;

/// What came of one filter of a SUBSCRIBE.
#[derive(Debug)]
pub(in super::super) struct Subscribed {
    pub(in super::super) reason: SubscribeAckReason,
    /// Why it was refused.
    pub(in super::super) why: Option<String>,
    /// Whether it gets what is retained.
    pub(in super::super) wants_retained: bool,
}

impl Hub {
    /// Adds or replaces one subscription.
    /// # Errors
    /// Another connection has the session now.
    pub(in super::super) fn subscribe(
        &self,
        (seat, link): (&Arc<Seat>, u64),
        text: &ByteString,
        subscription: Subscription,
        now_us: i64,
        limits: &MqttLimits,
    ) -> Result<Subscribed, Ending> {
        let refused =
            |reason, why| Ok(Subscribed { reason, why: Some(why), wants_retained: false });
        let filter = match Filter::parse(text) {
            Ok(filter) => filter,
            Err(error) => {
                return refused(SubscribeAckReason::TopicFilterInvalid, error.to_string());
            }
        };
        if filter.group.is_some() && subscription.options.no_local {
            let why = "a shared subscription cannot be without one's own messages".to_owned();
            return refused(SubscribeAckReason::TopicFilterInvalid, why);
        }
        if self.is_private(filter.pattern.as_str()) {
            // It is not this client that may not: no other code says that.
            let why = format!("nobody may subscribe to '{}'", filter.pattern.as_str());
            return refused(SubscribeAckReason::UnspecifiedError, why);
        }
        let text = &own(text);
        let mut state = self.state.lock();
        let mut session = seat.session.lock();
        if session.link != Some(link) {
            return Err(Ending::taken_over());
        }
        let is_new = !session.subscriptions.contains_key(text);
        if is_new && session.subscriptions.len() >= limits.subscriptions_max {
            let most = limits.subscriptions_max;
            let why = format!("the session has {most} subscriptions, its limit");
            return refused(SubscribeAckReason::QuotaExceeded, why);
        }
        if is_new {
            session.begins(text, &state.told);
        }
        session.subscriptions.insert(text.clone(), subscription);
        state.routes.add(seat, &session.client, text, &filter, subscription);
        let wanted = match subscription.options.retain_handling {
            RetainHandling::AtSubscribe => filter.group.is_none(),
            RetainHandling::AtSubscribeNew => filter.group.is_none() && is_new,
            RetainHandling::NoAtSubscribe => false,
        };
        if wanted {
            // Offered before anything newer can be: whoever publishes has to wait for the lock.
            let (filter, pattern) = (text.clone(), filter.pattern);
            session.retained_left.retain(|left| left.filter != filter);
            let left = RetainedLeft { filter, pattern, subscription, behind: None };
            session.retained_left.push_back(left);
            self.offer_retained(&state.retained, &mut session, now_us, limits);
        }
        let reason = granted(subscription.options.qos);
        Ok(Subscribed { reason, why: None, wants_retained: wanted })
    }

    /// Offers a session on what is retained and found no room.
    pub(in super::super) fn more_retained(&self, seat: &Seat, now_us: i64, limits: &MqttLimits) {
        let state = self.state.lock();
        let mut session = seat.session.lock();
        let before = session.outbound.waiting();
        self.offer_retained(&state.retained, &mut session, now_us, limits);
        let offers = session.outbound.waiting() > before;
        session.has_changed(When::Soon);
        drop(session);
        if offers {
            seat.bell.notify_one();
        }
    }

    fn offer_retained(
        &self,
        retained: &Retained,
        session: &mut Session,
        now_us: i64,
        limits: &MqttLimits,
    ) {
        while let Some(mut left) = session.retained_left.pop_front() {
            let behind = left.behind.take();
            let mut last = behind.clone();
            let mut offered = Offered::Waiting;
            for message in retained.matching(&left.pattern, behind.as_ref(), now_us) {
                if !self.is_private(&message.topic) {
                    let delivery = retained_delivery(Arc::clone(message), left.subscription);
                    offered = session.outbound.offer(delivery, limits);
                }
                if offered == Offered::Full {
                    break;
                }
                last = Some(message.topic.clone());
            }
            if offered == Offered::Full {
                left.behind = last;
                return session.retained_left.push_front(left);
            }
        }
    }

    /// Takes one subscription away.
    /// # Errors
    /// Another connection has the session now.
    pub(in super::super) fn unsubscribe(
        &self,
        (seat, link): (&Arc<Seat>, u64),
        text: &ByteString,
    ) -> Result<UnsubscribeAckReason, Ending> {
        let mut state = self.state.lock();
        let mut session = seat.session.lock();
        if session.link != Some(link) {
            return Err(Ending::taken_over());
        }
        if session.subscriptions.remove(text).is_none() {
            return Ok(UnsubscribeAckReason::NoSubscriptionExisted);
        }
        session.starts.remove(text);
        session.retained_left.retain(|left| left.filter != *text);
        session.latest_left.retain(|left| left.filter != *text);
        state.routes.remove(seat, &session.client, text);
        Ok(UnsubscribeAckReason::Success)
    }
}

fn granted(qos: QoS) -> SubscribeAckReason {
    match qos {
        QoS::AtMostOnce => SubscribeAckReason::GrantedQos0,
        QoS::AtLeastOnce => SubscribeAckReason::GrantedQos1,
        QoS::ExactlyOnce => SubscribeAckReason::GrantedQos2,
    }
}

fn retained_delivery(message: Arc<Message>, subscription: Subscription) -> Delivery {
    let qos = message.qos.less_value(subscription.options.qos);
    let ids = subscription.id.into_iter().collect();
    Delivery { message, qos, retain: true, ids, to: To::Session }
}
