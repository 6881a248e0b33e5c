//! Reading: the records of a partition as entries of a log, with the ticks between them.
//!
//! Promise: the same topics read from the same place give the same entries, however often and by
//! whomever. A place that is not there any more is told as a gap, or refused; a reader is never moved
//! without a word.

use super::connection::{ANSWER_WITHIN, Quiet};
use super::errors::KafkaLogError;
use super::partition::KafkaPartition;
use super::records::{self, Readings, Unread};
use super::ticks::{PlacedTick, TickRecord, Ticks};
use crate::log::{EntryBody, EntryReader, LogEntry, ReadError};
use crate::model::{AppendTime, EventTime, Offset, PartitionId};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, TopicPartitionList};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Records taken together.
const RECORDS_MAX: usize = 4096;
/// How long a reader of ticks waits for the next record that it knows to be there.
const TICKS_WAIT: Duration = Duration::from_millis(100);
const TICKS_WAITS_MAX: u32 = 300;

/// A cursor over one partition of a topic.
pub struct KafkaReader {
    partition: Arc<KafkaPartition>,
    consumer: BaseConsumer<Quiet>,
    ticks: TickReader,
    ready: VecDeque<LogEntry>,
    position: Offset,
    /// Offset after the last record fetched; before the first one, where to begin.
    fetched: Offset,
    begun: Begun,
    /// Append time of the last entry.
    last: AppendTime,
    unread: Vec<Unread>,
    misplaced: u64,
}

/// Whether it has read anything yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    Yes,
}

