//! One partition: its queue, what is published of it, and the core its committer drives.

use super::entry::{Ends, PartitionState, SegmentInfo, TickKind};
use super::errors::AppendError;
use super::reader::PartitionReader;
use super::receipt::Receipt;
use crate::model::{AppendTime, EventTime, Offset, PartitionId};
use arrow::array::RecordBatch;
use std::sync::Arc;
use std::time::Duration;

/// A partition of a stream or of an internal log.
#[derive(Debug)]
pub struct Partition {
    id: PartitionId,
}

impl Partition {
    /// Its number in its stream.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Queues rows (stored schema, or the internal log's); never blocks. The receipt resolves when
    /// they are durable.
    pub fn append(&self, _batch: RecordBatch) -> Receipt {
        Receipt::known(self.id, Err(AppendError::Stopped))
    }

    /// Queues a tick.
    pub fn append_tick(&self, _event_time: EventTime, _kind: TickKind) -> Receipt {
        Receipt::known(self.id, Err(AppendError::Stopped))
    }

    /// How far it has come.
    pub fn ends(&self) -> Ends {
        Ends { log_start: Offset(0), durable_end: Offset(0), safe_time: AppendTime(i64::MAX) }
    }

    /// How it is.
    pub fn state(&self) -> PartitionState {
        PartitionState::Ready
    }

    /// The largest event time of its durable rows and ticks.
    pub fn newest_event_time(&self) -> Option<EventTime> {
        None
    }

    /// A reader that starts at the frame that holds `from`, or the next one.
    pub fn reader(self: &Arc<Self>, from: Offset) -> PartitionReader {
        PartitionReader::new(Arc::clone(self), from)
    }

    /// Its files, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        Vec::new()
    }

    /// A reader of only the segment that starts at `segment`, up to the durable end.
    pub fn segment_reader(self: &Arc<Self>, segment: Offset) -> PartitionReader {
        PartitionReader::new(Arc::clone(self), segment)
    }

    /// How far back ids are remembered now; `None` where they are not.
    pub fn dedupe_window(&self) -> Option<Duration> {
        None
    }
}
