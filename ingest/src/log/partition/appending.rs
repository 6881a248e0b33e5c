//! Queueing what a partition is to keep.
//!
//! Promise: it never blocks. What cannot be taken (too large, no room on the disk, a partition that is
//! damaged or stopped) is answered at once, counted, and leaves nothing behind.

use super::{Partition, Rows};
use crate::log::entry::{PartitionState, TickKind};
use crate::log::errors::AppendError;
use crate::log::producer::{ProducerId, Source};
use crate::log::queue::{Item, Payload};
use crate::log::receipt::Receipt;
use crate::log::room::Purpose;
use crate::model::{AppendTime, EventTime, Limits};
use arrow::array::{Array, ArrayRef, RecordBatch};

/// Bytes of a frame kept free for the message around the columns.
const FRAME_SLACK_BYTES: usize = 512 * 1024;

impl Partition {
    /// Queues rows (stored schema, or the internal log's); never blocks. The receipt resolves when
    /// they are durable.
    pub fn append(&self, batch: RecordBatch) -> Receipt {
        self.append_rows(batch, None)
    }

    /// As [`Self::append`], for a producer that may send the batch again: one that is stored already
    /// is not stored twice, and answered with the offset it has.
    pub fn append_from(&self, batch: RecordBatch, source: Source) -> Receipt {
        self.append_rows(batch, Some(source))
    }

    /// The newest epoch of a producer here and the sequence of its newest batch.
    pub fn producer(&self, producer: ProducerId) -> Option<(u16, u64)> {
        self.core.lock().producers.newest(producer)
    }

    /// As [`Self::producer`], of what it sent to one partition as its wire names them.
    pub fn producer_at(&self, producer: ProducerId, wire: Option<u32>) -> Option<(u16, u64)> {
        self.core.lock().producers.newest_at(producer, wire)
    }

    /// The bytes of these batches, if together they are not more than one append takes.
    /// # Errors
    /// [`AppendError::TooLarge`].
    pub fn check_size(batches: &[RecordBatch]) -> Result<usize, AppendError> {
        let (rows_max, bytes_max) =
            (Limits::FRAME_ROWS_MAX, Limits::FRAME_BODY_BYTES_MAX - FRAME_SLACK_BYTES);
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let bytes = batches.iter().map(batch_bytes).sum();
        if rows > rows_max || bytes > bytes_max {
            return Err(AppendError::TooLarge { rows, bytes, rows_max, bytes_max });
        }
        Ok(bytes)
    }

    fn append_rows(&self, batch: RecordBatch, source: Option<Source>) -> Receipt {
        match Self::check_size(std::slice::from_ref(&batch)) {
            Ok(bytes) => self.enqueue(Payload::Rows { batch, source }, bytes),
            Err(refused) => self.refused(refused),
        }
    }

    /// Queues a tick.
    pub fn append_tick(&self, event_time: EventTime, kind: TickKind) -> Receipt {
        self.enqueue(Payload::Tick { event_time, kind }, 0)
    }

    /// Queues the word that the process was down.
    pub(in crate::log) fn append_restart(&self, down_from: AppendTime) -> Receipt {
        self.enqueue(Payload::Restart { down_from }, 0)
    }

    fn enqueue(&self, payload: Payload, bytes: usize) -> Receipt {
        if let PartitionState::Corrupt(_) = self.published.lock().state {
            return self.refused(AppendError::Corrupt { partition: self.id });
        }
        if !self.env.room.now().admits(self.purpose(&payload)) {
            return self.refused(AppendError::Full { partition: self.id });
        }
        let (reply, receipt) = Receipt::pair(self.id);
        let queued_us = self.env.clock.monotonic_us();
        match self.queue.push(Item { payload, bytes, queued_us, reply }) {
            Ok(()) => receipt,
            Err(_) => self.refused(AppendError::Stopped),
        }
    }

    fn purpose(&self, payload: &Payload) -> Purpose {
        match (payload, &self.rows) {
            (Payload::Tick { .. } | Payload::Restart { .. }, _) => Purpose::Ticks,
            (Payload::Rows { .. }, Rows::Readings { .. }) => Purpose::Rows,
            (Payload::Rows { .. }, Rows::Internal(which)) => Purpose::Own(*which),
        }
    }

    fn refused(&self, error: AppendError) -> Receipt {
        self.env.measured(self.uid).refused(&error, 1);
        Receipt::known(self.id, Err(error))
    }
}

/// Bytes the rows of a batch take, not the buffers they may share with others.
fn batch_bytes(batch: &RecordBatch) -> usize {
    let bytes = |column: &ArrayRef| match column.data_type().primitive_width() {
        Some(width) => {
            column.len() * width + column.nulls().map_or(0, |nulls| nulls.len().div_ceil(8))
        }
        None => {
            let data = column.to_data();
            data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        }
    };
    batch.columns().iter().map(bytes).sum()
}
