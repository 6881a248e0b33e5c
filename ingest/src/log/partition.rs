//! One partition: its queue, what is published of it, and what proves it.
//!
//! Promise: receipts are answered after the sync (L1), in the order of offsets (L2); readers see a
//! group when it is durable (L4).
//! Elsewhere: what is queued is `appending`'s, a group's way to the disk `planning`'s and
//! `committing`'s, removing the oldest segments is `trim`'s, files are `writer`'s, frames `group`'s.

mod appending;
mod committing;
mod planning;
mod remember;
mod trim;

pub(super) use committing::Next;
pub(super) use planning::{Planning, Ready};

use super::backup::{Cut, CutFile};
use super::dedupe::DedupeWindow;
use super::entry::{Ends, PartitionState, SegmentInfo};
use super::env::Env;
use super::errors::ReadError;
use super::frame::Frame;
use super::group::{Group, Planned, Reply};
use super::index::Summary;
use super::internal::InternalLog;
use super::producer::ProducerTable;
use super::published::{Cursor, Published, PublishedSegment, entry};
use super::queue::Queue;
use super::reader::PartitionReader;
use super::recovery::Stop;
use super::room::Purpose;
use super::segment::{Predecessor, Syncing};
use super::streams::{CurrentSchema, NameCounts};
use super::ticks::TickPolicy;
use super::writer::{StoreError, Writer};
use crate::model::{AppendTime, EventTime, Offset, PartitionId, SeriesDirectory};
use arrow::array::RecordBatch;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tracing::error;

/// A partition of a stream or of an internal log.
#[derive(Debug)]
pub struct Partition {
    id: PartitionId,
    uid: u64,
    name: String,
    env: Arc<Env>,
    rows: Rows,
    pub(super) queue: Queue,
    published: Mutex<Published>,
    core: Mutex<Core>,
    unproven: AtomicBool,
    /// Held while the oldest segments are removed.
    trimming: Mutex<()>,
}

/// What a partition's rows are.
#[derive(Debug)]
pub(super) enum Rows {
    Readings {
        current: Arc<CurrentSchema>,
        series: Arc<SeriesDirectory>,
        durable: Arc<AtomicU32>,
        ticks: Arc<Mutex<TickPolicy>>,
        /// Rows from the future that are kept.
        stamped: Arc<NameCounts>,
    },
    Internal(InternalLog),
}

/// What the committer alone touches.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) writer: Writer,
    /// The producers of what is durable: what a seal keeps of them.
    pub(super) producers: ProducerTable,
    pub(super) planning: Planning,
    /// What was planned while the group before it was synced.
    pub(super) behind: Option<Ready>,
}

