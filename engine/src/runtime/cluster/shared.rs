//! What all partitions of a process have in common.

use super::checkpoints::{Checkpoints, Lanes};
use crate::runtime::replay::ReplayOptions;
use crate::runtime::replay::definitions::Definitions;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::io::Clock;
use weir_ingest::kafka::{KafkaLog, KafkaTopic, Outbox, OutboxError};
use weir_ingest::model::PartitionId;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) kafka: Arc<KafkaLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) group: String,
    /// The .sql files.
    pub(super) text: String,
    /// Of the text.
    pub(super) fingerprint: String,
    /// By stream.
    pub(super) topics: BTreeMap<String, Arc<KafkaTopic>>,
    pub(super) alarms_topic: String,
    pub(super) alarms_partitions: u32,
    pub(super) checkpoints: Checkpoints,
    pub(super) checkpoint_bytes: u64,
    pub(super) rule_memory_max: usize,
}

impl Shared {
    /// The definitions anew, over a log of one partition in memory that knows their streams and series.
    pub(super) fn definitions(&self) -> Result<Definitions, String> {
        definitions(&self.text)
    }

    pub(super) fn lanes<'l>(&'l self, stream: &'l str, partition: PartitionId) -> Lanes<'l> {
        Lanes { group: &self.group, stream, partition }
    }

    /// Where the alarms of a partition go.
    pub(super) fn alarms(&self, partition: PartitionId) -> (&str, PartitionId) {
        (&self.alarms_topic, PartitionId(partition.0 % self.alarms_partitions))
    }

    pub(super) fn outbox(&self, lane: &str, id: PartitionId) -> Result<Outbox, OutboxError> {
        let (topic, partition) = self.alarms(id);
        Outbox::open(&self.kafka, &format!("weir/{}/{lane}", self.group), topic, partition)
    }
}

/// What a text defines, as one partition sees it.
pub(super) fn definitions(text: &str) -> Result<Definitions, String> {
    // Times are held against those of the records, as a door holds them against its clock.
    let arrival = Some(String::new());
    let options = ReplayOptions { partitions: Some(1), arrival, ..ReplayOptions::default() };
    Definitions::new(text, &options).map_err(|error| error.to_string())
}
