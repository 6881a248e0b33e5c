//! ListOffsets: where a partition begins, where it ends, where a time stands.
//!
//! Promise: the offset of a time is that of the first row, in the order of the log, whose event time is it or
//! later; of an alarm the time is when it was told.

use super::KafkaDoor;
use super::topics::Topic;
use crate::log::{EntryBody, Partition, ReadError};
use crate::model::{Offset, reading};
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use std::sync::Arc;

/// What stands for the end, and for the beginning.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

impl KafkaDoor {
    /// Blocks: it reads the log.
    pub(super) fn list_offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let topics = request.topics.into_iter().map(|topic| self.offsets_of(topic)).collect();
        ListOffsetsResponse::default().with_topics(topics)
    }

    fn offsets_of(&self, asked: ListOffsetsTopic) -> ListOffsetsTopicResponse {
        let topic = self.topic(&asked.name);
        let answer = |partition| answer(topic.as_ref(), partition);
        ListOffsetsTopicResponse::default()
            .with_partitions(asked.partitions.iter().map(answer).collect())
            .with_name(asked.name)
    }
}

fn answer(topic: Option<&Topic>, asked: &ListOffsetsPartition) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_timestamp(-1)
        .with_offset(-1)
        .with_leader_epoch(-1);
    let Some((topic, partition)) =
        topic.and_then(|topic| Some((topic, topic.partition(asked.partition_index)?)))
    else {
        return answer.with_error_code(Code::UnknownTopicOrPartition.code());
    };
    let ends = partition.ends();
    match asked.timestamp {
        LATEST => answer.with_offset(ends.durable_end.0.cast_signed()),
        EARLIEST => answer.with_offset(ends.log_start.0.cast_signed()),
        time if time < 0 => answer.with_error_code(Code::UnsupportedVersion.code()),
        time => match first_at(topic, partition, time.saturating_mul(1000)) {
            Ok(Some((offset, time_us))) => {
                answer.with_offset(offset.0.cast_signed()).with_timestamp(time_us.div_euclid(1000))
            }
            Ok(None) => answer,
            Err(error) => {
                tracing::warn!(%error, "a time cannot be looked for");
                answer.with_error_code(Code::KafkaStorageError.code())
            }
        },
    }
}

/// The first row at a time or later, and its time.
fn first_at(
    topic: &Topic,
    partition: &Arc<Partition>,
    time_us: i64,
) -> Result<Option<(Offset, i64)>, ReadError> {
    for segment in partition.segments() {
        let latest = match topic {
            Topic::Stream(..) => segment.max_time.0,
            Topic::Alarms { .. } => segment.max_append_time.0,
        };
        if latest < time_us {
            continue;
        }
        let mut reader = partition.segment_reader(segment.base_offset);
        while let Some(entry) = reader.next()? {
            let EntryBody::Rows(rows) = &entry.body else { continue };
            let found = match topic {
                Topic::Stream(..) if entry.max_time.0 < time_us => None,
                Topic::Stream(..) => {
                    let times = reading::time_column(rows);
                    let row = times.iter().position(|time| *time >= time_us);
                    row.map(|row| (entry.base_offset.plus(row as u64), times[row]))
                }
                Topic::Alarms { .. } => {
                    let at = entry.append_time.0;
                    (at >= time_us).then_some((entry.base_offset, at))
                }
            };
            if let Some((offset, time)) =
                found.filter(|(offset, _)| *offset >= partition.ends().log_start)
            {
                return Ok(Some((offset, time)));
            }
        }
    }
    Ok(None)
}
