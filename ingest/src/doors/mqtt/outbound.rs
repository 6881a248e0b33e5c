//! What waits for one client, and what it was sent and has not confirmed.
//!
//! Promise: no more is under way than the client takes at once; what it did not confirm is sent again, in
//! order, when it comes back; nothing waits beyond the bounds, of the session and of all: behind that one message. No clock, no I/O.

use super::held::Held;
use super::limits::MqttLimits;
use super::message::{Delivery, Place, To};
use crate::model::Offset;
use rmqtt_codec::types::{Publish, QoS};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    waiting: VecDeque<Delivery>,
    waiting_bytes: usize,
    /// Of `waiting`, those that expire.
    expiring: usize,
    /// How many waited and do not any more.
    taken: u64,
    /// By order of sending.
    sent: BTreeMap<u64, Sent>,
    sent_bytes: usize,
    by_id: HashMap<NonZeroU16, u64>,
    /// Of `sent`, what this connection has not carried yet.
    again: VecDeque<u64>,
    /// How many may be under way, and how many bytes.
    window: usize,
    window_bytes: usize,
    order: u64,
    last_id: u16,
    /// What all sessions hold.
    held: Held,
}

/// Sent and not confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) id: NonZeroU16,
    pub(super) delivery: Delivery,
    pub(super) stage: Stage,
}

/// How far a QoS 2 delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The client has not said that it has it.
    Published,
    /// It has; it was told to forget the id and has not said that it did.
    Released,
}

/// What is to be sent next.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    Publish(Box<Publish>),
    Release(NonZeroU16),
}

/// What became of an offered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offered {
    Waiting,
    /// There is no room for it.
    Full,
}

impl Outbound {
    /// Shares the bound of all sessions from now on; what it holds already is counted.
    pub(super) fn share(&mut self, held: &Held) {
        self.held = held.clone();
        let sent = self.sent.values_mut().map(|sent| &mut sent.delivery);
        for delivery in sent.chain(&mut self.waiting) {
            if let Some(message) = Arc::get_mut(&mut delivery.message) {
                held.count(message);
            }
        }
    }

    /// Keeps a message until it can be sent.
    pub(super) fn offer(&mut self, delivery: Delivery, limits: &MqttLimits) -> Offered {
        if !self.takes(&delivery, limits) {
            self.let_expired_go(delivery.message.arrived_us);
            if !self.takes(&delivery, limits) {
                return Offered::Full;
            }
        }
        self.waiting_bytes += delivery.message.bytes();
        self.expiring += usize::from(delivery.message.expires());
        self.waiting.push_back(delivery);
        Offered::Waiting
    }

    fn takes(&self, delivery: &Delivery, limits: &MqttLimits) -> bool {
        let bytes = self.waiting_bytes + delivery.message.bytes();
        match delivery.to {
            _ if self.waiting.is_empty() => true,
            _ if self.held.is_over(limits) => false,
            To::Session => {
                self.waiting.len() < limits.waiting_max && bytes <= limits.waiting_bytes_max
            }
            // The member was chosen because it has room.
            To::Group => self.has_room(limits),
        }
    }

    /// What has expired would not be sent.
    fn let_expired_go(&mut self, now_us: i64) {
        if self.expiring == 0 {
            return;
        }
        let before = self.waiting.len();
        self.waiting.retain(|delivery| !delivery.message.is_expired(now_us));
        self.taken += (before - self.waiting.len()) as u64;
        self.count_waiting();
    }

    fn count_waiting(&mut self) {
        self.waiting_bytes = self.waiting.iter().map(|d| d.message.bytes()).sum();
        self.expiring = self.waiting.iter().filter(|d| d.message.expires()).count();
    }

    /// Whether a message that a group shares may wait here: the last one may go beyond the bytes.
    pub(super) fn has_room(&self, limits: &MqttLimits) -> bool {
        self.waiting.is_empty()
            || !self.held.is_over(limits)
                && self.waiting.len() < limits.waiting_max
                && self.waiting_bytes < limits.waiting_bytes_max
    }

    /// Messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether reading more for the client is worth it.
    pub(super) fn is_half_empty(&self, limits: &MqttLimits) -> bool {
        self.waiting.len() <= limits.waiting_max / 2
            && self.waiting_bytes <= limits.waiting_bytes_max / 2
    }

    /// How many messages waited and do not any more: as long as that stays, what found no room finds none.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// A new connection carries what the last one did not finish; at most `window` messages at
    /// once, and no more new ones with `bytes` under way.
    pub(super) fn resume(&mut self, window: usize, bytes: usize) {
        (self.window, self.window_bytes) = (window, bytes);
        self.again = self.sent.keys().copied().collect();
    }

