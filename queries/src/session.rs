//! One text of SQL, run within a budget.
//!
//! Promise: a query cannot take more memory, time or company than its limits say (Q2); values given
//! beside the text are bound as literals, never spliced into it.
//! Elsewhere: what tables there are is `catalog`'s; what other statements do is the engine's.

mod answer;
mod error;
mod parameters;
mod plans;
mod run;
#[cfg(test)]
mod test_room;

pub use answer::Answer;
pub use error::QueryError;
pub use parameters::{ParameterError, Parameters};
pub use run::Reply;

use crate::catalog::{CATALOG, PUBLIC, Sources, WeirCatalog};
use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::TaskContext;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use plans::Plans;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Debug};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use weir_engine::sql::{SqlError, Statement, planner};

/// Plan partitions of one query: it leaves the other cores to the log and the rules.
const TARGET_PARTITIONS: usize = 2;
/// Consumers named when memory runs out.
const CONSUMERS_NAMED: usize = 3;

/// What queries may take; `[queries]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryLimits {
    /// Bytes of working memory (sorts, groups, joins) of all queries together.
    pub memory_bytes_max: usize,
    /// Seconds one query may take, from its text to its last row.
    pub seconds_max: u64,
    /// Rows of an answer that is one JSON array; the other formats stream and have no such limit.
    pub rows_max: usize,
    /// Queries running at once.
    pub concurrent_max: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256 * 1024 * 1024,
            seconds_max: 60,
            rows_max: 100_000,
            concurrent_max: 16,
        }
    }
}

/// What a statement that is not a query did.
#[derive(Debug, Clone, PartialEq)]
pub struct StatementOutcome {
    /// One sentence.
    pub message: String,
    /// What it lists, for statements that list something.
    pub rows: Option<RecordBatch>,
}

/// Runs the statements that change something.
#[async_trait]
pub trait Statements: Debug + Send + Sync {
    /// Runs one statement; returns when it is durable.
    /// # Errors
    /// Why it was refused; then nothing was changed.
    async fn execute(&self, statement: Statement) -> Result<StatementOutcome, SqlError>;
}

/// A data directory that is only read, as `weir query --data` does.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOnly;

#[async_trait]
impl Statements for ReadOnly {
    async fn execute(&self, _: Statement) -> Result<StatementOutcome, SqlError> {
        Err(SqlError::new("this data directory is open for questions only").with_hint(
            "run statements that change something against the server: weir run FILE --to URL",
        ))
    }
}

/// Plans and runs texts of SQL. One for the process, shared.
pub struct Session {
    context: SessionContext,
    sources: Sources,
    statements: Arc<dyn Statements>,
    limits: QueryLimits,
    permits: Arc<Semaphore>,
    plans: Plans,
    /// What running plans share.
    task: Arc<TaskContext>,
}

impl Session {
    /// A session over `sources`.
    /// # Errors
    /// DataFusion's, for limits it cannot work with.
    pub fn new(
        sources: Sources,
        statements: Arc<dyn Statements>,
        limits: QueryLimits,
    ) -> Result<Self, QueryError> {
        let context = context(&sources, &limits)
            .map_err(|error| QueryError::Internal(error.strip_backtrace()))?;
        let permits = Arc::new(Semaphore::new(limits.concurrent_max));
        let (plans, task) = (Plans::default(), context.task_ctx());
        Ok(Self { context, sources, statements, limits, permits, plans, task })
    }

    /// The limits it keeps.
    pub fn limits(&self) -> &QueryLimits {
        &self.limits
    }

    /// What it answers from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// A state for one query, whose `now()` is the log's clock.
    fn state(&self) -> SessionState {
        let mut state = self.context.state();
        let now = chrono::DateTime::from_timestamp_micros(self.sources.log.clock().wall_us());
        state.execution_props_mut().query_execution_start_time = now;
        state
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.limits.seconds_max)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn context(sources: &Sources, limits: &QueryLimits) -> datafusion::error::Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_target_partitions(TARGET_PARTITIONS)
        .with_default_catalog_and_schema(CATALOG, PUBLIC)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true);
    let execution = &mut config.options_mut().execution;
    execution.time_zone = Some("UTC".to_owned());
    // A few latest readings are not worth a second thread.
    execution.use_row_number_estimates_to_optimize_partitioning = true;
    config.options_mut().sql_parser.collect_spans = true;
    let named = NonZeroUsize::new(CONSUMERS_NAMED).expect("a constant above zero");
    let pool = TrackConsumersPool::new(GreedyMemoryPool::new(limits.memory_bytes_max), named);
    // Nothing is spilled: a query that does not fit is refused, and files are the log's alone.
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let builder = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(runtime);
    let context = SessionContext::new_with_state(planner::configure(builder).build());
    context.register_catalog(CATALOG, Arc::new(WeirCatalog::new(sources.clone())));
    Ok(context)
}

/// Nothing but reading: whatever slips through parsing is refused here.
fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}
