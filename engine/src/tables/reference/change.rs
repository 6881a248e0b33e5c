//! One change of a table as a row of internal/tables.
//!
//! Promise: a row is complete in itself: a CREATE carries the definition as an Arrow IPC schema, an
//! INSERT its rows; one log schema serves every table.

use super::{InsertedRows, TableDefinition, TableError, VALID_FROM};
use arrow::array::{
    Array, AsArray, BinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use std::collections::HashMap;
use std::sync::Arc;
use weir_ingest::model::AppendTime;

const PRIMARY_KEY: &str = "weir.primary_key";
const TEXT: &str = "weir.text";
/// Says of the rows of an INSERT that their last column is their `valid_from`.
const DATED: &str = "weir.valid_from";

/// The schema of internal/tables: `time`, `table`, `op` and the Arrow IPC bytes.
pub fn log_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("time", time, false),
        Field::new("table", DataType::Utf8, false),
        Field::new("op", DataType::Utf8, false),
        Field::new("rows", DataType::Binary, false),
    ]))
}

/// What happened to a table.
#[derive(Debug, Clone, PartialEq)]
pub enum TableChange {
    /// CREATE TABLE.
    Create(Arc<TableDefinition>),
    /// INSERT; the rows have the table's schema.
    Insert {
        /// Into which.
        table: String,
        /// What.
        rows: InsertedRows,
    },
    /// DROP TABLE.
    Drop(String),
}

impl TableChange {
    /// The change as a batch of one row of [`log_schema`].
    pub fn encode(&self, at: AppendTime) -> RecordBatch {
        let (table, op, bytes) = match self {
            Self::Create(definition) => {
                (definition.name(), "create", ipc(&described(definition), None))
            }
            Self::Insert { table, rows } => {
                let rows = with_dates(rows);
                (table.as_str(), "insert", ipc(rows.schema_ref(), Some(&rows)))
            }
            Self::Drop(table) => (table.as_str(), "drop", Vec::new()),
        };
        let time = TimestampMicrosecondArray::from(vec![at.0]).with_timezone("UTC");
        RecordBatch::try_new(
            log_schema(),
            vec![
                Arc::new(time),
                Arc::new(StringArray::from(vec![table])),
                Arc::new(StringArray::from(vec![op])),
                Arc::new(BinaryArray::from(vec![bytes.as_slice()])),
            ],
        )
        .expect("the columns match log_schema")
    }

    /// The changes in a batch of [`log_schema`], each with its time.
    /// # Errors
    /// `TableError::Damaged` if a row is not one that [`Self::encode`] wrote.
    pub fn decode(batch: &RecordBatch) -> Result<Vec<(AppendTime, Self)>, TableError> {
        let damaged = || TableError::Damaged {
            table: "?".to_owned(),
            detail: "the batch does not have the columns time, table, op and rows".to_owned(),
        };
        let [time, table, op, rows] = batch.columns() else { return Err(damaged()) };
        let time = time.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(damaged)?;
        let table = table.as_string_opt::<i32>().ok_or_else(damaged)?;
        let op = op.as_string_opt::<i32>().ok_or_else(damaged)?;
        let rows = rows.as_binary_opt::<i32>().ok_or_else(damaged)?;
        (0..batch.num_rows())
            .map(|row| {
                let change = decode_one(table.value(row), op.value(row), rows.value(row))?;
                Ok((AppendTime(time.value(row)), change))
            })
            .collect()
    }
}

fn decode_one(table: &str, op: &str, bytes: &[u8]) -> Result<TableChange, TableError> {
    let damaged = |detail: String| TableError::Damaged { table: table.to_owned(), detail };
    if op == "drop" {
        return Ok(TableChange::Drop(table.to_owned()));
    }
    let reader = StreamReader::try_new(bytes, None).map_err(|e| damaged(e.to_string()))?;
    let schema = reader.schema();
    match op {
        "create" => {
            let key = schema.metadata().get(PRIMARY_KEY).map_or("[]", String::as_str);
            let key = serde_json::from_str(key).map_err(|e| damaged(e.to_string()))?;
            let text = schema.metadata().get(TEXT).cloned().unwrap_or_default();
            let plain = Arc::new(schema.as_ref().clone().with_metadata(HashMap::new()));
            Ok(TableChange::Create(Arc::new(TableDefinition::new(table, plain, key, &text)?)))
        }
        "insert" => {
            let batches =
                reader.collect::<Result<Vec<_>, _>>().map_err(|e| damaged(e.to_string()))?;
            let rows = arrow::compute::concat_batches(&schema, &batches)
                .and_then(|rows| without_dates(&rows))
                .map_err(|e| damaged(e.to_string()))?;
            Ok(TableChange::Insert { table: table.to_owned(), rows })
        }
        other => Err(damaged(format!("unknown change '{other}'"))),
    }
}

fn with_dates(inserted: &InsertedRows) -> RecordBatch {
    let Some(valid_from) = &inserted.valid_from else { return inserted.rows.clone() };
    let schema = inserted.rows.schema();
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(VALID_FROM, valid_from.data_type().clone(), true)));
    let metadata = HashMap::from([(DATED.to_owned(), "last".to_owned())]);
    let mut columns = inserted.rows.columns().to_vec();
    columns.push(Arc::new(valid_from.clone()));
    RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), columns)
        .expect("a date for each row")
}

fn without_dates(rows: &RecordBatch) -> Result<InsertedRows, ArrowError> {
    if !rows.schema_ref().metadata().contains_key(DATED) {
        return Ok(InsertedRows { rows: rows.clone(), valid_from: None });
    }
    let width = rows.num_columns().saturating_sub(1);
    let dates = rows.columns().last().and_then(|last| last.as_primitive_opt());
    let Some(dates) = dates.cloned() else {
        return Err(ArrowError::SchemaError("the rows lack their valid_from".to_owned()));
    };
    let plain = rows.project(&(0..width).collect::<Vec<_>>())?;
    let schema = plain.schema().as_ref().clone().with_metadata(HashMap::new());
    let plain = RecordBatch::try_new(Arc::new(schema), plain.columns().to_vec())?;
    Ok(InsertedRows { rows: plain, valid_from: Some(dates) })
}

fn described(definition: &TableDefinition) -> SchemaRef {
    let key = serde_json::to_string(definition.primary_key()).expect("names are JSON strings");
    let metadata = HashMap::from([
        (PRIMARY_KEY.to_owned(), key),
        (TEXT.to_owned(), definition.text().to_owned()),
    ]);
    Arc::new(definition.schema().as_ref().clone().with_metadata(metadata))
}

fn ipc(schema: &Schema, rows: Option<&RecordBatch>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        StreamWriter::try_new(&mut bytes, schema).expect("writing to memory cannot fail");
    if let Some(rows) = rows {
        writer.write(rows).expect("the rows have the schema and memory takes them");
    }
    writer.finish().expect("writing to memory cannot fail");
    drop(writer);
    bytes
}
