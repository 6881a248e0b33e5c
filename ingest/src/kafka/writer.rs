//! Rows on their way into the topics of their streams, whichever partition each belongs to.
//!
//! Promise: a row goes where the key of its record says, as the Java client counts, so that readings of one
//! key are in one partition whoever writes them. Confirmed as `KafkaPartition::append` says.

use super::cluster::KafkaLog;
use super::produce::Target;
use super::records::{self, Record};
use super::topic::KafkaTopic;
use crate::decode::DecodedRows;
use crate::log::{AppendError, Log, Receipt};
use crate::model::{PartitionId, partition_of};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Writes to the topics of all streams.
#[derive(Debug)]
pub struct KafkaWriter {
    cluster: Arc<KafkaLog>,
    /// Knows the streams and their series, and keeps no rows.
    here: Arc<Log>,
    /// By stream.
    topics: BTreeMap<String, Arc<KafkaTopic>>,
}

/// What goes to one partition: records, and each one's position in its request.
type Share = (Vec<Record>, Vec<u32>);

impl KafkaWriter {
    /// Writes rows of the streams that `here` knows to these topics, by stream.
    pub fn new(
        cluster: Arc<KafkaLog>,
        here: Arc<Log>,
        topics: BTreeMap<String, Arc<KafkaTopic>>,
    ) -> Arc<Self> {
        Arc::new(Self { cluster, here, topics })
    }

    /// Against which rows are decoded.
    pub fn here(&self) -> &Arc<Log> {
        &self.here
    }

    /// Queues rows; a receipt for each of their partitions, with the positions of its rows.
    pub fn append(&self, rows: DecodedRows) -> Vec<(Receipt, Vec<u32>)> {
        let DecodedRows { stream, batch, indexes, partition } = rows;
        let definition = stream.definition();
        let Some(topic) = self.topics.get(definition.name()) else {
            let detail = Arc::from(format!("the stream '{}' has no topic", definition.name()));
            let unknown = Err(AppendError::Unknown { partition, detail });
            return vec![(Receipt::known(partition, unknown), indexes)];
        };
        let mut shares: BTreeMap<u32, Share> = BTreeMap::new();
        for (record, index) in records::written(topic, &stream, &batch).into_iter().zip(indexes) {
            let share = shares.entry(partition_of(&record.key, topic.partitions)).or_default();
            share.0.push(record);
            share.1.push(index);
        }
        let send = |(partition, (records, indexes)): (u32, Share)| {
            let to = Target { topic: &topic.name, partition: PartitionId(partition) };
            (self.cluster.producer().rows(to, &records), indexes)
        };
        shares.into_iter().map(send).collect()
    }
}
