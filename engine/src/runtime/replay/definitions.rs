//! The streams, tables and rules of a file, over a log that lives in memory.

use super::{ReplayError, ReplayOptions};
use crate::alarms::RuleIdentity;
use crate::runtime::runner::{Runner, key_columns};
use crate::sql::plan::{Relations, RulePlan, plan_rule, session_config};
use crate::sql::{
    Existing, InsertStatement, RuleStatement, SqlError, StartFrom, Statement, TableStatement,
    parse_statements, planner,
};
use crate::stream::input::Input;
use crate::tables::reference::{TableChange, TableDefinition, TableFold};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::io::{SimulatedClock, SimulatedDisk};
use weir_ingest::log::{Log, LogConfig, Stream};
use weir_ingest::model::{AppendTime, EventTime, StreamDefinition};

/// A thousand years: with event time for a clock, nothing lies in the future.
const NO_FUTURE: Duration = Duration::from_secs(1_000 * 365 * 86_400);

#[derive(Debug)]
pub(in crate::runtime) struct Definitions {
    pub(in crate::runtime) log: Arc<Log>,
    pub(in crate::runtime) streams: Vec<Arc<Stream>>,
    pub(in crate::runtime) tables: Vec<Input>,
    pub(in crate::runtime) rules: Vec<ReplayedRule>,
    pub(super) keeps_journal: bool,
}

/// A rule of the file.
#[derive(Debug)]
pub(in crate::runtime) struct ReplayedRule {
    pub(in crate::runtime) identity: RuleIdentity,
    statement: RuleStatement,
    plan: Arc<RulePlan>,
    /// Position of each of its streams among all.
    streams: Vec<usize>,
    starts_after: AppendTime,
    /// Position of the stream it writes.
    pub(super) into: Option<usize>,
}

impl ReplayedRule {
    /// The rule without state.
    pub(in crate::runtime) fn runner(&self) -> Runner {
        let plan = Arc::clone(&self.plan);
        Runner::new(&self.statement, plan, self.identity.clone(), self.starts_after)
    }

    /// How it is evaluated.
    #[cfg(feature = "kafka")]
    pub(in crate::runtime) fn plan(&self) -> &RulePlan {
        &self.plan
    }

    /// As it was written.
    #[cfg(feature = "kafka")]
    pub(in crate::runtime) fn statement(&self) -> &RuleStatement {
        &self.statement
    }

    /// The input as this rule sees it; `None` when it does not read it.
    pub(super) fn own_input(&self, input: &Input) -> Option<Input> {
        let own = |stream: &usize| self.streams.iter().position(|s| s == stream);
        let mut input = input.clone();
        match &mut input {
            Input::Rows(rows) => rows.stream = own(&rows.stream)?,
            Input::Tick { stream, .. }
            | Input::Restart { stream, .. }
            | Input::Gap { stream, .. } => {
                *stream = own(stream)?;
            }
            Input::Commands { .. } | Input::Tables { .. } => {}
        }
        Some(input)
    }
}

impl Definitions {
    /// What a text defines.
    pub(in crate::runtime) fn new(
        text: &str,
        options: &ReplayOptions,
    ) -> Result<Self, ReplayError> {
        let log = Log::open_manual(
            Arc::new(SimulatedDisk::new(0)),
            Arc::new(SimulatedClock::at(0)),
            LogConfig::new(Path::new("/replay")),
        )
        .map_err(|e| ReplayError::Log(e.to_string()))?;
        let mut definitions = Self {
            log,
            streams: Vec::new(),
            tables: Vec::new(),
            rules: Vec::new(),
            keeps_journal: options.restart_every.is_some(),
        };
        let mut fold = TableFold::new();
        for (position, statement) in (1..).zip(parse_statements(text).map_err(ReplayError::Sql)?) {
            definitions
                .add(position, statement, options, &mut fold)
                .map_err(|error| ReplayError::Sql(error.within(text)))?;
        }
        Ok(definitions)
    }

    fn add(
        &mut self,
        position: u64,
        statement: Statement,
        options: &ReplayOptions,
        fold: &mut TableFold,
    ) -> Result<(), SqlError> {
        match statement {
            Statement::CreateStream { definition, .. } => self.stream(definition, options),
            Statement::CreateTable(table) => {
                let definition = Arc::new(table_definition(table)?);
                self.table(&TableChange::Create(definition), fold)
            }
            Statement::Insert(insert) => {
                let change = inserted(insert, fold)?;
                self.table(&change, fold)
            }
            Statement::CreateRule(rule) => self.rule(position, rule, options, fold),
            _ => Err(SqlError::new(
                "a replay takes CREATE STREAM, CREATE TABLE, INSERT and CREATE RULE",
            )
            .with_hint("leave the other statements out of the file")),
        }
    }

