//! What the tests of this room share.

use super::{Decoded, DecodedRows};
use crate::log::{Log, LogConfig, Streams};
use crate::model::{
    AppendTime, Column, ColumnType, StreamDefinition, StreamOptions, TopicTemplate,
};
use arrow::util::display::array_value_to_string;
use std::sync::Arc;

/// 2026-01-31T12:00:00Z.
pub(crate) const NOW: AppendTime = AppendTime(1_769_860_800_000_000);

/// A stream from `name TYPE` fields.
pub(crate) fn stream(
    name: &str,
    fields: &str,
    template: &str,
    options: StreamOptions,
) -> StreamDefinition {
    let columns = fields.split(',').map(|field| {
        let (name, word) = field.trim().split_once(' ').expect("name TYPE");
        let column_type = match word {
            "DOUBLE" => ColumnType::Double,
            "BIGINT" => ColumnType::Bigint,
            "BOOLEAN" => ColumnType::Boolean,
            "TEXT" => ColumnType::Text,
            "TIMESTAMP" => ColumnType::Timestamp,
            other => panic!("no type {other}"),
        };
        Column { name: name.to_owned(), column_type, unit: None }
    });
    let template = TopicTemplate::parse(template).expect("a template");
    StreamDefinition::new(name, columns.collect(), template, options).expect("a stream")
}

/// One partition, so that rows stay in order.
pub(crate) fn options() -> StreamOptions {
    StreamOptions { partitions: 1, ..StreamOptions::default() }
}

/// `sensors`: one field of each type.
pub(crate) fn sensors(options: StreamOptions) -> StreamDefinition {
    let fields = "value DOUBLE, n BIGINT, ok BOOLEAN, label TEXT, at TIMESTAMP";
    stream("sensors", fields, "/room/{room}/s", options)
}

/// Rows as lines: `index: column=value ...`, nulls left out, in the order of the request.
pub(crate) fn shown(decoded: &Decoded) -> Vec<String> {
    let mut lines: Vec<(u32, String)> = decoded.rows.iter().flat_map(lines_of).collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn lines_of(rows: &DecodedRows) -> Vec<(u32, String)> {
    let batch = &rows.batch;
    let schema = batch.schema();
    let line = |row: usize| {
        let mut line = format!("{}:", rows.indexes[row]);
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let shown = array_value_to_string(column, row).expect("shown");
            if !shown.is_empty() && field.name() != "series" {
                let shown = if field.name() == "dedupe" { "yes" } else { &shown };
                line.push_str(&format!(" {}={shown}", field.name()));
            }
        }
        (rows.indexes[row], line)
    };
    (0..batch.num_rows()).map(line).collect()
}

/// Refusals as `index code: sentence`.
pub(crate) fn refusals(decoded: &Decoded) -> Vec<String> {
    let line = |r: &crate::model::Refusal| format!("{} {}: {}", r.index, r.reason.code(), r.reason);
    decoded.refused.iter().map(line).collect()
}

/// A registry with these streams, and the log behind it.
pub(crate) fn streams(definitions: Vec<StreamDefinition>) -> Registry {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Arc::new(crate::io::RealDisk);
    let clock = Arc::new(crate::io::RealClock::new());
    let log = Log::open_manual(disk, clock, LogConfig::new(directory.path())).expect("a log");
    for definition in definitions {
        log.create_stream(definition).expect("a stream");
    }
    Registry { log, _directory: directory }
}

/// Keeps a log while its streams are used.
#[derive(Debug)]
pub(crate) struct Registry {
    log: Arc<Log>,
    _directory: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }
}

impl std::ops::Deref for Registry {
    type Target = Streams;
    fn deref(&self) -> &Streams {
        self.log.streams()
    }
}
