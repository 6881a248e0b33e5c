//! Fetch: rows of the log to those who ask from an offset on.
//!
//! Promise: only what is durable is told; an answer has at most `fetch_bytes_max` bytes of rows and one row
//! more, and all answers under way at most `answers_bytes_max`. Who asks where nothing is yet waits, as long
//! as he wants to.

use super::events::{Event, Place, STRUCTURED};
use super::rows::{Said, Writing};
use super::topics::{Form, Topic};
use super::{KafkaDoor, elsewhere};
use crate::decode::reading_json;
use crate::doors::budget::Permit;
use crate::log::{EntryBody, LogEntry, ReadError};
use crate::model::{Offset, SeriesId, reading};
use arrow::array::RecordBatch;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, TopicName};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Between two looks at partitions while others are written to.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// One partition that is asked for.
#[derive(Debug)]
struct Wanted {
    /// Which of the topics asked for.
    topic: usize,
    index: i32,
    of: Result<Topic, Code>,
    /// Offset of the next row it gets.
    next: Offset,
    bytes_max: usize,
    bytes: Vec<u8>,
}

/// What is asked for, and what is there for it so far.
#[derive(Debug)]
struct Fetching {
    names: Vec<TopicName>,
    wanted: Vec<Wanted>,
    bytes_max: usize,
}

impl KafkaDoor {
    /// Answers when there are enough rows, or the time is up, or `closing` says so. The permit is for the
    /// answer's bytes until they are written.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        request: FetchRequest,
        mut closing: watch::Receiver<bool>,
    ) -> (FetchResponse, Option<Permit>) {
        if request.session_id != 0 {
            // None was ever given.
            let code = Code::FetchSessionIdNotFound.code();
            return (FetchResponse::default().with_error_code(code), None);
        }
        let wait =
            u64::try_from(request.max_wait_ms).unwrap_or(0).min(self.kafka.fetch_wait_ms_max);
        let deadline = Instant::now() + Duration::from_millis(wait);
        let enough = usize::try_from(request.min_bytes).unwrap_or(0);
        let mut fetching = self.wanted(request);
        let (mut permit, mut changes) = (None::<Permit>, self.log.changes());
        loop {
            changes.borrow_and_update();
            if fetching.has_more() && !fetching.is_full() {
                let most = 2 * fetching.bytes_max;
                let grown = match &mut permit {
                    Some(held) => held.grow_to(most),
                    None => {
                        permit = Some(self.answers.wait(most).await);
                        Ok(())
                    }
                };
                if grown.is_err() {
                    // Others want room, too: what is there is told.
                    break;
                }
                fetching = elsewhere(move || fetching.read()).await;
                if let Some(held) = &mut permit {
                    // Who waits for more, or reads slowly, holds no room for what is not there.
                    held.shrink_to(2 * fetching.bytes());
                }
            }
            if fetching.bytes() >= enough || fetching.is_full() || fetching.has_failed() {
                break;
            }
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                () = tokio::time::sleep_until(deadline) => break,
                changed = changes.changed() => if changed.is_err() { break },
            }
            if !fetching.has_more() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        (fetching.answer(), permit)
    }

    fn wanted(&self, request: FetchRequest) -> Fetching {
        let mut names = Vec::new();
        let mut wanted = Vec::new();
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
        for topic in request.topics {
            let found = self.topic(&topic.topic);
            for partition in topic.partitions {
                wanted.push(Wanted::new(names.len(), &partition, found.as_ref()));
            }
            names.push(topic.topic);
        }
        Fetching { names, wanted, bytes_max: bytes_max.min(self.kafka.fetch_bytes_max) }
    }
}

impl Wanted {
    fn new(topic: usize, asked: &FetchPartition, found: Option<&Topic>) -> Self {
        let of = match found.filter(|found| found.partition(asked.partition).is_some()) {
            Some(found) => Ok(found.clone()),
            None => Err(Code::UnknownTopicOrPartition),
        };
        let next = Offset(u64::try_from(asked.fetch_offset).unwrap_or(u64::MAX));
        let bytes_max = usize::try_from(asked.partition_max_bytes).unwrap_or(0);
        let mut wanted =
            Self { topic, index: asked.partition, of, next, bytes_max, bytes: Vec::new() };
        if let Some(ends) = wanted.ends()
            && !(ends.log_start..=ends.durable_end).contains(&next)
        {
            wanted.of = Err(Code::OffsetOutOfRange);
        }
        wanted
    }

    fn ends(&self) -> Option<crate::log::Ends> {
        Some(self.of.as_ref().ok()?.partition(self.index)?.ends())
    }

    fn has_more(&self) -> bool {
        self.bytes.len() < self.bytes_max.max(1)
            && self.ends().is_some_and(|ends| ends.durable_end > self.next)
    }

