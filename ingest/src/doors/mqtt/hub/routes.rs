//! Which sessions a topic is for.
//!
//! Promise: found by the filters' index and not one by one; a filter that begins with a wildcard is not
//! asked about topics that begin with `$`.

use super::super::filter::Filter;
use super::super::limits::MqttLimits;
use super::super::message::To;
use super::super::session::{Session, Subscription};
use super::Seat;
use crate::model::{Interest, PatternIndex, SeriesId, StreamUid};
use bytestring::ByteString;
use rmqtt_codec::types::QoS;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Routes {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    common: Interest,
    /// Filters that begin with `$`.
    of_server: PatternIndex,
    /// The entry of each session's filter, and of each group's.
    own: HashMap<(ByteString, ByteString), u32>,
    groups: HashMap<(String, String), u32>,
}

#[derive(Debug)]
enum Entry {
    Own {
        seat: Arc<Seat>,
        subscription: Subscription,
    },
    /// Members take turns.
    Group {
        members: Vec<(Arc<Seat>, Subscription)>,
        turn: usize,
    },
}

/// One session that gets a message.
#[derive(Debug)]
pub(in super::super) struct Listener {
    pub(in super::super) seat: Arc<Seat>,
    /// The highest of its filters that match.
    pub(in super::super) qos: QoS,
    pub(in super::super) retain_as_published: bool,
    pub(in super::super) ids: Vec<NonZeroU32>,
    pub(in super::super) to: To,
}

impl Routes {
    pub(super) fn add(
        &mut self,
        seat: &Arc<Seat>,
        client: &ByteString,
        text: &ByteString,
        filter: &Filter,
        subscription: Subscription,
    ) {
        let Some(group) = &filter.group else {
            let key = (client.clone(), text.clone());
            let entry = Entry::Own { seat: Arc::clone(seat), subscription };
            match self.own.get(&key) {
                Some(number) => self.entries[*number as usize] = Some(entry),
                None => {
                    let number = self.insert(filter, entry);
                    self.own.insert(key, number);
                }
            }
            return;
        };
        let key = (group.clone(), filter.pattern.as_str().to_owned());
        let number = match self.groups.get(&key) {
            Some(number) => *number,
            None => {
                let number = self.insert(filter, Entry::Group { members: Vec::new(), turn: 0 });
                self.groups.insert(key, number);
                number
            }
        };
        if let Some(Entry::Group { members, .. }) = &mut self.entries[number as usize] {
            members.retain(|(member, _)| !Arc::ptr_eq(member, seat));
            members.push((Arc::clone(seat), subscription));
        }
    }

