//! Messages of one connection into the log.
//!
//! Promise: what came together is decoded together and appended at once, in order; the answer comes when
//! every row of it is durable, every dead letter kept as far as that can be (L1). A topic under `relay` that
//! no stream takes is passed on as it is.

use super::MqttDoor;
use super::hub::Seat;
use super::message::Message;
use super::verdict::Verdict;
use crate::decode::{Decoded, DecodedRows, Decoder, Published};
use crate::doors::budget::{OverBudget, Permit};
use crate::doors::confirm::{append, room};
use crate::doors::dead_letters::{self, Letters};
use crate::log::Receipt;
use crate::model::{AppendTime, Refusal, RefusalReason, TopicError, check_topic};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::PublishAckReason;
use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

/// The door's name in counters and dead letters.
const DOOR: &str = "mqtt";
/// How long messages wait for a partition or the budget before they are told to come again.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What is told to the publisher.
#[derive(Debug)]
pub(super) struct Ack {
    /// Of QoS 1 and 2.
    pub(super) id: Option<NonZeroU16>,
    pub(super) qos: QoS,
    pub(super) verdict: Verdict,
}

/// Messages that are queued in the log and not durable yet.
#[derive(Debug)]
pub(super) struct Queued {
    acks: Vec<Ack>,
    waiting: Vec<(Receipt, Vec<u32>)>,
    letters: Letters,
    /// Bytes of all that until it is confirmed.
    permit: Permit,
}

impl MqttDoor {
    /// Queues messages; they are in the log in the order of the calls.
    pub(super) async fn queue(
        &self,
        seat: Option<&Arc<Seat>>,
        messages: Vec<Publish>,
        mut permit: Permit,
    ) -> Queued {
        if self.hub.relays_something() {
            // The runtime runs the task first that woke last: a SUBSCRIBE that came before these on another
            // socket would miss them.
            tokio::task::yield_now().await;
        }
        let now = self.now();
        let mut acks: Vec<Ack> = messages
            .iter()
            .map(|m| Ack { id: m.packet_id, qos: m.qos, verdict: Verdict::Taken })
            .collect();
        let decoded = self.decode(seat, &messages, &mut acks, now);
        self.metrics.decoded(&decoded);
        let in_time = self.wait_for_room(&decoded, &mut permit).await;
        let Decoded { rows, refused, .. } = decoded;
        let topic = |refusal: &Refusal| Some(messages[refusal.index as usize].topic.to_string());
        let letters = dead_letters::append(&self.log, DOOR, &refused, topic, now);
        for refusal in refused.iter().rev() {
            acks[refusal.index as usize].verdict = Verdict::refused(refusal);
        }
        let mut waiting = Vec::with_capacity(rows.len());
        for rows in rows {
            match self.may_append(in_time, &rows) {
                Ok(()) => waiting.push(append(rows)),
                Err(error) => {
                    let (code, why) = (PublishAckReason::QuotaExceeded, error.to_string());
                    for index in rows.indexes {
                        acks[index as usize].verdict = Verdict::Failed { code, why: why.clone() };
                    }
                }
            }
        }
        Queued { acks, waiting, letters, permit }
    }

    /// Readings into columns; what is only passed on goes to those who subscribed.
    fn decode(
        &self,
        seat: Option<&Arc<Seat>>,
        messages: &[Publish],
        acks: &mut [Ack],
        now: AppendTime,
    ) -> Decoded {
        let mut decoder = Decoder::new(self.log.streams());
        for ((index, message), ack) in (0_u32..).zip(messages).zip(acks) {
            let reserved = message.topic.starts_with('$').then_some(TopicError::Reserved);
            if let Some(error) = reserved.or_else(|| check_topic(&message.topic).err()) {
                decoder.refuse(index, RefusalReason::Topic(error), &message.payload);
            } else if self.is_passed_on(&message.topic) {
                let passed = self.hub.hold(Message::published(message, now.0));
                ack.verdict = match self.pass_on(passed, seat) {
                    0 => Verdict::Unheard,
                    _ => Verdict::Taken,
                };
            } else if !takes_away(message) {
                push(&mut decoder, message, index, now);
            } else if !self.is_of_stream(&message.topic) {
                // Of a stream's topic the latest reading is retained: that stays.
                let nowhere = RefusalReason::NoStream(message.topic.to_string());
                decoder.refuse(index, nowhere, &message.payload);
            }
        }
        decoder.finish()
    }

