//! The sparse index of a segment, and the spans queries prune by.

use super::entry::SegmentInfo;
use super::frame::{FrameKind, Header};
use crate::model::{AppendTime, EventTime, Offset};

/// Bytes between two entries of the index.
const STEP_BYTES: u64 = 64 * 1024;

/// One place in a segment where a frame starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    pub(super) offset: Offset,
    pub(super) position: u64,
    pub(super) append_time: AppendTime,
    pub(super) event_time: EventTime,
}

/// What is known of a segment without reading its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) base_offset: Offset,
    pub(super) end_offset: Offset,
    /// Position after the last counted frame.
    pub(super) end_position: u64,
    pub(super) frames: u64,
    pub(super) rows: u64,
    pub(super) min_time: EventTime,
    pub(super) max_time: EventTime,
    pub(super) min_append_time: AppendTime,
    pub(super) max_append_time: AppendTime,
    /// Largest event time of its ticks.
    pub(super) max_tick: EventTime,
    /// Append time of the frame with the largest event time; a seal does not tell it.
    pub(super) newest_event_at: Option<AppendTime>,
    pub(super) index: Vec<IndexEntry>,
}

impl Summary {
    /// Of a segment that has no frames yet.
    pub(super) fn empty(base_offset: Offset) -> Self {
        Self {
            base_offset,
            end_offset: base_offset,
            end_position: 0,
            frames: 0,
            rows: 0,
            min_time: EventTime(i64::MAX),
            max_time: EventTime(i64::MIN),
            min_append_time: AppendTime(i64::MAX),
            max_append_time: AppendTime(i64::MIN),
            max_tick: EventTime(i64::MIN),
            newest_event_at: None,
            index: Vec::new(),
        }
    }

    /// Counts the frame that starts at `position`.
    pub(super) fn add(&mut self, header: &Header, position: u64) {
        self.end_position = position + header.frame_bytes();
        if !header.kind.is_entry() {
            return;
        }
        assert!(self.end_offset <= header.base_offset, "L2: offsets grow");
        self.end_offset = header.end_offset();
        self.frames += 1;
        self.min_append_time = self.min_append_time.min(header.append_time);
        self.max_append_time = self.max_append_time.max(header.append_time);
        let is_event = matches!(header.kind, FrameKind::Data | FrameKind::Tick);
        if is_event && header.max_time > self.newest_event() {
            self.newest_event_at = Some(header.append_time);
        }
        match header.kind {
            FrameKind::Data => {
                self.rows += u64::from(header.row_count);
                self.min_time = self.min_time.min(header.min_time);
                self.max_time = self.max_time.max(header.max_time);
            }
            FrameKind::Tick => self.max_tick = self.max_tick.max(header.min_time),
            _ => {}
        }
        let due = self.index.last().is_none_or(|last| position >= last.position + STEP_BYTES);
        if due {
            self.index.push(IndexEntry {
                offset: header.base_offset,
                position,
                append_time: header.append_time,
                event_time: header.min_time,
            });
        }
    }

    /// The largest event time of its rows and ticks.
    pub(super) fn newest_event(&self) -> EventTime {
        self.max_time.max(self.max_tick)
    }

    /// Where to start looking for the first frame that ends above `from`, or stands at it.
    pub(super) fn seek(&self, from: Offset) -> u64 {
        let before = self.index.partition_point(|entry| entry.offset < from);
        let first = self.index.first().map_or(self.end_position, |entry| entry.position);
        before.checked_sub(1).map_or(first, |i| self.index[i].position)
    }

    pub(super) fn info(&self, sealed: bool) -> SegmentInfo {
        SegmentInfo {
            base_offset: self.base_offset,
            end_offset: self.end_offset,
            bytes: self.end_position,
            min_time: self.min_time,
            max_time: self.max_time,
            min_append_time: self.min_append_time,
            max_append_time: self.max_append_time,
            sealed,
        }
    }
}
