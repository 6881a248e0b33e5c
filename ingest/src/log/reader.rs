//! Reading a partition: frame by frame, never past the durable end (L4).
//!
//! Promise: a checksum is verified before the rows are looked at, and that they are of this partition, segment
//! and place: a disk may have written something else there. Rows are not copied.

use super::entry::{EntryBody, LogEntry};
use super::errors::ReadError;
use super::frame::{FrameKind, FrameSchemas, Header, decode_rows};
use super::partition::Partition;
use super::published::{Cursor, Published, entry};
use super::segment::SegmentId;
use super::window::Window;
use crate::io::{File, Open};
use crate::model::{Offset, SchemaId};
use std::path::Path;
use std::sync::Arc;

/// A cursor over one partition. Cheap at the tail: what was just written is not read again. Rows
/// that were removed before it came to them are told as a gap; one that starts at 0 starts at the
/// oldest row kept.
#[derive(Debug)]
pub struct PartitionReader {
    partition: Arc<Partition>,
    at: Option<Cursor>,
    /// Entries that end at or before are passed over.
    from: Offset,
    scope: Scope,
    rows: Wanted,
    open: Option<OpenFile>,
    /// Where a frame begins whose first offset is known: behind the last one, or where the index points.
    expected: Option<(Cursor, Offset)>,
    position: Offset,
    /// Bytes of frames read from files.
    bytes_read: u64,
}

/// Which rows it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// Frames whose rows came with ids; others are passed over unread.
    WithIds,
}

/// Which segments it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    One(SegmentId),
    /// That of a segment that was gone before it started.
    Nothing,
}

#[derive(Debug)]
struct OpenFile {
    id: SegmentId,
    schemas: Arc<FrameSchemas>,
    file: Arc<dyn File>,
    window: Window,
}

/// Whether the log went on without the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// It has not begun; from 0 it begins wherever the log does.
    NotYet,
    /// The segment it was in is gone.
    Overtaken,
}

/// What to do next.
enum Step {
    End,
    /// An entry from memory, or the word that some are gone.
    Known(LogEntry, Cursor),
    Read {
        at: Cursor,
        path: Arc<Path>,
        schemas: Arc<FrameSchemas>,
        limit: u64,
    },
}

impl PartitionReader {
    pub(super) fn from_offset(partition: Arc<Partition>, from: Offset) -> Self {
        let (scope, rows) = (Scope::All, Wanted::All);
        Self::new(partition, None, from, (scope, rows))
    }

    /// Only frames whose rows came with ids.
    pub(super) fn with_ids(mut self) -> Self {
        self.rows = Wanted::WithIds;
        self
    }

    pub(super) fn of_segment(partition: Arc<Partition>, segment: Offset) -> Self {
        let at = partition.with_published(|published| {
            let found = published.segments.iter().rev().find(|s| s.id.base == segment);
            found.map(|s| Cursor { segment: s.id, position: 0 })
        });
        let scope = at.map_or(Scope::Nothing, |at| Scope::One(at.segment));
        Self::new(partition, at, segment, (scope, Wanted::All))
    }

    fn new(
        partition: Arc<Partition>,
        at: Option<Cursor>,
        from: Offset,
        (scope, rows): (Scope, Wanted),
    ) -> Self {
        let (open, expected) = (None, None);
        Self { partition, at, from, scope, rows, open, expected, position: from, bytes_read: 0 }
    }

    /// The next frame; `None` at the durable end, for now.
    /// # Errors
    /// The disk failed or stored bytes changed. Trying again gives the same.
    #[expect(clippy::should_implement_trait, reason = "it goes on after None")]
    pub fn next(&mut self) -> Result<Option<LogEntry>, ReadError> {
        loop {
            let partition = Arc::clone(&self.partition);
            let (entry, next) = match partition.with_published(|p| self.step(p)) {
                Step::End => return Ok(None),
                Step::Known(entry, next) => (Some(entry), next),
                Step::Read { at, path, schemas, limit } => self
                    .read(at, &path, &schemas, limit)
                    .inspect_err(|error| partition.note_rot(error))?,
            };
            self.at = Some(next);
            let Some(entry) = entry else { continue };
            let passed = match entry.body {
                EntryBody::Rows(_) | EntryBody::Gap { .. } => entry.end_offset() <= self.from,
                EntryBody::Tick { .. } | EntryBody::Restart { .. } => entry.base_offset < self.from,
            };
            if !passed {
                self.position = entry.end_offset();
                return Ok(Some(entry));
            }
        }
    }

    /// Bytes of frames it has read from files.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Offset after the last row returned.
    pub fn position(&self) -> Offset {
        self.position
    }

