//! `CREATE STREAM`, `ALTER STREAM`.

use super::options::{Setting, column_type, settings};
use super::rule;
use crate::sql::error::{Position, SqlError};
use crate::sql::statement::{IntoStream, Statement};
use crate::sql::tokens::Cursor;
use datafusion::sql::sqlparser::tokenizer::Token;
use weir_ingest::model::{
    Column, FutureTimes, MissingTime, StreamDefinition, StreamError, StreamOptions, TimeUnit,
    TopicTemplate, UnknownFields,
};

/// The options of a stream that this version serves.
const OPTIONS: [&str; 16] = [
    "expected",
    "partitions",
    "lateness",
    "idle",
    "max_future_skew",
    "future",
    "live_within",
    "dedupe",
    "dedupe_bytes",
    "time_field",
    "time_unit",
    "time",
    "unknown_fields",
    "interval",
    "retention",
    "retention_bytes",
];

pub(super) fn create(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["stream"])?;
    let existing = super::if_not_exists(cursor);
    let name_at = cursor.here();
    let name = cursor.name("the name of the stream")?;
    let declared = if cursor.sees_token(&Token::LParen) { Some(columns(cursor)?) } else { None };
    let columns_at = cursor.here();
    let (template, topic_at) = topic(cursor)?;
    let settings = if cursor.eat(&["with"]) { settings(cursor)? } else { Vec::new() };
    let options = options(&settings)?;
    if cursor.sees(&["as"]) || cursor.sees(&["start", "from"]) {
        check_settings_of_rule(&settings)?;
        let columns = declared.map(|declared| declared.into_iter().map(|(c, _)| c).collect());
        let into = IntoStream { columns, template, options };
        return rule::into_stream(cursor, name, existing, into);
    }
    let Some(columns) = declared else {
        return Err(SqlError::new("expected '(' and the columns of the stream")
            .with_hint("CREATE STREAM name (column TYPE, ...) TOPIC '...'; without columns it is made AS SELECT ...")
            .at(columns_at));
    };
    let places: Vec<(String, Position)> =
        columns.iter().map(|(column, at)| (column.name.clone(), *at)).collect();
    let columns = columns.into_iter().map(|(column, _)| column).collect();
    let definition = StreamDefinition::new(&name, columns, template, options)
        .map_err(|error| refused(&error, &places, name_at, topic_at))?;
    Ok(Statement::CreateStream { definition, existing })
}

/// What doors do has no meaning where a rule writes.
fn check_settings_of_rule(settings: &[Setting]) -> Result<(), SqlError> {
    const TAKEN: [&str; 3] = ["partitions", "idle", "interval"];
    match settings.iter().find(|setting| !TAKEN.contains(&setting.name.as_str())) {
        None => Ok(()),
        Some(setting) => {
            Err(SqlError::new(format!("a stream made AS SELECT has no option '{}'", setting.name))
                .with_detail(
                    "its rule alone writes it: nothing comes late, twice or from the future",
                )
                .with_hint(format!("it takes {}", TAKEN.join(", ")))
                .at(setting.at))
        }
    }
}

/// What the definition says is wrong, at the column, the name or the template it is about.
fn refused(
    error: &StreamError,
    places: &[(String, Position)],
    name_at: Position,
    topic_at: Position,
) -> SqlError {
    let place_of =
        |name: &str| places.iter().rfind(|(column, _)| column == name).map(|(_, at)| *at);
    let at = match error {
        StreamError::ReservedColumn(name) | StreamError::DuplicateColumn(name) => {
            place_of(name).unwrap_or(topic_at)
        }
        StreamError::Template(_) => topic_at,
        StreamError::BadName(_) | StreamError::NoFields | StreamError::Partitions(_) => name_at,
    };
    SqlError::new(error.to_string()).at(at)
}

fn topic(cursor: &mut Cursor) -> Result<(TopicTemplate, Position), SqlError> {
    if !cursor.eat(&["topic"]) {
        return Err(cursor.expected("TOPIC '...'").with_hint(
            "name the topic paths of the stream and what their levels mean: TOPIC '/plant/{device}/climate'",
        ));
    }
    let at = cursor.here();
    let text = cursor.string("the topic template")?;
    let template =
        TopicTemplate::parse(&text).map_err(|error| SqlError::new(error.to_string()).at(at))?;
    Ok((template, at))
}