    /// The next packet, if one may be sent.
    pub(super) fn next(&mut self, now_us: i64) -> Option<Next> {
        let room = self.sent.len() - self.again.len() < self.window;
        if room && let Some(order) = self.again.pop_front() {
            let sent = self.sent.get(&order)?;
            return Some(match sent.stage {
                Stage::Published => {
                    Next::Publish(Box::new(sent.delivery.packet(Some(sent.id), true, now_us)))
                }
                Stage::Released => Next::Release(sent.id),
            });
        }
        if !self.again.is_empty() {
            return None;
        }
        let room = room && (self.sent.is_empty() || self.sent_bytes < self.window_bytes);
        loop {
            let first = self.waiting.front()?;
            if first.qos != QoS::AtMostOnce && !room {
                return None;
            }
            let delivery = self.pop()?;
            if !delivery.message.is_expired(now_us) {
                return Some(Next::Publish(Box::new(self.send(delivery, now_us))));
            }
        }
    }

    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.waiting.pop_front()?;
        self.waiting_bytes -= delivery.message.bytes();
        self.expiring -= usize::from(delivery.message.expires());
        self.taken += 1;
        Some(delivery)
    }

    fn send(&mut self, delivery: Delivery, now_us: i64) -> Publish {
        if delivery.qos == QoS::AtMostOnce {
            return delivery.packet(None, false, now_us);
        }
        let id = self.free_id();
        let publish = delivery.packet(Some(id), false, now_us);
        self.keep(Sent { id, delivery, stage: Stage::Published });
        publish
    }

    fn keep(&mut self, sent: Sent) {
        self.order += 1;
        self.sent_bytes += sent.delivery.message.bytes();
        self.by_id.insert(sent.id, self.order);
        self.sent.insert(self.order, sent);
    }

    /// An id that nothing under way has; there are more ids than `window`.
    fn free_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_id)
                && !self.by_id.contains_key(&id)
            {
                return id;
            }
        }
    }

    /// A packet that could not be said to this client counts as confirmed.
    pub(super) fn left_out(&mut self, id: Option<NonZeroU16>) {
        if let Some(id) = id {
            self.forget(id);
        }
    }

    /// PUBACK; whether something was under way with that id.
    pub(super) fn acknowledged(&mut self, id: NonZeroU16) -> bool {
        self.is(id, QoS::AtLeastOnce) && self.forget(id).is_some()
    }

    /// PUBREC without an error; whether something was under way with that id.
    pub(super) fn received(&mut self, id: NonZeroU16) -> bool {
        let sent = self.by_id.get(&id).and_then(|order| self.sent.get_mut(order));
        match sent.filter(|sent| sent.delivery.qos == QoS::ExactlyOnce) {
            Some(sent) => {
                sent.stage = Stage::Released;
                true
            }
            None => false,
        }
    }

    /// PUBREC with an error, or PUBCOMP.
    pub(super) fn completed(&mut self, id: NonZeroU16) -> bool {
        self.is(id, QoS::ExactlyOnce) && self.forget(id).is_some()
    }

    fn is(&self, id: NonZeroU16, qos: QoS) -> bool {
        let sent = self.by_id.get(&id).and_then(|order| self.sent.get(order));
        sent.is_some_and(|sent| sent.delivery.qos == qos)
    }

    fn forget(&mut self, id: NonZeroU16) -> Option<Sent> {
        let order = self.by_id.remove(&id)?;
        self.again.retain(|other| *other != order);
        let sent = self.sent.remove(&order)?;
        self.sent_bytes -= sent.delivery.message.bytes();
        Some(sent)
    }

    /// For the catalog: what is under way, in order, and what waits and is not read again.
    pub(super) fn kept(&self) -> (Vec<Sent>, Vec<Delivery>) {
        let waiting = self.waiting.iter().filter(|d| d.qos != QoS::AtMostOnce);
        let waiting = waiting.filter(|d| d.logged().is_none()).cloned().collect();
        (self.sent.values().cloned().collect(), waiting)
    }

    /// The id that was given last.
    pub(super) fn last_id(&self) -> u16 {
        self.last_id
    }

    /// The first place of each partition among what waits.
    pub(super) fn first_logged(&self) -> HashMap<Place, Offset> {
        let mut first = HashMap::new();
        for delivery in self.waiting.iter().filter(|d| d.qos != QoS::AtMostOnce) {
            if let Some((place, offset)) = delivery.logged() {
                first.entry(place).or_insert(offset);
            }
        }
        first
    }

    /// As the catalog had it. Ids begin half of their range further on: the client may still hold some
    /// that were given after it was kept.
    pub(super) fn restored(sent: Vec<Sent>, waiting: Vec<Delivery>, last_id: u16) -> Self {
        let mut outbound = Self { last_id: last_id.wrapping_add(u16::MAX / 2), ..Self::default() };
        sent.into_iter().for_each(|sent| outbound.keep(sent));
        outbound.waiting = waiting.into();
        outbound.count_waiting();
        outbound
    }

    /// Nobody is connected: QoS 0 is not kept, and what the session reads again is not kept twice. Gives the first
    /// place of each partition that was let go.
    pub(super) fn leave(&mut self) -> HashMap<Place, Offset> {
        let mut first = HashMap::new();
        let waiting = std::mem::take(&mut self.waiting);
        for delivery in waiting.into_iter().filter(|d| d.qos != QoS::AtMostOnce) {
            match delivery.logged() {
                Some((place, offset)) => {
                    first.entry(place).or_insert(offset);
                }
                None => self.waiting.push_back(delivery),
            }
        }
        self.count_waiting();
        first
    }
}

#[cfg(test)]
mod tests;
