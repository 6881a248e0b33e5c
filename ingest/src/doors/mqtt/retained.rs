//! What was published retained on topics that no stream takes.
//!
//! Promise: bounded in number and bytes; an empty payload takes the message of its topic away. Elsewhere:
//! of a stream's topics the latest reading is what is retained.

use super::limits::MqttLimits;
use super::message::Message;
use crate::model::TopicPattern;
use bytestring::ByteString;
use std::collections::HashMap;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Retained {
    by_topic: HashMap<ByteString, Arc<Message>>,
    bytes: usize,
}

impl Retained {
    /// Keeps, replaces or takes away; whether there was room.
    pub(super) fn set(&mut self, message: &Arc<Message>, limits: &MqttLimits) -> bool {
        if let Some(old) = self.by_topic.remove(&message.topic) {
            self.bytes -= old.bytes();
        }
        if message.payload.is_empty() {
            return true;
        }
        let bytes = self.bytes + message.bytes();
        if self.by_topic.len() >= limits.retained_max || bytes > limits.retained_bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.by_topic.insert(message.topic.clone(), Arc::clone(message));
        true
    }

    /// Those of topics that match; of a topic that begins with `$` there is none.
    pub(super) fn matching(&self, pattern: &TopicPattern, now_us: i64) -> Vec<Arc<Message>> {
        let wanted = |m: &&Arc<Message>| pattern.matches(&m.topic) && !m.is_expired(now_us);
        self.by_topic.values().filter(wanted).map(Arc::clone).collect()
    }
}
