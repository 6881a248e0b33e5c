//! Statements one after another: questions are planned here, the rest is handed on.

use super::answer::Deadline;
use super::plans::{Basis, Kept};
use super::{Answer, Parameters, QueryError, Session, StatementOutcome, read_only};
use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement as PlannedStatement;
use datafusion::sql::sqlparser::ast;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use weir_engine::runtime::asked::{counts_sensors, with_sensors};
use weir_engine::sql::{
    InsertStatement, ShowWhat, SqlError, Statement, TableStatement, parse_statements, planner,
};
use weir_engine::tables::reference::{INSERT_BYTES_MAX, TableDefinition};

/// What a text of SQL led to.
#[derive(Debug)]
pub enum Reply {
    /// The last statement was a question or a list: its rows.
    Rows(Answer),
    /// A sentence for each statement.
    Done(Vec<String>),
}

impl Reply {
    /// The rows; sentences become a column `message`.
    pub fn into_answer(self) -> Answer {
        match self {
            Self::Rows(answer) => answer,
            Self::Done(messages) => {
                let schema = Schema::new(vec![Field::new("message", DataType::Utf8, false)]);
                let column = Arc::new(StringArray::from(messages));
                let batch = RecordBatch::try_new(Arc::new(schema), vec![column])
                    .expect("one column of the schema");
                Answer::of(batch)
            }
        }
    }
}

impl Session {
    /// Runs the statements of `text` in order; a question may stand last.
    /// # Errors
    /// The first statement that is refused; the detail says which ones were done before it.
    pub async fn run(&self, text: &str, params: &Parameters) -> Result<Reply, QueryError> {
        let question = Asked::new(text, params);
        if let Some((kept, basis)) = self.plans.of(&question.key, &self.sources.log) {
            return Ok(Reply::Rows(self.ask(How::Kept(kept, basis), &question).await?));
        }
        let mut statements = parse_statements(text)?;
        let Some(last) = statements.pop() else {
            return Err(SqlError::new("there is no statement in the text").into());
        };
        if statements.iter().any(|statement| matches!(statement, Statement::Query(_))) {
            return Err(SqlError::new(
                "a question among several statements has to be the last one",
            )
            .with_hint("send questions one by one")
            .into());
        }
        let question = if statements.is_empty() { question } else { question.among_others() };
        let mut messages = Vec::new();
        for statement in statements {
            let outcome = self.one(statement, &question).await;
            messages.push(outcome.map_err(|error| after(&messages, error))?.message());
        }
        match self.one(last, &question).await.map_err(|error| after(&messages, error))? {
            Outcome::Rows(answer) => Ok(Reply::Rows(answer)),
            Outcome::Done(message) => {
                messages.push(message);
                Ok(Reply::Done(messages))
            }
        }
    }

    /// Runs one question.
    /// # Errors
    /// The text is not one question, or it is refused.
    pub async fn query(&self, text: &str, params: &Parameters) -> Result<Answer, QueryError> {
        let question = Asked::new(text, params);
        if let Some((kept, basis)) = self.plans.of(&question.key, &self.sources.log) {
            return self.ask(How::Kept(kept, basis), &question).await;
        }
        let mut statements = parse_statements(text)?;
        match (statements.pop(), statements.is_empty()) {
            (Some(Statement::Query(statement)), true) => {
                self.ask(How::Said(*statement), &question).await
            }
            _ => Err(SqlError::new("expected one SELECT").into()),
        }
    }

    async fn one(&self, statement: Statement, question: &Asked<'_>) -> Result<Outcome, QueryError> {
        match statement {
            Statement::Query(statement) => {
                Ok(Outcome::Rows(self.ask(How::Said(*statement), question).await?))
            }
            Statement::Show(what) => {
                Ok(Outcome::Rows(Box::pin(self.query(listing(what), &Parameters::none())).await?))
            }
            Statement::CreateTable(table) => self.create_table(table).await.map(Outcome::Done),
            Statement::Insert(insert) => self.insert(insert, question).await.map(Outcome::Done),
            other => {
                let StatementOutcome { message, rows } = self.statements.execute(other).await?;
                Ok(match rows {
                    Some(rows) => Outcome::Rows(Answer::of(rows)),
                    None => Outcome::Done(message),
                })
            }
        }
    }

