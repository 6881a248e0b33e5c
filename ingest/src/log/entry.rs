//! What a reader of the log gets: rows, ticks, restarts, gaps, each with its place in time.

use crate::model::reading::Position;
use crate::model::{AppendTime, EventTime, Offset, PartitionId};
use arrow::array::RecordBatch;

/// One frame of a partition.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// The partition it stands in.
    pub partition: PartitionId,
    /// Offset of its first row; of a frame without rows, of the next row.
    pub base_offset: Offset,
    /// When the log took it.
    pub append_time: AppendTime,
    /// Earliest event time of its rows.
    pub min_time: EventTime,
    /// Latest event time of its rows.
    pub max_time: EventTime,
    /// What it holds.
    pub body: EntryBody,
}

impl LogEntry {
    /// Where it came from, as `reading::table_batch` wants it.
    pub fn position(&self) -> Position {
        Position {
            partition: self.partition,
            base_offset: self.base_offset,
            append_time: self.append_time,
        }
    }

    /// Offset of the row after it.
    pub fn end_offset(&self) -> Offset {
        match &self.body {
            EntryBody::Rows(batch) => self.base_offset.plus(batch.num_rows() as u64),
            EntryBody::Tick { .. } | EntryBody::Restart { .. } => self.base_offset,
            EntryBody::Gap { to, .. } => *to,
        }
    }
}

/// What a frame holds.
#[derive(Debug, Clone)]
pub enum EntryBody {
    /// Rows, in `reading::stored_schema` or the internal log's own.
    Rows(RecordBatch),
    /// Time went on without rows.
    Tick {
        /// The event time that was reached.
        event_time: EventTime,
        /// What for.
        kind: TickKind,
    },
    /// The process was down; silence up to here is not the sensors'.
    Restart {
        /// The newest append time before.
        down_from: AppendTime,
    },
    /// Rows that were lost and declared so.
    Gap {
        /// First lost offset.
        from: Offset,
        /// First offset that is there again.
        to: Offset,
    },
}

/// Why a tick was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TickKind {
    /// The partition was silent.
    Idle,
    /// FLUSH STREAM: seal and emit every open window.
    Flush,
}

/// How far a partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Offset of the oldest row kept.
    pub log_start: Offset,
    /// Offset after the newest durable row; readers see what lies below it.
    pub durable_end: Offset,
    /// Nothing with an append time at or below it will become visible any more.
    pub safe_time: AppendTime,
}

/// How a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionState {
    /// Takes rows.
    Ready,
    /// The disk is full: refuses rows until there is room again.
    ReadOnlyFull,
    /// The disk failed; takes nothing until a restart.
    Failed(String),
    /// Acknowledged rows are damaged; what lies before them can be read.
    Corrupt(String),
}

/// One segment file, for pruning and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Offset of its first row.
    pub base_offset: Offset,
    /// Offset after its last durable row.
    pub end_offset: Offset,
    /// Durable bytes.
    pub bytes: u64,
    /// Earliest event time of its rows; above `max_time` when it has none.
    pub min_time: EventTime,
    /// Latest event time of its rows.
    pub max_time: EventTime,
    /// First append time in it; above `max_append_time` when it has no frames.
    pub min_append_time: AppendTime,
    /// Last append time in it.
    pub max_append_time: AppendTime,
    /// Whether it is closed and will never grow.
    pub sealed: bool,
}

/// The process that opened the log found an older one's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// The newest append time before.
    pub down_from: AppendTime,
    /// When this process opened the log.
    pub opened_at: AppendTime,
}
