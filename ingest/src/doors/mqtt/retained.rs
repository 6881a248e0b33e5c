//! What was published retained on topics that no stream takes.
//!
//! Promise: bounded in number and bytes; an empty payload takes the message of its topic away. Of a
//! stream's topics the latest readings are: `latest`.

use super::limits::MqttLimits;
use super::message::Message;
use crate::model::TopicPattern;
use bytestring::ByteString;
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// Between two looks for messages that have expired.
const LOOK_EVERY_US: i64 = 1_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Retained {
    by_topic: BTreeMap<ByteString, Arc<Message>>,
    bytes: usize,
    /// When those that have expired were last looked for.
    looked_at_us: i64,
    /// Topics of which the catalog has something else.
    changed: HashSet<ByteString>,
}

impl Retained {
    /// Keeps, replaces or takes away; whether there was room.
    pub(super) fn set(&mut self, message: &Arc<Message>, limits: &MqttLimits) -> bool {
        if let Some(old) = self.by_topic.remove(&message.topic) {
            self.bytes -= old.bytes();
            self.changed.insert(message.topic.clone());
        }
        if message.payload.is_empty() {
            return true;
        }
        if !self.has_room(message, limits) {
            self.let_expired_go(message.arrived_us);
            if !self.has_room(message, limits) {
                return false;
            }
        }
        self.bytes += message.bytes();
        self.changed.insert(message.topic.clone());
        self.by_topic.insert(message.topic.clone(), Arc::clone(message));
        true
    }

    fn has_room(&self, message: &Message, limits: &MqttLimits) -> bool {
        self.by_topic.len() < limits.retained_max
            && self.bytes + message.bytes() <= limits.retained_bytes_max
    }

    /// Looks through all of them, so at most once in a while.
    fn let_expired_go(&mut self, now_us: i64) {
        if now_us < self.looked_at_us.saturating_add(LOOK_EVERY_US) {
            return;
        }
        self.looked_at_us = now_us;
        let (bytes, changed) = (&mut self.bytes, &mut self.changed);
        self.by_topic.retain(|topic, message| {
            let stays = !message.is_expired(now_us);
            if !stays {
                *bytes -= message.bytes();
                changed.insert(topic.clone());
            }
            stays
        });
    }

    /// How many topics changed since they were asked for.
    pub(super) fn changed(&self) -> usize {
        self.changed.len()
    }

    /// What is retained now of topics that changed since they were asked for, at most so many.
    pub(super) fn take_changed(&mut self, most: usize) -> Vec<(ByteString, Option<Arc<Message>>)> {
        let topics: Vec<ByteString> = self.changed.iter().take(most).cloned().collect();
        let now = |topic: ByteString| {
            self.changed.remove(&topic);
            let message = self.by_topic.get(&topic).map(Arc::clone);
            (topic, message)
        };
        topics.into_iter().map(now).collect()
    }

    /// They are not in the catalog as they are.
    pub(super) fn not_kept(&mut self, topics: impl Iterator<Item = ByteString>) {
        self.changed.extend(topics);
    }

    /// Those of topics that match, in order of their topics, behind one or from the first on; of a topic that
    /// begins with `$` there is none.
    pub(super) fn matching<'r>(
        &'r self,
        pattern: &'r TopicPattern,
        behind: Option<&ByteString>,
        now_us: i64,
    ) -> impl Iterator<Item = &'r Arc<Message>> {
        let from = behind.map_or(Unbounded, |topic| Excluded(topic.clone()));
        let wanted = move |m: &&Arc<Message>| pattern.matches(&m.topic) && !m.is_expired(now_us);
        self.by_topic.range((from, Unbounded)).map(|(_, message)| message).filter(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmqtt_codec::types::QoS;
    use std::num::NonZeroU32;

    fn message(payload: &'static str) -> Arc<Message> {
        Arc::new(Message {
            topic: "a".into(),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Default::default(),
            arrived_us: 0,
            logged: None,
            counted: Default::default(),
        })
    }

    #[test]
    fn the_catalog_is_told_what_is_there_now_and_told_again_if_that_failed() {
        let mut retained = Retained::default();
        let limits = MqttLimits::default();
        let payload = |changed: &[(ByteString, Option<Arc<Message>>)]| {
            let one = |(_, m): &(_, Option<Arc<Message>>)| m.as_ref().map(|m| m.payload.clone());
            changed.iter().map(one).collect::<Vec<_>>()
        };
        assert!(retained.set(&message("1"), &limits) && retained.set(&message("2"), &limits));
        let changed = retained.take_changed(10);
        assert_eq!(payload(&changed), [Some("2".into())]);
        assert!(retained.take_changed(10).is_empty());
        retained.not_kept(changed.into_iter().map(|(topic, _)| topic));
        retained.set(&message(""), &limits);
        assert_eq!(payload(&retained.take_changed(10)), [None]);
    }

    #[test]
    fn what_has_expired_makes_room_and_goes_out_of_the_catalog() {
        const SECOND: i64 = 1_000_000;
        let mut retained = Retained::default();
        let limits = MqttLimits { retained_max: 2, ..MqttLimits::default() };
        let of = |topic: &'static str, expires_s: u32, at_s: i64| {
            let mut one = (*message("v")).clone();
            one.topic = topic.into();
            one.properties.message_expiry_interval = NonZeroU32::new(expires_s);
            one.arrived_us = at_s * SECOND;
            Arc::new(one)
        };
        assert!(
            retained.set(&of("short", 2, 0), &limits) && retained.set(&of("long", 0, 0), &limits)
        );
        assert!(!retained.set(&of("new", 0, 1), &limits));
        retained.take_changed(10);
        assert!(retained.set(&of("new", 0, 2), &limits), "the first has expired");
        let mut changed = retained.take_changed(10);
        changed.sort_by(|(a, _), (b, _)| a.cmp(b));
        let there = changed.iter().map(|(topic, message)| (&**topic, message.is_some()));
        assert_eq!(there.collect::<Vec<_>>(), [("new", true), ("short", false)]);
    }
}
