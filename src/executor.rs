//! Statements that change something, each handed to the room it belongs to.
//!
//! Promise: a statement is answered after it is durable; a refused one changed nothing.

mod turn;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::Semaphore;
use weir_engine::alarms::{Command, StaleAlarms};
use weir_engine::deliver::{Deliverer, SubscriptionError, SubscriptionStatus};
use weir_engine::runtime::definition::check_expected;
use weir_engine::runtime::rules::Rules;
use weir_engine::sql::{Existing, Missing, SqlError, Statement, SubscriptionStatement};
use weir_engine::tables::reference::ReferenceTables;
use weir_ingest::log::{Log, StreamChangeError};
use weir_ingest::model::{Column, FedBy, StreamDefinition};
use weir_queries::catalog::SystemSource;
use weir_queries::session::{StatementOutcome, Statements};

/// See the module.
#[derive(Debug, Clone)]
pub struct Executor {
    log: Arc<Log>,
    references: Arc<ReferenceTables>,
    rules: Arc<Rules>,
    deliverer: Arc<Deliverer>,
    /// The log is read for one who asks at a time.
    turns: Arc<Semaphore>,
}

impl Executor {
    /// Starts what runs over the log.
    pub(crate) fn new(
        log: Arc<Log>,
        references: Arc<ReferenceTables>,
        rules: Arc<Rules>,
        deliverer: Arc<Deliverer>,
    ) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(1));
        Arc::new(Self { log, references, rules, deliverer, turns })
    }

    /// All subscriptions.
    pub(crate) fn deliverer(&self) -> &Arc<Deliverer> {
        &self.deliverer
    }

    /// Stops delivery and rules.
    pub(crate) async fn stop(&self) {
        let rules = Arc::clone(&self.rules);
        if let Err(error) = tokio::task::spawn_blocking(move || rules.stop()).await {
            tracing::error!(%error, "the rules ended badly");
        }
        self.deliverer.stop().await;
    }

    fn create_stream(
        &self,
        definition: StreamDefinition,
        existing: Existing,
    ) -> Result<String, SqlError> {
        let name = definition.name().to_owned();
        if self.references.get(&name).is_some() {
            return Err(SqlError::new(format!("there is a table '{name}' already"))
                .with_hint("choose another name"));
        }
        check_expected(&self.references, &definition)?;
        match (self.log.create_stream(definition), existing) {
            (Ok(_), _) => Ok(format!("stream '{name}' is there")),
            (Err(StreamChangeError::Exists(_)), Existing::Keep) => {
                Ok(format!("stream '{name}' was there already"))
            }
            (Err(error), _) => Err(refused(&error)),
        }
    }

    /// What a rule reads stays.
    fn check_unread(&self, what: &str, name: &str) -> Result<(), SqlError> {
        let readers = self.rules.readers_of(name);
        if readers.is_empty() {
            return Ok(());
        }
        let readers = readers.join(", ");
        Err(SqlError::new(format!("the {what} '{name}' is read by: {readers}"))
            .with_hint("DROP RULE first (DROP STREAM for one made AS SELECT), then drop this"))
    }

    fn is_written_by_rule(&self, stream: &str) -> bool {
        let stream = self.log.streams().get(stream);
        stream.is_some_and(|stream| stream.definition().fed_by() == FedBy::Rule)
    }

    fn add_column(&self, stream: &str, column: Column) -> Result<String, SqlError> {
        if self.is_written_by_rule(stream) {
            let sentence = format!("the columns of the stream '{stream}' are those of its SELECT");
            return Err(SqlError::new(sentence).with_hint(format!(
                "create a stream of another name AS SELECT ..., or DROP STREAM {stream} first"
            )));
        }
        let name = column.name.clone();
        self.log.add_column(stream, column).map_err(|error| refused(&error))?;
        Ok(format!("stream '{stream}' has a column '{name}'"))
    }

    /// A table of sensors stays as long as its stream.
    fn check_not_expected(&self, table: &str) -> Result<(), SqlError> {
        let names =
            |definition: &StreamDefinition| definition.options().expected.as_deref() == Some(table);
        let streams = self.log.streams().all();
        let Some(stream) = streams.iter().map(|s| s.definition()).find(|d| names(d)) else {
            return Ok(());
        };
        let stream = stream.name();
        Err(SqlError::new(format!(
            "the stream '{stream}' expects the sensors of the table '{table}'"
        ))
        .with_hint(format!("DROP STREAM {stream} first, then drop this")))
    }

    fn drop_stream(&self, name: &str, missing: Missing) -> Result<String, SqlError> {
        self.check_unread("stream", name)?;
        if self.is_written_by_rule(name) {
            return self.rules.drop_with_stream(name);
        }
        match (self.log.drop_stream(name), missing) {
            (Ok(()), _) => Ok(format!("stream '{name}' is gone")),
            (Err(StreamChangeError::Unknown(_)), Missing::Ignore) => {
                Ok(format!("there was no stream '{name}'"))
            }
            (Err(error), _) => Err(refused(&error)),
        }
    }

    async fn create_subscription(
        &self,
        statement: SubscriptionStatement,
    ) -> Result<String, SqlError> {
        let columns = self.rules.output_columns();
        let created =
            self.deliverer.create(statement, columns).await.map_err(|error| refused(&error))?;
        let (name, state) = (created.name, created.state.as_str());
        Ok(match created.secret {
            Some(secret) => {
                format!("subscription '{name}' is {state}; its bodies are signed with {secret}")
            }
            None => format!("subscription '{name}' was there already"),
        })
    }
}

fn refused(error: &dyn std::error::Error) -> SqlError {
    SqlError::new(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SqlError> + Send + 'static,
) -> Result<T, SqlError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(SqlError::new(format!("the statement ended badly: {error}"))))
}

