//! Writing: rows out as records, receipts back when the cluster has confirmed them.
//!
//! Promise: a receipt says durable when every one of its records is confirmed by all in-sync replicas.
//! Records that were sent and not confirmed may be there or not, which the receipt says, too. What waits
//! is bounded: beyond that nothing is taken, and nothing of it sent.

use super::connection::{Connection, Quiet};
use super::errors::KafkaLogError;
use super::records::Record;
use crate::log::{AppendError, AppendResult, Appended, Receipt};
use crate::model::{AppendTime, Offset, PartitionId};
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Records that may wait for their confirmation; a bound of the client's own lies above it.
const WAITING_MAX: i32 = 400_000;

/// Where records go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'t> {
    pub(super) topic: &'t str,
    pub(super) partition: PartitionId,
}

/// The one producer of a process.
pub(super) struct Producer {
    connection: Connection,
    /// Another takes its place after an error that it does not survive.
    client: Mutex<Arc<ThreadedProducer<Deliveries>>>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Producer {
    pub(super) fn new(connection: Connection) -> Result<Self, KafkaLogError> {
        let client = Mutex::new(Arc::new(client(&connection)?));
        Ok(Self { connection, client })
    }

    /// Queues the records of one append, in their order.
    pub(super) fn rows(&self, to: Target<'_>, records: &[Record]) -> Receipt {
        self.send(to, records, Said::Offset)
    }

    /// Queues one record that is no row: its receipt says `offset` and no rows.
    pub(super) fn mark(&self, to: Target<'_>, record: Record, offset: Offset) -> Receipt {
        self.send(to, &[record], Said::Place(offset))
    }

    fn send(&self, to: Target<'_>, records: &[Record], said: Said) -> Receipt {
        let partition = to.partition;
        let Ok(waiting) = u32::try_from(records.len()) else {
            return Receipt::known(partition, Err(AppendError::Busy { partition }));
        };
        let (reply, receipt) = Receipt::pair(partition);
        let pending = Arc::new(Pending::new(partition, waiting, said, reply));
        if records.is_empty() {
            pending.finish();
            return receipt;
        }
        // One append after the other: the records of two do not mix.
        let mut client = self.client.lock();
        if client.in_flight_count() > WAITING_MAX {
            return Receipt::known(partition, Err(AppendError::Busy { partition }));
        }
        for (sent, record) in (0..).zip(records) {
            let outgoing = BaseRecord::with_opaque_to(to.topic, Arc::clone(&pending))
                .partition(partition.0.cast_signed())
                .key(&record.key)
                .payload(&record.value);
            if let Err((error, _)) = client.send(outgoing) {
                // Not in a half: those before it may be stored, these are not.
                pending.fail(waiting - sent, &error.to_string());
                self.replace_if_dead(&mut client);
                break;
            }
        }
        receipt
    }

    /// An idempotent producer that lost its place in a partition takes nothing any more; a new one has a
    /// place of its own. What the old one had not confirmed is unknown, and its receipts say so.
    fn replace_if_dead(&self, client: &mut Arc<ThreadedProducer<Deliveries>>) {
        let Some((code, reason)) = client.client().fatal_error() else { return };
        tracing::warn!(%code, reason, "the producer cannot go on; another takes its place");
        match self::client(&self.connection) {
            Ok(new) => *client = Arc::new(new),
            Err(error) => tracing::error!(%error, "no other producer can be made"),
        }
    }
}

fn client(connection: &Connection) -> Result<ThreadedProducer<Deliveries>, KafkaLogError> {
    let mut config = connection.producer();
    for (name, value) in [("linger.ms", "2"), ("queue.buffering.max.messages", "1000000")] {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    }
    ThreadedProducer::from_config_and_context(&config, Deliveries)
        .map_err(|error| KafkaLogError::Client(error.to_string()))
}

/// What a receipt names.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// The offset of the first record, and how many there are.
    Offset,
    /// The place in another topic that the record is about.
    Place(Offset),
}

/// The records of one append that are under way.
#[derive(Debug)]
struct Pending {
    partition: PartitionId,
    said: Said,
    left: Mutex<Left>,
}

#[derive(Debug)]
struct Left {
    waiting: u32,
    confirmed: u32,
    /// Of those confirmed, the smallest offset and its time.
    first: Option<(i64, i64)>,
    failed: Option<Arc<str>>,
    reply: Option<oneshot::Sender<AppendResult>>,
}

impl Pending {
    fn new(
        partition: PartitionId,
        waiting: u32,
        said: Said,
        reply: oneshot::Sender<AppendResult>,
    ) -> Self {
        let left = Left { waiting, confirmed: 0, first: None, failed: None, reply: Some(reply) };
        Self { partition, said, left: Mutex::new(left) }
    }

    fn confirm(&self, offset: i64, millis: i64) {
        {
            let mut left = self.left.lock();
            left.waiting -= 1;
            left.confirmed += 1;
            let this = (offset, millis);
            left.first = Some(left.first.map_or(this, |first| first.min(this)));
        }
        self.finish();
    }

    fn fail(&self, records: u32, why: &str) {
        {
            let mut left = self.left.lock();
            left.waiting -= records;
            left.failed.get_or_insert_with(|| Arc::from(why));
        }
        self.finish();
    }

    /// Answers, once nothing is under way any more.
    fn finish(&self) {
        let mut left = self.left.lock();
        if left.waiting > 0 {
            return;
        }
        let Some(reply) = left.reply.take() else { return };
        let partition = self.partition;
        let answer = match &left.failed {
            Some(detail) => Err(AppendError::Unknown { partition, detail: Arc::clone(detail) }),
            None => {
                let (offset, millis) = left.first.unwrap_or_default();
                let (base_offset, rows) = match self.said {
                    Said::Offset => (Offset(offset.max(0).cast_unsigned()), left.confirmed),
                    Said::Place(offset) => (offset, 0),
                };
                let append_time = AppendTime(millis.saturating_mul(1000));
                Ok(Appended { base_offset, rows, append_time, duplicates: Vec::new() })
            }
        };
        drop(reply.send(answer));
    }
}

/// What the client calls when a record is confirmed or given up.
struct Deliveries;

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Arc<Pending>) {
        match result {
            Ok(record) => {
                let millis = record.timestamp().to_millis().unwrap_or(0);
                pending.confirm(record.offset(), millis);
            }
            Err((error, _)) => pending.fail(1, &error.to_string()),
        }
    }
}
