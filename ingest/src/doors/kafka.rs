//! Kafka's wire: a stream is a topic, its partitions are partitions, its offsets are offsets.
//!
//! Promise: a record goes the way of a reading over HTTP, and its answer comes when it is durable (P1);
//! what is refused is a dead letter (P8). Lengths are held against the bytes that are there before anything
//! is made of them, what unfolds is bounded, and a connection is read no further while as much is under way
//! as may (P9). Elsewhere: what bytes of a record mean is `decode`'s.

mod admin; // who to ask, and what is set
mod batch; // records as producers send them
mod commits; // how far groups have come
mod connection; // a socket's task
mod events; // rows as CloudEvents
mod fetch; // rows to those who ask
mod groups; // who shares the work
mod limits; // the bounds
mod listen; // the accept loop
mod metadata; // what there is, and what is spoken
mod offsets; // where a time stands
#[doc(hidden)]
pub mod probe; // what fuzz targets see
mod produce; // records into the log
mod requests; // who answers what
mod rows; // rows as records
mod sequences; // batches that may come again
mod shape; // lengths, before anything is decoded
mod shapes; // of each request that is served
mod topics; // names and partitions
mod unpack; // what was compressed
mod wire; // frames, headers, answers

pub use limits::KafkaLimits;
pub use listen::serve;

use super::budget::IngestBudget;
use super::metrics::Metrics;
use super::mqtt::AlarmEvents;
use crate::log::Log;
use crate::model::{AppendTime, Limits};
use groups::Groups;
use metrics::Label;
use sequences::Sequences;
use std::sync::Arc;

/// The Kafka door of a log; [`serve`] opens it.
#[derive(Debug)]
pub struct KafkaDoor {
    log: Arc<Log>,
    budget: Arc<IngestBudget>,
    limits: Limits,
    kafka: KafkaLimits,
    metrics: Arc<Metrics>,
    alarms: Option<Arc<dyn AlarmEvents>>,
    /// Bytes of answers to Fetch.
    answers: Arc<IngestBudget>,
    groups: Groups,
    sequences: Sequences,
    /// Tells ids of members apart from those of an earlier process.
    started: AppendTime,
}

impl KafkaDoor {
    /// The budget and the metrics are those of the other doors; without `alarms` there is no topic of
    /// alarms.
    pub fn new(
        log: Arc<Log>,
        budget: Arc<IngestBudget>,
        limits: Limits,
        kafka: KafkaLimits,
        metrics: Arc<Metrics>,
        alarms: Option<Arc<dyn AlarmEvents>>,
    ) -> Arc<Self> {
        let answers = IngestBudget::new(kafka.answers_bytes_max);
        let started = AppendTime(log.clock().wall_us());
        Arc::new(Self {
            log,
            budget,
            limits,
            kafka,
            metrics,
            alarms,
            answers,
            groups: Groups::default(),
            sequences: Sequences::default(),
            started,
        })
    }

    /// What the clock says.
    fn now(&self) -> AppendTime {
        AppendTime(self.log.clock().wall_us())
    }

    fn count(&self, name: &'static str, what: &'static str, n: u64) {
        if n > 0 {
            self.metrics.count(name, vec![Label::new("what", what)], n);
        }
    }
}

/// Works on a thread that may block; ends as the work does.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
