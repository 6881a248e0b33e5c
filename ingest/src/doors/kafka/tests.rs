//! Real sockets against the door.

mod abuse;
mod client;
mod consuming;
mod events;
mod grouping;
#[cfg(feature = "kafka")]
mod librdkafka;
mod producing;
mod requests;

use crate::decode::testing::{options, sensors};
use crate::doors::kafka::{KafkaDoor, KafkaLimits, serve};
use crate::doors::testing::{Served, batches, rows};
use crate::doors::{IngestBudget, Metrics};
use crate::io::{RealClock, RealDisk};
use crate::log::{InternalLog, Log, LogConfig};
use crate::model::{Limits, StreamOptions};
use arrow::array::{AsArray, RecordBatch};
use client::Client;
pub(super) use requests::framed;
use std::path::Path;
use std::sync::Arc;

/// A topic of the stream.
const TOPIC: &str = "/room/1/s";
/// The stream, as Kafka's topic.
const STREAM: &str = "sensors";

/// The door over a log of its own; gone when dropped.
struct Server {
    served: Served,
    log: Arc<Log>,
    budget: Arc<IngestBudget>,
    directory: Option<tempfile::TempDir>,
}

impl Server {
    fn start() -> Self {
        Self::with(KafkaLimits::default(), options())
    }

    fn with(kafka: KafkaLimits, options: StreamOptions) -> Self {
        let (log, directory) = fresh(options);
        let mut server = Self::over(log, kafka, Limits::default());
        server.directory = Some(directory);
        server
    }

    fn over(log: Arc<Log>, kafka: KafkaLimits, limits: Limits) -> Self {
        let budget = IngestBudget::new(limits.ingest_bytes_max);
        let (logged, held) = (Arc::clone(&log), Arc::clone(&budget));
        let door = KafkaDoor::new(logged, held, limits, kafka, Metrics::new(), None);
        let served = Served::by(async move |listener, stopped| {
            serve(listener, door, async { drop(stopped.await) }).await.expect("served");
        });
        Self { served, log, budget, directory: None }
    }

    fn client(&self) -> Client {
        Client::connect(self.served.address)
    }

    /// Rows in the stream's only partition.
    fn rows(&self) -> usize {
        rows(&self.log)
    }

    /// `topic code` of each dead letter.
    fn dead_letters(&self) -> Vec<String> {
        let batches = batches(self.log.internal(InternalLog::DeadLetters));
        let text = |batch: &RecordBatch, column: &str, row: usize| {
            batch.column_by_name(column).unwrap().as_string::<i32>().value(row).to_owned()
        };
        let lines = |batch: &RecordBatch| {
            let line = |row| format!("{} {}", text(batch, "topic", row), text(batch, "code", row));
            (0..batch.num_rows()).map(line).collect::<Vec<_>>()
        };
        batches.iter().flat_map(lines).collect()
    }

    fn stop(&mut self) {
        self.served.stop();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        self.log.stop();
        drop(self.directory.take());
    }
}

/// A log with the stream.
fn fresh(options: StreamOptions) -> (Arc<Log>, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(directory.path());
    log.create_stream(sensors(options)).expect("a stream");
    (log, directory)
}

fn open(directory: &Path) -> Arc<Log> {
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
    Log::open(disk, clock, LogConfig::new(directory)).expect("a log")
}

/// A reading of the stream without its topic.
fn reading(n: usize) -> String {
    format!(r#"{{"time":"2026-01-01T00:00:00Z","n":{n}}}"#)
}

/// The same, at a second of that day.
fn reading_at(second: usize, n: usize) -> String {
    let (minutes, seconds) = (second / 60, second % 60);
    format!(r#"{{"time":"2026-01-01T00:{minutes:02}:{seconds:02}Z","n":{n}}}"#)
}
