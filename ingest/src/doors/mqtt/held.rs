//! Bytes of messages that the door holds, whoever they wait for.
//!
//! Promise: a message counts once, as long as somebody holds it.

use super::limits::MqttLimits;
use super::message::Message;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The count of one door.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

/// What one message counts, until it is dropped; a copy of it counts nothing.
#[derive(Debug, Default)]
pub(super) struct Counted(Option<(Held, usize)>);

impl Held {
    /// Counts a message from now on.
    pub(super) fn hold(&self, mut message: Message) -> Arc<Message> {
        self.count(&mut message);
        Arc::new(message)
    }

    pub(super) fn count(&self, message: &mut Message) {
        let bytes = message.bytes();
        self.0.fetch_add(bytes, Ordering::Relaxed);
        message.counted = Counted(Some((self.clone(), bytes)));
    }

    /// Whether more is held than may be.
    pub(super) fn is_over(&self, limits: &MqttLimits) -> bool {
        self.0.load(Ordering::Relaxed) > limits.messages_bytes_max
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// It says nothing of the message.
impl PartialEq for Counted {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some((held, bytes)) = &self.0 {
            held.0.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}
