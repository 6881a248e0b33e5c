//! Produce: records into the log.
//!
//! Promise: an answer of `acks` 1 and all comes when every record that was taken is durable (P1), whatever
//! became of each partition is said for itself, and what is refused is kept as a dead letter (P8). Batches of
//! a producer that may send them again are appended one behind the other, so that none is stored before one
//! that failed (P5).

mod prepare;
mod settle;

use super::topics::{Form, Topic};
use super::unpack::Unfolding;
use super::{KafkaDoor, elsewhere};
use crate::decode::Decoder;
use crate::doors::budget::Permit;
use crate::doors::confirm::room;
use crate::log::Stream;
use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{ProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, TopicName};
use prepare::{Prepared, Refused, prepare};
use settle::Appended;
use std::sync::Arc;
use std::time::Duration;

/// The door's name in dead letters.
const DOOR: &str = "kafka";
/// How long records wait for a partition or the budget before they are told to come again.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Records of up to so many bytes are decoded where they come in; more go to another thread.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Whether who produces waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acks {
    None,
    Durable,
}

/// The records of one partition, on their way.
#[derive(Debug)]
enum State {
    Refused(Refused),
    Ready(Arc<Stream>, Box<Prepared>),
    Appended(Appended),
}

/// One partition of a request.
#[derive(Debug)]
struct Part {
    topic: usize,
    index: i32,
    state: State,
}

/// A Produce request whose records are columns.
#[derive(Debug)]
pub(super) struct Producing {
    topics: Vec<TopicName>,
    parts: Vec<Part>,
    /// Bytes of all that until it is confirmed.
    permit: Permit,
    pub(super) acks: Acks,
}

/// What came in.
struct Asked {
    topics: Vec<TopicName>,
    parts: Vec<(usize, i32, Option<Bytes>)>,
}

impl Asked {
    fn of(topics: Vec<TopicProduceData>) -> Self {
        let mut asked = Self { topics: Vec::new(), parts: Vec::new() };
        for topic in topics {
            let number = asked.topics.len();
            asked.topics.push(topic.name);
            let part = |data: PartitionProduceData| (number, data.index, data.records);
            asked.parts.extend(topic.partition_data.into_iter().map(part));
        }
        asked
    }

    fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, _, records)| records.as_ref().map_or(0, Bytes::len)).sum()
    }
}

impl KafkaDoor {
    /// Makes columns of the records and waits for room; those that cannot come again are appended.
    pub(super) async fn produce(
        self: &Arc<Self>,
        request: ProduceRequest,
        mut permit: Permit,
    ) -> Producing {
        let acks = if request.acks == 0 { Acks::None } else { Acks::Durable };
        let whole = refused_whole(&request);
        let asked = Asked::of(request.topic_data);
        if let Some(refused) = whole {
            let refuse =
                |(topic, index, _)| Part { topic, index, state: State::Refused(refused.clone()) };
            let parts = asked.parts.into_iter().map(refuse).collect();
            return Producing { topics: asked.topics, parts, permit, acks };
        }
        let topics = asked.topics.clone();
        let mut parts = if asked.bytes() <= INLINE_BYTES_MAX {
            self.decode(asked, &mut permit)
        } else {
            let door = Arc::clone(self);
            let (decoded, held) = elsewhere(move || {
                let parts = door.decode(asked, &mut permit);
                (parts, permit)
            })
            .await;
            permit = held;
            decoded
        };
        self.wait_for_room(&mut parts, &mut permit).await;
        let mut producing = Producing { topics, parts, permit, acks };
        if !producing.may_come_again() {
            producing.append(self);
        }
        producing
    }

