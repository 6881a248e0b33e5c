//! Commands as columns: the rows of internal/commands.
//!
//! Promise: `decode(encode(c)) == c`; a row of another verb is a later version's and is passed over.

use super::columns::{Columns, RowsError, optional, text_array, time_array, utc};
use super::command::{Authority, Command, PartitionPlace, Target};
use super::transition_rows::{json, value};
use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::{Arc, LazyLock};
use weir_ingest::model::EventTime;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        Field::new("time", utc(), false),
        text("command", false),
        text("operator", false),
        text("alarm_id", true),
        Field::new("rule_uid", DataType::UInt64, true),
        text("key", true),
        Field::new("seen_ordinal", DataType::UInt64, true),
        text("topic", true),
        text("comment", true),
        Field::new("for_us", DataType::UInt64, true),
        text("authority", true),
    ]))
});

/// The columns.
pub fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Commands with their times as one batch of [`schema`].
pub fn encode(commands: &[(EventTime, Command)]) -> RecordBatch {
    let text = |of: &dyn Fn(&Command) -> Option<String>| {
        text_array(commands.iter().map(|(_, command)| of(command)))
    };
    let number = |of: &dyn Fn(&Command) -> Option<u64>| -> ArrayRef {
        Arc::new(commands.iter().map(|(_, command)| of(command)).collect::<UInt64Array>())
    };
    let columns = vec![
        time_array(commands.iter().map(|(at, _)| Some(at.0))),
        text(&|c| Some(c.verb().to_owned())),
        text(&|c| Some(c.by().to_owned())),
        text(&|c| c.target().map(|target| target.alarm_id.clone())),
        number(&|c| c.target().map(|target| target.rule_uid)),
        text(&key),
        number(&|c| c.target().and_then(|target| target.seen_ordinal)),
        text(&topic),
        text(&comment),
        number(&|c| match c {
            Command::Shelve { for_us, .. } => Some(u64::try_from(*for_us).unwrap_or(0)),
            _ => None,
        }),
        text(&|c| match c {
            Command::Shelve { authority, .. } => Some(authority.as_str().to_owned()),
            _ => None,
        }),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns are the schema's")
}

/// The key of an occurrence, or the partition that it is about.
fn key(command: &Command) -> Option<String> {
    match command {
        Command::PartitionOut { place, .. } | Command::PartitionIn { place } => {
            Some(serde_json::to_string(place).expect("a place is JSON"))
        }
        _ => command.target().map(|target| target.key.to_json()),
    }
}

fn topic(command: &Command) -> Option<String> {
    match command {
        Command::TakeOutOfService { topic, .. } | Command::ReturnToService { topic, .. } => {
            Some(topic.clone())
        }
        Command::Acknowledge { .. }
        | Command::Shelve { .. }
        | Command::Unshelve { .. }
        | Command::PartitionOut { .. }
        | Command::PartitionIn { .. }
        | Command::ClockSuspect { .. }
        | Command::ClockAgrees => None,
    }
}

fn comment(command: &Command) -> Option<String> {
    match command {
        Command::Acknowledge { comment, .. } => comment.clone(),
        Command::Shelve { reason, .. } | Command::TakeOutOfService { reason, .. } => {
            Some(reason.clone())
        }
        Command::PartitionOut { why, .. } | Command::ClockSuspect { why } => Some(why.clone()),
        Command::Unshelve { .. }
        | Command::ReturnToService { .. }
        | Command::PartitionIn { .. }
        | Command::ClockAgrees => None,
    }
}

/// The commands of a batch of [`schema`].
/// # Errors
/// A column is missing, or a value is none that `encode` writes.
pub fn decode(batch: &RecordBatch) -> Result<Vec<(EventTime, Command)>, RowsError> {
    let times = Columns(batch).times("time")?;
    let mut commands = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        if let Some(command) = decode_row(Columns(batch), row)? {
            commands.push((EventTime(times.value(row)), command));
        }
    }
    Ok(commands)
}