impl fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaReader")
            .field("partition", &self.partition)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl KafkaReader {
    /// Begins at `from`, with append times not less than `last`.
    pub(super) fn new(
        partition: Arc<KafkaPartition>,
        from: Offset,
        last: AppendTime,
    ) -> Result<Self, ReadError> {
        let wrong = |error: KafkaLogError| unreadable(partition.id_of(), &error);
        let consumer = partition.cluster().connection().reader().map_err(wrong)?;
        let topic = partition.topic().name.as_str();
        assign(&consumer, topic, partition.id_of(), place(from)).map_err(wrong)?;
        let ticks = TickReader::new(&partition, from).map_err(wrong)?;
        Ok(Self {
            partition,
            consumer,
            ticks,
            ready: VecDeque::new(),
            position: from,
            fetched: from,
            begun: Begun::No,
            last,
            unread: Vec::new(),
            misplaced: 0,
        })
    }

    /// Records that are no readings, since the last call.
    pub fn take_unread(&mut self) -> Vec<Unread> {
        std::mem::take(&mut self.unread)
    }

    /// Rows whose key belongs into another partition as weir's doors count; they are read all the same.
    pub fn misplaced(&self) -> u64 {
        self.misplaced
    }

    /// The newest generation that has claimed the partition, as far as its ticks were read.
    pub fn generation(&self) -> u64 {
        self.ticks.ticks.generation()
    }

    fn id(&self) -> PartitionId {
        self.partition.id_of()
    }

    /// Fetches what is there; whether that was anything.
    fn fetch(&mut self) -> Result<Fetched, ReadError> {
        let (readings, next) = match self.read_records()? {
            Records::Some { readings, next } => (readings, next),
            Records::None => (Readings::default(), self.fetched),
            Records::Gone => return self.find_place(),
        };
        if next == self.fetched {
            self.ticks.read_on(TICKS_NOW).map_err(|e| unreadable(self.id(), &e))?;
        } else {
            // A tick that stands before one of these rows was durable before the row was taken.
            self.ticks.read_all().map_err(|e| unreadable(self.id(), &e))?;
            self.begun = Begun::Yes;
        }
        self.fetched = next;
        self.unread.extend(readings.unread);
        self.misplaced += readings.misplaced as u64;
        for entry in readings.entries {
            self.put(entry);
        }
        self.put_ticks(self.fetched);
        Ok(if self.ready.is_empty() && next == self.position {
            Fetched::Nothing
        } else {
            Fetched::Some
        })
    }

    fn read_records(&mut self) -> Result<Records, ReadError> {
        let mut taken: Vec<BorrowedMessage<'_>> = Vec::new();
        while taken.len() < RECORDS_MAX {
            match self.consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(record)) => taken.push(record),
                Some(Err(error)) if is_out_of_range(&error) => {
                    if taken.is_empty() {
                        return Ok(Records::Gone);
                    }
                    break;
                }
                Some(Err(error)) if is_final(&error) => {
                    let detail = Arc::from(error.to_string());
                    return Err(ReadError::Io { partition: self.partition.id_of(), detail });
                }
                // The client goes on by itself.
                Some(Err(error)) => tracing::debug!(%error, "reading waits"),
            }
        }
        let Some(newest) = taken.last() else { return Ok(Records::None) };
        let next = Offset(newest.offset().max(0).cast_unsigned()).plus(1);
        let mut last = self.last;
        let readings = records::read(&self.partition, &taken, &mut last);
        Ok(Records::Some { readings, next })
    }

    /// The place to read from is not in the topic.
    fn find_place(&mut self) -> Result<Fetched, ReadError> {
        let id = self.id();
        let wrong = |error: KafkaLogError| unreadable(id, &error);
        let (low, high) = self.partition.watermarks().map_err(wrong)?;
        let from = self.fetched;
        if from > high {
            let topic = &self.partition.topic().name;
            let detail = format!(
                "the topic '{topic}' ends at {high}, before {from}, up to where it was read: it was created anew, or a replica without the newest rows was made leader (unclean.leader.election.enable); what was made of those rows cannot be gone on with"
            );
            return Err(ReadError::Io { partition: id, detail: Arc::from(detail) });
        }
        let from_the_start = self.begun == Begun::No && from == Offset(0);
        self.begun = Begun::Yes;
        self.fetched = low.max(from);
        assign(&self.consumer, &self.partition.topic().name, id, place(self.fetched))
            .map_err(wrong)?;
        if from < low && from_the_start {
            self.position = low;
        } else if from < low {
            self.ready.push_back(self.gap(from, low));
        }
        self.ticks.ticks.forget_before(low);
        Ok(Fetched::Some)
    }

    fn gap(&self, from: Offset, to: Offset) -> LogEntry {
        LogEntry {
            partition: self.partition.id_of(),
            base_offset: from,
            append_time: self.last,
            min_time: EventTime(0),
            max_time: EventTime(0),
            body: EntryBody::Gap { from, to },
        }
    }

    /// Adds an entry, cut where ticks stand in it.
    fn put(&mut self, mut entry: LogEntry) {
        self.put_ticks(entry.base_offset);
        while let Some(tick) = self.ticks.ticks.next_before(entry.end_offset()) {
            let EntryBody::Rows(batch) = &entry.body else { break };
            let rows = usize::try_from(tick.offset.0 - entry.base_offset.0).unwrap_or(usize::MAX);
            let behind = batch.slice(rows, batch.num_rows() - rows);
            let before = LogEntry { body: EntryBody::Rows(batch.slice(0, rows)), ..entry.clone() };
            entry = LogEntry { base_offset: tick.offset, body: EntryBody::Rows(behind), ..entry };
            self.push(before);
            self.put_tick(tick);
        }
        self.push(entry);
    }

    fn put_ticks(&mut self, until: Offset) {
        while let Some(tick) = self.ticks.ticks.next_until(until) {
            self.put_tick(tick);
        }
    }

    fn put_tick(&mut self, tick: PlacedTick) {
        let PlacedTick { offset, event_time, kind, at } = tick;
        let entry = LogEntry {
            partition: self.partition.id_of(),
            base_offset: offset,
            append_time: at,
            min_time: event_time,
            max_time: event_time,
            body: EntryBody::Tick { event_time, kind },
        };
        self.push(entry);
    }

    fn push(&mut self, mut entry: LogEntry) {
        self.last = self.last.max(entry.append_time);
        entry.append_time = self.last;
        self.ready.push_back(entry);
    }
}