    fn decode(&self, asked: Asked, permit: &mut Permit) -> Vec<Part> {
        let now = self.now();
        let mut decoder = Decoder::new(self.log.streams());
        let held = permit.bytes();
        let mut unfolding = Unfolding::new(permit, held, self.kafka.unpacked_bytes_max);
        let mut parts = Vec::with_capacity(asked.parts.len());
        for (topic, index, records) in asked.parts {
            let name = &asked.topics[topic].0;
            let state = match self.topic(name) {
                Some(Topic::Stream(stream, Form::Readings)) if is_partition(&stream, index) => {
                    match prepare(&mut decoder, &stream, records, &mut unfolding, now) {
                        Ok(prepared) => {
                            self.metrics.rows_decoded(&prepared.rows, &prepared.refused);
                            State::Ready(stream, Box::new(prepared))
                        }
                        Err(refused) => State::Refused(refused),
                    }
                }
                Some(Topic::Stream(stream, Form::Structured | Form::Binary)) => {
                    let stream = stream.definition();
                    let why = format!("'{name}' is read; produce events to '{}'", stream.name());
                    State::Refused(Refused::new(Code::TopicAuthorizationFailed, why))
                }
                Some(Topic::Alarms { .. }) => {
                    let why = format!("'{name}' is written by rules; subscribe to it");
                    State::Refused(Refused::new(Code::TopicAuthorizationFailed, why))
                }
                _ => {
                    let why = format!("there is no stream '{name}' with a partition {index}");
                    State::Refused(Refused::new(Code::UnknownTopicOrPartition, why))
                }
            };
            parts.push(Part { topic, index, state });
        }
        parts
    }

    /// Nothing is read from the connection meanwhile.
    async fn wait_for_room(&self, parts: &mut [Part], permit: &mut Permit) {
        let bytes_max = self.limits.partition_bytes_max;
        let bytes = parts.iter().map(|part| part.prepared().map_or(0, |ready| ready.bytes)).sum();
        // What was unpacked is gone.
        permit.shrink_to(bytes);
        let mut waited = Duration::ZERO;
        loop {
            let rows = parts.iter().filter_map(Part::prepared).map(|ready| ready.rows.as_slice());
            let enough = permit
                .grow_to(bytes)
                .and_then(|()| rows.into_iter().try_for_each(|rows| room(bytes_max, rows)));
            let Err(error) = enough else { return };
            if waited >= PATIENCE {
                let refused = Refused::new(Code::RequestTimedOut, error.to_string());
                for part in parts.iter_mut().filter(|part| part.prepared().is_some()) {
                    part.state = State::Refused(refused.clone());
                }
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        }
    }
}

impl Part {
    fn prepared(&self) -> Option<&Prepared> {
        match &self.state {
            State::Ready(_, prepared) => Some(prepared),
            State::Refused(_) | State::Appended(_) => None,
        }
    }
}

impl Producing {
    /// Whether a producer waits with what follows until this is known to be stored.
    fn may_come_again(&self) -> bool {
        self.parts.iter().filter_map(Part::prepared).any(|ready| ready.sender.is_some())
    }

    /// Queues what is not queued yet; it is in the log in the order of the calls.
    fn append(&mut self, door: &KafkaDoor) {
        for part in &mut self.parts {
            if let State::Ready(stream, prepared) = &mut part.state {
                let prepared = std::mem::take(prepared.as_mut());
                part.state = match door.append(stream, part.index, prepared) {
                    Ok(appended) => State::Appended(appended),
                    Err(refused) => State::Refused(refused),
                };
            }
        }
    }

    /// Resolves when all of it is durable, or will not be. Called when everything before it of its
    /// connection is.
    pub(super) async fn settled(mut self, door: &KafkaDoor) -> ProduceResponse {
        self.append(door);
        let Self { topics, parts, permit, .. } = self;
        let answer = |name| TopicProduceResponse::default().with_name(name);
        let mut responses: Vec<_> = topics.into_iter().map(answer).collect();
        for part in parts {
            let told = match part.state {
                State::Refused(refused) => settle::told(&refused),
                State::Ready(..) => settle::told(&Refused::new(Code::UnknownServerError, "")),
                State::Appended(appended) => appended.settled(door).await,
            };
            responses[part.topic].partition_responses.push(told.with_index(part.index));
        }
        drop(permit);
        ProduceResponse::default().with_responses(responses)
    }
}

fn is_partition(stream: &Stream, index: i32) -> bool {
    usize::try_from(index).is_ok_and(|index| index < stream.partitions().len())
}

/// What is wrong with all of a request.
fn refused_whole(request: &ProduceRequest) -> Option<Refused> {
    if request.transactional_id.is_some() {
        let why = "there are no transactions here; an idempotent producer needs none";
        return Some(Refused::new(Code::TransactionalIdAuthorizationFailed, why));
    }
    let known = [-1, 0, 1].contains(&request.acks);
    (!known).then(|| Refused::new(Code::InvalidRequiredAcks, "acks is 0, 1 or all"))
}
