//! The committer's side of a partition: the file being written, rolling it, healing after a failure.
//!
//! Promise (L5): after a failed write or sync the file is never written again; what was not proven
//! goes into a new one. A full disk refuses and changes nothing.

use super::env::Env;
use super::frame::{Frame, FrameKind, FrameSchemas, HEADER_BYTES, Header};
use super::seal::{SealTail, TRAILER_BYTES, seal_frames, trailer};
use super::segment::{
    ALLOCATION_MIN, Meanwhile, NewSegment, OpenSegment, Predecessor, SegmentId, Spare,
    prepare_spare,
};
use crate::model::Offset;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{error, warn};

/// Why frames were not stored.
#[derive(Debug)]
pub(super) enum StoreError {
    /// No room; nothing was written.
    Full,
    /// No room after a failure: the frames may or may not be there. Healed when there is room.
    FullAfterFailure,
    /// The disk failed twice; this partition writes no more.
    Failed(Arc<str>),
}

/// Which of the two ways an attempt failed.
enum Attempt {
    Refused,
    Broken(io::Error),
}

/// Writes the segments of one partition.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) directory: PathBuf,
    pub(super) partition_uid: u64,
    pub(super) active: Option<OpenSegment>,
    /// What the next segment follows when none is active.
    pub(super) follows: Option<Predecessor>,
    pub(super) epoch: u32,
    pub(super) next_offset: Offset,
    /// Set while an earlier failure is not healed for want of room.
    pub(super) must_heal: bool,
    /// Set when the partition has failed.
    pub(super) failed: Option<Arc<str>>,
    pub(super) last_allocation: u64,
    /// The segment whose successor was prepared.
    pub(super) prepared: Option<SegmentId>,
    pub(super) spare: Spare,
    pub(super) used_series: Vec<u64>,
}

impl Writer {
    /// Makes `frames` durable, one sync for all; on success they stand in `self.active`. While the disk
    /// syncs `meanwhile` may be done, or it may not.
    pub(super) fn store(
        &mut self,
        env: &Env,
        schemas: &Arc<FrameSchemas>,
        frames: &mut [Frame],
        tail: &dyn Fn(&[u64]) -> SealTail,
        meanwhile: Option<Meanwhile<'_>>,
    ) -> Result<(), StoreError> {
        if let Some(detail) = &self.failed {
            return Err(StoreError::Failed(Arc::clone(detail)));
        }
        if self.must_heal {
            return self.heal(env, schemas, frames);
        }
        match self.attempt(env, schemas, frames, tail, meanwhile) {
            Ok(()) => Ok(()),
            Err(Attempt::Refused) => Err(StoreError::Full),
            Err(Attempt::Broken(error)) => {
                warn!(directory = %self.directory.display(), %error, "write failed, moving to a new segment");
                self.heal(env, schemas, frames)
            }
        }
    }

    fn attempt(
        &mut self,
        env: &Env,
        schemas: &Arc<FrameSchemas>,
        frames: &mut [Frame],
        tail: &dyn Fn(&[u64]) -> SealTail,
        meanwhile: Option<Meanwhile<'_>>,
    ) -> Result<(), Attempt> {
        let bytes: u64 = frames.iter().map(|f| f.header.frame_bytes()).sum();
        if self.must_roll(env, schemas, frames) {
            self.roll(env, tail).map_err(Attempt::Broken)?;
        }
        let Some(active) = &mut self.active else {
            return self.start(env, schemas, frames).map_err(refused_if_full);
        };
        make_room(active, bytes, env.config.segment_bytes_max).map_err(refused_if_full)?;
        active.write(frames).map_err(Attempt::Broken)?;
        let took = active.sync_beside(env.clock.as_ref(), meanwhile).map_err(Attempt::Broken)?;
        env.measured(self.partition_uid).synced(took);
        self.prepare(env);
        Ok(())
    }

    /// Frames without rows go on in the file that is there, whatever its size, age and schema.
    fn must_roll(&self, env: &Env, schemas: &Arc<FrameSchemas>, frames: &[Frame]) -> bool {
        let Some(active) = &self.active else { return false };
        if !frames.iter().any(|f| f.header.kind == FrameKind::Data) {
            return false;
        }
        let bytes: u64 = frames.iter().map(|f| f.header.frame_bytes()).sum();
        let holds_rows = active.summary.rows > 0;
        let too_large = active.written() + bytes > env.config.segment_bytes_max;
        let other_schema = active.schema_id() != schemas.id;
        other_schema || (holds_rows && (too_large || is_old(active, env)))
    }

