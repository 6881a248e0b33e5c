//! What waits for a committer.

use super::entry::TickKind;
use super::producer::Source;
use super::receipt::AppendResult;
use crate::model::{AppendTime, EventTime};
use arrow::array::RecordBatch;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;

/// Something to append, and who waits for it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) payload: Payload,
    pub(super) bytes: usize,
    /// When it came, on the monotonic clock.
    pub(super) queued_us: u64,
    pub(super) reply: oneshot::Sender<AppendResult>,
}

/// What to append.
#[derive(Debug)]
pub(super) enum Payload {
    Rows { batch: RecordBatch, source: Option<Source> },
    Tick { event_time: EventTime, kind: TickKind },
    Restart { down_from: AppendTime },
}

/// Why a committer woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    Work,
    Idle,
    Closed,
}

/// First in, first out. Its bytes are bounded by the door's budget.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Item>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Adds an item, or gives it back if the queue is closed.
    pub(super) fn push(&self, item: Item) -> Result<(), Item> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(item);
        }
        inner.bytes += item.bytes;
        inner.items.push_back(item);
        drop(inner);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes items of at most `bytes_max` together, at least one if there is one; rows of one
    /// schema family only, as `same` tells.
    pub(super) fn take(
        &self,
        bytes_max: usize,
        same: impl Fn(&RecordBatch, &RecordBatch) -> bool,
    ) -> Vec<Item> {
        let mut inner = self.inner.lock();
        let mut group: Vec<Item> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = inner.items.front() {
            let fits = group.is_empty() || bytes + next.bytes <= bytes_max;
            let first = group.iter().find_map(rows);
            let alike = match (first, rows(next)) {
                (Some(first), Some(next)) => same(first, next),
                _ => true,
            };
            if !fits || !alike {
                break;
            }
            bytes += next.bytes;
            group.extend(inner.items.pop_front());
        }
        inner.bytes -= bytes;
        group
    }

    /// Bytes of rows that wait.
    pub(super) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Waits for work; `Idle` after `idle_after` without any.
    pub(super) fn wait(&self, idle_after: Option<Duration>) -> Wake {
        let mut inner = self.inner.lock();
        loop {
            if !inner.items.is_empty() {
                return Wake::Work;
            }
            if inner.closed {
                return Wake::Closed;
            }
            match idle_after {
                None => self.arrived.wait(&mut inner),
                Some(after) => {
                    if self.arrived.wait_for(&mut inner, after).timed_out()
                        && inner.items.is_empty()
                    {
                        return if inner.closed { Wake::Closed } else { Wake::Idle };
                    }
                }
            }
        }
    }

    /// Takes nothing more; what is in it is still committed.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.arrived.notify_all();
    }
}

fn rows(item: &Item) -> Option<&RecordBatch> {
    match &item.payload {
        Payload::Rows { batch, .. } => Some(batch),
        Payload::Tick { .. } | Payload::Restart { .. } => None,
    }
}
