//! The log, as it becomes durable, to those who subscribe.
//!
//! Promise: read once for all sessions, frame by frame; while nobody subscribes nothing is read. Alarms are
//! told under `$weir/alarms` and their subject, as CloudEvents.

use super::MqttDoor;
use super::hub::Row;
use super::message::{Message, Place};
use crate::decode::reading_json;
use crate::log::{EntryBody, InternalLog, LogEntry, Partition, PartitionReader, ReadError, Stream};
use crate::model::{PartitionId, SeriesId, SeriesSnapshot, TopicPattern, reading};
use arrow::array::RecordBatch;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::watch;

/// Where alarms are told.
const ALARMS: &str = "$weir/alarms";

/// What the log of alarms says; the room that writes it knows its columns.
pub trait AlarmEvents: Debug + Send + Sync {
    /// One event for each row, in order.
    fn events(&self, rows: &RecordBatch) -> Vec<AlarmEvent>;
}

/// One transition of an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmEvent {
    /// The path it is about.
    pub subject: String,
    /// A CloudEvent in JSON.
    pub event: String,
}

/// One partition that is read.
#[derive(Debug)]
pub(super) struct Followed {
    source: Source,
    reader: PartitionReader,
}

/// A partition, and what its rows are.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) place: Place,
    pub(super) partition: Arc<Partition>,
    /// `None` for the log of alarms.
    stream: Option<Arc<Stream>>,
}

impl Source {
    /// Whether it may have rows that a filter matches.
    pub(super) fn may_match(&self, pattern: &TopicPattern) -> bool {
        let of_server = pattern.as_str().starts_with('$');
        match &self.stream {
            Some(stream) => !of_server && pattern.overlaps(stream.definition().template()),
            None => of_server,
        }
    }
}

/// Rows of one frame, ready to be told.
pub(super) struct Told {
    entry: LogEntry,
    place: Place,
    of: Of,
}

enum Of {
    Readings {
        stream: Arc<Stream>,
        series: Arc<SeriesSnapshot>,
    },
    /// Topic and event of each row.
    Alarms(Vec<(String, String)>),
    Nothing,
}

impl MqttDoor {
    /// Every partition there is, before the first client comes.
    pub(super) fn meet_all(&self) -> HashMap<Place, Followed> {
        let mut followed = HashMap::new();
        self.meet(&mut followed);
        followed
    }

