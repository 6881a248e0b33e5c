//! Wills into the log and to those who subscribed.
//!
//! Promise: a will is published like a message of its client, those that are due together together. One of
//! QoS 1 or 2 that was not confirmed is published again, as a client would: nobody else will.

use super::MqttDoor;
use super::publish::Ack;
use super::verdict::Verdict;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{LastWill, PublishProperties};
use std::time::Duration;

/// How often one is published before it is given up, and the pause between.
const TRIES_MAX: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);
/// Wills that are published together.
const BATCH_MAX: usize = 100;

impl MqttDoor {
    /// Resolves when they are durable, handed out, or given up.
    pub(super) async fn publish_wills(&self, wills: Vec<LastWill>) {
        let mut wills = wills.into_iter().map(message).peekable();
        while wills.peek().is_some() {
            let mut left: Vec<Publish> = wills.by_ref().take(BATCH_MAX).collect();
            for attempt in 1..=TRIES_MAX {
                left = self.publish_once(left, attempt).await;
                if left.is_empty() {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Gives back what is worth another attempt.
    async fn publish_once(&self, messages: Vec<Publish>, attempt: u32) -> Vec<Publish> {
        let bytes = messages.iter().map(|message| message.payload.len()).sum();
        let permit = self.budget.wait(bytes).await;
        let queued = self.queue(None, messages.clone(), permit).await;
        let acks = queued.settled().await;
        let comes_again = |ack: &Ack| {
            let failed = matches!(ack.verdict, Verdict::Failed { .. });
            failed && ack.qos != QoS::AtMostOnce && attempt < TRIES_MAX
        };
        let (mut left, mut over) = (Vec::new(), Vec::new());
        for (message, ack) in messages.into_iter().zip(acks) {
            if comes_again(&ack) {
                left.push(message);
                continue;
            }
            if let Verdict::Failed { why, .. } = &ack.verdict {
                tracing::warn!(topic = %message.topic, %why, "a will is lost");
            }
            over.push(ack);
        }
        self.published(&over);
        self.count("weir_mqtt_messages_total", "again", left.len() as u64);
        left
    }
}

fn message(will: LastWill) -> Publish {
    let properties = PublishProperties {
        correlation_data: will.correlation_data,
        message_expiry_interval: will.message_expiry_interval,
        content_type: will.content_type,
        user_properties: will.user_properties,
        is_utf8_payload: will.is_utf8_payload.unwrap_or(false),
        response_topic: will.response_topic,
        ..PublishProperties::default()
    };
    Publish {
        dup: false,
        retain: will.retain,
        qos: will.qos,
        topic: will.topic,
        packet_id: None,
        payload: will.message,
        properties: Some(properties),
    }
}
