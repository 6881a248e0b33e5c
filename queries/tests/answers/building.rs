//! A log with readings in it, and a session over it.

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;
use weir_engine::sql::{SqlError, Statement, parse_statements};
use weir_engine::tables::latest::LatestTables;
use weir_engine::tables::reference::ReferenceTables;
use weir_ingest::decode::Decoder;
use weir_ingest::io::{RealDisk, SimulatedClock};
use weir_ingest::log::{Log, LogConfig};
use weir_ingest::model::AppendTime;
use weir_queries::catalog::{NoSystem, Sources};
use weir_queries::session::{
    Parameters, QueryError, QueryLimits, Session, StatementOutcome, Statements,
};

/// 2026-03-02T00:00:00Z, a Monday, in microseconds.
pub const MIDNIGHT_US: i64 = 1_772_409_600_000_000;
pub const HOUR_US: i64 = 3_600_000_000;

pub const CLIMATE: &str = "CREATE STREAM climate (temperature DOUBLE, co2 DOUBLE) \
    TOPIC '/building/{building}/room/{room}/climate' \
    WITH (partitions = 2, interval = '1 minute', dedupe = '0 seconds')";

pub struct Building {
    pub log: Arc<Log>,
    pub clock: Arc<SimulatedClock>,
    pub session: Arc<Session>,
    _directory: Option<tempfile::TempDir>,
}

impl Building {
    /// A fresh one, with the stream `climate`; the clock stands a day after [`MIDNIGHT_US`].
    pub fn new() -> Self {
        Self::with_limits(QueryLimits::default())
    }

    pub fn with_limits(limits: QueryLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut building = Self::open(directory.path(), limits);
        building._directory = Some(directory);
        building.create(CLIMATE);
        building
    }

    /// What is in `directory`.
    pub fn open(directory: &Path, limits: QueryLimits) -> Self {
        let clock = Arc::new(SimulatedClock::at(MIDNIGHT_US + 24 * HOUR_US));
        let config =
            LogConfig { segment_bytes_max: 16 * 1024, ..LogConfig::new(directory.to_path_buf()) };
        let log = Log::open(Arc::new(RealDisk), Arc::clone(&clock) as _, config).unwrap();
        let sources = Sources {
            log: Arc::clone(&log),
            latest: Arc::new(LatestTables::new(Arc::clone(&log))),
            references: Arc::new(ReferenceTables::open(Arc::clone(&log)).unwrap()),
            system: Arc::new(NoSystem),
        };
        let statements = Arc::new(Streams { log: Arc::clone(&log) });
        let session = Arc::new(Session::new(sources, statements, limits).unwrap());
        Self { log, clock, session, _directory: None }
    }

    pub fn create(&self, sql: &str) {
        for statement in parse_statements(sql).unwrap() {
            let Statement::CreateStream { definition, .. } = statement else { panic!("{sql}") };
            self.log.create_stream(definition).unwrap();
        }
    }

    /// Appends JSON readings and waits until they are durable.
    pub fn publish(&self, rows: &[String]) {
        let mut decoder = Decoder::new(self.log.streams());
        let now = AppendTime(self.log.clock().wall_us());
        for (index, row) in (0u32..).zip(rows) {
            decoder.push_json(row.as_bytes(), index, now);
        }
        let decoded = decoder.finish();
        assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
        let appended: Vec<_> = decoded
            .rows
            .into_iter()
            .map(|rows| rows.stream.partitions()[rows.partition.0 as usize].append(rows.batch))
            .collect();
        for receipt in appended {
            tokio::task::block_in_place(|| receipt.wait()).unwrap();
        }
    }

    /// One reading of a room.
    pub fn reading(room: &str, at_us: i64, temperature: f64, co2: Option<f64>) -> String {
        let topic = format!("/building/41/room/{room}/climate");
        serde_json::json!({"topic": topic, "time": at_us, "temperature": temperature, "co2": co2})
            .to_string()
    }

    pub async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        self.rows_with(sql, &Parameters::none()).await
    }

    /// The names of the columns that the answer has.
    pub async fn columns(&self, sql: &str) -> Vec<String> {
        let reply = self.session.run(sql, &Parameters::none()).await.unwrap();
        let answer = reply.into_answer();
        answer.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    async fn rows_with(
        &self,
        sql: &str,
        values: &Parameters,
    ) -> Result<Vec<RecordBatch>, QueryError> {
        let reply = self.session.run(sql, values).await?;
        reply.into_answer().collect(usize::MAX).await
    }

    /// The answer to a text with these values as a table.
    pub async fn ask_with(&self, sql: &str, values: serde_json::Value) -> String {
        let values = Parameters::from_json(values).unwrap();
        let batches = self.rows_with(sql, &values).await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    /// The answer as a table.
    pub async fn ask(&self, sql: &str) -> String {
        let batches = self.rows(sql).await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    pub async fn check(&self, sql: &str, expected: &str) {
        let got = self.ask(sql).await;
        assert_eq!(got, expected.trim_matches('\n'), "{sql}\n{got}");
    }

    pub async fn refused(&self, sql: &str) -> QueryError {
        self.rows(sql).await.unwrap_err()
    }
}

/// The part of the engine these tests need.
#[derive(Debug)]
struct Streams {
    log: Arc<Log>,
}

#[async_trait]
impl Statements for Streams {
    async fn execute(&self, statement: Statement) -> Result<StatementOutcome, SqlError> {
        match statement {
            Statement::CreateStream { definition, .. } => {
                let name = definition.name().to_owned();
                self.log.create_stream(definition).map_err(|e| SqlError::new(e.to_string()))?;
                Ok(StatementOutcome { message: format!("stream '{name}' is there"), rows: None })
            }
            _ => Err(SqlError::new("not in these tests")),
        }
    }
}