    /// Hands out what becomes durable until a stop is said.
    pub(super) async fn follow(
        self: Arc<Self>,
        mut followed: HashMap<Place, Followed>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut changes = self.log.changes();
        loop {
            self.meet(&mut followed);
            let mut more = false;
            for one in followed.values_mut() {
                more |= self.step(one);
            }
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Follows partitions of streams that are new, and dropped ones no more. What is there at the start
    /// is followed from its end.
    fn meet(&self, followed: &mut HashMap<Place, Followed>) {
        let sources = self.sources();
        followed.retain(|place, _| sources.iter().any(|source| source.place == *place));
        let first = followed.is_empty();
        for source in sources {
            followed.entry(source.place).or_insert_with(|| {
                let ends = source.partition.ends();
                let from = if first { ends.durable_end } else { ends.log_start };
                self.hub.told(source.place, from);
                let reader = source.partition.reader(from);
                Followed { source, reader }
            });
        }
    }

    /// Every partition whose rows can be subscribed to.
    fn sources(&self) -> Vec<Source> {
        let streams = self.log.streams().all();
        let of_stream = |stream: &Arc<Stream>| {
            let (uid, stream) = (stream.uid(), Arc::clone(stream));
            let partitions: Vec<_> = stream.partitions().iter().map(Arc::clone).collect();
            (0_u32..).zip(partitions).map(move |(id, partition)| Source {
                place: Place::Readings(uid, PartitionId(id)),
                partition,
                stream: Some(Arc::clone(&stream)),
            })
        };
        let mut sources: Vec<Source> = streams.iter().flat_map(of_stream).collect();
        let partition = Arc::clone(self.log.internal(InternalLog::Alarms));
        sources.push(Source { place: Place::Alarms, partition, stream: None });
        sources
    }

    /// Where a session reads on by itself; `None` where the stream is gone.
    pub(super) fn source(&self, place: Place) -> Option<Source> {
        self.sources().into_iter().find(|source| source.place == place)
    }

    /// Reads at most one frame; whether there may be more.
    fn step(&self, followed: &mut Followed) -> bool {
        let source = &followed.source;
        let end = source.partition.ends().durable_end;
        let behind = end.0.saturating_sub(followed.reader.position().0);
        if behind == 0 {
            return false;
        }
        if self.hub.is_unheard() {
            followed.reader = source.partition.reader(end);
            self.hub.told(source.place, end);
            return false;
        }
        if behind > self.mqtt.live_behind_rows_max {
            self.hub.leave_to_sessions(source.place, followed.reader.position(), end);
            self.count("weir_mqtt_dropped_total", "live_behind", behind);
            followed.reader = source.partition.reader(end);
            return false;
        }
        match self.read_on(source, &mut followed.reader) {
            Ok(Some(told)) => {
                let now = self.now().0;
                let end = told.entry.end_offset();
                let make = |row: &Row<'_>| told.message(row, now);
                let dropped = self.hub.tell(source.place, told.rows(), end, make, &self.mqtt);
                self.count("weir_mqtt_dropped_total", "queue_full", dropped);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, "those who subscribe miss rows that cannot be read");
                followed.reader = source.partition.reader(end);
                self.hub.told(source.place, end);
                false
            }
        }
    }

    /// The next frame of a partition.
    /// # Errors
    /// It cannot be read.
    pub(super) fn read_on(
        &self,
        source: &Source,
        reader: &mut PartitionReader,
    ) -> Result<Option<Told>, ReadError> {
        let Some(entry) = reader.next()? else { return Ok(None) };
        let of = match (&entry.body, &source.stream, &self.sources.alarms) {
            (EntryBody::Rows(_), Some(stream), _) => {
                let (stream, series) = (Arc::clone(stream), stream.series().snapshot());
                Of::Readings { stream, series }
            }
            (EntryBody::Rows(batch), None, Some(alarms)) => {
                let topic = |event: AlarmEvent| (alarm_topic(&event.subject), event.event);
                Of::Alarms(alarms.events(batch).into_iter().map(topic).collect())
            }
            _ => Of::Nothing,
        };
        Ok(Some(Told { entry, place: source.place, of }))
    }
}

/// A subject is a path; one that does not begin with a slash gets one.
fn alarm_topic(subject: &str) -> String {
    let slash = if subject.starts_with('/') { "" } else { "/" };
    format!("{ALARMS}{slash}{subject}")
}

impl Told {
    pub(super) fn end(&self) -> crate::model::Offset {
        self.entry.end_offset()
    }

    /// Its rows, in order.
    pub(super) fn rows(&self) -> Box<dyn Iterator<Item = Row<'_>> + '_> {
        let base = self.entry.base_offset;
        match (&self.of, &self.entry.body) {
            (Of::Readings { stream, series }, EntryBody::Rows(batch)) => {
                let uid = stream.uid();
                let ids = reading::series_column(batch).values().iter();
                Box::new((0_u64..).zip(ids).map(move |(row, id)| Row {
                    offset: base.plus(row),
                    topic: series.topic(SeriesId(*id)),
                    series: Some((uid, SeriesId(*id))),
                }))
            }
            (Of::Alarms(events), _) => {
                Box::new((0_u64..).zip(events).map(move |(row, (topic, _))| Row {
                    offset: base.plus(row),
                    topic,
                    series: None,
                }))
            }
            _ => Box::new(std::iter::empty()),
        }
    }

    /// The message of one of its rows.
    pub(super) fn message(&self, row: &Row<'_>, now_us: i64) -> Message {
        let index = usize::try_from(row.offset.0 - self.entry.base_offset.0).unwrap_or_default();
        let payload = match (&self.of, &self.entry.body) {
            (Of::Readings { .. }, EntryBody::Rows(batch)) => reading_json(batch, index, row.topic),
            (Of::Alarms(events), _) => events[index].1.clone(),
            _ => String::new(),
        };
        Message::logged(row.topic, payload, (self.place, row.offset), now_us)
    }
}