    /// Closes a segment whose rows are older than a segment may be, though nothing comes, so that
    /// retention can remove it; whether it did.
    pub(super) fn roll_when_old(
        &mut self,
        env: &Env,
        tail: &dyn Fn(&[u64]) -> SealTail,
    ) -> Result<bool, StoreError> {
        let Some(active) = &self.active else { return Ok(false) };
        if self.failed.is_some() || active.summary.rows == 0 || !is_old(active, env) {
            return Ok(false);
        }
        let schemas = Arc::clone(&active.schemas);
        let rolled = self.roll(env, tail).and_then(|()| match self.start(env, &schemas, &mut []) {
            // The next group will find out whether there is room.
            Err(full) if full.kind() == io::ErrorKind::StorageFull => Ok(()),
            started => started,
        });
        match rolled {
            Ok(()) => Ok(true),
            Err(error) => {
                warn!(directory = %self.directory.display(), %error, "closing a segment failed");
                self.heal(env, &schemas, &mut []).map(|()| true)
            }
        }
    }

    /// Closes the active segment with its seal.
    fn roll(&mut self, env: &Env, tail: &dyn Fn(&[u64]) -> SealTail) -> io::Result<()> {
        let tail = tail(&self.used_series);
        let Some(active) = &mut self.active else { return Ok(()) };
        assert_eq!(active.synced, active.written(), "a segment is sealed after its last sync");
        let position = active.written();
        active.write(&mut seal_frames(&active.summary.clone(), &tail, env.append_clock.draw()))?;
        let end = active.written();
        let last = trailer(position, end, self.partition_uid, active.id.epoch);
        active.file.pwrite(&[io::IoSlice::new(&last)], end)?;
        active.file.set_len(end + TRAILER_BYTES)?;
        active.sync()?;
        self.follows = Some(Predecessor { id: active.id, length: end + TRAILER_BYTES });
        self.last_allocation = active.allocated;
        self.active = None;
        Ok(())
    }

    /// Starts a segment that holds `frames`.
    fn start(
        &mut self,
        env: &Env,
        schemas: &Arc<FrameSchemas>,
        frames: &mut [Frame],
    ) -> io::Result<()> {
        let base = frames.first().map_or(self.next_offset, |f| f.header.base_offset);
        let taken = self.follows.is_some_and(|f| f.id.base == base && f.id.epoch >= self.epoch);
        let id = SegmentId { base, epoch: self.epoch + u32::from(taken) };
        let append_time =
            frames.first().map_or_else(|| env.append_clock.draw(), |f| f.header.append_time);
        let segment = NewSegment {
            disk: env.disk.as_ref(),
            directory: &self.directory,
            partition_uid: self.partition_uid,
            id,
            schemas: Arc::clone(schemas),
            follows: self.follows,
            append_time,
            allocate: next_allocation(self.last_allocation, env.config.segment_bytes_max),
            spare: std::mem::replace(&mut self.spare, Spare::Unknown),
        }
        .create(frames)?;
        self.epoch = id.epoch;
        self.used_series.clear();
        self.active = Some(segment);
        Ok(())
    }

    /// Leaves the active segment at its last proven sync and writes `frames` into a new one.
    fn heal(
        &mut self,
        env: &Env,
        schemas: &Arc<FrameSchemas>,
        frames: &mut [Frame],
    ) -> Result<(), StoreError> {
        if let Some(broken) = self.active.take() {
            self.follows = Some(Predecessor { id: broken.id, length: broken.synced });
            self.last_allocation = 0;
        }
        self.epoch += 1;
        match self.start(env, schemas, frames) {
            Ok(()) => {
                self.must_heal = false;
                Ok(())
            }
            Err(full) if full.kind() == io::ErrorKind::StorageFull => {
                self.must_heal = true;
                Err(StoreError::FullAfterFailure)
            }
            Err(error) => {
                error!(directory = %self.directory.display(), %error, "partition failed");
                let detail: Arc<str> = Arc::from(error.to_string());
                self.failed = Some(Arc::clone(&detail));
                Err(StoreError::Failed(detail))
            }
        }
    }