impl Partition {
    pub(super) fn new(
        id: PartitionId,
        name: String,
        env: Arc<Env>,
        rows: Rows,
        published: Published,
        core: Core,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            uid: core.writer.partition_uid,
            name,
            env,
            rows,
            queue: Queue::default(),
            published: Mutex::new(published),
            core: Mutex::new(core),
            unproven: AtomicBool::new(false),
            trimming: Mutex::default(),
        })
    }

    /// Its number in its stream.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Stream and number, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of rows that wait for their commit.
    pub fn waiting_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// How far it has come.
    pub fn ends(&self) -> Ends {
        let published = self.published.lock();
        let log_start = published.log_start();
        let safe_time = match (&published.state, published.in_flight.front()) {
            (_, Some(first)) => AppendTime(first.0 - 1),
            (PartitionState::Failed(_) | PartitionState::Corrupt(_), None) => AppendTime(i64::MAX),
            (_, None) => self.env.append_clock.floor(),
        };
        Ends { log_start, durable_end: published.durable_end, safe_time }
    }

    /// How it is.
    pub fn state(&self) -> PartitionState {
        let state = self.published.lock().state.clone();
        let takes_rows = match self.rows {
            Rows::Readings { .. } => self.env.room.now().admits(Purpose::Rows),
            Rows::Internal(_) => true,
        };
        match state {
            PartitionState::Ready if !takes_rows => PartitionState::ReadOnlyFull,
            state => state,
        }
    }

    /// The largest event time of its durable rows and ticks.
    pub fn newest_event_time(&self) -> Option<EventTime> {
        self.published.lock().newest_event
    }

    /// The append time of its newest durable entry.
    pub fn newest_append_time(&self) -> Option<AppendTime> {
        self.published.lock().newest_append()
    }

    /// A reader that starts at the frame that holds `from`, or the next one.
    pub fn reader(self: &Arc<Self>, from: Offset) -> PartitionReader {
        PartitionReader::from_offset(Arc::clone(self), from)
    }

    /// Its files, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.published.lock().segments.iter().map(|s| s.summary.info(s.sealed)).collect()
    }

    /// A reader of only the segment that starts at `segment`, up to the durable end.
    pub fn segment_reader(self: &Arc<Self>, segment: Offset) -> PartitionReader {
        PartitionReader::of_segment(Arc::clone(self), segment)
    }

    /// How far back ids are remembered now; `None` where they are not.
    pub fn dedupe_window(&self) -> Option<Duration> {
        self.core.lock().planning.dedupe.as_ref().map(DedupeWindow::true_window)
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn with_published<T>(&self, read: impl FnOnce(&Published) -> T) -> T {
        read(&self.published.lock())
    }

    /// Whether a sync marker is due when the partition stays idle.
    pub(super) fn is_unproven(&self) -> bool {
        self.unproven.load(Ordering::SeqCst)
    }

    /// A reader met bytes that changed since they were confirmed.
    pub(super) fn note_rot(&self, error: &ReadError) {
        let ReadError::Rot { .. } = error else { return };
        let mut published = self.published.lock();
        if !matches!(published.state, PartitionState::Corrupt(_)) {
            error!(partition = %self.name, %error, "partition is damaged");
            published.state = PartitionState::Corrupt(error.to_string());
        }
        drop(published);
        self.env.changes.send_modify(|changes| *changes += 1);
    }

    fn publish(&self, core: &mut Core, group: Group) {
        let mut position = self.start_of(core, &group);
        let published_end = {
            let mut published = self.published.lock();
            if !group.frames.is_empty() {
                self.add_segment(core, &mut published);
            }
            for Planned { frame, rows } in group.frames {
                let writer = &mut core.writer;
                assert_eq!(frame.header.base_offset, writer.next_offset, "L2: offsets are dense");
                writer.next_offset = frame.header.end_offset();
                if let Some(rows) = &rows {
                    self.note_rows(writer, rows, &frame.header);
                }
                position = publish_frame(self.id, &mut published, &frame, rows, position);
            }
            for stored in group.sent {
                core.producers.note(stored);
            }
            published.durable_end = core.writer.next_offset;
            published.in_flight.pop_front();
            published.enter(PartitionState::Ready);
            published.newest_event = published.newest_event.max(group.newest_event);
            position
        };
        if let Some(active) = &core.writer.active {
            assert!(published_end <= active.synced, "L1, L4: only what is synced is published");
        }
        self.unproven.store(true, Ordering::SeqCst);
        // Those who wait come first: they send the next group while this one is looked at.
        answer(group.replies);
        self.env.changes.send_modify(|changes| *changes += 1);
    }

    fn start_of(&self, core: &Core, group: &Group) -> u64 {
        let bytes: u64 = group.frames.iter().map(|p| p.frame.header.frame_bytes()).sum();
        core.writer.active.as_ref().map_or(0, |active| active.written() - bytes)
    }

    /// Shows the segment being written, if it is new, and closes the one before.
    fn add_segment(&self, core: &mut Core, published: &mut Published) {
        let Some(active) = &core.writer.active else { return };
        if published.segments.last().is_some_and(|last| last.id == active.id) {
            return;
        }
        if let Some(last) = published.segments.last_mut() {
            last.sealed = true;
        }
        published.segments.push(PublishedSegment {
            id: active.id,
            path: Arc::from(active.path.as_path()),
            schemas: Arc::clone(&active.schemas),
            summary: Summary::empty(active.id.base),
            sealed: false,
        });
    }

    /// Proves the last sync with a marker, after a time without work.
    pub(super) fn prove(&self) {
        let mut core = self.core.lock();
        if !self.unproven.swap(false, Ordering::SeqCst) {
            return;
        }
        match core.writer.prove(&self.env) {
            Ok(()) => {}
            // Tried again after the next time without work.
            Err(StoreError::Full | StoreError::FullAfterFailure) => {
                self.unproven.store(true, Ordering::SeqCst);
            }
            Err(StoreError::Failed(detail)) => {
                self.published.lock().enter(PartitionState::Failed(detail.to_string()));
            }
        }
    }

    /// Commits what is queued and takes nothing more.
    pub(super) fn finish(&self) {
        self.queue.close();
        while self.commit_group(Syncing::Inline).is_some() {}
    }

    /// Up to where everything is synced; at a clean stop after committing what is queued and giving
    /// back what is reserved. `None` where that is not known: nothing written, failed, or damaged.
    pub(super) fn point(&self, stop: Stop) -> Option<Predecessor> {
        if stop == Stop::Clean {
            self.finish();
        }
        if let PartitionState::Corrupt(_) = self.state() {
            return None;
        }
        let mut core = self.core.lock();
        let broken = core.writer.failed.is_some() || core.writer.must_heal;
        if broken || (stop == Stop::Clean && core.writer.trim().is_err()) {
            return None;
        }
        core.writer.synced_point()
    }

    /// Nothing is committed to it until what this gives is dropped.
    pub(super) fn stand(&self) -> Standing<'_> {
        Standing { partition: self, core: self.core.lock() }
    }

    /// Its identity in every frame, in holds and in the positions of groups.
    pub fn uid(&self) -> u64 {
        self.uid
    }
}