fn decode_row(columns: Columns<'_>, row: usize) -> Result<Option<Command>, RowsError> {
    let by = columns.text("operator")?.value(row).to_owned();
    let comment = optional(columns.text("comment")?, row);
    let topic = || {
        let topic = optional(columns.text("topic")?, row);
        topic.ok_or_else(|| value("topic", row, "it is missing".to_owned()))
    };
    Ok(Some(match columns.text("command")?.value(row) {
        "acknowledge" => Command::Acknowledge { target: target(columns, row)?, by, comment },
        "shelve" => Command::Shelve {
            target: target(columns, row)?,
            for_us: i64::try_from(columns.u64s("for_us")?.value(row)).unwrap_or(i64::MAX),
            by,
            reason: comment.unwrap_or_default(),
            authority: authority(columns, row)?,
        },
        "unshelve" => Command::Unshelve { target: target(columns, row)?, by },
        "take_out_of_service" => {
            Command::TakeOutOfService { topic: topic()?, by, reason: comment.unwrap_or_default() }
        }
        "return_to_service" => Command::ReturnToService { topic: topic()?, by },
        "partition_out" => {
            let why = comment.unwrap_or_default();
            Command::PartitionOut { place: place(columns, row)?, why }
        }
        "partition_in" => Command::PartitionIn { place: place(columns, row)? },
        "clock_suspect" => Command::ClockSuspect { why: comment.unwrap_or_default() },
        "clock_agrees" => Command::ClockAgrees,
        _ => return Ok(None),
    }))
}

fn place(columns: Columns<'_>, row: usize) -> Result<PartitionPlace, RowsError> {
    json("key", row, columns.text("key")?.value(row))
}

fn authority(columns: Columns<'_>, row: usize) -> Result<Authority, RowsError> {
    match columns.text("authority")?.value(row) {
        "admin" => Ok(Authority::Admin),
        "operator" => Ok(Authority::Operator),
        other => Err(value("authority", row, format!("'{other}' is no authority"))),
    }
}

fn target(columns: Columns<'_>, row: usize) -> Result<Target, RowsError> {
    let seen = columns.u64s("seen_ordinal")?;
    Ok(Target {
        alarm_id: columns.text("alarm_id")?.value(row).to_owned(),
        rule_uid: columns.u64s("rule_uid")?.value(row),
        key: json("key", row, columns.text("key")?.value(row))?,
        seen_ordinal: seen.is_valid(row).then(|| seen.value(row)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarms::Key;
    use weir_ingest::model::PartitionId;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let target = |seen_ordinal| Target {
            alarm_id: "a".repeat(32),
            rule_uid: 4,
            key: Key(vec![
                ("site".to_owned(), Some("berlin".to_owned())),
                ("room".to_owned(), None),
            ]),
            seen_ordinal,
        };
        let by = || "mia".to_owned();
        let place = || PartitionPlace { stream: "climate".into(), partition: PartitionId(3) };
        let all: Vec<(EventTime, Command)> = [
            Command::Acknowledge { target: target(Some(3)), by: by(), comment: None },
            Command::Acknowledge { target: target(None), by: by(), comment: Some("ok".into()) },
            Command::Shelve {
                target: target(None),
                for_us: 60,
                by: by(),
                reason: "noise".to_owned(),
                authority: Authority::Admin,
            },
            Command::Unshelve { target: target(None), by: by() },
            Command::TakeOutOfService { topic: "/a".into(), by: by(), reason: "paint".into() },
            Command::ReturnToService { topic: "/a".into(), by: by() },
            Command::PartitionOut { place: place(), why: "failed".into() },
            Command::PartitionIn { place: place() },
            Command::ClockSuspect { why: "it went back".into() },
            Command::ClockAgrees,
        ]
        .into_iter()
        .zip(10..)
        .map(|(command, at)| (EventTime(at), command))
        .collect();
        assert_eq!(decode(&encode(&all)).unwrap(), all);
    }
}
