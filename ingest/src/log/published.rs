//! What readers may see of a partition.
//!
//! Promise (L4): changed under one lock, after the sync and before the receipts.

use super::entry::{EntryBody, LogEntry, PartitionState, TickKind};
use super::frame::{Flush, FrameKind, FrameSchemas, Header};
use super::index::Summary;
use super::segment::SegmentId;
use super::starts::Start;
use crate::model::{AppendTime, EventTime, Offset, PartitionId};
use arrow::array::RecordBatch;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

/// Memory the newest entries of a partition may take, so that readers at the tail read no disk.
const RECENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    pub(super) segment: SegmentId,
    pub(super) position: u64,
}

/// A segment as readers see it.
#[derive(Debug, Clone)]
pub(super) struct PublishedSegment {
    pub(super) id: SegmentId,
    pub(super) path: Arc<Path>,
    pub(super) schemas: Arc<FrameSchemas>,
    pub(super) summary: Summary,
    pub(super) sealed: bool,
}

/// The published side of a partition.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) segments: Vec<PublishedSegment>,
    pub(super) durable_end: Offset,
    /// Append times of the first frames of the groups that are planned or being written.
    pub(super) in_flight: VecDeque<AppendTime>,
    pub(super) state: PartitionState,
    pub(super) newest_event: Option<EventTime>,
    pub(super) recent: Recent,
    /// Where it starts, once segments were removed.
    pub(super) start: Option<Start>,
}

/// The newest entries.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<RecentEntry>,
    bytes: usize,
    /// Everything from here on is among the entries; `None` while nothing is.
    from: Option<Cursor>,
}

#[derive(Debug)]
struct RecentEntry {
    at: Cursor,
    next: Cursor,
    bytes: usize,
    entry: LogEntry,
}

impl Recent {
    pub(super) fn push(&mut self, at: Cursor, next: Cursor, entry: LogEntry) {
        let bytes = 256
            + match &entry.body {
                EntryBody::Rows(batch) => batch.get_array_memory_size(),
                _ => 0,
            };
        self.from.get_or_insert(at);
        self.bytes += bytes;
        self.entries.push_back(RecentEntry { at, next, bytes, entry });
        while self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes;
            self.from = Some(oldest.next);
        }
    }

    /// Forgets what lies before `at`.
    pub(super) fn forget_before(&mut self, at: Cursor) {
        while let Some(oldest) = self.entries.pop_front_if(|oldest| oldest.at < at) {
            self.bytes -= oldest.bytes;
            self.from = Some(oldest.next);
        }
    }

    /// The first entry at or after `at` and the place after it, if it is surely here.
    pub(super) fn at(&self, at: Cursor) -> Option<(LogEntry, Cursor)> {
        if self.from.is_none_or(|from| at < from) {
            return None;
        }
        let first = self.entries.partition_point(|recent| recent.at < at);
        self.entries.get(first).map(|recent| (recent.entry.clone(), recent.next))
    }
}

impl Published {
    pub(super) fn newest_append(&self) -> Option<AppendTime> {
        let kept = self.segments.iter().rev().find(|s| s.summary.frames > 0);
        kept.map(|s| s.summary.max_append_time).or(self.start.map(|start| start.newest_append))
    }

    /// Changes the state; one that is damaged stays so until a start.
    pub(super) fn enter(&mut self, state: PartitionState) {
        if !matches!(self.state, PartitionState::Corrupt(_)) {
            self.state = state;
        }
    }

    /// Offset of the oldest row kept.
    pub(super) fn log_start(&self) -> Offset {
        let start = self.start.map_or(Offset(0), |start| start.first.base);
        self.segments.first().map_or(start, |s| s.id.base)
    }

    /// The word that the rows before the oldest kept are gone.
    pub(super) fn gap(&self, partition: PartitionId, from: Offset, to: Offset) -> LogEntry {
        let oldest = self.segments.first().filter(|s| s.summary.frames > 0);
        let before = oldest.map_or(i64::MIN, |s| s.summary.min_append_time.0.saturating_sub(1));
        LogEntry {
            partition,
            base_offset: from,
            append_time: AppendTime(before),
            min_time: EventTime(0),
            max_time: EventTime(0),
            body: EntryBody::Gap { from, to },
        }
    }

    pub(super) fn segment(&self, id: SegmentId) -> Option<usize> {
        self.segments.binary_search_by_key(&id, |segment| segment.id).ok()
    }
}

/// What readers get of a frame; `None` for those that are the log's own.
pub(super) fn entry(
    partition: PartitionId,
    header: &Header,
    rows: Option<RecordBatch>,
) -> Option<LogEntry> {
    let body = match header.kind {
        FrameKind::Data => EntryBody::Rows(rows?),
        FrameKind::Tick => EntryBody::Tick {
            event_time: header.min_time,
            kind: if header.flush == Flush::Yes { TickKind::Flush } else { TickKind::Idle },
        },
        FrameKind::Restart => EntryBody::Restart { down_from: AppendTime(header.min_time.0) },
        FrameKind::Gap => EntryBody::Gap { from: header.base_offset, to: header.end_offset() },
        FrameKind::Schema | FrameKind::SyncMarker | FrameKind::Seal => return None,
    };
    Some(LogEntry {
        partition,
        base_offset: header.base_offset,
        append_time: header.append_time,
        min_time: header.min_time,
        max_time: header.max_time,
        body,
    })
}
