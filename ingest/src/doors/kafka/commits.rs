//! OffsetCommit and OffsetFetch: how far a group has come.
//!
//! Promise: an offset whose commit was answered is in the catalog; it survives a kill. What a client says
//! beside an offset is not kept.

use super::KafkaDoor;
use super::groups::check_name;
use super::topics::Topic;
use crate::log::Partition;
use crate::model::Offset;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::sync::Arc;

impl KafkaDoor {
    /// Blocks until the offsets are durable.
    pub(super) fn commit_offsets(&self, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let (name, member) = (&request.group_id.0, &request.member_id);
        let instance = request.group_instance_id.as_deref();
        let generation = request.generation_id_or_member_epoch;
        let now_us = self.log.clock().monotonic_us();
        let mut refused = check_name(name)
            .and_then(|()| self.groups.may_commit(name, member, instance, generation, now_us))
            .err();
        let mut positions: Vec<(Arc<Partition>, Offset)> = Vec::new();
        let mut topics = Vec::new();
        for topic in &request.topics {
            let found = self.topic(&topic.name);
            let mut partitions = Vec::new();
            for one in &topic.partitions {
                let next = u64::try_from(one.committed_offset).map(Offset);
                let partition =
                    found.as_ref().and_then(|found| found.partition(one.partition_index));
                let code = match (partition, next) {
                    (Some(partition), Ok(next)) => {
                        positions.push((Arc::clone(partition), next));
                        None
                    }
                    (None, _) => Some(Code::UnknownTopicOrPartition),
                    (_, Err(_)) => Some(Code::OffsetOutOfRange),
                };
                partitions.push((one.partition_index, code));
            }
            topics.push((topic.name.clone(), partitions));
        }
        if refused.is_none() && !positions.is_empty() {
            let said: Vec<_> = positions.iter().map(|(p, next)| (p.as_ref(), *next)).collect();
            if let Err(error) = self.log.commit_group(name, &said) {
                tracing::warn!(group = %name, %error, "offsets could not be kept");
                refused = Some(Code::CoordinatorNotAvailable);
            }
        }
        let answer = |(index, code): (i32, Option<Code>)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(refused.or(code).map_or(0, |code| code.code()))
        };
        let topic = |(name, partitions): (TopicName, Vec<_>)| {
            OffsetCommitResponseTopic::default()
                .with_name(name)
                .with_partitions(partitions.into_iter().map(answer).collect())
        };
        OffsetCommitResponse::default().with_topics(topics.into_iter().map(topic).collect())
    }

    /// Reads the catalog.
    pub(super) fn fetch_offsets(&self, request: OffsetFetchRequest) -> OffsetFetchResponse {
        let name = &request.group_id.0;
        let answer = OffsetFetchResponse::default();
        if let Err(code) = check_name(name) {
            return answer.with_error_code(code.code());
        }
        let topics = match request.topics {
            Some(topics) => topics
                .into_iter()
                .map(|topic| {
                    let found = self.topic(&topic.name);
                    let indexes = topic.partition_indexes.into_iter();
                    let one = |index| self.committed(name, found.as_ref(), index);
                    OffsetFetchResponseTopic::default()
                        .with_partitions(indexes.map(one).collect())
                        .with_name(topic.name)
                })
                .collect(),
            None => self.all_committed(name),
        };
        answer.with_topics(topics)
    }

    fn committed(
        &self,
        group: &str,
        topic: Option<&Topic>,
        index: i32,
    ) -> OffsetFetchResponsePartition {
        let answer = OffsetFetchResponsePartition::default()
            .with_partition_index(index)
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::new()));
        let Some(partition) = topic.and_then(|topic| topic.partition(index)) else { return answer };
        match self.log.group(group, partition) {
            Ok(Some(next)) => answer.with_committed_offset(next.0.cast_signed()),
            Ok(None) => answer,
            Err(error) => {
                tracing::warn!(%group, %error, "offsets cannot be read");
                answer.with_error_code(Code::CoordinatorNotAvailable.code())
            }
        }
    }

    /// Of every topic, the partitions that the group has said anything of.
    fn all_committed(&self, group: &str) -> Vec<OffsetFetchResponseTopic> {
        let mut topics = Vec::new();
        for topic in self.all_topics() {
            let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
            let partitions: Vec<_> = (0..count)
                .map(|index| self.committed(group, Some(&topic), index))
                .filter(|partition| partition.committed_offset >= 0)
                .collect();
            if !partitions.is_empty() {
                let name = TopicName(StrBytes::from_string(topic.name()));
                let answer = OffsetFetchResponseTopic::default();
                topics.push(answer.with_name(name).with_partitions(partitions));
            }
        }
        topics
    }
}
