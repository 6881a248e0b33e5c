//! The durable shell around [`TableFold`]: changes go to internal/tables first.
//!
//! Promise: a statement that succeeded is in the log; the content is only ever what the log says.

use super::{
    INSERT_BYTES_MAX, InsertedRows, ReferenceTable, TABLE_BYTES_MAX, TableChange, TableDefinition,
    TableError, TableFold,
};
use crate::sql::{Existing, Missing};
use arrow::array::RecordBatch;
use parking_lot::Mutex;
use std::sync::Arc;
use weir_ingest::log::{EntryBody, InternalLog, Log, LogEntry, PartitionReader};

/// All reference tables of a log. Its methods that change something wait for the disk: call them on
/// a blocking thread.
#[derive(Debug)]
pub struct ReferenceTables {
    log: Arc<Log>,
    state: Mutex<State>,
    /// Held while a change is checked and written, so that checks stay true.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    fold: TableFold,
    reader: PartitionReader,
}

impl ReferenceTables {
    /// The tables as the log has them.
    /// # Errors
    /// internal/tables cannot be read.
    pub fn open(log: Arc<Log>) -> Result<Self, TableError> {
        let partition = log.internal(InternalLog::Tables);
        let reader = partition.reader(partition.ends().log_start);
        let state = Mutex::new(State { fold: TableFold::new(), reader });
        let tables = Self { log, state, writing: Mutex::new(()) };
        tables.catch_up()?;
        Ok(tables)
    }

    /// CREATE TABLE.
    /// # Errors
    /// The name is taken, by a stream too; or the log did not take it.
    pub fn create(
        &self,
        definition: TableDefinition,
        existing: Existing,
    ) -> Result<(), TableError> {
        let _writing = self.writing.lock();
        let name = definition.name().to_owned();
        if self.log.streams().get(&name).is_some() {
            return Err(TableError::Exists(name));
        }
        match (self.get(&name), existing) {
            (Some(_), Existing::Refuse) => Err(TableError::Exists(name)),
            (Some(_), Existing::Keep) => Ok(()),
            // CREATE begins a table of this name anew, whatever was there.
            (Some(_), Existing::Replace) | (None, _) => {
                self.append(&TableChange::Create(Arc::new(definition)))
            }
        }
    }

    /// INSERT: `source`'s columns go into `columns` of the table, into all of them when empty; how
    /// many rows.
    /// # Errors
    /// As [`TableDefinition::rows`]; a bound is passed; the log did not take it.
    pub fn insert(
        &self,
        name: &str,
        columns: &[String],
        source: &RecordBatch,
    ) -> Result<usize, TableError> {
        let _writing = self.writing.lock();
        let table = self.get(name).ok_or_else(|| TableError::Unknown(name.to_owned()))?;
        let rows = table.definition.rows(columns, source)?;
        check_size(&table, &rows)?;
        let count = rows.rows.num_rows();
        if count > 0 {
            self.append(&TableChange::Insert { table: name.to_owned(), rows })?;
        }
        Ok(count)
    }

    /// DROP TABLE.
    /// # Errors
    /// There is none; or the log did not take it.
    pub fn drop_table(&self, name: &str, missing: Missing) -> Result<(), TableError> {
        let _writing = self.writing.lock();
        match (self.get(name), missing) {
            (None, Missing::Ignore) => Ok(()),
            (None, Missing::Refuse) => Err(TableError::Unknown(name.to_owned())),
            (Some(_), _) => self.append(&TableChange::Drop(name.to_owned())),
        }
    }

    /// The table's content now.
    pub fn get(&self, name: &str) -> Option<Arc<ReferenceTable>> {
        self.state.lock().fold.get(name).map(Arc::clone)
    }

    /// All tables by name.
    pub fn list(&self) -> Vec<Arc<ReferenceTable>> {
        self.state.lock().fold.list().map(Arc::clone).collect()
    }

    fn append(&self, change: &TableChange) -> Result<(), TableError> {
        let at = self.log.append_clock().draw();
        let receipt = self.log.internal(InternalLog::Tables).append(change.encode(at));
        receipt.wait().map_err(|error| TableError::Log(error.to_string()))?;
        self.catch_up()
    }

    fn catch_up(&self) -> Result<(), TableError> {
        let mut state = self.state.lock();
        loop {
            let entry = state.reader.next().map_err(|error| TableError::Log(error.to_string()))?;
            match entry {
                Some(entry) => state.fold.entry(&entry)?,
                None => return Ok(()),
            }
        }
    }
}

impl TableFold {
    /// Takes in an entry of internal/tables. Its rows are valid from their own `time`, which the
    /// entry's append time is never before.
    /// # Errors
    /// As [`Self::apply`].
    pub fn entry(&mut self, entry: &LogEntry) -> Result<(), TableError> {
        match &entry.body {
            EntryBody::Rows(rows) => self.apply(rows),
            _ => Ok(()),
        }
    }
}

fn check_size(table: &ReferenceTable, rows: &InsertedRows) -> Result<(), TableError> {
    let name = table.definition.name();
    let insert = rows.rows.get_array_memory_size();
    if insert > INSERT_BYTES_MAX {
        return Err(TableError::TooLarge {
            what: format!("the INSERT into '{name}'"),
            bytes: insert,
            limit: INSERT_BYTES_MAX,
            hint: "insert in several statements",
        });
    }
    let whole = insert + table.bytes();
    if whole > TABLE_BYTES_MAX {
        return Err(TableError::TooLarge {
            what: format!("the table '{name}'"),
            bytes: whole,
            limit: TABLE_BYTES_MAX,
            hint: "a reference table is held in memory with all its versions; keep large data in a \
                   stream; DROP TABLE and CREATE TABLE begin it anew",
        });
    }
    Ok(())
}
