//! What a statement says, after every check that needs no catalog.
//!
//! Promise: a `Statement` that exists is well formed: names are lower case unless they were quoted,
//! durations and options are values, topics and patterns have been checked.
//! Elsewhere: whether the stream, rule or alarm it names exists is for whoever runs it.

use crate::alarms::Command;
pub use crate::alarms::Severity;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast;
use std::time::Duration;
use weir_ingest::model::{
    Column, ColumnType, EventTime, StreamDefinition, StreamOptions, TopicPattern, TopicTemplate,
};

/// One statement of weir's SQL.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a text has few statements and each is taken apart at once"
)]
pub enum Statement {
    /// `CREATE STREAM [IF NOT EXISTS] name (...) TOPIC '...' [WITH (...)]`
    CreateStream {
        /// The checked declaration.
        definition: StreamDefinition,
        /// What happens when the name is taken.
        existing: Existing,
    },
    /// `ALTER STREAM name ADD COLUMN column TYPE [UNIT 'x']`
    AlterStreamAddColumn {
        /// The stream.
        stream: String,
        /// Its further column.
        column: Column,
    },
    /// `DROP STREAM [IF EXISTS] name`
    DropStream {
        /// The stream.
        name: String,
        /// What happens when there is none.
        missing: Missing,
    },
    /// `CREATE [OR REPLACE] RULE ...`, `CREATE STREAM ... AS SELECT ...`
    CreateRule(RuleStatement),
    /// `DROP RULE [IF EXISTS] name`
    DropRule {
        /// The rule.
        name: String,
        /// What happens when there is none.
        missing: Missing,
    },
    /// `REPLAY RULE name`
    ReplayRule {
        /// The rule.
        name: String,
    },
    /// `RESET RULE name`
    ResetRule {
        /// The rule.
        name: String,
    },
    /// `EXPLAIN RULE name`
    ExplainRule {
        /// The rule.
        name: String,
    },
    /// `EXPLAIN ALARM '<alarm_id>'`
    ExplainAlarm {
        /// The occurrence, or a transition of one.
        id: String,
    },
    /// `EXPLAIN WATERMARK rule`
    ExplainWatermark {
        /// The rule.
        rule: String,
    },
    /// `TEST RULE name | (CREATE RULE ...) [OVER ...]`
    TestRule(TestStatement),
    /// `CREATE SUBSCRIPTION ...`
    CreateSubscription(SubscriptionStatement),
    /// `DROP SUBSCRIPTION [IF EXISTS] name`
    DropSubscription {
        /// The subscription.
        name: String,
        /// What happens when there is none.
        missing: Missing,
    },
    /// `CREATE TABLE [IF NOT EXISTS] name (...)`
    CreateTable(TableStatement),
    /// `INSERT INTO table [(columns)] VALUES ... | SELECT ...`
    Insert(InsertStatement),
    /// `DROP TABLE [IF EXISTS] name`
    DropTable {
        /// The table.
        name: String,
        /// What happens when there is none.
        missing: Missing,
    },
    /// What an operator says: `ACKNOWLEDGE ALARM`, `SHELVE ALARM`, `UNSHELVE ALARM`, `TAKE SERIES`,
    /// `RETURN SERIES`. The occurrence is named by its `alarm_id`.
    Operate(Command<String>),
    /// `SHOW STREAMS | RULES | ALARMS | SUBSCRIPTIONS | PARTITIONS | TABLES`
    Show(ShowWhat),
    /// `FLUSH STREAM name`
    FlushStream {
        /// The stream.
        name: String,
    },
    /// A question: `SELECT`, `WITH`, `VALUES`, or `EXPLAIN [ANALYZE]` of one. DataFusion plans it.
    Query(Box<DataFusionStatement>),
}

/// What CREATE does when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// An error.
    Refuse,
    /// `IF NOT EXISTS`: what is there stays.
    Keep,
    /// `OR REPLACE`: what is there gives way.
    Replace,
}

/// What DROP does when there is nothing of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An error.
    Refuse,
    /// `IF EXISTS`: nothing.
    Ignore,
}

/// What `SHOW` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowWhat {
    /// Streams with their templates and options.
    Streams,
    /// Rules with status and lag.
    Rules,
    /// Alarms that are not normal.
    Alarms,
    /// Subscriptions with their state.
    Subscriptions,
    /// Log partitions with their ends.
    Partitions,
    /// Reference tables.
    Tables,
}

/// `CREATE [OR REPLACE] RULE name ... AS SELECT ...`
#[derive(Debug, Clone, PartialEq)]
pub struct RuleStatement {
    /// Its name.
    pub name: String,
    /// What happens when the name is taken.
    pub existing: Existing,
    /// `SEVERITY`, medium when not written.
    pub severity: Severity,
    /// `KEY (...)` as written.
    pub key: Option<Vec<String>>,
    /// `START FROM` as written; the default depends on where the rule runs.
    pub start: Option<StartFrom>,
    /// `RAISE WHEN`; without it the rule emits rows.
    pub raise: Option<Condition>,
    /// `CLEAR WHEN`; without it an alarm clears when RAISE is false.
    pub clear: Option<Condition>,
    /// `SUPPRESS WHEN`, a predicate over the query's output columns; without it people are told.
    pub suppress: Option<ast::Expr>,
    /// `ON NO DATA`; without it the state holds.
    pub no_data: Option<NoData>,
    /// `REQUIRE COVERAGE n PERCENT`: a window with less says nothing.
    pub coverage: Option<u8>,
    /// The SELECT behind `AS`, with window sugar rewritten.
    pub query: Box<ast::Query>,
    /// CREATE STREAM ... AS SELECT: the stream of the rule's name, into which its rows go.
    pub into: Option<IntoStream>,
    /// The whole statement as written.
    pub text: String,
}

