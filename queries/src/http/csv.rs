//! Rows of a reference table as CSV.
//!
//! Promise: all rows or none; what is refused is named with the line it begins on and the column.
//! An empty field is NULL, quoted or not. Columns are found by the names in the header line.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use std::sync::Arc;
use weir_engine::tables::reference::{TableDefinition, TableError};

/// Characters of a wrong value that its refusal repeats.
const VALUE_SHOWN_MAX: usize = 80;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CsvError {
    /// No header line.
    #[error("the body has no header line; its first line names the columns, such as {0}")]
    NoHeader(String),
    /// The header line cannot be read.
    #[error("line 1: the header cannot be read: {0}")]
    Header(String),
    /// The header names what is not there, or twice.
    #[error("line 1: {0}")]
    Column(TableError),
    /// A row has other fields than the header.
    #[error("line {line}: the row has not the {columns} fields of the header")]
    Width {
        /// Where the row begins.
        line: usize,
        /// How many the header has.
        columns: usize,
    },
    /// Bytes that are no text.
    #[error("line {line}: the row is not UTF-8")]
    NotUtf8 {
        /// Where the row begins.
        line: usize,
    },
    /// A value that does not fit.
    #[error("line {line}: '{value}' in the column '{column}' is not a {expected}")]
    Value {
        /// Where the row begins.
        line: usize,
        /// What stands there.
        value: String,
        /// The column.
        column: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// An empty field where NULL may not be.
    #[error("line {line}: the column '{column}' is empty and may not be NULL")]
    Null {
        /// Where the row begins.
        line: usize,
        /// The column.
        column: String,
    },
    /// Found by the reader of the whole, not by that of each row.
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
}

/// The rows of `body` with the columns its header names, in the header's order.
/// # Errors
/// The first thing that is wrong.
pub(super) fn rows(table: &TableDefinition, body: &[u8]) -> Result<RecordBatch, CsvError> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let schema = header(table, body)?;
    whole(&schema, body).map_err(|error| {
        let found = first_wrong(&schema, body);
        found.unwrap_or_else(|| CsvError::Unreadable(error.to_string()))
    })
}

/// What the header names, with the table's types.
fn header(table: &TableDefinition, body: &[u8]) -> Result<SchemaRef, CsvError> {
    let names = Format::default().with_header(true).infer_schema(body, Some(0));
    let (names, _) = names.map_err(|error| CsvError::Header(error.to_string()))?;
    let columns = table.schema().fields().iter().map(|field| field.name().as_str());
    let columns = columns.collect::<Vec<_>>();
    if names.fields().is_empty() {
        return Err(CsvError::NoHeader(columns.join(",")));
    }
    let mut fields: Vec<Field> = Vec::new();
    for name in names.fields().iter().map(|field| field.name()) {
        let field = table.insertable(name).ok_or_else(|| {
            let (table, column) = (table.name().to_owned(), name.clone());
            CsvError::Column(TableError::UnknownColumn {
                table,
                column,
                columns: columns.join(", "),
            })
        })?;
        if fields.iter().any(|known| known.name() == name) {
            return Err(CsvError::Column(TableError::ColumnTwice(name.clone())));
        }
        let keyed = table.primary_key().contains(name);
        let nullable = field.is_nullable() && !keyed;
        fields.push(field.with_nullable(nullable));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn whole(schema: &SchemaRef, body: &[u8]) -> Result<RecordBatch, ArrowError> {
    let reader = ReaderBuilder::new(Arc::clone(schema)).with_header(true).build(body)?;
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    let rows = concat_batches(schema, &batches)?;
    match rows.columns().iter().all(|column| finite(column)) {
        true => Ok(rows),
        false => Err(ArrowError::CsvError("a number is not finite".to_owned())),
    }
}

/// As at the doors: no NaN, no infinity, nothing that would be rounded to one.
fn finite(column: &dyn Array) -> bool {
    let numbers = column.as_primitive_opt::<Float64Type>();
    numbers.is_none_or(|numbers| numbers.iter().flatten().all(f64::is_finite))
}

/// Reads row by row, which takes longer but knows the line.
fn first_wrong(schema: &SchemaRef, body: &[u8]) -> Option<CsvError> {
    let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
    let texts = Arc::new(Schema::new(schema.fields().iter().map(text).collect::<Vec<_>>()));
    let mut decoder =
        ReaderBuilder::new(texts).with_header(true).with_batch_size(1).build_decoder();
    let mut at = decoder.decode(body).ok()?;
    loop {
        let start = at + blank(&body[at..]);
        let line = 1 + body[..start].iter().filter(|byte| **byte == b'\n').count();
        let columns = schema.fields().len();
        let Ok(read) = decoder.decode(&body[at..]) else {
            return Some(CsvError::Width { line, columns });
        };
        at += read;
        // At the end of the body only an empty read says that the last row is whole.
        if at == body.len() && decoder.decode(&[]).is_err() {
            return Some(CsvError::Width { line, columns });
        }
        match decoder.flush() {
            Ok(Some(row)) => {
                if let Some(wrong) = wrong_value(schema, &row, &body[start..at], line) {
                    return Some(wrong);
                }
            }
            Ok(None) => return None,
            Err(_) => return Some(CsvError::NotUtf8 { line }),
        }
    }
}

/// The empty lines at the beginning, which the reader passes over.
fn blank(body: &[u8]) -> usize {
    body.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()
}

/// The first column of a row whose text is not of its type; `bytes` are the row's.
fn wrong_value(
    schema: &SchemaRef,
    row: &RecordBatch,
    bytes: &[u8],
    line: usize,
) -> Option<CsvError> {
    schema.fields().iter().enumerate().find_map(|(position, field)| {
        let texts = row.column(position).as_string::<i32>();
        let column = field.name().clone();
        if texts.is_null(0) {
            return (!field.is_nullable()).then_some(CsvError::Null { line, column });
        }
        let value = texts.value(0).chars().take(VALUE_SHOWN_MAX).collect();
        let expected = word(field.data_type());
        let wrong = CsvError::Value { line, value, column, expected };
        (!fits(schema, position, bytes)).then_some(wrong)
    })
}

/// Whether one field of a row is what the reader of the whole takes for its type.
fn fits(schema: &SchemaRef, position: usize, bytes: &[u8]) -> bool {
    let builder = ReaderBuilder::new(Arc::clone(schema)).with_projection(vec![position]);
    let mut reader = match builder.build(bytes) {
        Ok(reader) => reader,
        Err(_) => return false,
    };
    let row = reader.next().and_then(Result::ok);
    row.is_some_and(|row| finite(row.column(0)))
}

/// The word SQL uses for a type a table may have.
fn word(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Float64 => "DOUBLE",
        DataType::Int64 => "BIGINT",
        DataType::Boolean => "BOOLEAN: true or false",
        DataType::Timestamp(..) => "TIMESTAMP, such as 2026-03-02T00:00:00Z",
        _ => "TEXT",
    }
}

#[cfg(test)]
mod tests;
