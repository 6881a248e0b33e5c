//! A stream: a named, typed family of series with a topic template whose captures become columns.
//!
//! Promise: a `StreamDefinition` that exists has been checked; nothing below checks it again.

use super::Retention;
use super::reading::StoredSchemas;
use super::topic::{TopicError, TopicTemplate};
use arrow::datatypes::{DataType, TimeUnit as ArrowTimeUnit};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Column names every stream already has or SQL gives a meaning; no field or level may take one.
pub const RESERVED_COLUMNS: [&str; 12] = [
    "time",
    "received_at",
    "source_time",
    "topic",
    "partition",
    "offset",
    "publisher",
    "window_start",
    "window_end",
    "series",
    "dedupe",
    "age",
];

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ColumnType {
    /// 64-bit float; NaN and infinities are refused at the door.
    Double,
    /// 64-bit signed integer.
    Bigint,
    /// true or false.
    Boolean,
    /// UTF-8.
    Text,
    /// Microseconds UTC.
    Timestamp,
}

impl ColumnType {
    /// The Arrow type that stores it.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Double => DataType::Float64,
            Self::Bigint => DataType::Int64,
            Self::Boolean => DataType::Boolean,
            Self::Text => DataType::Utf8,
            Self::Timestamp => utc_timestamp(),
        }
    }

    /// The word SQL uses.
    pub fn sql_name(self) -> &'static str {
        match self {
            Self::Double => "DOUBLE",
            Self::Bigint => "BIGINT",
            Self::Boolean => "BOOLEAN",
            Self::Text => "TEXT",
            Self::Timestamp => "TIMESTAMP",
        }
    }
}

/// Timestamps everywhere: microseconds, UTC.
pub(crate) fn utc_timestamp() -> DataType {
    DataType::Timestamp(ArrowTimeUnit::Microsecond, Some("UTC".into()))
}

/// One field of a stream; always nullable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Lower-case name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// What one unit means, for people: '°C'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// Unit of an integer `time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// What happens to a reading more than `max_future_skew` ahead of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FutureTimes {
    /// Refused into the dead letters.
    DeadLetter,
    /// Kept with the arrival time; the sent time goes to `source_time`.
    Stamp,
}

/// What happens to a reading without a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingTime {
    /// Refused.
    Required,
    /// Takes the arrival time.
    Arrival,
}

/// What happens to a payload field the stream does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownFields {
    /// Ignored and counted per stream and name.
    Ignore,
    /// The row is refused.
    Refuse,
}

/// The `WITH (...)` of CREATE STREAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOptions {
    /// Log partitions; fixed at CREATE.
    pub partitions: u32,
    /// How far behind the newest event time a reading may come.
    pub lateness: Duration,
    /// Silence after which a partition gets ticks.
    pub idle: Duration,
    /// How far ahead of the clock an event time may be.
    pub max_future_skew: Duration,
    /// What happens beyond it.
    pub future: FutureTimes,
    /// A reading is live while its event time is at most this behind its append time.
    pub live_within: Duration,
    /// Append-time window of deduplication by id; zero is off.
    pub dedupe: Duration,
    /// Memory the dedupe window may take, over all partitions.
    pub dedupe_bytes: u64,
    /// JSON name of the event time.
    pub time_field: String,
    /// Unit of an integer event time; by size when absent.
    pub time_unit: Option<TimeUnit>,
    /// What happens without an event time.
    pub time: MissingTime,
    /// What happens to fields the stream does not have.
    pub unknown_fields: UnknownFields,
    /// How often a sensor reports, when declared.
    pub interval: Option<Duration>,
    /// The reference table that names the sensors there should be: its column `topic`.
    #[serde(default)]
    pub expected: Option<String>,
    /// What is kept of it.
    #[serde(default)]
    pub retention: Retention,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            partitions: 4,
            lateness: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            max_future_skew: Duration::from_secs(5 * 60),
            future: FutureTimes::DeadLetter,
            live_within: Duration::from_secs(60),
            dedupe: Duration::from_secs(10 * 60),
            dedupe_bytes: 64 * 1024 * 1024,
            time_field: "time".to_owned(),
            time_unit: None,
            time: MissingTime::Required,
            unknown_fields: UnknownFields::Ignore,
            interval: None,
            expected: None,
            retention: Retention::default(),
        }
    }
}

