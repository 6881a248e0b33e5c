//! The versions of one table.
//!
//! Promise: what a reading sees depends on which INSERTs precede it and on its event time alone: of
//! the rows that hold by then, with a primary key the one with the largest `valid_from`, of equal ones
//! the one inserted last.

use super::{InsertedRows, TableDefinition, TableError};
use crate::stream::dated::DatedRows;
use arrow::array::{Array, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use weir_ingest::model::{AppendTime, EventTime};

/// A table at one place of the log.
#[derive(Debug, Clone)]
pub struct ReferenceTable {
    /// What CREATE TABLE said.
    pub definition: Arc<TableDefinition>,
    /// Grows with every change of any table.
    pub version: u64,
    /// When the newest change was appended.
    pub changed_at: AppendTime,
    inserts: Vec<Arc<Insert>>,
    /// Made of the INSERTs when somebody reads it.
    content: OnceLock<Arc<DatedRows>>,
}

#[derive(Debug)]
struct Insert {
    rows: RecordBatch,
    valid_from: Vec<i64>,
}

impl ReferenceTable {
    /// A table without rows.
    pub(super) fn new(
        definition: Arc<TableDefinition>,
        version: u64,
        changed_at: AppendTime,
    ) -> Self {
        let (inserts, content) = (Vec::new(), OnceLock::new());
        Self { definition, version, changed_at, inserts, content }
    }

    /// This table and these rows.
    pub(super) fn with(&self, rows: InsertedRows, version: u64, changed_at: AppendTime) -> Self {
        let InsertedRows { rows, valid_from } = rows;
        let valid_from = match valid_from {
            None => vec![changed_at.0; rows.num_rows()],
            Some(dates) => dates.iter().map(|date| date.unwrap_or(changed_at.0)).collect(),
        };
        let mut inserts = self.inserts.clone();
        inserts.push(Arc::new(Insert { rows, valid_from }));
        let definition = Arc::clone(&self.definition);
        Self { definition, version, changed_at, inserts, content: OnceLock::new() }
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        self.definition.schema()
    }

    /// See [`TableDefinition::primary_key`].
    pub fn primary_key(&self) -> &[String] {
        self.definition.primary_key()
    }

    /// About what its rows take in memory, those of past versions included.
    pub fn bytes(&self) -> usize {
        self.inserts.iter().map(|insert| insert.rows.get_array_memory_size()).sum()
    }

    /// The rows of all versions, in the table's order: that of `valid_from`, then of the INSERTs, a
    /// replaced row's followers in its place.
    /// # Errors
    /// `TableError::Damaged`, if the rows do not fit each other.
    pub fn content(&self) -> Result<Arc<DatedRows>, TableError> {
        if let Some(content) = self.content.get() {
            return Ok(Arc::clone(content));
        }
        let dated = self.dated().map_err(|error| TableError::Damaged {
            table: self.definition.name().to_owned(),
            detail: error.to_string(),
        })?;
        Ok(Arc::clone(self.content.get_or_init(|| Arc::new(dated))))
    }

    /// The values of a text column that are not NULL, each with the time from which its row holds, in the
    /// order of the INSERTs; those of past versions included. None if there is no such column.
    pub fn texts(&self, column: &str) -> Vec<(String, i64)> {
        let of_insert = |insert: &Arc<Insert>| {
            let values = insert.rows.column_by_name(column)?.as_string_opt::<i32>()?;
            let dated = values.iter().zip(&insert.valid_from);
            Some(dated.filter_map(|(v, from)| Some((v?.to_owned(), *from))).collect::<Vec<_>>())
        };
        self.inserts.iter().filter_map(of_insert).flatten().collect()
    }

    /// The version that a reading of this event time sees.
    /// # Errors
    /// As [`Self::content`].
    pub fn at(&self, time: EventTime) -> Result<RecordBatch, TableError> {
        self.content()?.at(time.0).map_err(|error| TableError::Damaged {
            table: self.definition.name().to_owned(),
            detail: error.to_string(),
        })
    }

    fn dated(&self) -> Result<DatedRows, ArrowError> {
        let all = concat_batches(self.schema(), self.inserts.iter().map(|insert| &insert.rows))?;
        let dates: Vec<i64> =
            self.inserts.iter().flat_map(|insert| insert.valid_from.iter().copied()).collect();
        let mut order: Vec<usize> = (0..dates.len()).collect();
        order.sort_by_key(|row| dates[*row]);
        let spans = match self.primary_key().is_empty() {
            true => order.into_iter().map(|row| (row, i64::MAX)).collect(),
            false => spans_of_keys(self.primary_key(), &all, &dates, &order)?,
        };
        let rows = UInt64Array::from_iter_values(spans.iter().map(|(row, _)| *row as u64));
        let from = spans.iter().map(|(row, _)| dates[*row]).collect();
        let until = spans.iter().map(|(_, until)| *until).collect();
        Ok(DatedRows::new(take_record_batch(&all, &rows)?, from, until))
    }
}

/// Each row that holds at all, with the time from which the next of its key holds.
fn spans_of_keys(
    key: &[String],
    all: &RecordBatch,
    dates: &[i64],
    order: &[usize],
) -> Result<Vec<(usize, i64)>, ArrowError> {
    let columns: Vec<_> =
        key.iter().filter_map(|name| all.column_by_name(name).map(Arc::clone)).collect();
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
    let mut slots = HashMap::new();
    let mut of_key: Vec<Vec<usize>> = Vec::new();
    for row in order {
        let slot = *slots.entry(keys.row(*row)).or_insert(of_key.len());
        match of_key.get_mut(slot) {
            Some(rows) => rows.push(*row),
            None => of_key.push(vec![*row]),
        }
    }
    let mut spans = Vec::with_capacity(order.len());
    for rows in of_key {
        let untils = rows[1..].iter().map(|next| dates[*next]).chain([i64::MAX]);
        let held = rows.iter().copied().zip(untils);
        spans.extend(held.filter(|(row, until)| dates[*row] < *until));
    }
    Ok(spans)
}
