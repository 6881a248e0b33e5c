//! CREATE STREAM ... AS SELECT: which output column is which column of the stream.
//!
//! Promise: levels are output columns by name, `time` is the output column of that name if there is
//! one; `window_start` and `window_end` say nothing that `time` does not and are left out.

use crate::sql::statement::{IntoStream, RuleStatement};
use crate::sql::{SqlError, did_you_mean};
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, SchemaRef};
use std::sync::Arc;
use weir_ingest::model::{Column, ColumnType, StreamDefinition};

/// Makes output rows into readings.
#[derive(Debug, Clone)]
pub struct Derivation {
    /// The stream.
    pub stream: Arc<StreamDefinition>,
    /// Position of the output column of each level, in template order.
    pub levels: Vec<usize>,
    /// Position of the output column of each field.
    pub fields: Vec<usize>,
    /// Position of the output column `time`.
    pub time: Option<usize>,
}

/// Output columns that are no fields.
const NO_FIELDS: [&str; 3] = ["time", "window_start", "window_end"];

pub(super) fn of(rule: &RuleStatement, output: &SchemaRef) -> Result<Option<Derivation>, SqlError> {
    let Some(into) = &rule.into else { return Ok(None) };
    let levels = into.template.captures().iter().map(|level| {
        let why = format!("'{{{level}}}' is a level of the topic of '{}'", rule.name);
        position(output, level, &why)
    });
    let levels = levels.collect::<Result<Vec<_>, _>>()?;
    let time = output.column_with_name("time").map(|(position, _)| position);
    if let Some(time) = time.map(|time| output.field(time))
        && !matches!(time.data_type(), DataType::Timestamp(..))
    {
        return Err(SqlError::new(format!("'time' of the SELECT is {}", time.data_type()))
            .with_detail("it is the event time of each row")
            .with_hint(
                "call it otherwise; without it a window's row has the time window_end - 1 us",
            ));
    }
    let of_select: Vec<(usize, &Arc<Field>)> = output
        .fields()
        .iter()
        .enumerate()
        .filter(|(at, f)| !levels.contains(at) && !NO_FIELDS.contains(&f.name().as_str()))
        .collect();
    let (columns, fields) = match &into.columns {
        Some(columns) => (columns.clone(), declared(rule, columns, output, &of_select)?),
        None => inferred(rule, &of_select)?,
    };
    let stream = definition(rule, into, columns)?;
    Ok(Some(Derivation { stream: Arc::new(stream), levels, fields, time }))
}

fn definition(
    rule: &RuleStatement,
    into: &IntoStream,
    columns: Vec<Column>,
) -> Result<StreamDefinition, SqlError> {
    let (template, options) = (into.template.clone(), into.options.clone());
    StreamDefinition::new(&rule.name, columns, template, options)
        .map(StreamDefinition::fed_by_rule)
        .map_err(|error| {
            SqlError::new(error.to_string())
                .with_hint("name columns of the SELECT with AS: avg(temperature) AS avg_c")
        })
}

fn position(output: &SchemaRef, name: &str, why: &str) -> Result<usize, SqlError> {
    if let Some((position, _)) = output.column_with_name(name) {
        return Ok(position);
    }
    let known: Vec<&str> = output.fields().iter().map(|f| f.name().as_str()).collect();
    let error = SqlError::new(format!("the SELECT does not return '{name}'")).with_detail(why);
    Err(match did_you_mean(name, &known) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint(format!("add {name} to the SELECT list")),
    })
}

/// The output column of each declared one.
fn declared(
    rule: &RuleStatement,
    columns: &[Column],
    output: &SchemaRef,
    of_select: &[(usize, &Arc<Field>)],
) -> Result<Vec<usize>, SqlError> {
    let mut fields = Vec::new();
    for column in columns {
        let why = format!("it is a column of the stream '{}'", rule.name);
        let at = position(output, &column.name, &why)?;
        let from = output.field(at).data_type();
        if !can_cast_types(from, &column.column_type.data_type()) {
            return Err(SqlError::new(format!(
                "'{}' of the SELECT is {from}, not {}",
                column.name,
                column.column_type.sql_name()
            ))
            .with_hint("declare the type it has, or CAST it in the SELECT"));
        }
        fields.push(at);
    }
    match of_select.iter().find(|(at, _)| !fields.contains(at)) {
        None => Ok(fields),
        Some((_, lost)) => Err(SqlError::new(format!(
            "the stream '{}' has no column for '{}' of the SELECT",
            rule.name,
            lost.name()
        ))
        .with_hint("declare it, leave it out of the SELECT, or leave the column list out: it is that of the SELECT then")),
    }
}

fn inferred(
    rule: &RuleStatement,
    of_select: &[(usize, &Arc<Field>)],
) -> Result<(Vec<Column>, Vec<usize>), SqlError> {
    let mut columns = Vec::new();
    for (_, field) in of_select {
        let Some(column_type) = held(field.data_type()) else {
            return Err(SqlError::new(format!(
                "'{}' of the SELECT is {}, which no stream can hold",
                field.name(),
                field.data_type()
            ))
            .with_hint("CAST it to DOUBLE, BIGINT, BOOLEAN, TEXT or TIMESTAMP"));
        };
        columns.push(Column { name: field.name().clone(), column_type, unit: None });
    }
    if columns.is_empty() {
        return Err(SqlError::new(format!("the SELECT gives '{}' no column", rule.name))
            .with_detail("levels of the topic and times of windows are none")
            .with_hint("add what is to be read there, for example count(*) AS readings"));
    }
    Ok((columns, of_select.iter().map(|(at, _)| *at).collect()))
}

/// The type of a stream's column that holds values of this type.
pub(super) fn held(data_type: &DataType) -> Option<ColumnType> {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Some(ColumnType::Double),
        DataType::Boolean => Some(ColumnType::Boolean),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(ColumnType::Text),
        DataType::Timestamp(..) => Some(ColumnType::Timestamp),
        DataType::Dictionary(_, values) => held(values),
        integer if integer.is_integer() => Some(ColumnType::Bigint),
        _ => None,
    }
}