    async fn ask(&self, how: How, question: &Asked<'_>) -> Result<Answer, QueryError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let concurrent_max = self.limits.concurrent_max;
        let permit = permit.map_err(|_| QueryError::Busy { concurrent_max })?;
        let seconds = self.limits.seconds_max;
        let deadline = Deadline { at: Instant::now() + self.time(), seconds };
        let how = how.bound(question.params)?;
        let planned = tokio::time::timeout_at(deadline.at, self.start(how, question)).await;
        let batches = planned
            .map_err(|_| QueryError::Time { seconds })?
            .map_err(|error| QueryError::from_datafusion(&error, question.text))?;
        Ok(Answer::within(batches, question.text, permit, deadline))
    }

    async fn start(
        &self,
        how: How,
        question: &Asked<'_>,
    ) -> datafusion::error::Result<SendableRecordBatchStream> {
        let plan = match how {
            How::Kept(Kept::Physical(plan), _) => plan,
            How::Kept(Kept::Logical(plan), basis) => {
                self.physical(&self.state(), &plan, question, Some(&basis)).await?
            }
            How::Said(statement) => {
                let state = self.state();
                let (plan, basis) = self.planned(&state, statement, question).await?;
                self.physical(&state, &plan, question, basis.as_ref()).await?
            }
        };
        execute_stream(plan, Arc::clone(&self.task))
    }

    /// How a plan is run; it is kept if the plan is, with this basis.
    async fn physical(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
        question: &Asked<'_>,
        basis: Option<&Basis>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let plan = state.query_planner().create_physical_plan(plan, state).await?;
        let plan = yielding(plan)?;
        if let Some(basis) = basis {
            self.plans.keep_physical(&question.key, basis, &plan);
        }
        Ok(plan)
    }

    /// The plan of a statement, optimised; what it stands on, if it is kept.
    async fn planned(
        &self,
        state: &SessionState,
        statement: PlannedStatement,
        question: &Asked<'_>,
    ) -> datafusion::error::Result<(LogicalPlan, Option<Basis>)> {
        let plan = planner::plan(state, statement).await?;
        read_only().verify_plan(&plan)?;
        let counts = counts_sensors(&plan)?;
        let plan = if counts { self.with_sensors(plan).await? } else { plan };
        let optimised = state.optimize(&plan)?;
        // Which sensors there are is part of the plan.
        let basis = match question.alone && !counts {
            true => self.plans.keep(&question.key, &plan, &optimised),
            false => None,
        };
        Ok((optimised, basis))
    }

    /// The plan of a question that counts sensors, with those of the tables as they are now.
    async fn with_sensors(&self, plan: LogicalPlan) -> datafusion::error::Result<LogicalPlan> {
        let (log, tables) = (Arc::clone(&self.sources.log), Arc::clone(&self.sources.references));
        let pool = Arc::clone(self.task.memory_pool());
        let looked = spawn_blocking(move || with_sensors(plan, &log, &tables, &pool)).await;
        looked.map_err(|error| DataFusionError::External(Box::new(error)))?.data()
    }

    async fn create_table(&self, statement: TableStatement) -> Result<String, QueryError> {
        let field = |column: &weir_engine::sql::TableColumn| {
            Field::new(&column.name, column.column_type.data_type(), column.nullable)
        };
        let schema = Arc::new(Schema::new(statement.columns.iter().map(field).collect::<Vec<_>>()));
        let TableStatement { name, existing, primary_key, text, .. } = statement;
        let definition =
            TableDefinition::new(&name, schema, primary_key, &text).map_err(refused)?;
        let references = Arc::clone(&self.sources.references);
        blocking(move || references.create(definition, existing)).await?.map_err(refused)?;
        Ok(format!("table '{name}' is there"))
    }

    async fn insert(
        &self,
        statement: InsertStatement,
        question: &Asked<'_>,
    ) -> Result<String, QueryError> {
        let InsertStatement { table, columns, source, .. } = statement;
        let source = PlannedStatement::Statement(Box::new(ast::Statement::Query(source)));
        let question = Asked::new(question.text, question.params).among_others();
        let answer = self.ask(How::Said(source), &question).await?;
        let rows = gathered(answer).await?;
        let count = self.insert_rows(&table, columns, rows).await?;
        Ok(format!("{count} {} into '{table}'", if count == 1 { "row" } else { "rows" }))
    }

