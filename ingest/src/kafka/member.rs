//! Membership of a consumer group: which partitions this process has to look after.
//!
//! Promise: partitions come and go one by one (cooperative); one that is taken away is let go of only
//! when its owner has finished with it, unless it is lost: then somebody else has it already. The group
//! only shares out: no row is read through it and no offset committed.

use super::cluster::KafkaLog;
use super::connection::{ANSWER_WITHIN, Quiet};
use super::errors::KafkaLogError;
use crate::model::PartitionId;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What every member of a group calls itself, before the fingerprint of its definitions.
const CLIENT: &str = "weir-";

/// A partition of a topic.
pub type Owned = (String, PartitionId);

/// What the group says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shared {
    /// These are this process's from now on.
    Assigned(Vec<Owned>),
    /// These are to be finished with, and then given back with [`Member::release`].
    Revoked(Vec<Owned>),
    /// These were given to somebody else while this process was not heard of: nothing of them may be
    /// written any more. To be given back, too.
    Lost(Vec<Owned>),
}

/// A process in its group.
pub struct Member {
    consumer: BaseConsumer<Membership>,
    group: String,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Member {
    /// Joins `group` for these topics; `fingerprint` tells its definitions from others.
    /// # Errors
    /// The group cannot be joined, or has members with other definitions.
    pub fn join(
        log: &KafkaLog,
        group: &str,
        topics: &[&str],
        fingerprint: &str,
    ) -> Result<Self, KafkaLogError> {
        let client = format!("{CLIENT}{fingerprint}");
        refuse_others(log, group, &client)?;
        let mut config = log.connection().consumer();
        config
            .set("group.id", group)
            .set("client.id", &client)
            .set("partition.assignment.strategy", "cooperative-sticky");
        let consumer: BaseConsumer<Membership> = config
            .create_with_context(Membership::default())
            .map_err(|error| KafkaLogError::Client(error.to_string()))?;
        let joining = || format!("joining the group '{group}'");
        consumer.subscribe(topics).map_err(|error| KafkaLogError::refused(joining(), &error))?;
        Ok(Self { consumer, group: group.to_owned() })
    }

    /// What the group says next, if it says something within `wait`. To be called at least every
    /// `max.poll.interval.ms`: a process that does not is taken for dead.
    pub fn poll(&self, wait: Duration) -> Option<Shared> {
        let said = || self.consumer.context().said.lock().pop_front();
        if let Some(said) = said() {
            return Some(said);
        }
        // What is assigned is paused: only the group is heard.
        if let Some(Err(error)) = self.consumer.poll(wait) {
            tracing::debug!(%error, group = %self.group, "the group waits");
        }
        said()
    }

    /// Gives back what was revoked or lost.
    /// # Errors
    /// The client does not take it.
    pub fn release(&self, partitions: &[Owned]) -> Result<(), KafkaLogError> {
        let list = listed(partitions);
        let given = self.consumer.incremental_unassign(&list);
        given.map_err(|error| KafkaLogError::refused(format!("leaving '{}'", self.group), &error))
    }
}

impl Drop for Member {
    /// Leaves the group at once, so that others need not wait for its session to end. The client ends
    /// when everything was given back, which nobody is asked about any more.
    fn drop(&mut self) {
        let membership = self.consumer.context();
        membership.leaving.store(true, Ordering::SeqCst);
        let said = std::mem::take(&mut *membership.said.lock());
        for said in said {
            if let Shared::Revoked(partitions) | Shared::Lost(partitions) = said
                && let Err(error) = self.release(&partitions)
            {
                tracing::debug!(%error, "a partition is not given back at the end");
            }
        }
    }
}

/// Two processes that disagree about the rules must not share their work.
fn refuse_others(log: &KafkaLog, group: &str, client: &str) -> Result<(), KafkaLogError> {
    // A cluster that does not describe groups is asked in vain: the checkpoints tell later.
    let Ok(groups) = log.asking().client().fetch_group_list(Some(group), ANSWER_WITHIN) else {
        return Ok(());
    };
    let members = groups.groups().iter().filter(|g| g.name() == group).flat_map(|g| g.members());
    let other = members.map(|m| m.client_id()).find(|id| id.starts_with(CLIENT) && *id != client);
    match other {
        None => Ok(()),
        Some(other) => Err(KafkaLogError::Refused {
            doing: format!("joining the group '{group}'"),
            detail: format!(
                "a process with other definitions is in it ({other}, this one is {client}): start all processes with the same .sql files, or this one with another group"
            ),
        }),
    }
}

fn listed(partitions: &[Owned]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(topic, partition.0.cast_signed());
    }
    list
}

/// What the client says of the group, in its order.
#[derive(Default)]
struct Membership {
    said: Mutex<VecDeque<Shared>>,
    leaving: AtomicBool,
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ConsumerContext for Membership {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let owned = |list: &TopicPartitionList| -> Vec<Owned> {
            let owned = |e: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
                let partition = PartitionId(e.partition().max(0).cast_unsigned());
                (e.topic().to_owned(), partition)
            };
            list.elements().into_iter().map(owned).collect()
        };
        let said = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                if let Err(error) = take(consumer, partitions) {
                    tracing::error!(%error, "an assignment cannot be taken");
                    return;
                }
                Shared::Assigned(owned(partitions))
            }
            _ if self.leaving.load(Ordering::SeqCst) => {
                if let Err(error) = consumer.incremental_unassign(partitions) {
                    tracing::debug!(%error, "a partition is not given back at the end");
                }
                return;
            }
            // Given back by `release`, when their owner has finished.
            _ if consumer.assignment_lost() => Shared::Lost(owned(partitions)),
            _ => Shared::Revoked(owned(partitions)),
        };
        self.said.lock().push_back(said);
    }
}

/// Takes partitions without reading them: rows are read from the place a checkpoint names.
fn take(
    consumer: &BaseConsumer<Membership>,
    partitions: &mut TopicPartitionList,
) -> KafkaResult<()> {
    partitions.set_all_offsets(Offset::End)?;
    consumer.incremental_assign(partitions)?;
    consumer.pause(partitions)
}
