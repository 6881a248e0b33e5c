//! The table `alarms`: the log of transitions, folded into what is the case now.
//!
//! Promise: every transition that was durable when the scan began is in it.

use super::system::SystemSource;
use arrow::array::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use weir_engine::alarms::{AlarmBook, transition_rows};
use weir_ingest::log::{EntryBody, InternalLog, Log, PartitionReader};

/// See the module.
#[derive(Debug)]
pub(super) struct AlarmsNow {
    folded: Mutex<Folded>,
}

#[derive(Debug)]
struct Folded {
    book: AlarmBook,
    reader: PartitionReader,
}

impl AlarmsNow {
    /// Follows internal/alarms of `log`; reads nothing yet.
    pub(super) fn new(log: &Log) -> Self {
        let partition = log.internal(InternalLog::Alarms);
        let reader = partition.reader(partition.ends().log_start);
        Self { folded: Mutex::new(Folded { book: AlarmBook::new(), reader }) }
    }

    /// The rows of `alarms`. Reads files: call it on a blocking thread.
    /// # Errors
    /// The log cannot be read.
    pub(super) fn rows(&self, system: &Arc<dyn SystemSource>) -> Result<RecordBatch> {
        let mut folded = self.folded.lock();
        folded.catch_up()?;
        for (rule, stale) in system.stale_alarms() {
            folded.book.set_stale(&rule, &stale);
        }
        Ok(folded.book.rows())
    }
}

impl Folded {
    fn catch_up(&mut self) -> Result<()> {
        while let Some(entry) = self.reader.next().map_err(external)? {
            let EntryBody::Rows(rows) = &entry.body else { continue };
            for transition in transition_rows::decode(rows).map_err(external)? {
                self.book.apply(&transition);
            }
        }
        Ok(())
    }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
