//! Reference tables: thresholds, opening hours, expected sensors.
//!
//! Promise: a table is a fold over internal/tables, so a rule that replays the log sees the same
//! content at the same place, and a restart loses nothing.
//! Elsewhere: which version holds when is `versions`; the durable shell around the fold is `store`;
//! what a table means to a rule is `engine::runtime`'s business.

mod change;
mod fold;
mod store;
mod versions;

pub use change::{TableChange, log_schema};
pub use fold::TableFold;
pub use store::ReferenceTables;
pub use versions::ReferenceTable;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of memory one table may take.
pub const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes one INSERT may have; half a frame's body.
pub const INSERT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The column that an INSERT may name beside the table's own: from which event time its rows hold.
pub const VALID_FROM: &str = "valid_from";

/// The rows of one INSERT.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertedRows {
    /// With the table's schema.
    pub rows: RecordBatch,
    /// From when each holds; NULL, or none at all: from when it is written down.
    pub valid_from: Option<TimestampMicrosecondArray>,
}

/// What CREATE TABLE says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDefinition {
    name: String,
    schema: SchemaRef,
    primary_key: Vec<String>,
    text: String,
}

impl TableDefinition {
    /// Checks and builds a definition; `text` is the statement as written.
    /// # Errors
    /// The first thing that cannot be so.
    pub fn new(
        name: &str,
        schema: SchemaRef,
        primary_key: Vec<String>,
        text: &str,
    ) -> Result<Self, TableError> {
        if schema.fields().is_empty() {
            return Err(TableError::NoColumns(name.to_owned()));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = schema.fields().iter().find(|field| !seen.insert(field.name())) {
            return Err(TableError::ColumnTwice(twice.name().clone()));
        }
        if let Some(unknown) = primary_key.iter().find(|key| schema.index_of(key).is_err()) {
            return Err(TableError::UnknownColumn {
                table: name.to_owned(),
                column: unknown.clone(),
                columns: names(&schema),
            });
        }
        Ok(Self { name: name.to_owned(), schema, primary_key, text: text.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns whose values an INSERT replaces by; empty: every INSERT adds rows.
    pub fn primary_key(&self) -> &[String] {
        &self.primary_key
    }

    /// The statement as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether an INSERT may say from when its rows hold: the table has no column of that name.
    fn takes_valid_from(&self) -> bool {
        self.schema.index_of(VALID_FROM).is_err()
    }

    /// A column that an INSERT may name.
    pub fn insertable(&self, name: &str) -> Option<Field> {
        match self.schema.field_with_name(name) {
            Ok(field) => Some(field.clone()),
            Err(_) => (name == VALID_FROM).then(dated_field),
        }
    }

    /// The rows an INSERT adds: the n-th column of `source` goes into the n-th of `columns` (of the
    /// table when empty), cast to its type; the others are null.
    /// # Errors
    /// A column that is not there, a value that does not fit, a null where none may be.
    pub fn rows(
        &self,
        columns: &[String],
        source: &RecordBatch,
    ) -> Result<InsertedRows, TableError> {
        let dated = columns.iter().position(|c| c == VALID_FROM && self.takes_valid_from());
        let Some(dated) = dated.filter(|_| columns.len() == source.num_columns()) else {
            return Ok(InsertedRows { rows: self.own_rows(columns, source)?, valid_from: None });
        };
        let others: Vec<usize> = (0..columns.len()).filter(|column| *column != dated).collect();
        let named: Vec<String> = others.iter().map(|column| columns[*column].clone()).collect();
        if named.is_empty() {
            return Err(TableError::DateAlone(self.name.clone()));
        }
        let own = source.project(&others).map_err(|error| self.damaged(&error))?;
        let rows = self.own_rows(&named, &own)?;
        let valid_from = self.cast_to(&dated_field(), source.column(dated))?;
        Ok(InsertedRows { rows, valid_from: valid_from.as_primitive_opt().cloned() })
    }

    fn own_rows(
        &self,
        columns: &[String],
        source: &RecordBatch,
    ) -> Result<RecordBatch, TableError> {
        let targets = self.targets(columns, source.num_columns())?;
        let mut filled: Vec<Option<ArrayRef>> = vec![None; self.schema.fields().len()];
        for (target, column) in targets.iter().zip(source.columns()) {
            filled[*target] = Some(self.cast(*target, column)?);
        }
        let arrays = filled
            .into_iter()
            .zip(self.schema.fields())
            .map(|(array, field)| {
                array.unwrap_or_else(|| new_null_array(field.data_type(), source.num_rows()))
            })
            .collect::<Vec<_>>();
        self.check_nulls(&arrays)?;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, error: &ArrowError) -> TableError {
        TableError::Damaged { table: self.name.clone(), detail: error.to_string() }
    }

    fn targets(&self, columns: &[String], given: usize) -> Result<Vec<usize>, TableError> {
        let wanted = if columns.is_empty() { self.schema.fields().len() } else { columns.len() };
        if wanted != given {
            return Err(TableError::WrongWidth { table: self.name.clone(), wanted, given });
        }
        if columns.is_empty() {
            return Ok((0..given).collect());
        }
        let mut seen = HashSet::new();
        columns
            .iter()
            .map(|column| {
                if !seen.insert(column) {
                    return Err(TableError::ColumnTwice(column.clone()));
                }
                self.schema.index_of(column).map_err(|_| TableError::UnknownColumn {
                    table: self.name.clone(),
                    column: column.clone(),
                    columns: names(&self.schema),
                })
            })
            .collect()
    }

    fn cast(&self, target: usize, column: &ArrayRef) -> Result<ArrayRef, TableError> {
        self.cast_to(self.schema.field(target), column)
    }

    fn cast_to(&self, field: &Field, column: &ArrayRef) -> Result<ArrayRef, TableError> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, field.data_type(), &options).map_err(|error| {
            TableError::WrongValue {
                table: self.name.clone(),
                column: field.name().clone(),
                expected: field.data_type().to_string(),
                detail: error.to_string(),
            }
        })
    }

    fn check_nulls(&self, arrays: &[ArrayRef]) -> Result<(), TableError> {
        let keyed = |name: &String| self.primary_key.contains(name);
        let wrong = self.schema.fields().iter().zip(arrays).find(|(field, array)| {
            array.null_count() > 0 && (!field.is_nullable() || keyed(field.name()))
        });
        match wrong {
            None => Ok(()),
            Some((field, _)) => {
                Err(TableError::Null { table: self.name.clone(), column: field.name().clone() })
            }
        }
    }
}

/// Why a table statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The name is taken.
    #[error("a table or stream named '{0}' already exists")]
    Exists(String),
    /// No such table.
    #[error("there is no table '{0}'; CREATE TABLE makes one")]
    Unknown(String),
    /// No columns.
    #[error("the table '{0}' needs at least one column")]
    NoColumns(String),
    /// A column stands twice.
    #[error("the column '{0}' is named twice")]
    ColumnTwice(String),
    /// A column that is not there.
    #[error("the table '{table}' has no column '{column}'; it has {columns}")]
    UnknownColumn {
        /// The table.
        table: String,
        /// What was written.
        column: String,
        /// What it has.
        columns: String,
    },
    /// An INSERT of nothing but dates.
    #[error("an INSERT into '{0}' names valid_from alone; name columns of the table beside it")]
    DateAlone(String),
    /// More or fewer values than columns.
    #[error("{given} values for {wanted} columns of the table '{table}'")]
    WrongWidth {
        /// The table.
        table: String,
        /// Columns to fill.
        wanted: usize,
        /// Values given.
        given: usize,
    },
    /// A value that does not fit its column.
    #[error("a value for '{table}.{column}' is not a {expected}: {detail}")]
    WrongValue {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        expected: String,
        /// What is wrong.
        detail: String,
    },
    /// NULL where none may be.
    #[error("the column '{table}.{column}' may not be NULL")]
    Null {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Over a bound.
    #[error("{what} would take {bytes} bytes; at most {limit} are allowed: {hint}")]
    TooLarge {
        /// The table or the INSERT.
        what: String,
        /// Its size.
        bytes: usize,
        /// The bound.
        limit: usize,
        /// What to do.
        hint: &'static str,
    },
    /// The log did not take it.
    #[error("the change of the table was not made durable: {0}")]
    Log(String),
    /// A change in the log cannot be read.
    #[error("a change of the table '{table}' in internal/tables cannot be read: {detail}")]
    Damaged {
        /// The table.
        table: String,
        /// What is wrong.
        detail: String,
    },
}

fn dated_field() -> Field {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Field::new(VALID_FROM, utc, true)
}

fn names(schema: &SchemaRef) -> String {
    schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
