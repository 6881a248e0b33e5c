//! Streams, alarms and the system as SQL tables.
//!
//! Promise: names are looked up when a statement is planned, so a new stream is a table at once; a
//! scan sees the rows that were durable when it was planned, and every one of them (Q1).
//! Elsewhere: budgets are `session`'s; what the tables hold is the log's and the engine's.

mod alarms;
mod history;
mod internal;
mod latest;
mod leaf;
mod schemas;
mod snapshot;
mod system;
mod times;

pub use history::StreamTable;
pub use internal::InternalTable;
pub(crate) use latest::LatestScan;
pub use latest::LatestTable;
pub use schemas::WeirCatalog;
pub use snapshot::SnapshotTable;
pub use system::{NoSystem, SystemSource};

use std::sync::Arc;
use weir_engine::tables::latest::LatestTables;
use weir_engine::tables::reference::ReferenceTables;
use weir_ingest::log::Log;

/// The catalog every name is in.
pub const CATALOG: &str = "weir";
/// The schema of streams, reference tables, `alarms` and the internal logs.
pub const PUBLIC: &str = "public";
/// The schema with one table per stream: the newest reading of each series.
pub const LATEST: &str = "latest";
/// The schema that describes the server itself.
pub const SYSTEM: &str = "system";

/// Where the tables' content comes from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Streams and internal logs.
    pub log: Arc<Log>,
    /// `latest.<stream>`.
    pub latest: Arc<LatestTables>,
    /// CREATE TABLE.
    pub references: Arc<ReferenceTables>,
    /// What only the running engine knows.
    pub system: Arc<dyn SystemSource>,
}
