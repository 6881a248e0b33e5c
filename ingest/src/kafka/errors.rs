//! What can go wrong with a cluster before a row is written or read, and what to do about it.

use rdkafka::error::KafkaError;

/// The log cannot be kept by this cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaLogError {
    /// Not the address of a cluster.
    #[error(
        "'{0}' is not the address of a Kafka cluster; write kafka://broker:9092, or several brokers parted by commas"
    )]
    Address(String),
    /// A property that the promises of the log rest on.
    #[error("the property {name} cannot be set: {why}")]
    Property {
        /// Its name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// A property that the client does not know, or not with this value.
    #[error("the client cannot be made: {0}")]
    Client(String),
    /// No broker answers.
    #[error(
        "no broker of {brokers} answers ({detail}); is Kafka running there, and can this machine reach the addresses it advertises (advertised.listeners)?"
    )]
    Unreachable {
        /// As they were given.
        brokers: String,
        /// What the client says.
        detail: String,
    },
    /// A topic is not there.
    #[error(
        "the cluster has no topic '{topic}'; create it: kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} --partitions {partitions} --replication-factor 3 --config min.insync.replicas=2"
    )]
    NoTopic {
        /// Its name.
        topic: String,
        /// Where it is missing.
        brokers: String,
        /// How many partitions it has to have.
        partitions: u32,
    },
    /// A topic has another number of partitions than its stream.
    #[error(
        "the topic '{topic}' has {found} partitions and the stream {wanted}; say WITH (partitions = {found}) in CREATE STREAM, or create the topic anew: the number decides which partition a series is in"
    )]
    Partitions {
        /// Its name.
        topic: String,
        /// Those of the topic.
        found: u32,
        /// Those of the stream.
        wanted: u32,
    },
    /// The cluster did not do what it was asked.
    #[error("{doing}: {detail}")]
    Refused {
        /// What was being done.
        doing: String,
        /// What the client says.
        detail: String,
    },
}

impl KafkaLogError {
    pub(super) fn refused(doing: impl Into<String>, error: &KafkaError) -> Self {
        Self::Refused { doing: doing.into(), detail: error.to_string() }
    }
}
