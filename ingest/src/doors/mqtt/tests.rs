//! Real sockets against the door.

mod abuse;
mod client;
mod following;
mod keeping;
mod latest;
mod publishing;
mod relaying;
mod restarting;
mod websocket;

use crate::decode::testing::{options, sensors};
use crate::doors::mqtt::{LatestReadings, MqttDoor, MqttLimits, Sources, serve};
use crate::doors::testing::{Served, batches, rows};
use crate::doors::{IngestBudget, Metrics};
use crate::io::{RealClock, RealDisk};
use crate::log::{InternalLog, Log, LogConfig};
use crate::model::Limits;
use arrow::array::{AsArray, RecordBatch};
use client::Client;
use std::path::Path;
use std::sync::Arc;

/// A topic of the stream.
const TOPIC: &str = "/room/1/s";

/// The door over a log of its own; gone when dropped.
struct Server {
    served: Served,
    door: Arc<MqttDoor>,
    log: Arc<Log>,
    budget: Arc<IngestBudget>,
    /// Where its log is, if it is its own.
    directory: Option<tempfile::TempDir>,
}

impl Server {
    fn start() -> Self {
        Self::with(MqttLimits::default())
    }

    /// One that passes on everything no stream takes.
    fn relaying() -> Self {
        Self::with(MqttLimits { relay: vec!["#".to_owned()], ..MqttLimits::default() })
    }

    fn with(mqtt: MqttLimits) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let log = open(directory.path());
        let mut server = Self::over(log, mqtt, Limits::default());
        server.directory = Some(directory);
        server
    }

    /// Over a log that commits only when it is told to.
    fn manual(limits: Limits) -> Self {
        Self::manual_with(limits, MqttLimits::default())
    }

    fn manual_with(limits: Limits, mqtt: MqttLimits) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = LogConfig::new(directory.path());
        let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
        let log = Log::open_manual(disk, clock, config).expect("a log");
        let mut server = Self::over(log, mqtt, limits);
        server.directory = Some(directory);
        server
    }

    fn over(log: Arc<Log>, mqtt: MqttLimits, limits: Limits) -> Self {
        Self::telling(log, mqtt, limits, None)
    }

    /// One that retains the latest readings of streams.
    fn retaining(mqtt: MqttLimits) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let log = open(directory.path());
        let latest = Some(Arc::new(latest::Numbered) as _);
        let mut server = Self::telling(log, mqtt, Limits::default(), latest);
        server.directory = Some(directory);
        server
    }

    fn telling(
        log: Arc<Log>,
        mqtt: MqttLimits,
        limits: Limits,
        latest: Option<Arc<dyn LatestReadings>>,
    ) -> Self {
        if log.streams().get("sensors").is_none() {
            log.create_stream(sensors(options())).expect("a stream");
        }
        let budget = IngestBudget::new(limits.ingest_bytes_max);
        let metrics = Metrics::new();
        let (logged, held) = (Arc::clone(&log), Arc::clone(&budget));
        let sources = Sources { alarms: Some(Arc::new(following::Named)), latest };
        let door = MqttDoor::new(logged, held, limits, mqtt, metrics, sources).unwrap();
        let serving = Arc::clone(&door);
        let served = Served::by(async move |listener, stopped| {
            serve(listener, serving, async { drop(stopped.await) }).await.expect("served");
        });
        Self { served, door, log, budget, directory: None }
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

fn open(directory: &Path) -> Arc<Log> {
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
    Log::open(disk, clock, LogConfig::new(directory)).expect("a log")
}

/// A reading of the stream.
fn reading(n: usize) -> String {
    format!(r#"{{"time":"2026-01-01T00:00:00Z","n":{n}}}"#)
}
