//! Positions of consumer groups, kept by the cluster.
//!
//! Promise: a position is committed when the coordinator has confirmed it. Whoever keeps positions here
//! is no member of the group: it can say them only while the group has no members.

use super::connection::{ANSWER_WITHIN, Connection, Quiet};
use super::errors::KafkaLogError;
use crate::model::{Offset, PartitionId};
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Groups whose connection is kept; one more and the others are opened anew when they are asked.
const KEPT_MAX: usize = 16;

/// The groups this process has spoken for.
#[derive(Default)]
pub(super) struct Groups {
    consumers: Mutex<HashMap<String, Arc<BaseConsumer<Quiet>>>>,
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

impl Groups {
    pub(super) fn commit(
        &self,
        connection: &Connection,
        group: &str,
        (topic, partition): (&str, PartitionId),
        next: Offset,
    ) -> Result<(), KafkaLogError> {
        let refused = |error| KafkaLogError::refused("committing it", &error);
        let next = rdkafka::Offset::Offset(i64::try_from(next.0).unwrap_or(i64::MAX));
        let mut positions = TopicPartitionList::new();
        positions.add_partition_offset(topic, partition.0.cast_signed(), next).map_err(refused)?;
        self.of(connection, group)?.commit(&positions, CommitMode::Sync).map_err(refused)
    }

    pub(super) fn position(
        &self,
        connection: &Connection,
        group: &str,
        (topic, partition): (&str, PartitionId),
    ) -> Result<Option<Offset>, KafkaLogError> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, partition.0.cast_signed());
        let found = self.of(connection, group)?.committed_offsets(asked, ANSWER_WITHIN);
        let found = found.map_err(|error| KafkaLogError::refused("asking for it", &error))?;
        let position = found.find_partition(topic, partition.0.cast_signed());
        Ok(position.and_then(|position| match position.offset() {
            rdkafka::Offset::Offset(next) => u64::try_from(next).ok().map(Offset),
            _ => None,
        }))
    }

    fn of(
        &self,
        connection: &Connection,
        group: &str,
    ) -> Result<Arc<BaseConsumer<Quiet>>, KafkaLogError> {
        let mut consumers = self.consumers.lock();
        if let Some(known) = consumers.get(group) {
            return Ok(Arc::clone(known));
        }
        if consumers.len() >= KEPT_MAX {
            consumers.clear();
        }
        let consumer = Arc::new(connection.member_of(group)?);
        consumers.insert(group.to_owned(), Arc::clone(&consumer));
        Ok(consumer)
    }
}
