//! The topics of a stream, as the cluster has them.
//!
//! Promise: a topic that is not there, or is partitioned otherwise, is refused before anything is
//! written or read, with the command that helps; none is created behind anybody's back.

use super::connection::{CONNECT_WITHIN, Connection, Quiet};
use super::errors::KafkaLogError;
use crate::model::StreamDefinition;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use std::borrow::Cow;
use std::fmt;

/// Copies that outlive the loss of a machine while another is down for maintenance.
const REPLICAS_WANTED: usize = 3;
/// Partitions of a topic whose number weir does not decide.
const PARTITIONS_ADVISED: u32 = 4;

/// A topic that holds the rows of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// What the keys of its records are.
    pub keyed_by: KeyedBy,
    /// Whose ticks count: each group of processes says its own.
    pub group: String,
}

/// What the key of a record is, which says in which partition it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyedBy {
    /// The topic path of the reading.
    Topic,
    /// The values of these levels of the stream's template, with `/` between them: readings that agree
    /// in them are in one partition. The topic path stands in the record.
    Levels(Vec<String>),
}

impl KafkaTopic {
    /// The topic beside it that holds its ticks.
    pub fn ticks(&self) -> String {
        format!("{}.weir-ticks", self.name)
    }

    /// The key of a reading's record; nothing where its topic path is not one of the stream's.
    pub fn key<'k>(&self, stream: &StreamDefinition, path: &'k str) -> Option<Cow<'k, str>> {
        let template = stream.template();
        match &self.keyed_by {
            KeyedBy::Topic => template.match_path(path).map(|_| Cow::Borrowed(path)),
            KeyedBy::Levels(levels) => {
                let values = template.match_path(path)?;
                let place = |level: &String| template.captures().iter().position(|c| c == level);
                let of = |level| place(level).map(|place| values[place]);
                let key: Option<Vec<&str>> = levels.iter().map(of).collect();
                Some(Cow::Owned(key?.join("/")))
            }
        }
    }

    /// Whether a key that is made of these columns says in which partition its readings are.
    pub fn is_decided_by(&self, stream: &StreamDefinition, columns: &[String]) -> bool {
        let needed = match &self.keyed_by {
            KeyedBy::Topic => stream.levels(),
            KeyedBy::Levels(levels) => levels,
        };
        // The path says all of its levels.
        let has_path = columns.iter().any(|column| column == "topic");
        has_path || needed.iter().all(|level| columns.contains(level))
    }
}

/// What keeps the rows of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    topic: String,
    /// Of its partition with the fewest.
    replicas: usize,
}

impl Durability {
    /// Whether a machine may be lost at any time.
    pub fn is_enough(&self) -> bool {
        self.replicas >= REPLICAS_WANTED
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, replicas } = self;
        write!(
            f,
            "rows of the topic '{topic}' are durable as replicated memory: confirmed when every in-sync replica has them, synced to no disk by that; it has {replicas} replica(s)"
        )?;
        match self.is_enough() {
            true => write!(f, ", see that min.insync.replicas is 2"),
            false => write!(
                f,
                ": losing {} loses rows, have {REPLICAS_WANTED} and min.insync.replicas = 2",
                if *replicas == 1 { "its broker" } else { "two brokers" }
            ),
        }
    }
}

/// The topic, which has to have so many partitions.
pub(super) fn check(
    connection: &Connection,
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    wanted: u32,
) -> Result<Durability, KafkaLogError> {
    let Found { partitions: found, replicas } = look(connection, consumer, topic, wanted)?;
    let topic = topic.to_owned();
    match found == wanted {
        true => Ok(Durability { topic, replicas }),
        false => Err(KafkaLogError::Partitions { topic, found, wanted }),
    }
}

/// How many partitions a topic has.
pub(super) fn count(
    connection: &Connection,
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
) -> Result<u32, KafkaLogError> {
    look(connection, consumer, topic, PARTITIONS_ADVISED).map(|found| found.partitions)
}

struct Found {
    partitions: u32,
    /// Of the partition with the fewest.
    replicas: usize,
}

fn look(
    connection: &Connection,
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    advised: u32,
) -> Result<Found, KafkaLogError> {
    let no_topic = || KafkaLogError::NoTopic {
        topic: topic.to_owned(),
        brokers: connection.brokers().to_owned(),
        partitions: advised,
    };
    let metadata = consumer
        .fetch_metadata(Some(topic), CONNECT_WITHIN)
        .map_err(|error| unreachable(connection, &error))?;
    let found = metadata.topics().iter().find(|t| t.name() == topic).ok_or_else(no_topic)?;
    match found.error() {
        None => {}
        Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        ) => return Err(no_topic()),
        Some(other) => {
            let error = KafkaError::MetadataFetch(RDKafkaErrorCode::from(other));
            return Err(KafkaLogError::refused(format!("looking at the topic '{topic}'"), &error));
        }
    }
    let replicas = found.partitions().iter().map(|p| p.replicas().len()).min().unwrap_or(0);
    match u32::try_from(found.partitions().len()) {
        Ok(0) => Err(no_topic()),
        partitions => Ok(Found { partitions: partitions.unwrap_or(u32::MAX), replicas }),
    }
}

/// The brokers do not answer.
pub(super) fn unreachable(connection: &Connection, error: &KafkaError) -> KafkaLogError {
    KafkaLogError::Unreachable {
        brokers: connection.brokers().to_owned(),
        detail: error.to_string(),
    }
}
