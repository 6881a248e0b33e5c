//! Removing the oldest segments of a partition, and closing one that nobody writes to any more.
//!
//! Promise (L3): the new start is durable before a file goes, and lies at or before every hold.

use super::{Partition, PartitionState, StoreError};
use crate::log::entry::SegmentInfo;
use crate::log::errors::TrimError;
use crate::log::format::Feature;
use crate::log::holds::{HeldBy, Hold};
use crate::log::published::Cursor;
use crate::log::retention::{ReleasedHold, expired, free};
use crate::log::starts::{Start, put_producers};
use crate::log::vouched;
use crate::model::{AppendTime, Offset, Retention};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::{info, warn};

impl Partition {
    /// Removes the segments all of whose rows lie before `before`, as far as nobody holds them; the
    /// newest stays. Gives the new start.
    /// # Errors
    /// The catalog or the disk did not take it.
    pub fn trim(&self, before: Offset) -> Result<Offset, TrimError> {
        let _one_at_a_time = self.trimming.lock();
        let segments = self.segments();
        let older = segments.split_last().map_or(&[][..], |(_, older)| older);
        let asked = older.iter().take_while(|s| s.sealed && s.end_offset <= before).count();
        self.remove_oldest(&segments, asked)?;
        Ok(self.ends().log_start)
    }

    /// Removes what `policy` does not keep and nobody holds; how many segments. `parts` is the number
    /// of partitions that share its bytes.
    pub(in crate::log) fn retain(
        &self,
        policy: Retention,
        parts: u32,
        now: AppendTime,
    ) -> Result<usize, TrimError> {
        let _one_at_a_time = self.trimming.lock();
        let segments = self.segments();
        let expired = expired(&segments, policy, parts, now);
        if expired == 0 {
            return Ok(0);
        }
        let kept = |from: Offset| {
            let held = segments[..expired].iter().filter(|s| s.end_offset > from);
            held.map(|s| s.bytes).sum()
        };
        for HeldBy { name, from } in self.env().holds.release_over(self.uid(), kept) {
            warn!(partition = %self.name(), hold = name, "a hold kept too much and was released");
            let (partition, at) = (self.name().to_owned(), now);
            self.env().removals.note_released(ReleasedHold { name, partition, from, at });
        }
        self.remove_oldest(&segments, expired)
    }

    /// From here on `hold` keeps its rows from `from` on; gives the oldest row there is then. What was
    /// being removed meanwhile is waited for.
    pub fn hold(&self, hold: &Hold, from: Offset) -> Offset {
        let _no_removal = self.trimming.lock();
        hold.keep(self.uid(), from);
        self.ends().log_start
    }

    /// Append time of the newest row that was removed.
    pub fn newest_removed(&self) -> Option<AppendTime> {
        self.with_published(|published| published.start.map(|start| start.newest_append))
    }

    /// Who keeps the most of it from being removed.
    pub fn held_by(&self) -> Option<HeldBy> {
        self.env().holds.oldest(self.uid())
    }

    /// Removes the first `wanted` segments, fewer where they are held; how many.
    fn remove_oldest(&self, segments: &[SegmentInfo], wanted: usize) -> Result<usize, TrimError> {
        let held = self.held_by().map(|held| held.from);
        let count = free(segments, wanted, held);
        let damaged = matches!(self.state(), PartitionState::Corrupt(_));
        if count == 0 || damaged {
            return Ok(0);
        }
        let (start, gone, paths) = self.with_published(|published| {
            let gone = &published.segments[..count];
            let first = &published.segments[count];
            let newest_event = gone.iter().map(|s| s.summary.newest_event()).max();
            let newest_append = gone.iter().map(|s| s.summary.max_append_time).max();
            let before = published.start;
            let start = Start {
                first: first.id,
                newest_event: newest_event.max(before.map(|s| s.newest_event)).expect("some go"),
                newest_append: newest_append.max(before.map(|s| s.newest_append)).expect("some go"),
            };
            let paths: Vec<Arc<Path>> = gone.iter().map(|s| Arc::clone(&s.path)).collect();
            (start, gone.iter().map(|s| s.id).collect::<Vec<_>>(), paths)
        });
        let is_free = held.is_none_or(|held| start.first.base <= held);
        assert!(is_free, "L3: retention never passes a hold");
        self.env().need(Feature::LogStart)?;
        let producers = put_producers(self.uid(), &self.core.lock().producers);
        let mut changes = vec![start.put(self.uid()), producers];
        changes.extend(gone.into_iter().map(|id| vouched::forget(self.uid(), id)));
        self.env().catalog.change(&changes)?;
        {
            let mut published = self.published.lock();
            let gone = published.segments.drain(..count);
            assert!(
                gone.into_iter().all(|s| held.is_none_or(|held| s.summary.end_offset <= held)),
                "L3: nothing that was held is gone"
            );
            published.start = Some(start);
            published.recent.forget_before(Cursor { segment: start.first, position: 0 });
        }
        self.env().removals.segments.fetch_add(count as u64, Ordering::Relaxed);
        let bytes = segments[..count].iter().map(|s| s.bytes).sum();
        self.env().removals.bytes.fetch_add(bytes, Ordering::Relaxed);
        info!(partition = %self.name(), segments = count, start = %start.first.base, "oldest rows removed");
        self.unlink(&paths)?;
        Ok(count)
    }

    /// Oldest first, so that what a crash leaves has no hole.
    fn unlink(&self, paths: &[Arc<Path>]) -> Result<(), TrimError> {
        let disk = &self.env().disk;
        for path in paths {
            disk.unlink(path).map_err(|error| not_removed(path, &error))?;
        }
        let directory = paths.first().and_then(|path| path.parent());
        directory.map_or(Ok(()), |directory| {
            disk.sync_directory(directory).map_err(|error| not_removed(directory, &error))
        })
    }

    /// Closes the segment that is being written if its rows are older than a segment may be.
    pub(in crate::log) fn close_old(&self) {
        let mut core = self.core.lock();
        // Its rows are older than what a new segment would begin with, and they close this one if they must.
        if core.behind.is_some() {
            return;
        }
        let super::Core { writer, producers, .. } = &mut *core;
        let tail = |used: &[u64]| self.seal_tail(used, producers);
        match writer.roll_when_old(self.env(), &tail) {
            Ok(false) => {}
            Ok(true) => {
                let mut published = self.published.lock();
                if core.writer.active.is_none()
                    && let Some(last) = published.segments.last_mut()
                {
                    last.sealed = true;
                }
                self.add_segment(&mut core, &mut published);
            }
            Err(StoreError::Full | StoreError::FullAfterFailure) => {
                self.published.lock().enter(PartitionState::ReadOnlyFull);
            }
            Err(StoreError::Failed(detail)) => {
                self.published.lock().enter(PartitionState::Failed(detail.to_string()));
            }
        }
    }
}

fn not_removed(path: &Path, error: &std::io::Error) -> TrimError {
    TrimError::Disk {
        path: Arc::from(path.display().to_string()),
        detail: Arc::from(error.to_string()),
    }
}
