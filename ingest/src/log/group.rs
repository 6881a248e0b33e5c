//! Planning a group: from queued items to frames, one frame for all rows of a schema.
//!
//! Promise: a batch is in one frame, whole or not at all; duplicates are taken out before.

use super::dedupe::{Admission, DedupeWindow};
use super::entry::TickKind;
use super::errors::AppendError;
use super::frame::{
    EncodeRoom, Flush, Frame, FrameKind, FrameSchemas, Header, SourceRows, time_span,
};
use super::producer::{ProducerTable, Source, Stored, Verdict};
use super::queue::{Item, Payload};
use super::receipt::{AppendResult, Appended};
use crate::model::reading::{DEDUPE, Hidden, SERIES, conform};
use crate::model::{AppendTime, EventTime, Limits, Offset, PartitionId};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::UInt32Type;
use arrow::error::ArrowError;
use tokio::sync::oneshot;

/// What kind of rows a partition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKind {
    /// `reading::stored_schema`: hidden columns and series ids.
    Readings,
    /// An internal log's own schema.
    Plain,
}

/// A frame with the rows in it.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) frame: Frame,
    pub(super) rows: Option<RecordBatch>,
}

/// Who is answered what when the group is durable.
pub(super) type Reply = (oneshot::Sender<AppendResult>, Appended);

/// A group ready to be written.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) frames: Vec<Planned>,
    pub(super) replies: Vec<Reply>,
    /// Hashes remembered for rows of this group.
    pub(super) admitted: usize,
    /// Batches of producers in this group.
    pub(super) sent: Vec<Stored>,
    pub(super) series_needed: u32,
    pub(super) newest_event: Option<EventTime>,
    /// Why batches of producers were refused.
    pub(super) refused: Vec<AppendError>,
}

/// Builds a group.
pub(super) struct Planner<'a> {
    pub(super) kind: RowKind,
    pub(super) schemas: &'a FrameSchemas,
    pub(super) partition: PartitionId,
    pub(super) dedupe: Option<&'a mut DedupeWindow>,
    /// The producers of what is durable.
    pub(super) producers: &'a ProducerTable,
    /// Those of this group.
    pub(super) sending: ProducerTable,
    pub(super) room: &'a mut EncodeRoom,
    pub(super) next_offset: Offset,
    /// The group's first append time.
    pub(super) first: AppendTime,
    /// Draws a later one.
    pub(super) draw: &'a dyn Fn() -> AppendTime,
    pub(super) group: Group,
    pub(super) run: Run,
}

/// Rows that will share a frame.
#[derive(Debug, Default)]
pub(super) struct Run {
    batches: Vec<RecordBatch>,
    sent: Vec<SourceRows>,
    rows: usize,
    bytes: usize,
    at: Option<AppendTime>,
}