    /// Appends a marker that proves the last sync, so that rot in it can be told from a tear.
    pub(super) fn prove(&mut self, env: &Env) -> Result<(), StoreError> {
        let next_offset = self.next_offset;
        let Some(active) = &mut self.active else { return Ok(()) };
        if self.failed.is_some() {
            return Ok(());
        }
        match make_room(active, HEADER_BYTES as u64, env.config.segment_bytes_max) {
            Err(full) if full.kind() == io::ErrorKind::StorageFull => return Err(StoreError::Full),
            // Nothing was written; should the disk have failed, the next write shows it.
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        let marker = Header::bare(FrameKind::SyncMarker, next_offset, env.append_clock.draw());
        let written = active.write(&mut [Frame::bare(marker)]).and_then(|()| active.sync());
        match written {
            Ok(()) => Ok(()),
            Err(error) => {
                warn!(directory = %self.directory.display(), %error, "sync marker failed");
                let schemas = Arc::clone(&active.schemas);
                self.heal(env, &schemas, &mut [])
            }
        }
    }

    /// Keeps a spare ready once the active segment is half full. A failure shows at the roll.
    fn prepare(&mut self, env: &Env) {
        let Some(active) = &self.active else { return };
        let half_full = active.written() > env.config.segment_bytes_max / 2;
        // Those of weir's own logs grow too slowly to keep room for.
        let of_stream = self.partition_uid >> 32 != 0;
        if of_stream && half_full && self.prepared != Some(active.id) {
            self.prepared = Some(active.id);
            let allocate = next_allocation(active.allocated, env.config.segment_bytes_max);
            match prepare_spare(env.disk.as_ref(), &self.directory, allocate) {
                Ok(()) => self.spare = Spare::Ready,
                Err(error) => {
                    warn!(directory = %self.directory.display(), %error, "no spare segment");
                }
            }
        }
    }

    /// Cuts what is reserved and not used, and syncs.
    pub(super) fn trim(&mut self) -> io::Result<()> {
        if let Some(active) = &mut self.active {
            active.file.set_len(active.written())?;
            active.allocated = active.written();
            active.zeroed = active.written();
            active.sync()?;
        }
        Ok(())
    }

    /// Where everything before is synced: what the catalog keeps as the recovery point.
    pub(super) fn synced_point(&self) -> Option<Predecessor> {
        match &self.active {
            Some(active) => Some(Predecessor { id: active.id, length: active.synced }),
            None => self.follows,
        }
    }

    /// Remembers the series of a batch for the seal.
    pub(super) fn use_series(&mut self, ids: &[u32]) {
        for id in ids {
            let word = (id / 64) as usize;
            if word >= self.used_series.len() {
                self.used_series.resize(word + 1, 0);
            }
            self.used_series[word] |= 1 << (id % 64);
        }
    }
}

/// Whether the rows of a segment have been in it for as long as they may.
fn is_old(active: &OpenSegment, env: &Env) -> bool {
    let age = active.first_rows_at_us.map(|at| env.clock.monotonic_us().saturating_sub(at));
    age.is_some_and(|age| u128::from(age) >= env.config.segment_age_max.as_micros())
}

/// Makes sure that `bytes` more have room in `active`, doubling what it has up to a whole segment.
fn make_room(active: &mut OpenSegment, bytes: u64, segment_bytes_max: u64) -> io::Result<()> {
    let length = active.written() + bytes;
    if length <= active.allocated {
        return Ok(());
    }
    let doubled = (active.allocated * 2).max(ALLOCATION_MIN);
    active.reserve(doubled.clamp(length, segment_bytes_max.max(length)))
}

fn refused_if_full(error: io::Error) -> Attempt {
    if error.kind() == io::ErrorKind::StorageFull {
        Attempt::Refused
    } else {
        Attempt::Broken(error)
    }
}

/// From 1 MiB doubling to a whole segment.
fn next_allocation(last: u64, segment_bytes_max: u64) -> u64 {
    (last * 2).clamp(ALLOCATION_MIN.min(segment_bytes_max), segment_bytes_max)
}