#[async_trait]
impl Statements for Executor {
    async fn execute(&self, statement: Statement) -> Result<StatementOutcome, SqlError> {
        let message = match statement {
            Statement::ExplainRule { name } => {
                let rules = Arc::clone(&self.rules);
                let rows = blocking(move || rules.explain(&name)).await?;
                return Ok(StatementOutcome { message: String::new(), rows: Some(rows) });
            }
            Statement::ExplainAlarm { id } => {
                let rows = Some(self.explain(id).await?);
                return Ok(StatementOutcome { message: String::new(), rows });
            }
            Statement::ExplainWatermark { rule } => {
                let rules = Arc::clone(&self.rules);
                let rows = blocking(move || rules.explain_watermark(&rule)).await?;
                return Ok(StatementOutcome { message: String::new(), rows: Some(rows) });
            }
            Statement::TestRule(statement) => {
                let rows = Some(self.test(statement).await?);
                return Ok(StatementOutcome { message: String::new(), rows });
            }
            Statement::CreateSubscription(statement) => self.create_subscription(statement).await?,
            Statement::DropSubscription { name, missing } => {
                self.drop_subscription(&name, missing).await?
            }
            other => {
                let this = self.clone();
                blocking(move || this.change(other)).await?
            }
        };
        Ok(StatementOutcome { message, rows: None })
    }
}

impl Executor {
    async fn drop_subscription(&self, name: &str, missing: Missing) -> Result<String, SqlError> {
        match (self.deliverer.remove(name).await, missing) {
            (Ok(()), _) => Ok(format!("subscription '{name}' is gone")),
            (Err(SubscriptionError::Unknown(_)), Missing::Ignore) => {
                Ok(format!("there was no subscription '{name}'"))
            }
            (Err(error), _) => Err(refused(&error)),
        }
    }

    /// What waits for the disk.
    fn change(&self, statement: Statement) -> Result<String, SqlError> {
        match statement {
            Statement::CreateStream { definition, existing } => {
                self.create_stream(definition, existing)
            }
            Statement::AlterStreamAddColumn { stream, column } => self.add_column(&stream, column),
            Statement::DropStream { name, missing } => self.drop_stream(&name, missing),
            Statement::FlushStream { name } => self.flush(&name),
            Statement::DropTable { name, missing } => {
                self.check_unread("table", &name)?;
                self.check_not_expected(&name)?;
                self.references.drop_table(&name, missing).map_err(|error| refused(&error))?;
                Ok(format!("table '{name}' is gone"))
            }
            Statement::CreateRule(statement) => self.rules.create(statement),
            Statement::DropRule { name, missing } => self.rules.drop_rule(&name, missing),
            Statement::ReplayRule { name } => self.rules.replay(&name),
            Statement::ResetRule { name } => self.rules.reset(&name),
            Statement::Operate(command) => self.operate(command),
            _ => Err(SqlError::new("this statement cannot be run here")),
        }
    }

    /// What an operator says.
    fn operate(&self, command: Command<String>) -> Result<String, SqlError> {
        let said = match &command {
            Command::Acknowledge { .. } => "acknowledged",
            Command::Shelve { .. } => "shelved",
            Command::Unshelve { .. } => "unshelved",
            Command::TakeOutOfService { .. } => "out of service",
            Command::ReturnToService { .. } => "back in service",
            Command::PartitionOut { .. } | Command::PartitionIn { .. } => {
                return Err(SqlError::new("partitions are watched by the server"));
            }
            Command::ClockSuspect { .. } | Command::ClockAgrees => {
                return Err(SqlError::new("the clock is watched by the server"));
            }
        };
        self.rules.command(command.aimed(|alarm_id| self.rules.target(&alarm_id))?)?;
        Ok(said.to_owned())
    }

    fn flush(&self, name: &str) -> Result<String, SqlError> {
        let unknown = || refused(&StreamChangeError::Unknown(name.to_owned()));
        let stream = self.log.streams().get(name).ok_or_else(unknown)?;
        if self.is_written_by_rule(name) {
            let sentence =
                format!("the rule of the stream '{name}' alone says how far it has come");
            return Err(SqlError::new(sentence)
                .with_hint("FLUSH STREAM of the streams that it reads is passed on to it"));
        }
        stream.flush().map_err(|error| refused(&error))?;
        Ok(format!("stream '{name}' is flushed: its open windows are closed"))
    }
}

impl SystemSource for Executor {
    fn stale_alarms(&self) -> Vec<(String, StaleAlarms)> {
        self.rules.stale_alarms()
    }

    fn rules(&self) -> RecordBatch {
        self.rules.table()
    }

    fn watermarks(&self) -> RecordBatch {
        self.rules.watermarks()
    }

    fn subscriptions(&self) -> RecordBatch {
        let all = self.deliverer.list();
        let text = |of: &dyn Fn(&SubscriptionStatus) -> Option<String>| -> ArrayRef {
            Arc::new(all.iter().map(of).collect::<StringArray>())
        };
        let lags: ArrayRef = Arc::new(all.iter().map(|s| Some(s.lag)).collect::<UInt64Array>());
        let columns = [
            ("subscription", text(&|s| Some(s.name.clone()))),
            ("state", text(&|s| Some(s.state.as_str().to_owned()))),
            ("lag_rows", lags),
            ("target", text(&|s| Some(s.target.clone()))),
            ("on", text(&|s| s.on.clone())),
            ("filter", text(&|s| s.filter.clone())),
            ("condition", text(&|s| s.condition.clone())),
            ("last_outcome", text(&|s| s.last_outcome.clone())),
        ];
        let nullable = columns.map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(nullable).expect("columns of one length")
    }
}