/// Why a stream cannot be declared so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The name does not suit a table and a directory.
    #[error(
        "'{0}' cannot name a stream: use lower-case letters, digits and '_', starting with a letter, at most 64 characters"
    )]
    BadName(String),
    /// A field or level takes a reserved name.
    #[error("'{0}' is a column every stream already has; choose another name")]
    ReservedColumn(String),
    /// A name stands twice among fields and levels.
    #[error(
        "the column '{0}' is declared twice (level names of the topic template are columns too)"
    )]
    DuplicateColumn(String),
    /// No fields.
    #[error("a stream needs at least one field")]
    NoFields,
    /// Outside 1..=1024.
    #[error("partitions = {0} is not between 1 and 1024")]
    Partitions(u32),
    /// The template is not one.
    #[error(transparent)]
    Template(#[from] TopicError),
}

/// Who writes the rows of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FedBy {
    /// Whoever publishes to its topics.
    #[default]
    Doors,
    /// The rule of its name (CREATE STREAM ... AS SELECT); doors refuse its topics.
    Rule,
}

/// One version of a stream's declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamDefinition {
    name: String,
    columns: Vec<Column>,
    template: TopicTemplate,
    options: StreamOptions,
    #[serde(default)]
    fed_by: FedBy,
    #[serde(skip)]
    stored: StoredSchemas,
}

impl StreamDefinition {
    /// Checks and builds a declaration.
    /// # Errors
    /// The first thing that cannot be so.
    pub fn new(
        name: &str,
        columns: Vec<Column>,
        template: TopicTemplate,
        options: StreamOptions,
    ) -> Result<Self, StreamError> {
        if !is_plain_name(name) {
            return Err(StreamError::BadName(name.to_owned()));
        }
        if columns.is_empty() {
            return Err(StreamError::NoFields);
        }
        if !(1..=1024).contains(&options.partitions) {
            return Err(StreamError::Partitions(options.partitions));
        }
        let mut seen = std::collections::HashSet::new();
        for column in columns.iter().map(|c| &c.name).chain(template.captures()) {
            check_column_name(column)?;
            if !seen.insert(column.as_str()) {
                return Err(StreamError::DuplicateColumn(column.clone()));
            }
        }
        let (fed_by, stored) = (FedBy::Doors, StoredSchemas::default());
        Ok(Self { name: name.to_owned(), columns, template, options, fed_by, stored })
    }

    /// The same stream, written by the rule of its name: nothing of it waits for what is late, and
    /// nothing is told apart by ids of senders.
    #[must_use]
    pub fn fed_by_rule(mut self) -> Self {
        self.fed_by = FedBy::Rule;
        self.options.lateness = Duration::ZERO;
        self.options.dedupe = Duration::ZERO;
        self
    }

    /// Who writes its rows.
    pub fn fed_by(&self) -> FedBy {
        self.fed_by
    }

    /// The next version, with one more nullable column at the end of the fields.
    /// # Errors
    /// The name is reserved or taken.
    pub fn with_column(&self, column: Column) -> Result<Self, StreamError> {
        let mut columns = self.columns.clone();
        columns.push(column);
        let fed_by = self.fed_by;
        let next = Self::new(&self.name, columns, self.template.clone(), self.options.clone())?;
        Ok(Self { fed_by, ..next })
    }

    /// The same stream with other options, for a replay that overrides the partition count.
    #[must_use]
    pub fn with_partitions(mut self, partitions: u32) -> Self {
        self.options.partitions = partitions.max(1);
        self
    }

    /// The same stream with another bound on future times, for a replay whose clock is event time.
    #[must_use]
    pub fn with_max_future_skew(mut self, max_future_skew: Duration) -> Self {
        self.options.max_future_skew = max_future_skew;
        self
    }

    /// Its name: also the SQL table's and the directory's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The declared fields, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The topic template.
    pub fn template(&self) -> &TopicTemplate {
        &self.template
    }

    /// Names of the level columns, in template order.
    pub fn levels(&self) -> &[String] {
        self.template.captures()
    }

    /// What its rows look like in the log.
    pub(super) fn stored(&self) -> &StoredSchemas {
        &self.stored
    }

    /// The options.
    pub fn options(&self) -> &StreamOptions {
        &self.options
    }
}

fn check_column_name(name: &str) -> Result<(), StreamError> {
    if RESERVED_COLUMNS.contains(&name) || name.starts_with("__") {
        return Err(StreamError::ReservedColumn(name.to_owned()));
    }
    Ok(())
}

fn is_plain_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
