//! What leaves for a topic in transactions: all records of a step, or none.
//!
//! Promise: of two with the same name the later one writes and the earlier one is shut out, also with
//! what it had begun; whoever reads committed records sees each step once.

use super::cluster::KafkaLog;
use super::connection::{ANSWER_WITHIN, Quiet};
use super::errors::KafkaLogError;
use crate::model::{Offset, PartitionId};
use rdkafka::ClientContext;
use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::ProducerContext;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long one attempt to commit may take.
const COMMIT_WITHIN: Duration = Duration::from_secs(30);
/// How often others are looked at that have not finished.
const OTHERS_WAIT: Duration = Duration::from_millis(20);

/// A record on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
}

/// Why nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// Another has taken its place.
    #[error("another process writes in this one's place; what it had begun here is undone")]
    Fenced,
    /// The cluster did not take it.
    #[error(transparent)]
    Failed(#[from] KafkaLogError),
}

/// A writer of one partition of a topic.
pub struct Outbox {
    producer: ThreadedProducer<Sent>,
    topic: String,
    partition: PartitionId,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// Takes the place of whoever writes under this name.
    /// # Errors
    /// The cluster does not give it.
    pub fn open(
        log: &KafkaLog,
        name: &str,
        topic: &str,
        partition: PartitionId,
    ) -> Result<Self, OutboxError> {
        let mut config = log.connection().producer();
        config.set("transactional.id", name);
        let producer = ThreadedProducer::from_config_and_context(&config, Sent)
            .map_err(|error| KafkaLogError::Client(error.to_string()))?;
        let opened = producer.init_transactions(ANSWER_WITHIN);
        opened.map_err(|error| failed("opening transactions", &error))?;
        Ok(Self { producer, topic: topic.to_owned(), partition })
    }

    /// Sends all of them or none; committed when it returns.
    /// # Errors
    /// Another has taken its place, or the cluster did not take them: nothing of it can be seen.
    pub fn send(&self, letters: &[Letter]) -> Result<(), OutboxError> {
        let begun = self.producer.begin_transaction();
        begun.map_err(|error| failed("beginning a transaction", &error))?;
        match self.write(letters).and_then(|()| self.commit()) {
            Ok(()) => Ok(()),
            Err(error) => {
                let told = failed("writing in a transaction", &error);
                if told != OutboxError::Fenced
                    && let Err(error) = self.producer.abort_transaction(COMMIT_WITHIN)
                {
                    return Err(failed("undoing a transaction", &error));
                }
                Err(told)
            }
        }
    }

    fn write(&self, letters: &[Letter]) -> Result<(), KafkaError> {
        for letter in letters {
            let headers = letter.headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key, value: Some(value) })
            });
            let record = BaseRecord::to(&self.topic)
                .partition(self.partition.0.cast_signed())
                .key(&letter.key)
                .payload(&letter.value)
                .headers(headers);
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    /// A commit that was not answered in time is asked for again: it may have happened.
    fn commit(&self) -> Result<(), KafkaError> {
        loop {
            match self.producer.commit_transaction(COMMIT_WITHIN) {
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                    tracing::warn!(error = %error.string(), "a commit waits for the cluster");
                }
                other => return other,
            }
        }
    }
}

fn failed(doing: &str, error: &KafkaError) -> OutboxError {
    let code = match error {
        KafkaError::Transaction(error) => Some(error.code()),
        KafkaError::MessageProduction(code) => Some(*code),
        _ => None,
    };
    match code {
        Some(
            RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::InvalidProducerEpoch
            | RDKafkaErrorCode::ProducerFenced,
        ) => OutboxError::Fenced,
        _ => OutboxError::Failed(KafkaLogError::refused(doing, error)),
    }
}

/// Nobody waits for single records of a transaction.
struct Sent;

impl ClientContext for Sent {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Quiet.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Quiet.error(error, reason);
    }
}

impl ProducerContext for Sent {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}

/// A committed record, as far as it is text.
#[derive(Debug)]
pub struct Committed<'r> {
    /// Its offset.
    pub offset: Offset,
    record: &'r BorrowedMessage<'r>,
}

impl Committed<'_> {
    /// Its value.
    pub fn value(&self) -> Option<&str> {
        std::str::from_utf8(self.record.payload()?).ok()
    }

    /// One of its headers.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.record.headers()?;
        let found = headers.iter().find(|header| header.key == name)?;
        std::str::from_utf8(found.value?).ok()
    }
}

/// Gives `take` the committed records of a partition from `from` on, up to its end now; where that is.
/// # Errors
/// The cluster cannot be asked.
pub fn read_committed(
    log: &Arc<KafkaLog>,
    topic: &str,
    partition: PartitionId,
    from: Offset,
    mut take: impl FnMut(&Committed<'_>),
) -> Result<Offset, KafkaLogError> {
    let doing = || format!("reading the topic '{topic}'");
    let refused = |error: KafkaError| KafkaLogError::refused(doing(), &error);
    let mut config = log.connection().consumer();
    config.set("group.id", "weir-reader").set("enable.partition.eof", "true");
    let consumer: BaseConsumer<Quiet> = config
        .create_with_context(Quiet)
        .map_err(|error| KafkaLogError::Client(error.to_string()))?;
    let id = partition.0.cast_signed();
    wait_for_others(log, &consumer, topic, id).map_err(refused)?;
    let marks = consumer.fetch_watermarks(topic, id, ANSWER_WITHIN).map_err(refused)?;
    let offset = |n: i64| Offset(n.max(0).cast_unsigned());
    let (low, high) = (offset(marks.0), offset(marks.1));
    let from = from.max(low);
    if from >= high {
        return Ok(high);
    }
    let mut place = TopicPartitionList::new();
    let begin = rdkafka::Offset::Offset(i64::try_from(from.0).unwrap_or(i64::MAX));
    place.add_partition_offset(topic, id, begin).map_err(refused)?;
    consumer.assign(&place).map_err(refused)?;
    let mut next = from;
    loop {
        match consumer.poll(ANSWER_WITHIN) {
            Some(Ok(record)) => {
                next = offset(record.offset()).plus(1);
                take(&Committed { offset: offset(record.offset()), record: &record });
            }
            // What ends a transaction is a record that nobody is given: the end may lie behind the last.
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(next.max(high)),
            Some(Err(error)) => tracing::debug!(%error, topic, "reading waits"),
            None => {
                let detail = format!("nothing comes after offset {next} of {high}");
                return Err(KafkaLogError::Refused { doing: doing(), detail });
            }
        }
    }
}

/// A transaction that is under way hides also what others committed behind it. Waits until none does that was
/// begun before now: each ends, or is ended by the cluster.
fn wait_for_others(
    log: &KafkaLog,
    committed: &BaseConsumer<Quiet>,
    topic: &str,
    partition: i32,
) -> Result<(), KafkaError> {
    let all = log.connection().uncommitted()?;
    let (_, end) = all.fetch_watermarks(topic, partition, ANSWER_WITHIN)?;
    while committed.fetch_watermarks(topic, partition, ANSWER_WITHIN)?.1 < end {
        // Nothing is assigned: only time passes.
        drop(committed.poll(OTHERS_WAIT));
    }
    Ok(())
}