impl EntryReader for KafkaReader {
    fn next(&mut self) -> Result<Option<LogEntry>, ReadError> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.position = self.position.max(entry.end_offset());
                return Ok(Some(entry));
            }
            // Records that are no rows are behind it, too.
            self.position = self.position.max(self.fetched);
            if self.fetch()? == Fetched::Nothing {
                return Ok(None);
            }
        }
    }

    fn position(&self) -> Offset {
        self.position
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetched {
    Some,
    Nothing,
}

enum Records {
    Some { readings: Readings, next: Offset },
    None,
    Gone,
}

/// Reads the ticks of one partition, from the oldest kept.
pub(super) struct TickReader {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    partition: PartitionId,
    /// Offset after the last record of the topic of ticks.
    next: i64,
    from: Offset,
    pub(super) ticks: Ticks,
}

const TICKS_NOW: Duration = Duration::ZERO;

impl TickReader {
    /// Those at or behind `from`.
    pub(super) fn new(partition: &KafkaPartition, from: Offset) -> Result<Self, KafkaLogError> {
        let consumer = partition.cluster().connection().reader()?;
        let (topic, id) = (partition.ticks_topic().to_owned(), partition.id_of());
        assign(&consumer, &topic, id, rdkafka::Offset::Beginning)?;
        let ticks = Ticks::of(&partition.topic().group);
        Ok(Self { consumer, topic, partition: id, next: 0, from, ticks })
    }

    /// Takes what has come; waits for the first so long.
    fn read_on(&mut self, wait: Duration) -> Result<(), KafkaLogError> {
        let mut wait = wait;
        while let Some(polled) = self.consumer.poll(wait) {
            wait = TICKS_NOW;
            match polled {
                Ok(record) => {
                    self.next = record.offset() + 1;
                    let at = records::timestamp(&record);
                    match serde_json::from_slice::<TickRecord>(record.payload().unwrap_or_default())
                    {
                        Ok(tick) => self.ticks.take(&tick, at),
                        Err(error) => {
                            let (topic, offset) = (&self.topic, record.offset());
                            tracing::warn!(%topic, offset, %error, "a record that is no tick is passed over");
                        }
                    }
                }
                Err(error) if is_final(&error) => {
                    let doing = format!("reading the topic '{}'", self.topic);
                    return Err(KafkaLogError::refused(doing, &error));
                }
                Err(error) => tracing::debug!(%error, "reading ticks waits"),
            }
        }
        self.ticks.forget_before(self.from);
        Ok(())
    }

    /// Takes all that is in the topic now.
    pub(super) fn read_all(&mut self) -> Result<(), KafkaLogError> {
        let doing = format!("reading the topic '{}'", self.topic);
        let id = self.partition.0.cast_signed();
        let (low, high) = self
            .consumer
            .fetch_watermarks(&self.topic, id, ANSWER_WITHIN)
            .map_err(|error| KafkaLogError::refused(doing.as_str(), &error))?;
        if low == high {
            return Ok(());
        }
        let mut waits = 0;
        while self.next < high {
            let before = self.next;
            self.read_on(TICKS_WAIT)?;
            waits = if self.next == before { waits + 1 } else { 0 };
            if waits > TICKS_WAITS_MAX {
                let detail = format!("nothing comes after offset {} of {high}", self.next);
                return Err(KafkaLogError::Refused { doing, detail });
            }
        }
        Ok(())
    }
}

fn place(offset: Offset) -> rdkafka::Offset {
    rdkafka::Offset::Offset(i64::try_from(offset.0).unwrap_or(i64::MAX))
}

fn assign(
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    partition: PartitionId,
    at: rdkafka::Offset,
) -> Result<(), KafkaLogError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition.0.cast_signed(), at)
        .and_then(|()| consumer.assign(&list))
        .map_err(|error| KafkaLogError::refused(format!("reading the topic '{topic}'"), &error))
}

fn unreadable(partition: PartitionId, error: &KafkaLogError) -> ReadError {
    ReadError::Io { partition, detail: Arc::from(error.to_string()) }
}

fn code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::MessageConsumption(code) | KafkaError::MessageConsumptionFatal(code) => {
            Some(*code)
        }
        _ => None,
    }
}

fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        code(error),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}

/// Whether asking again gives the same.
fn is_final(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(
            code(error),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition
                    | RDKafkaErrorCode::TopicAuthorizationFailed
            )
        )
}
