//! The fold from internal/tables to the content of every table.
//!
//! Promise: no clock and no I/O; the same batches in the same order give the same tables, for the
//! server and for a rule that replays the log.

use super::{ReferenceTable, TableChange, TableDefinition, TableError};
use arrow::array::{RecordBatch, UInt64Array};
use arrow::row::{RowConverter, SortField};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weir_ingest::model::AppendTime;

/// All tables at one place of the log.
#[derive(Debug, Clone, Default)]
pub struct TableFold {
    tables: BTreeMap<String, Arc<ReferenceTable>>,
    version: u64,
}

impl TableFold {
    /// No tables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a batch of internal/tables.
    /// # Errors
    /// `TableError::Damaged` for a row that is not a change; the rows before it are applied.
    pub fn apply(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        for (at, change) in TableChange::decode(batch)? {
            self.change(at, change)?;
        }
        Ok(())
    }

    /// The table of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<ReferenceTable>> {
        self.tables.get(name)
    }

    /// All tables by name.
    pub fn list(&self) -> impl Iterator<Item = &Arc<ReferenceTable>> {
        self.tables.values()
    }

    fn change(&mut self, at: AppendTime, change: TableChange) -> Result<(), TableError> {
        self.version += 1;
        let (definition, batch) = match change {
            TableChange::Create(definition) => {
                let empty = RecordBatch::new_empty(Arc::clone(definition.schema()));
                (definition, empty)
            }
            TableChange::Insert { table, rows } => {
                let Some(old) = self.tables.get(&table) else {
                    return Err(TableError::Unknown(table));
                };
                (Arc::clone(&old.definition), merged(&old.definition, &old.batch, &rows)?)
            }
            TableChange::Drop(table) => {
                self.tables.remove(&table);
                return Ok(());
            }
        };
        let name = definition.name().to_owned();
        let table = ReferenceTable { definition, batch, version: self.version, valid_from: at };
        self.tables.insert(name, Arc::new(table));
        Ok(())
    }
}

/// `old` and `new` together; with a primary key a later row takes the place of an earlier one.
fn merged(
    definition: &TableDefinition,
    old: &RecordBatch,
    new: &RecordBatch,
) -> Result<RecordBatch, TableError> {
    let damaged = |error: arrow::error::ArrowError| TableError::Damaged {
        table: definition.name().to_owned(),
        detail: error.to_string(),
    };
    let all = arrow::compute::concat_batches(definition.schema(), [old, new]).map_err(damaged)?;
    if definition.primary_key().is_empty() {
        return Ok(all);
    }
    let kept = newest_of_each_key(definition, &all).map_err(damaged)?;
    arrow::compute::take_record_batch(&all, &kept).map_err(damaged)
}

fn newest_of_each_key(
    definition: &TableDefinition,
    all: &RecordBatch,
) -> Result<UInt64Array, arrow::error::ArrowError> {
    let columns: Vec<_> = definition
        .primary_key()
        .iter()
        .filter_map(|name| all.column_by_name(name).map(Arc::clone))
        .collect();
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    let mut slots = HashMap::new();
    let mut kept: Vec<u64> = Vec::new();
    for (index, row) in (0u64..).zip(rows.iter()) {
        let slot = *slots.entry(row.owned()).or_insert(kept.len());
        match kept.get_mut(slot) {
            Some(earlier) => *earlier = index,
            None => kept.push(index),
        }
    }
    Ok(UInt64Array::from(kept))
}