/// A partition to which nothing is committed.
#[derive(Debug)]
pub(super) struct Standing<'p> {
    partition: &'p Partition,
    core: MutexGuard<'p, Core>,
}

impl Standing<'_> {
    /// What a backup copies of it: all that is durable now.
    pub(super) fn cut(&self) -> Cut {
        let active = self.core.writer.active.as_ref().filter(|active| active.synced > 0);
        let broken = self.core.writer.failed.is_some() || self.core.writer.must_heal;
        let published = self.partition.published.lock();
        let closed = published.segments.iter().filter(|s| active.is_none_or(|a| a.id != s.id));
        let mut files: Vec<CutFile> =
            closed.map(|s| CutFile { path: s.path.to_path_buf(), length: None }).collect();
        files.extend(active.map(|a| CutFile { path: a.path.clone(), length: Some(a.synced) }));
        Cut {
            files,
            point: self.core.writer.synced_point().filter(|point| !broken && point.length > 0),
            log_start: published.log_start(),
            durable_end: published.durable_end,
        }
    }
}

fn answer(replies: Vec<Reply>) {
    for (reply, appended) in replies {
        // Whoever asked may have gone away; the rows stay.
        drop(reply.send(Ok(appended)));
    }
}

fn publish_frame(
    id: PartitionId,
    published: &mut Published,
    frame: &Frame,
    rows: Option<RecordBatch>,
    position: u64,
) -> u64 {
    let next = position + frame.header.frame_bytes();
    let segment = published.segments.last_mut().expect("the active segment was added");
    segment.summary.add(&frame.header, position);
    let segment = segment.id;
    if let Some(entry) = entry(id, &frame.header, rows) {
        let cursor = |position| Cursor { segment, position };
        published.recent.push(cursor(position), cursor(next), entry);
    }
    next
}

fn take_frame(frame: &mut Frame) -> Frame {
    Frame { header: frame.header.clone(), body: std::mem::take(&mut frame.body) }
}

#[cfg(test)]
mod tests;