    fn stream(
        &mut self,
        definition: StreamDefinition,
        options: &ReplayOptions,
    ) -> Result<(), SqlError> {
        let mut definition = match options.partitions {
            Some(partitions) => definition.with_partitions(partitions),
            None => definition,
        };
        if options.arrival.is_none() {
            definition = definition.with_max_future_skew(NO_FUTURE);
        }
        let created = self.log.create_stream(definition);
        self.streams.push(created.map_err(|e| SqlError::new(e.to_string()))?);
        Ok(())
    }

    fn table(&mut self, change: &TableChange, fold: &mut TableFold) -> Result<(), SqlError> {
        // Before every reading: tables of the file are there from the start.
        let appended = AppendTime(i64::MIN / 4 + i64::try_from(self.tables.len()).unwrap_or(0));
        let batch = change.encode(appended);
        fold.apply(&batch).map_err(|e| SqlError::new(e.to_string()))?;
        self.tables.push(Input::Tables { batch, appended });
        Ok(())
    }

    fn rule(
        &mut self,
        position: u64,
        statement: RuleStatement,
        options: &ReplayOptions,
        fold: &TableFold,
    ) -> Result<(), SqlError> {
        let definitions = || self.streams.iter().map(|s| s.definition());
        let relations = Relations {
            streams: definitions().map(|d| (d.name().to_owned(), d)).collect(),
            tables: fold
                .list()
                .map(|t| (t.definition.name().to_owned(), Arc::clone(t.schema())))
                .collect(),
        };
        let plan = Arc::new(plan_rule(&statement, &relations)?);
        let place = |d: &Arc<StreamDefinition>| {
            definitions().position(|own| own.name() == d.name()).expect("planned over these")
        };
        let streams = plan.streams.iter().map(place).collect();
        let identity = RuleIdentity {
            name: statement.name.clone(),
            uid: position,
            version: 1,
            severity: statement.severity,
            key_columns: key_columns(&plan),
        };
        let starts_after = match statement.start {
            Some(StartFrom::Timestamp(EventTime(at))) => AppendTime(at - 1),
            Some(StartFrom::Now | StartFrom::Earliest) | None => AppendTime(i64::MIN),
        };
        let into = plan.into.as_ref().map(|into| self.stream((*into.stream).clone(), options));
        let into = into.transpose()?.map(|()| self.streams.len() - 1);
        if statement.existing == Existing::Replace {
            self.rules.retain(|rule| rule.identity.name != statement.name);
        }
        self.rules.push(ReplayedRule { identity, statement, plan, streams, starts_after, into });
        Ok(())
    }
}

fn table_definition(table: TableStatement) -> Result<TableDefinition, SqlError> {
    let fields: Vec<Field> = table
        .columns
        .iter()
        .map(|c| Field::new(&c.name, c.column_type.data_type(), c.nullable))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    TableDefinition::new(&table.name, schema, table.primary_key, &table.text)
        .map_err(|e| SqlError::new(e.to_string()))
}

fn inserted(insert: InsertStatement, fold: &TableFold) -> Result<TableChange, SqlError> {
    let Some(table) = fold.get(&insert.table) else {
        return Err(SqlError::new(format!("there is no table '{}'", insert.table)));
    };
    let source = rows_of(&insert)?;
    let rows = table.definition.rows(&insert.columns, &source);
    let rows = rows.map_err(|e| SqlError::new(e.to_string()))?;
    Ok(TableChange::Insert { table: insert.table, rows })
}

fn rows_of(insert: &InsertStatement) -> Result<RecordBatch, SqlError> {
    let failed =
        |e: datafusion::error::DataFusionError| SqlError::from_datafusion(&e, &insert.text);
    let state = planner::session_state(session_config()).build();
    let query = ast::Statement::Query(insert.source.clone());
    let statement = ParsedStatement::Statement(Box::new(query));
    let (schema, batches) = futures::executor::block_on(async {
        let plan = planner::plan(&state, statement).await?;
        let schema = Arc::clone(plan.schema().inner());
        let frame = SessionContext::new_with_state(state).execute_logical_plan(plan).await?;
        Ok((schema, frame.collect().await?))
    })
    .map_err(failed)?;
    concat_batches(&schema, &batches).map_err(|e| SqlError::new(e.to_string()))
}