    /// Hands a message that is in no log to those who subscribed; how many.
    pub(super) fn pass_on(&self, message: Arc<Message>, from: Option<&Arc<Seat>>) -> usize {
        let routed = self.hub.route(&message, from, &self.mqtt);
        self.count("weir_mqtt_dropped_total", "queue_full", routed.dropped);
        routed.matched
    }

    /// Whether the topic is configured to be passed on and no stream takes it.
    fn is_passed_on(&self, topic: &str) -> bool {
        self.hub.relays(topic) && !self.is_of_stream(topic)
    }

    fn is_of_stream(&self, topic: &str) -> bool {
        let streams = self.log.streams();
        let takes =
            |s: &Arc<crate::log::Stream>| s.definition().template().match_path(topic).is_some();
        streams.find(topic).is_some() || streams.all().iter().any(takes)
    }

    /// Rows of a partition, after the wait for all of them: one that is slow holds up the others no longer.
    fn may_append(
        &self,
        in_time: Result<(), OverBudget>,
        rows: &DecodedRows,
    ) -> Result<(), OverBudget> {
        match in_time {
            Err(OverBudget::Partition) => {
                room(self.limits.partition_bytes_max, slice::from_ref(rows))
            }
            of_all => of_all,
        }
    }

    /// The socket is not read meanwhile.
    async fn wait_for_room(
        &self,
        decoded: &Decoded,
        permit: &mut Permit,
    ) -> Result<(), OverBudget> {
        let bytes_max = self.limits.partition_bytes_max;
        let mut waited = Duration::ZERO;
        loop {
            let enough =
                permit.grow_to(decoded.bytes).and_then(|()| room(bytes_max, &decoded.rows));
            match enough {
                Ok(()) => return Ok(()),
                Err(error) if waited >= PATIENCE => return Err(error),
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
            waited += LOOK_AGAIN;
        }
    }
}

/// Whether it is to take away what is retained of its topic.
fn takes_away(message: &Publish) -> bool {
    message.retain && message.payload.is_empty()
}

fn push(decoder: &mut Decoder<'_>, message: &Publish, index: u32, now: AppendTime) {
    let properties = message.properties.as_ref();
    let attribute = |name: &str| {
        let user = properties.map(|p| p.user_properties.as_slice()).unwrap_or_default();
        user.iter().find(|(n, _)| *n == name).map(|(_, value)| -> &str { value })
    };
    let content_type = properties.and_then(|p| p.content_type.as_deref());
    let (topic, payload) = (Some(&*message.topic), &message.payload[..]);
    decoder.push_published(&Published { topic, payload, content_type, attribute }, index, now);
}

impl Queued {
    /// Resolves when all of it is durable, or will not be.
    pub(super) async fn settled(self) -> Vec<Ack> {
        let Self { mut acks, waiting, letters, permit } = self;
        for (receipt, indexes) in waiting {
            if let Err(error) = receipt.await {
                for index in indexes {
                    acks[index as usize].verdict = Verdict::failed(&error);
                }
            }
        }
        letters.kept().await;
        drop(permit);
        acks
    }
}

impl MqttDoor {
    /// Counts what became of messages.
    pub(super) fn published(&self, acks: &[Ack]) {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for ack in acks {
            *counts.entry(ack.verdict.word()).or_default() += 1;
        }
        for (word, n) in counts {
            self.count("weir_mqtt_messages_total", word, n);
        }
    }
}