impl Planner<'_> {
    /// Plans all items, in order.
    pub(super) fn plan(mut self, items: Vec<Item>) -> (Group, Result<(), ArrowError>) {
        for item in items {
            let planned = match item.payload {
                Payload::Rows { batch, source } => match self.unsent(&batch, source, item.reply) {
                    Some(reply) => self.add_rows(batch, source, item.bytes, reply),
                    None => Ok(()),
                },
                Payload::Tick { event_time, kind } => self.add_tick(event_time, kind, item.reply),
                Payload::Restart { down_from } => self.add_restart(down_from, item.reply),
            };
            if let Err(error) = planned {
                return (self.group, Err(error));
            }
        }
        let end = self.finish_run();
        (self.group, end)
    }

    fn append_time(&mut self) -> AppendTime {
        if self.group.frames.is_empty() && self.run.at.is_none() {
            self.first
        } else {
            (self.draw)()
        }
    }

    /// Answers a batch that its producer must not or need not send; gives back who waits for one
    /// that is to be stored.
    fn unsent(
        &mut self,
        batch: &RecordBatch,
        source: Option<Source>,
        reply: oneshot::Sender<AppendResult>,
    ) -> Option<oneshot::Sender<AppendResult>> {
        let Some(source) = source else { return Some(reply) };
        let (partition, sequence) = (self.partition, source.sequence);
        let refused = match self.verdict(&source) {
            Verdict::New => return Some(reply),
            Verdict::Duplicate(base_offset) => {
                let rows = u32::try_from(batch.num_rows()).expect("FRAME_ROWS_MAX is below u32");
                let (append_time, duplicates) = (self.first, (0..rows).collect());
                let appended = Appended { base_offset, rows: 0, append_time, duplicates };
                self.group.replies.push((reply, appended));
                return None;
            }
            Verdict::Forgotten { oldest } => {
                AppendError::OutOfOrder { partition, sequence, oldest }
            }
            Verdict::Fenced { epoch } => AppendError::Fenced { partition, epoch },
        };
        // Whoever asked may have gone away.
        self.group.refused.push(refused.clone());
        drop(reply.send(Err(refused)));
        None
    }

    fn verdict(&self, source: &Source) -> Verdict {
        let before = self.producers.check(source, self.first);
        match (self.sending.check(source, self.first), before) {
            (Verdict::Duplicate(offset), _) | (_, Verdict::Duplicate(offset)) => {
                Verdict::Duplicate(offset)
            }
            (Verdict::New, before) => before,
            (now, _) => now,
        }
    }

    fn add_rows(
        &mut self,
        batch: RecordBatch,
        source: Option<Source>,
        bytes: usize,
        reply: oneshot::Sender<AppendResult>,
    ) -> Result<(), ArrowError> {
        let full = self.run.rows + batch.num_rows() > Limits::FRAME_ROWS_MAX
            || self.run.bytes + bytes > Limits::GROUP_BYTES_MAX;
        if full && self.run.rows > 0 {
            self.finish_run()?;
        }
        let at = match self.run.at {
            Some(at) => at,
            None => self.append_time(),
        };
        self.run.at = Some(at);
        let (batch, duplicates) = self.without_duplicates(batch, at)?;
        let rows = batch.num_rows();
        let base_offset = self.next_offset.plus(self.run.rows as u64);
        let rows_u32 = u32::try_from(rows).expect("FRAME_ROWS_MAX is below u32");
        self.group
            .replies
            .push((reply, Appended { base_offset, rows: rows_u32, append_time: at, duplicates }));
        if rows > 0 {
            if let Some(source) = source {
                let stored = Stored { source, base_offset, at };
                self.sending.note(stored);
                self.group.sent.push(stored);
                let first_row = u32::try_from(self.run.rows).expect("FRAME_ROWS_MAX is below u32");
                self.run.sent.push(SourceRows { source, first_row, rows: rows_u32 });
            }
            self.run.rows += rows;
            self.run.bytes += bytes;
            self.run.batches.push(batch);
        }
        Ok(())
    }

    fn without_duplicates(
        &mut self,
        batch: RecordBatch,
        at: AppendTime,
    ) -> Result<(RecordBatch, Vec<u32>), ArrowError> {
        let Some(window) = self.dedupe.as_deref_mut() else { return Ok((batch, Vec::new())) };
        if self.kind == RowKind::Plain || !self.schemas.hidden(&batch).dedupe {
            return Ok((batch, Vec::new()));
        }
        let Some(hashes) = batch.column_by_name(DEDUPE) else { return Ok((batch, Vec::new())) };
        let hashes = hashes.as_fixed_size_binary();
        let mut duplicates = Vec::new();
        for row in 0..hashes.len() {
            let hash = if hashes.is_valid(row) { hashes.value(row).first_chunk() } else { None };
            let Some(hash) = hash else { continue };
            match window.admit(*hash, at) {
                Admission::New => self.group.admitted += 1,
                Admission::Duplicate => {
                    duplicates.push(u32::try_from(row).expect("FRAME_ROWS_MAX is below u32"));
                }
            }
        }
        if duplicates.is_empty() {
            return Ok((batch, duplicates));
        }
        let mut keep = vec![true; batch.num_rows()];
        for row in &duplicates {
            keep[*row as usize] = false;
        }
        Ok((filter_record_batch(&batch, &BooleanArray::from(keep))?, duplicates))
    }

    fn finish_run(&mut self) -> Result<(), ArrowError> {
        let run = std::mem::take(&mut self.run);
        let (Some(at), false) = (run.at, run.batches.is_empty()) else { return Ok(()) };
        let hidden = match self.kind {
            RowKind::Readings => run
                .batches
                .iter()
                .fold(Hidden::default(), |hidden, batch| hidden.union(self.schemas.hidden(batch))),
            RowKind::Plain => Hidden::default(),
        };
        let schema = self.schemas.with(hidden);
        let batches: Vec<RecordBatch> = run.batches.iter().map(|b| conform(b, &schema)).collect();
        let rows = match batches.as_slice() {
            [one] => one.clone(),
            many => concat_batches(&schema, many)?,
        };
        let mut header = Header::bare(FrameKind::Data, self.next_offset, at);
        header.hidden = hidden;
        if let Some((min, max)) = time_span(&rows) {
            (header.min_time, header.max_time) = (min, max);
            self.group.newest_event = self.group.newest_event.max(Some(max));
        }
        if self.kind == RowKind::Readings {
            header.series_needed = series_needed(&rows);
            self.group.series_needed = self.group.series_needed.max(header.series_needed);
        }
        let frame = Frame::with_rows(header, &rows, &run.sent, self.room)?;
        self.next_offset = frame.header.end_offset();
        self.group.frames.push(Planned { frame, rows: Some(rows) });
        Ok(())
    }

    fn add_tick(
        &mut self,
        event_time: EventTime,
        kind: TickKind,
        reply: oneshot::Sender<AppendResult>,
    ) -> Result<(), ArrowError> {
        self.finish_run()?;
        let at = self.append_time();
        let mut header = Header::bare(FrameKind::Tick, self.next_offset, at);
        header.min_time = event_time;
        header.max_time = event_time;
        header.flush = if kind == TickKind::Flush { Flush::Yes } else { Flush::No };
        self.group.newest_event = self.group.newest_event.max(Some(event_time));
        self.add_bare(header, reply);
        Ok(())
    }

    fn add_restart(
        &mut self,
        down_from: AppendTime,
        reply: oneshot::Sender<AppendResult>,
    ) -> Result<(), ArrowError> {
        self.finish_run()?;
        let at = self.append_time();
        let mut header = Header::bare(FrameKind::Restart, self.next_offset, at);
        header.min_time = EventTime(down_from.0);
        header.max_time = header.min_time;
        self.add_bare(header, reply);
        Ok(())
    }

    fn add_bare(&mut self, header: Header, reply: oneshot::Sender<AppendResult>) {
        let appended = Appended {
            base_offset: header.base_offset,
            rows: 0,
            append_time: header.append_time,
            duplicates: Vec::new(),
        };
        self.group.replies.push((reply, appended));
        self.group.frames.push(Planned { frame: Frame::bare(header), rows: None });
    }
}

/// One more than the largest series id.
fn series_needed(rows: &RecordBatch) -> u32 {
    rows.column_by_name(SERIES)
        .and_then(|column| column.as_primitive_opt::<UInt32Type>())
        .and_then(arrow::compute::max)
        .map_or(0, |max| max + 1)
}