    /// Reads on until there is nothing more, or `room` bytes are there; at least one row.
    fn read(&mut self, room: usize) -> Result<(), ReadError> {
        let Ok(topic) = &self.of else { return Ok(()) };
        let Some(partition) = topic.partition(self.index) else { return Ok(()) };
        let most = self.bytes_max.min(room);
        let mut reader = partition.reader(self.next);
        while self.bytes.len() < most.max(1) {
            let Some(entry) = reader.next()? else { break };
            self.next = match &entry.body {
                EntryBody::Rows(rows) => {
                    write_rows((topic, self.index), &entry, rows, self.next, most, &mut self.bytes)
                }
                _ => self.next.max(entry.end_offset()),
            };
            if self.next < entry.end_offset() {
                break;
            }
        }
        Ok(())
    }
}

impl Fetching {
    fn bytes(&self) -> usize {
        self.wanted.iter().map(|wanted| wanted.bytes.len()).sum()
    }

    fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max.max(1)
    }

    fn has_more(&self) -> bool {
        self.wanted.iter().any(Wanted::has_more)
    }

    fn has_failed(&self) -> bool {
        self.wanted.iter().any(|wanted| wanted.of.is_err())
    }

    fn read(mut self) -> Self {
        let mut room = self.bytes_max.saturating_sub(self.bytes());
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.has_more()) {
            let before = wanted.bytes.len();
            if let Err(error) = wanted.read(before + room) {
                tracing::warn!(%error, "rows that are asked for cannot be read");
                wanted.of = Err(Code::KafkaStorageError);
            }
            room = room.saturating_sub(wanted.bytes.len() - before);
            if room == 0 {
                break;
            }
        }
        self
    }

    fn answer(self) -> FetchResponse {
        let Self { names, wanted, .. } = self;
        let topic = |name| FetchableTopicResponse::default().with_topic(name);
        let mut topics: Vec<_> = names.into_iter().map(topic).collect();
        for wanted in wanted {
            topics[wanted.topic].partitions.push(wanted.answer());
        }
        FetchResponse::default().with_responses(topics)
    }
}

impl Wanted {
    fn answer(self) -> PartitionData {
        let (start, end) = match self.ends() {
            Some(ends) => (ends.log_start.0.cast_signed(), ends.durable_end.0.cast_signed()),
            None => (-1, -1),
        };
        PartitionData::default()
            .with_partition_index(self.index)
            .with_error_code(self.of.as_ref().err().map_or(0, Code::code))
            .with_high_watermark(end)
            .with_last_stable_offset(end)
            .with_log_start_offset(start)
            .with_aborted_transactions(None)
            .with_preferred_read_replica(BrokerId(-1))
            .with_records(Some(self.bytes.into()))
    }
}

/// Rows from an offset on, as long as there is room, as one batch; the offset of the next one.
fn write_rows(
    (topic, partition): (&Topic, i32),
    entry: &LogEntry,
    rows: &RecordBatch,
    from: Offset,
    most: usize,
    out: &mut Vec<u8>,
) -> Offset {
    let skip = usize::try_from(from.0.saturating_sub(entry.base_offset.0)).unwrap_or(usize::MAX);
    if skip >= rows.num_rows() {
        return from.max(entry.end_offset());
    }
    let base = entry.base_offset.plus(skip as u64);
    match topic {
        Topic::Stream(stream, form) => {
            let series = stream.series().snapshot();
            let (ids, times) = (reading::series_column(rows), reading::time_column(rows));
            let mut writing = Writing::new(out, base.0, times[skip].div_euclid(1000));
            let place = Place { stream: stream.uid().0, partition };
            let mut next = skip;
            while next < rows.num_rows() && (next == skip || writing.bytes() < most) {
                let key = series.topic(SeriesId(ids.value(next)));
                let offset = entry.base_offset.plus(next as u64).0;
                let time_ms = times[next].div_euclid(1000);
                let event = || Event::new(place, offset, key, rows, next);
                let mut push = |value: &str, headers: &[(&str, &str)]| {
                    writing.push(&Said { offset, time_ms, key: Some(key), value, headers });
                };
                match form {
                    Form::Readings => push(&reading_json(rows, next, key), &[]),
                    Form::Structured => {
                        push(&event().structured(), &[("content-type", STRUCTURED)])
                    }
                    Form::Binary => {
                        let event = event();
                        push(&event.data, &event.headers());
                    }
                }
                next += 1;
            }
            writing.finish();
            entry.base_offset.plus(next as u64)
        }
        Topic::Alarms { .. } => {
            let time_ms = entry.append_time.0.div_euclid(1000);
            let headers = &[("content-type", "application/cloudevents+json")];
            let mut writing = Writing::new(out, base.0, time_ms);
            for (row, event) in topic.alarms(rows).iter().enumerate().skip(skip) {
                let (key, value) = (Some(event.subject.as_str()), event.event.as_str());
                let offset = entry.base_offset.plus(row as u64).0;
                writing.push(&Said { offset, time_ms, key, value, headers });
            }
            writing.finish();
            entry.end_offset()
        }
    }
}