    fn step(&mut self, published: &Published) -> Step {
        if self.scope == Scope::Nothing {
            return Step::End;
        }
        let Some(mut at) = self.at else { return self.place(published, Behind::NotYet) };
        loop {
            if self.scope == Scope::All
                && let Some((entry, next)) = published.recent.at(at)
            {
                return Step::Known(entry, next);
            }
            let Some(index) = published.segment(at.segment) else {
                return match self.scope {
                    Scope::All => self.place(published, Behind::Overtaken),
                    Scope::One(_) | Scope::Nothing => Step::End,
                };
            };
            let segment = &published.segments[index];
            if at.position < segment.summary.end_position {
                let limit = segment.summary.end_position;
                let (path, schemas) = (Arc::clone(&segment.path), Arc::clone(&segment.schemas));
                return Step::Read { at, path, schemas, limit };
            }
            match published.segments.get(index + 1) {
                Some(next) if self.scope == Scope::All => {
                    at = Cursor { segment: next.id, position: 0 };
                    self.at = Some(at);
                }
                _ => return Step::End,
            }
        }
    }

    /// Finds the place of `self.position`, or says which rows before the oldest kept are gone.
    fn place(&mut self, published: &Published, behind: Behind) -> Step {
        let Some((at, offset)) = seek(published, self.position) else { return Step::End };
        self.expected = offset.map(|offset| (at, offset));
        let start = published.log_start();
        let from_the_start = behind == Behind::NotYet && self.position == Offset(0);
        if self.position < start && !from_the_start {
            let gap = published.gap(self.partition.id(), self.position, start);
            return Step::Known(gap, at);
        }
        self.at = Some(at);
        self.from = self.from.max(self.position);
        self.step(published)
    }

    fn read(
        &mut self,
        at: Cursor,
        path: &Arc<Path>,
        schemas: &Arc<FrameSchemas>,
        limit: u64,
    ) -> Result<(Option<LogEntry>, Cursor), ReadError> {
        let id = self.partition.id();
        let mut open = match self.open.take() {
            Some(open) if open.id == at.segment => open,
            _ => self.open_file(at.segment, path, schemas)?,
        };
        let rot = |detail: &str| ReadError::Rot {
            partition: id,
            segment: Arc::from(path.display().to_string()),
            at: at.position,
            detail: Arc::from(detail),
        };
        let io = |e: std::io::Error| ReadError::Io { partition: id, detail: e.to_string().into() };
        let header = open.window.header(open.file.as_ref(), at.position, limit).map_err(io)?;
        let header = header.ok_or_else(|| rot("no valid frame header"))?;
        if !self.expects(&header, at, open.schemas.id) {
            return Err(rot("a frame that belongs somewhere else"));
        }
        let next = Cursor { segment: at.segment, position: at.position + header.frame_bytes() };
        self.expected = Some((next, header.end_offset()));
        self.bytes_read += header.frame_bytes();
        if self.rows == Wanted::WithIds && header.kind == FrameKind::Data && !header.hidden.dedupe {
            self.open = Some(open);
            return Ok((None, next));
        }
        let body = open.window.body(open.file.as_ref(), at.position, &header, limit).map_err(io)?;
        let body = body.ok_or_else(|| rot("the frame is longer than the file"))?;
        let body = header.body_in(&body).ok_or_else(|| rot("checksum of the body"))?;
        let rows = match header.kind {
            FrameKind::Data => {
                Some(decode_rows(&header, &body, &open.schemas).map_err(|e| rot(&e))?)
            }
            _ => None,
        };
        self.open = Some(open);
        Ok((entry(id, &header, rows), next))
    }

    fn open_file(
        &self,
        id: SegmentId,
        path: &Arc<Path>,
        schemas: &Arc<FrameSchemas>,
    ) -> Result<OpenFile, ReadError> {
        let file = self.partition.env().disk.open(path, Open::Read).map_err(|e| ReadError::Io {
            partition: self.partition.id(),
            detail: format!("{}: {e}", path.display()).into(),
        })?;
        Ok(OpenFile { id, schemas: Arc::clone(schemas), file, window: Window::default() })
    }

    /// Whether a frame that is whole is the one to stand there.
    fn expects(&self, header: &Header, at: Cursor, schema: SchemaId) -> bool {
        let expected = match at.position {
            0 => Some(at.segment.base),
            _ => self.expected.filter(|(place, _)| *place == at).map(|(_, offset)| offset),
        };
        header.partition_uid == self.partition.uid()
            && header.log_epoch == at.segment.epoch
            && header.schema_id == schema
            && expected.is_none_or(|offset| header.base_offset == offset)
    }
}

/// Where to start for `from`: at or before the first frame that ends above it or stands at it; the offset
/// that begins there, if the index says so.
fn seek(published: &Published, from: Offset) -> Option<(Cursor, Option<Offset>)> {
    let holds = |s: &&super::published::PublishedSegment| s.summary.end_offset >= from;
    let segment = published.segments.iter().find(holds).or(published.segments.last())?;
    let position = segment.summary.seek(from);
    let index = &segment.summary.index;
    let known = index.binary_search_by_key(&position, |entry| entry.position);
    let offset = known.ok().map(|entry| index[entry].offset);
    Some((Cursor { segment: segment.id, position }, offset))
}