    /// Inserts `rows`, the n-th column into the n-th of `columns`, as one INSERT; how many. Durable
    /// when it returns.
    /// # Errors
    /// They do not fit the table; then it is as it was.
    pub async fn insert_rows(
        &self,
        table: &str,
        columns: Vec<String>,
        rows: RecordBatch,
    ) -> Result<usize, QueryError> {
        let references = Arc::clone(&self.sources.references);
        let table = table.to_owned();
        let inserted = blocking(move || references.insert(&table, &columns, &rows)).await?;
        inserted.map_err(refused)
    }
}

/// A text and its values.
struct Asked<'q> {
    text: &'q str,
    params: &'q Parameters,
    key: String,
    /// The text is this question and nothing else, so that its plan may be kept under it.
    alone: bool,
}

impl<'q> Asked<'q> {
    fn new(text: &'q str, params: &'q Parameters) -> Self {
        Self { text, params, key: params.key(text), alone: true }
    }

    /// It is a part of its text.
    fn among_others(self) -> Self {
        Self { alone: false, ..self }
    }
}

/// How a question is to be answered.
enum How {
    /// As when it was asked before.
    Kept(Kept, Basis),
    /// By a statement that is to be planned.
    Said(PlannedStatement),
}

impl How {
    fn bound(mut self, params: &Parameters) -> Result<Self, SqlError> {
        if let Self::Said(statement) = &mut self {
            params.bind(statement)?;
        }
        Ok(self)
    }
}

/// `plan` with joins that give way: one batch in can be millions of rows out, and a budget of time
/// only works where the query yields.
fn yielding(plan: Arc<dyn ExecutionPlan>) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    let joins = |node: Arc<dyn ExecutionPlan>| match node.children().len() {
        0 | 1 => Ok(Transformed::no(node)),
        _ => {
            let wrapped: Arc<dyn ExecutionPlan> = Arc::new(CooperativeExec::new(node));
            Ok(Transformed::yes(wrapped))
        }
    };
    plan.transform_up(joins).data()
}

/// What one statement led to.
#[derive(Debug)]
enum Outcome {
    Rows(Answer),
    Done(String),
}

impl Outcome {
    fn message(self) -> String {
        match self {
            Self::Rows(_) => "listed".to_owned(),
            Self::Done(message) => message,
        }
    }
}

/// What SHOW asks.
fn listing(what: ShowWhat) -> &'static str {
    match what {
        ShowWhat::Streams => "SELECT * FROM system.streams ORDER BY stream",
        ShowWhat::Rules => "SELECT * FROM system.rules",
        ShowWhat::Alarms => "SELECT * FROM alarms",
        ShowWhat::Subscriptions => "SELECT * FROM system.subscriptions",
        ShowWhat::Partitions => "SELECT * FROM system.partitions ORDER BY stream, partition",
        ShowWhat::Tables => "SELECT * FROM system.tables ORDER BY \"table\"",
    }
}

/// `error` of a statement that came after others, which stay done.
fn after(done: &[String], error: QueryError) -> QueryError {
    match error {
        QueryError::Sql(error) if !done.is_empty() && error.detail.is_none() => {
            let detail = format!("the statements before it were done: {}", done.join("; "));
            QueryError::Sql(error.with_detail(detail))
        }
        other => other,
    }
}

/// All rows of an INSERT's source as one batch, within what one INSERT may have.
async fn gathered(mut answer: Answer) -> Result<RecordBatch, QueryError> {
    let schema = Arc::clone(answer.schema());
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = answer.next().await {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        if bytes > INSERT_BYTES_MAX {
            let limit = format!("one INSERT may have at most {INSERT_BYTES_MAX} bytes of rows");
            return Err(SqlError::new(limit).with_hint("insert in several statements").into());
        }
        batches.push(batch);
    }
    arrow::compute::concat_batches(&schema, &batches)
        .map_err(|error| QueryError::Internal(error.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, QueryError> {
    let outcome = spawn_blocking(work).await;
    outcome.map_err(|error| QueryError::Internal(error.to_string()))
}

#[expect(clippy::needless_pass_by_value, reason = "it is the shape map_err wants")]
fn refused(error: weir_engine::tables::reference::TableError) -> QueryError {
    SqlError::new(error.to_string()).into()
}

#[cfg(test)]
mod tests;