    fn insert(&mut self, filter: &Filter, entry: Entry) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("there are fewer filters than 2^32")
        });
        self.entries[number as usize] = Some(entry);
        match filter.is_of_server() {
            true => self.of_server.insert(&filter.pattern, number),
            false => self.common.add(&filter.pattern, number),
        }
        number
    }

    /// Whether nobody subscribes to anything.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.len() == self.free.len()
    }

    pub(super) fn remove(&mut self, seat: &Arc<Seat>, client: &ByteString, text: &ByteString) {
        let Ok(filter) = Filter::parse(text) else { return };
        let number = match &filter.group {
            None => self.own.remove(&(client.clone(), text.clone())),
            Some(group) => {
                let key = (group.clone(), filter.pattern.as_str().to_owned());
                let number = self.groups.get(&key).copied();
                let entry = number.and_then(|number| self.entries[number as usize].as_mut());
                let Some(Entry::Group { members, .. }) = entry else { return };
                members.retain(|(member, _)| !Arc::ptr_eq(member, seat));
                if !members.is_empty() {
                    return;
                }
                self.groups.remove(&key)
            }
        };
        if let Some(number) = number {
            match filter.is_of_server() {
                true => self.of_server.remove(&filter.pattern, number),
                false => self.common.remove(&filter.pattern, number),
            }
            self.entries[number as usize] = None;
            self.free.push(number);
        }
    }

    /// A session is over.
    pub(super) fn forget(&mut self, seat: &Arc<Seat>, session: &Session) {
        for text in session.subscriptions.keys() {
            self.remove(seat, &session.client, text);
        }
    }

    /// Everybody who gets a message of this topic, each once.
    pub(super) fn audience(
        &mut self,
        topic: &str,
        from: Option<&Arc<Seat>>,
        limits: &MqttLimits,
    ) -> Vec<Listener> {
        let numbers = match topic.starts_with('$') {
            true => self.of_server.matches(topic),
            false => self.common.of_path(topic),
        };
        self.listeners(&numbers, from, limits)
    }

    /// Everybody who gets the readings of a series; a topic is held against the filters once.
    pub(super) fn of_series(
        &mut self,
        stream: StreamUid,
        series: SeriesId,
        topic: &str,
        limits: &MqttLimits,
    ) -> Vec<Listener> {
        let numbers = self.common.in_stream(stream).of(series, || topic).to_vec();
        if numbers.is_empty() { Vec::new() } else { self.listeners(&numbers, None, limits) }
    }

    /// The sessions behind entries.
    fn listeners(
        &mut self,
        numbers: &[u32],
        from: Option<&Arc<Seat>>,
        limits: &MqttLimits,
    ) -> Vec<Listener> {
        let mut found: Vec<Listener> = Vec::new();
        for number in numbers {
            match self.entries[*number as usize].as_mut() {
                None => {}
                Some(Entry::Own { seat, subscription }) => {
                    let own = from.is_some_and(|from| Arc::ptr_eq(from, seat));
                    if !(own && subscription.options.no_local) {
                        join(&mut found, seat, *subscription);
                    }
                }
                Some(Entry::Group { members, turn }) => {
                    if let Some((seat, subscription)) = whose_turn(members, turn, limits) {
                        found.push(Listener { to: To::Group, ..Listener::new(seat, subscription) });
                    }
                }
            }
        }
        found
    }
}

/// The next member that has room and is connected; of those that are not, the next one that has room and
/// keeps what comes meanwhile; without such a one, the next.
fn whose_turn(
    members: &[(Arc<Seat>, Subscription)],
    turn: &mut usize,
    limits: &MqttLimits,
) -> Option<(Arc<Seat>, Subscription)> {
    let n = members.len();
    let in_order = || (0..n).map(|step| (*turn + step) % n);
    let is_ready = |at: &usize| members[*at].0.readiness(members[*at].1, limits);
    let connected = in_order().find(|at| is_ready(at) == Some(Ready::Now));
    let at = connected
        .or_else(|| in_order().find(|at| is_ready(at) == Some(Ready::Later)))
        .or_else(|| in_order().next())?;
    *turn = at + 1;
    Some((Arc::clone(&members[at].0), members[at].1))
}

/// When a member of a group would get a message that waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Now,
    Later,
}

impl Seat {
    fn readiness(&self, subscription: Subscription, limits: &MqttLimits) -> Option<Ready> {
        let session = self.session.lock();
        if !session.outbound.has_room(limits) {
            return None;
        }
        if session.is_connected() {
            return Some(Ready::Now);
        }
        (subscription.options.qos != QoS::AtMostOnce).then_some(Ready::Later)
    }
}

fn join(found: &mut Vec<Listener>, seat: &Arc<Seat>, subscription: Subscription) {
    match found.iter_mut().find(|one| one.to == To::Session && Arc::ptr_eq(&one.seat, seat)) {
        Some(listener) => listener.also(subscription),
        None => found.push(Listener::new(Arc::clone(seat), subscription)),
    }
}

impl Listener {
    fn new(seat: Arc<Seat>, subscription: Subscription) -> Self {
        Self {
            seat,
            qos: subscription.options.qos,
            retain_as_published: subscription.options.retain_as_published,
            ids: subscription.id.into_iter().collect(),
            to: To::Session,
        }
    }

    fn also(&mut self, subscription: Subscription) {
        let Subscription { options, id } = subscription;
        if options.qos.value() > self.qos.value() {
            self.qos = options.qos;
        }
        self.retain_as_published |= options.retain_as_published;
        self.ids.extend(id);
    }
}