/// What CREATE STREAM ... AS SELECT says of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntoStream {
    /// The columns; those of the SELECT where none are written.
    pub columns: Option<Vec<Column>>,
    /// The topic template; its captures are columns of the SELECT.
    pub template: TopicTemplate,
    /// `WITH (...)`.
    pub options: StreamOptions,
}

/// `TEST RULE ...`: what a rule would have raised; nothing is created.
#[derive(Debug, Clone, PartialEq)]
pub struct TestStatement {
    /// Which rule.
    pub rule: TestedRule,
    /// `OVER`; without it, everything the log has.
    pub over: Option<TestOver>,
}

/// The rule that is tested.
#[derive(Debug, Clone, PartialEq)]
pub enum TestedRule {
    /// One that runs, by its name.
    Named(String),
    /// `(CREATE RULE ...)`: one that need not be there.
    Written(Box<RuleStatement>),
}

/// Over which part of the log a rule is tested, by the time of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestOver {
    /// `OVER INTERVAL '7' DAY`: so long before now, up to now.
    Last(Duration),
    /// `OVER (FROM TIMESTAMP '...' [TO TIMESTAMP '...'])`: from then on, up to but without the end.
    Between {
        /// First instant.
        from: EventTime,
        /// First instant after it; without it, now.
        to: Option<EventTime>,
    },
}

/// Where a rule starts to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// At the statement's place in the input order.
    Now,
    /// At the oldest row the log still has.
    Earliest,
    /// At the first row appended at or after this time.
    Timestamp(EventTime),
}

/// `RAISE WHEN` or `CLEAR WHEN`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// A predicate over the query's output columns.
    pub expr: ast::Expr,
    /// `FOR`: how long it has to hold; zero when not written.
    pub hold: Duration,
}

/// `ON NO DATA FOR <interval> HOLD | RAISE`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoData {
    /// After how long a silence.
    pub after: Duration,
    /// What happens then.
    pub action: NoDataAction,
}

/// What silence does to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoDataAction {
    /// Its state holds and it is shown stale.
    Hold,
    /// It is raised with the reason `no_data`.
    Raise,
}

/// `CREATE SUBSCRIPTION name TO '<url>' ...`
#[derive(Debug, Clone, PartialEq)]
pub struct SubscriptionStatement {
    /// Its name.
    pub name: String,
    /// What happens when the name is taken.
    pub existing: Existing,
    /// Where events go.
    pub target: Target,
    /// `ON`: the topic path its subjects start with, whole levels, without a `/` at the end.
    pub on: Option<String>,
    /// `FILTER`: a pattern over what follows `ON`.
    pub filter: Option<TopicPattern>,
    /// `WHERE` over the event.
    pub condition: Option<ast::Expr>,
    /// `WITH (...)`.
    pub options: SubscriptionOptions,
    /// The whole statement as written.
    pub text: String,
}

/// Where a subscription delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An http or https URL that takes CloudEvents.
    Webhook(String),
}

/// How a subscription delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// Pauses before the second, third ... attempt; the last one repeats.
    pub retry: Vec<Duration>,
    /// After this time an event becomes a dead letter.
    pub expire: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// After this many attempts an event becomes a dead letter.
    pub attempts: u32,
    /// Shape of the CloudEvent.
    pub mode: EventMode,
    /// Whether the endpoint has to grant the CloudEvents OPTIONS handshake.
    pub handshake: Handshake,
    /// Whether transitions long past are told.
    pub historical: Historical,
    /// Key of the body's HMAC-SHA256 signature.
    pub secret: Option<String>,
}

impl Default for SubscriptionOptions {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            retry: vec![
                Duration::from_secs(10),
                Duration::from_secs(30),
                minutes(1),
                minutes(5),
                minutes(10),
                minutes(30),
                minutes(60),
                minutes(3 * 60),
                minutes(6 * 60),
                minutes(12 * 60),
            ],
            expire: minutes(24 * 60),
            timeout: Duration::from_secs(30),
            attempts: 30,
            mode: EventMode::Structured,
            handshake: Handshake::Required,
            historical: Historical::Skip,
            secret: None,
        }
    }
}

/// Shape of a CloudEvent on HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventMode {
    /// Attributes in `ce-` headers, the data in the body.
    Binary,
    /// Everything in one JSON body.
    Structured,
}

/// The CloudEvents OPTIONS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// Pending until granted.
    Required,
    /// For admins only, and audited.
    Skip,
}

/// What a subscription does with transitions whose event time is long past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Historical {
    /// Not told: a pager is not woken for last week.
    Skip,
    /// Told like any other.
    Deliver,
}

/// `CREATE TABLE name (...)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStatement {
    /// Its name.
    pub name: String,
    /// What happens when the name is taken.
    pub existing: Existing,
    /// Its columns, in order.
    pub columns: Vec<TableColumn>,
    /// Columns of `PRIMARY KEY`; none when not written.
    pub primary_key: Vec<String>,
    /// The whole statement as written.
    pub text: String,
}

/// One column of a reference table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// False with `NOT NULL` or as part of the primary key.
    pub nullable: bool,
}

/// `INSERT INTO table [(columns)] VALUES ... | SELECT ...`
#[derive(Debug, Clone, PartialEq)]
pub struct InsertStatement {
    /// The table.
    pub table: String,
    /// The columns named, in that order; empty when none is: then all, in table order.
    pub columns: Vec<String>,
    /// The rows: `VALUES` or a SELECT.
    pub source: Box<ast::Query>,
    /// The whole statement as written.
    pub text: String,
}
