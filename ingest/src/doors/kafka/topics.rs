//! What topics there are.
//!
//! Promise: each stream is one under its name, and alarms are one where the door knows their words; these,
//! and a stream's rows in another form, can be read, not written.

use super::KafkaDoor;
use crate::doors::mqtt::{AlarmEvent, AlarmEvents};
use crate::log::{InternalLog, Partition, Stream};
use arrow::array::RecordBatch;
use std::sync::Arc;

/// The name of the topic of alarms; no stream can have it.
pub(super) const ALARMS: &str = "weir.alarms";

/// What the records of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Readings in JSON; only these are written.
    Readings,
    /// CloudEvents in JSON.
    Structured,
    /// CloudEvents whose attributes are headers.
    Binary,
}

impl Form {
    /// What follows the stream's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Readings => "",
            Self::Structured => ".cloudevents",
            Self::Binary => ".cloudevents.binary",
        }
    }

    /// The form and the stream that a name means; no stream has a dot in its name.
    fn of(name: &str) -> (Self, &str) {
        let named = |form: Self| Some((form, name.strip_suffix(form.suffix())?));
        let found = [Self::Structured, Self::Binary].into_iter().find_map(named);
        found.unwrap_or((Self::Readings, name))
    }
}

/// A topic that is there.
#[derive(Debug, Clone)]
pub(super) enum Topic {
    Stream(Arc<Stream>, Form),
    Alarms { log: Arc<Partition>, words: Arc<dyn AlarmEvents> },
}

impl Topic {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stream(stream, form) => stream.definition().name().to_owned() + form.suffix(),
            Self::Alarms { .. } => ALARMS.to_owned(),
        }
    }

    pub(super) fn partitions(&self) -> &[Arc<Partition>] {
        match self {
            Self::Stream(stream, _) => stream.partitions(),
            Self::Alarms { log, .. } => std::slice::from_ref(log),
        }
    }

    /// The partition of this number.
    pub(super) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions().get(usize::try_from(index).ok()?)
    }

    /// What an entry of the alarms says, where it is one.
    pub(super) fn alarms(&self, rows: &RecordBatch) -> Vec<AlarmEvent> {
        match self {
            Self::Stream(..) => Vec::new(),
            Self::Alarms { words, .. } => words.events(rows),
        }
    }
}

impl KafkaDoor {
    /// The topic of this name.
    pub(super) fn topic(&self, name: &str) -> Option<Topic> {
        match &self.alarms {
            Some(words) if name == ALARMS => Some(self.alarms_topic(words)),
            _ => {
                let (form, stream) = Form::of(name);
                let stream = self.log.streams().get(stream)?;
                Some(Topic::Stream(stream, form))
            }
        }
    }

    /// All there are; the same rows in other forms are topics for who asks for them by name.
    pub(super) fn all_topics(&self) -> Vec<Topic> {
        let readings = |stream| Topic::Stream(stream, Form::Readings);
        let streams = self.log.streams().all().into_iter().map(readings);
        streams.chain(self.alarms.iter().map(|words| self.alarms_topic(words))).collect()
    }

    fn alarms_topic(&self, words: &Arc<dyn AlarmEvents>) -> Topic {
        let log = Arc::clone(self.log.internal(InternalLog::Alarms));
        Topic::Alarms { log, words: Arc::clone(words) }
    }
}
