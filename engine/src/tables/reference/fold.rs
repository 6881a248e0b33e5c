//! The fold from internal/tables to the content of every table.
//!
//! Promise: no clock and no I/O; the same batches in the same order give the same tables, for the
//! server and for a rule that replays the log.

use super::{ReferenceTable, TableChange, TableError};
use arrow::array::RecordBatch;
use std::collections::BTreeMap;
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
        let table = match change {
            TableChange::Create(definition) => ReferenceTable::new(definition, self.version, at),
            TableChange::Insert { table, rows } => match self.tables.get(&table) {
                Some(old) => old.with(rows, self.version, at),
                None => return Err(TableError::Unknown(table)),
            },
            TableChange::Drop(table) => {
                self.tables.remove(&table);
                return Ok(());
            }
        };
        self.tables.insert(table.definition.name().to_owned(), Arc::new(table));
        Ok(())
    }
}
