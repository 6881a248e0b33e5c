//! How the cluster is spoken to.
//!
//! Promise: what the log's promises rest on is set here, for every client, and cannot be set otherwise.

use super::errors::KafkaLogError;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a question to the cluster may take.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long the brokers may take to answer the first one.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(10);

const SCHEME: &str = "kafka://";
/// What nobody else may say, and why.
const OURS: [(&str, &str); 9] = [
    ("bootstrap.servers", "it is the address, kafka://broker:9092"),
    ("acks", "a row is confirmed when all in-sync replicas have it"),
    ("enable.idempotence", "a row that is sent again is not stored twice"),
    ("enable.auto.commit", "a rule goes on from its checkpoint, not from the group's offset"),
    ("auto.offset.reset", "a reader whose rows are gone is told so, never moved"),
    ("isolation.level", "readers see committed records only"),
    ("partition.assignment.strategy", "partitions move cooperatively, one by one"),
    ("group.id", "it is what the cluster of processes is called"),
    ("transactional.id", "it is what keeps a process out that was replaced"),
];

/// Where the cluster is and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    brokers: String,
    properties: BTreeMap<String, String>,
}

impl Connection {
    /// The cluster at `kafka://broker:9092`, or at several brokers parted by commas.
    /// # Errors
    /// It is no such address.
    pub fn to(address: &str) -> Result<Self, KafkaLogError> {
        let wrong = || KafkaLogError::Address(address.to_owned());
        let brokers = address.strip_prefix(SCHEME).ok_or_else(wrong)?;
        let is_broker = |broker: &str| {
            broker.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
            })
        };
        if !brokers.split(',').all(is_broker) {
            return Err(wrong());
        }
        Ok(Self { brokers: brokers.to_owned(), properties: BTreeMap::new() })
    }

    /// With a property of librdkafka, such as `compression.type` or `client.rack`.
    /// # Errors
    /// The log's promises rest on it.
    pub fn with(mut self, name: &str, value: &str) -> Result<Self, KafkaLogError> {
        match OURS.iter().find(|(ours, _)| *ours == name) {
            Some((_, why)) => Err(KafkaLogError::Property { name: name.to_owned(), why }),
            None => {
                self.properties.insert(name.to_owned(), value.to_owned());
                Ok(self)
            }
        }
    }

    /// The brokers it was told of.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// For whoever neither writes nor reads.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "weir");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    /// For producers: every in-sync replica, each record once.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("acks", "all").set("enable.idempotence", "true");
        config
    }

    /// For consumers that are told where to read.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed");
        config
    }

    /// For whoever asks for positions, or reads what he is told to.
    pub(super) fn reader(&self) -> Result<BaseConsumer<Quiet>, KafkaLogError> {
        let mut config = self.consumer();
        // A consumer has to have one; nothing is ever committed to it.
        config.set("group.id", "weir-reader");
        config.create_with_context(Quiet).map_err(|e| KafkaLogError::Client(e.to_string()))
    }

    /// For where a partition ends, with what was never committed.
    pub(super) fn uncommitted(&self) -> Result<BaseConsumer<Quiet>, KafkaError> {
        let mut config = self.consumer();
        config.set("group.id", "weir-reader").set("isolation.level", "read_uncommitted");
        config.create_with_context(Quiet)
    }

    /// For the positions of a group that keeps its own.
    pub(super) fn member_of(&self, group: &str) -> Result<BaseConsumer<Quiet>, KafkaLogError> {
        let mut config = self.consumer();
        config.set("group.id", group);
        config.create_with_context(Quiet).map_err(|e| KafkaLogError::Client(e.to_string()))
    }
}

/// Says what librdkafka has to say as events. What it retries by itself is no warning.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "{message}");
            }
            _ => tracing::debug!(facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the cluster answers with an error; it is asked again");
    }
}

impl ConsumerContext for Quiet {}
