//! Committing a group: written, synced, shown, answered.
//!
//! Promise: while the disk syncs a group, the next one is planned and encoded, where enough waits to
//! be worth a sync of its own; what is less goes on being gathered until the sync is done. Nothing of
//! the next group is written, shown or answered before the one it rests on is durable; if that one is
//! refused, so is the next, for the same reason.

use super::planning::{Before, Ready};
use super::{Core, Partition, Rows, answer, take_frame};
use crate::log::entry::PartitionState;
use crate::log::errors::AppendError;
use crate::log::format::Feature;
use crate::log::frame::Frame;
use crate::log::group::{Group, Reply};
use crate::log::measured::GroupMeasured;
use crate::log::segment::{Meanwhile, Syncing};
use crate::log::writer::StoreError;
use crate::sabotage::{self, Fault};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a committer has before it after a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) enum Next {
    /// A group that is planned.
    Planned,
    /// What is queued, if anything is.
    Queue,
}

impl Partition {
    /// Commits one group, if something is queued; what comes next if it did.
    pub(in crate::log) fn commit_group(&self, syncing: Syncing) -> Option<Next> {
        let mut core = self.core.lock();
        let ready = match core.behind.take() {
            Some(ready) => ready,
            None => {
                let items = self.take();
                if items.is_empty() {
                    return None;
                }
                let Core { writer, producers, planning, .. } = &mut *core;
                let before = Before { producers, sent: &[], end: writer.next_offset };
                let Some(ready) = self.plan(planning, items, before) else {
                    return Some(Next::Queue);
                };
                ready
            }
        };
        self.commit(&mut core, ready, syncing);
        Some(if core.behind.is_some() { Next::Planned } else { Next::Queue })
    }

    fn commit(&self, core: &mut Core, ready: Ready, syncing: Syncing) {
        let queued_us = ready.queued_us;
        let (mut group, stored) = self.store(core, ready, syncing);
        match stored {
            Ok(()) => {
                // Before the answers, so that whoever has one finds it counted.
                self.measure(&group, queued_us);
                self.publish(core, group);
                if sabotage::is(Fault::CatalogAfterFrame) {
                    drop(self.env.ledger.make_durable(&self.env.catalog));
                }
            }
            Err((error, state)) => {
                let behind = core.behind.take().map(|ready| ready.group).unwrap_or_default();
                if let Some(window) = &mut core.planning.dedupe {
                    window.take_back(group.admitted + behind.admitted);
                }
                group.replies.extend(behind.replies);
                self.refuse(group.replies, &error, state);
            }
        }
    }

    /// Makes a group durable, and plans the next one meanwhile.
    fn store(
        &self,
        core: &mut Core,
        ready: Ready,
        syncing: Syncing,
    ) -> (Group, Result<(), (AppendError, PartitionState)>) {
        let Ready { mut group, planned, schemas, .. } = ready;
        if sabotage::is(Fault::AckEarly) {
            answer(std::mem::take(&mut group.replies));
        }
        if let Err(error) = planned {
            let (partition, detail) = (self.id, Arc::from(error.to_string()));
            return (
                group,
                Err((AppendError::Unknown { partition, detail }, PartitionState::Ready)),
            );
        }
        let Some(last) = group.frames.last() else { return (group, Ok(())) };
        let end = last.frame.header.end_offset();
        if let Err(refused) = self.make_known(&group) {
            return (group, Err((refused, PartitionState::Ready)));
        }
        let mut frames: Vec<Frame> =
            group.frames.iter_mut().map(|planned| take_frame(&mut planned.frame)).collect();
        let Core { writer, producers, planning, behind } = core;
        let tail = |used: &[u64]| self.seal_tail(used, producers);
        let before = Before { producers, sent: &group.sent, end };
        let mut plan_next = || {
            *behind = self.plan(planning, self.take(), before);
            if let Some(behind) = behind
                && sabotage::is(Fault::NextEarly)
            {
                answer(std::mem::take(&mut behind.group.replies));
            }
        };
        let enough = self.queue.bytes() >= self.env.config.ahead_bytes_min;
        let meanwhile = enough.then_some(Meanwhile { syncing, act: &mut plan_next });
        let stored = writer.store(&self.env, &schemas, &mut frames, &tail, meanwhile);
        for (planned, frame) in group.frames.iter_mut().zip(frames) {
            planned.frame = frame;
        }
        (group, stored.map_err(|error| self.refusal(error)))
    }

    /// What must be durable in the catalog before a frame of the group is written.
    fn make_known(&self, group: &Group) -> Result<(), AppendError> {
        if let Rows::Readings { durable, .. } = &self.rows
            && durable.load(Ordering::SeqCst) < group.series_needed
            && !sabotage::is(Fault::CatalogAfterFrame)
        {
            self.env.ledger.make_durable(&self.env.catalog).map_err(AppendError::Catalog)?;
            assert!(
                durable.load(Ordering::SeqCst) >= group.series_needed,
                "a series id is durable before a frame that uses it is written"
            );
        }
        if !group.sent.is_empty() {
            self.env.need(Feature::Sources).map_err(AppendError::Catalog)?;
        }
        Ok(())
    }

    fn refusal(&self, error: StoreError) -> (AppendError, PartitionState) {
        let partition = self.id;
        match error {
            StoreError::Full => (AppendError::Full { partition }, PartitionState::ReadOnlyFull),
            StoreError::FullAfterFailure => {
                let detail = Arc::from("the disk filled up");
                (AppendError::Unknown { partition, detail }, PartitionState::ReadOnlyFull)
            }
            StoreError::Failed(detail) => {
                let state = PartitionState::Failed(detail.to_string());
                (AppendError::Unknown { partition, detail }, state)
            }
        }
    }

    /// Counts a durable group, whose first item came at `queued_us`.
    fn measure(&self, group: &Group, queued_us: u64) {
        if group.frames.is_empty() {
            return;
        }
        let headers = || group.frames.iter().map(|planned| &planned.frame.header);
        self.env.measured(self.uid).group(GroupMeasured {
            append_us: self.env.clock.monotonic_us().saturating_sub(queued_us),
            rows: headers().map(|header| u64::from(header.row_count)).sum(),
            bytes: headers().map(|header| header.frame_bytes()).sum(),
        });
    }

    /// Answers a group that is not durable, and the one behind it.
    fn refuse(&self, replies: Vec<Reply>, error: &AppendError, state: PartitionState) {
        {
            let mut published = self.published.lock();
            published.in_flight.clear();
            published.enter(state);
        }
        self.env.measured(self.uid).refused(error, replies.len() as u64);
        for (reply, _) in replies {
            drop(reply.send(Err(error.clone())));
        }
        self.env.changes.send_modify(|changes| *changes += 1);
    }
}
