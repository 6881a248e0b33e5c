//! A log on the disk with a stream in it, as the server has it.

use std::sync::Arc;
use tempfile::TempDir;
use weir_engine::sql::{Statement, parse_statements};
use weir_ingest::io::{RealClock, RealDisk};
use weir_ingest::log::{Log, LogConfig, Stream};

/// A log, and where it lies.
pub(crate) struct Building {
    pub(crate) log: Arc<Log>,
    _directory: TempDir,
}

impl Building {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
        let log = Log::open(disk, clock, LogConfig::new(directory.path())).expect("it is empty");
        Self { log, _directory: directory }
    }

    pub(crate) fn create_stream(&self, text: &str) -> Arc<Stream> {
        let Some(Statement::CreateStream { definition, .. }) =
            parse_statements(text).expect("it is SQL").pop()
        else {
            panic!("a stream")
        };
        let name = definition.name().to_owned();
        self.log.create_stream(definition).expect("there is none yet");
        self.log.streams().get(&name).expect("it was created")
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        self.log.stop();
    }
}
