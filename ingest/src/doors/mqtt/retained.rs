//! What was published retained on topics that no stream takes.
//!
//! Promise: bounded in number and bytes; an empty payload takes the message of its topic away. Of a
//! stream's topics nothing is retained: its readings are in the log.

use super::limits::MqttLimits;
use super::message::Message;
use crate::model::TopicPattern;
use bytestring::ByteString;
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Retained {
    by_topic: BTreeMap<ByteString, Arc<Message>>,
    bytes: usize,
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
        let bytes = self.bytes + message.bytes();
        if self.by_topic.len() >= limits.retained_max || bytes > limits.retained_bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.changed.insert(message.topic.clone());
        self.by_topic.insert(message.topic.clone(), Arc::clone(message));
        true
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

    fn message(payload: &'static str) -> Arc<Message> {
        Arc::new(Message {
            topic: "a".into(),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: Default::default(),
            arrived_us: 0,
            logged: None,
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
}
