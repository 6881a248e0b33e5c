//! A session over a log in memory, for tests.

use super::{QueryLimits, ReadOnly, Session};
use crate::catalog::{NoSystem, Sources};
use std::path::Path;
use std::sync::Arc;
use weir_engine::sql::{Statement, parse_statements};
use weir_engine::tables::latest::LatestTables;
use weir_engine::tables::reference::ReferenceTables;
use weir_ingest::io::{SimulatedClock, SimulatedDisk};
use weir_ingest::log::{Log, LogConfig};

/// Nothing is there yet.
pub(super) fn session() -> Session {
    let (disk, clock) = (SimulatedDisk::new(1), SimulatedClock::at(1_000_000_000));
    let config = LogConfig::new(Path::new("/weir"));
    let log = Log::open(Arc::new(disk), Arc::new(clock), config).unwrap();
    let sources = Sources {
        latest: Arc::new(LatestTables::new(Arc::clone(&log))),
        references: Arc::new(ReferenceTables::open(Arc::clone(&log)).unwrap()),
        system: Arc::new(NoSystem),
        log,
    };
    Session::new(sources, Arc::new(ReadOnly), QueryLimits::default()).unwrap()
}

/// Creates a stream.
pub(super) fn create_stream(session: &Session, text: &str) {
    let Some(Statement::CreateStream { definition, .. }) = parse_statements(text).unwrap().pop()
    else {
        panic!("{text}")
    };
    session.sources.log.create_stream(definition).unwrap();
}
