//! The cluster that keeps the rows of streams.
//!
//! Promise: everything that a start can know is looked at before a row is taken: that the brokers answer,
//! that the topics are there, partitioned as the streams are.

use super::connection::{ANSWER_WITHIN, CONNECT_WITHIN, Connection, Quiet};
use super::errors::KafkaLogError;
use super::group::Groups;
use super::partition::KafkaPartition;
use super::produce::Producer;
use super::topic::{self, Durability, KafkaTopic};
use crate::log::{Log, Stream};
use crate::model::{Offset, PartitionId};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::fmt;
use std::sync::Arc;

/// A connection to a cluster. What its streams are (names, columns, series) each process knows by itself.
pub struct KafkaLog {
    connection: Connection,
    producer: Producer,
    /// For questions that name no place.
    asking: BaseConsumer<Quiet>,
    groups: Groups,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Connects.
    /// # Errors
    /// A property is none, or no broker answers.
    pub fn connect(connection: Connection) -> Result<Arc<Self>, KafkaLogError> {
        let asking = connection.reader()?;
        let answered = asking.fetch_metadata(None, CONNECT_WITHIN);
        answered.map_err(|error| topic::unreachable(&connection, &error))?;
        let producer = Producer::new(connection.clone())?;
        Ok(Arc::new(Self { connection, producer, asking, groups: Groups::default() }))
    }

    /// Looks whether the topics of a stream are there, that of its rows and that of its ticks.
    /// # Errors
    /// One of them is not, or is partitioned otherwise.
    pub fn check(&self, topic: &KafkaTopic) -> Result<Durability, KafkaLogError> {
        let wanted = topic.partitions;
        let durability = topic::check(&self.connection, &self.asking, &topic.name, wanted)?;
        topic::check(&self.connection, &self.asking, &topic.ticks(), wanted)?;
        Ok(durability)
    }

    /// How many partitions a topic has that holds no rows.
    /// # Errors
    /// It is not there.
    pub fn partitions_of(&self, topic: &str) -> Result<u32, KafkaLogError> {
        topic::count(&self.connection, &self.asking, topic)
    }

    /// The offset behind the newest committed record of a partition.
    /// # Errors
    /// The cluster cannot be asked.
    pub fn end_of(&self, topic: &str, partition: PartitionId) -> Result<Offset, KafkaLogError> {
        let marks = self.asking.fetch_watermarks(topic, partition.0.cast_signed(), ANSWER_WITHIN);
        let doing = || format!("asking how far partition {partition} of '{topic}' is");
        let (_, high) = marks.map_err(|error| KafkaLogError::refused(doing(), &error))?;
        Ok(Offset(high.max(0).cast_unsigned()))
    }

    /// A partition of a topic as one of `stream`, which `here` knows.
    pub fn partition(
        self: &Arc<Self>,
        here: &Arc<Log>,
        stream: &Arc<Stream>,
        topic: &Arc<KafkaTopic>,
        id: PartitionId,
    ) -> Arc<KafkaPartition> {
        let (here, stream, topic) = (Arc::clone(here), Arc::clone(stream), Arc::clone(topic));
        Arc::new(KafkaPartition::new(Arc::clone(self), here, stream, topic, id))
    }

    /// How it is spoken to.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn producer(&self) -> &Producer {
        &self.producer
    }

    pub(super) fn asking(&self) -> &BaseConsumer<Quiet> {
        &self.asking
    }

    pub(super) fn groups(&self) -> &Groups {
        &self.groups
    }
}
