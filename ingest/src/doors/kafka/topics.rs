//! What topics there are.
//!
//! Promise: each stream is one under its name, and alarms are one where the door knows their words; it can
//! be read, not written.

use super::KafkaDoor;
use crate::doors::mqtt::{AlarmEvent, AlarmEvents};
use crate::log::{InternalLog, Partition, Stream};
use arrow::array::RecordBatch;
use std::sync::Arc;

/// The name of the topic of alarms; no stream can have it.
pub(super) const ALARMS: &str = "weir.alarms";

/// A topic that is there.
#[derive(Debug, Clone)]
pub(super) enum Topic {
    Stream(Arc<Stream>),
    Alarms { log: Arc<Partition>, words: Arc<dyn AlarmEvents> },
}

impl Topic {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stream(stream) => stream.definition().name().to_owned(),
            Self::Alarms { .. } => ALARMS.to_owned(),
        }
    }

    pub(super) fn partitions(&self) -> &[Arc<Partition>] {
        match self {
            Self::Stream(stream) => stream.partitions(),
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
            Self::Stream(_) => Vec::new(),
            Self::Alarms { words, .. } => words.events(rows),
        }
    }
}

impl KafkaDoor {
    /// The topic of this name.
    pub(super) fn topic(&self, name: &str) -> Option<Topic> {
        match &self.alarms {
            Some(words) if name == ALARMS => Some(self.alarms_topic(words)),
            _ => self.log.streams().get(name).map(Topic::Stream),
        }
    }

    /// All there are.
    pub(super) fn all_topics(&self) -> Vec<Topic> {
        let streams = self.log.streams().all().into_iter().map(Topic::Stream);
        streams.chain(self.alarms.iter().map(|words| self.alarms_topic(words))).collect()
    }

    fn alarms_topic(&self, words: &Arc<dyn AlarmEvents>) -> Topic {
        let log = Arc::clone(self.log.internal(InternalLog::Alarms));
        Topic::Alarms { log, words: Arc::clone(words) }
    }
}