fn columns(cursor: &mut Cursor) -> Result<Vec<(Column, Position)>, SqlError> {
    cursor.expect_token(&Token::LParen)?;
    let mut columns = Vec::new();
    loop {
        let at = cursor.here();
        columns.push((column(cursor)?, at));
        if !cursor.eat_token(&Token::Comma) {
            cursor.expect_token(&Token::RParen)?;
            return Ok(columns);
        }
    }
}

/// Takes `name TYPE [UNIT 'x']`.
fn column(cursor: &mut Cursor) -> Result<Column, SqlError> {
    let name = cursor.name("the name of a column")?;
    let column_type = column_type(cursor)?;
    let unit = if cursor.eat(&["unit"]) { Some(cursor.filled_string("the unit")?) } else { None };
    if cursor.sees(&["not", "null"]) || cursor.sees(&["default"]) {
        return Err(SqlError::new("a field of a stream may always be missing and is NULL then")
            .with_hint(
                "leave NOT NULL and DEFAULT out; use coalesce(field, value) where you read it",
            )
            .at(cursor.here()));
    }
    Ok(Column { name, column_type, unit })
}

fn options(settings: &[Setting]) -> Result<StreamOptions, SqlError> {
    let mut options = StreamOptions::default();
    for setting in settings {
        apply(&mut options, setting)?;
    }
    Ok(options)
}

fn apply(options: &mut StreamOptions, setting: &Setting) -> Result<(), SqlError> {
    match setting.name.as_str() {
        "partitions" => options.partitions = partitions(setting)?,
        "lateness" => options.lateness = setting.duration()?,
        "idle" => options.idle = setting.some_time()?,
        "max_future_skew" => options.max_future_skew = setting.duration()?,
        "future" => options.future = setting.choice(&FUTURE)?,
        "live_within" => options.live_within = setting.duration()?,
        "dedupe" => options.dedupe = setting.duration()?,
        "dedupe_bytes" => options.dedupe_bytes = setting.bytes()?,
        "time_field" => options.time_field = setting.text()?,
        "time_unit" => options.time_unit = Some(setting.choice(&TIME_UNITS)?),
        "time" => options.time = setting.choice(&TIME)?,
        "unknown_fields" => options.unknown_fields = setting.choice(&UNKNOWN_FIELDS)?,
        "interval" => options.interval = Some(setting.some_time()?),
        "retention" => options.retention.age = Some(setting.some_time()?),
        "retention_bytes" => options.retention.bytes = Some(some_bytes(setting)?),
        "expected" => options.expected = Some(setting.text()?),
        _ => return Err(setting.unknown(&OPTIONS)),
    }
    Ok(())
}

const FUTURE: [(&str, FutureTimes); 2] =
    [("dead_letter", FutureTimes::DeadLetter), ("stamp", FutureTimes::Stamp)];
const TIME: [(&str, MissingTime); 2] =
    [("required", MissingTime::Required), ("arrival", MissingTime::Arrival)];
const UNKNOWN_FIELDS: [(&str, UnknownFields); 2] =
    [("ignore", UnknownFields::Ignore), ("refuse", UnknownFields::Refuse)];
const TIME_UNITS: [(&str, TimeUnit); 8] = [
    ("seconds", TimeUnit::Seconds),
    ("milliseconds", TimeUnit::Milliseconds),
    ("microseconds", TimeUnit::Microseconds),
    ("nanoseconds", TimeUnit::Nanoseconds),
    ("s", TimeUnit::Seconds),
    ("ms", TimeUnit::Milliseconds),
    ("us", TimeUnit::Microseconds),
    ("ns", TimeUnit::Nanoseconds),
];

fn partitions(setting: &Setting) -> Result<u32, SqlError> {
    let partitions = setting.whole_number()?;
    if (1..=1024).contains(&partitions) {
        Ok(partitions)
    } else {
        Err(setting.expects("a number between 1 and 1024"))
    }
}

fn some_bytes(setting: &Setting) -> Result<u64, SqlError> {
    match setting.bytes()? {
        0 => Err(setting.expects("more than 0 bytes, such as '10 GiB'")),
        bytes => Ok(bytes),
    }
}

/// `ALTER STREAM name ADD COLUMN column`; ALTER has been taken.
pub(super) fn alter(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["stream"])?;
    let stream = cursor.name("the name of the stream")?;
    if !cursor.eat(&["add"]) {
        return Err(cursor.expected("ADD COLUMN").with_hint(
            "a stream only grows columns; for another template, type or option create a stream of another name",
        ));
    }
    cursor.eat(&["column"]);
    Ok(Statement::AlterStreamAddColumn { stream, column: column(cursor)? })
}
