//! When a rule's checkpoints are made; they are encoded and written on a thread of their own.
//!
//! Promise: the rule goes on while its checkpoint is written; one is written at a time, and one that
//! cannot be written is told and does not stop the rule.

use super::super::checkpoint::{Snapshot, save};
use super::super::holds::RuleHold;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use weir_ingest::log::Log;

/// How often a rule's state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// At the latest after this long, when there was something to take.
    pub every: Duration,
    /// Or after so many bytes of input.
    pub bytes: u64,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self { every: Duration::from_secs(10), bytes: 64 * 1024 * 1024 }
    }
}

/// Makes the checkpoints of one rule.
#[derive(Debug)]
pub struct Keeper {
    policy: CheckpointPolicy,
    log: Arc<Log>,
    made_at_us: u64,
    bytes: u64,
    /// Something was taken since the last one.
    taken: bool,
    writing: Option<JoinHandle<()>>,
    /// What the rule keeps of the log.
    hold: Option<Arc<RuleHold>>,
}

impl Keeper {
    /// None is made yet.
    pub fn new(policy: CheckpointPolicy, log: Arc<Log>) -> Self {
        let made_at_us = log.clock().monotonic_us();
        Self { policy, log, made_at_us, bytes: 0, taken: false, writing: None, hold: None }
    }

    /// What a checkpoint needs no more is let go.
    #[must_use]
    pub fn holding(self, hold: Arc<RuleHold>) -> Self {
        Self { hold: Some(hold), ..self }
    }

    /// An input was taken, and all that came of it is durable.
    pub fn took(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.taken = true;
    }

    /// Makes a checkpoint if it is time; `snapshot` may say that there is nothing to keep now.
    pub fn keep_if_due(&mut self, snapshot: impl FnOnce() -> Option<Snapshot>) {
        let now = self.log.clock().monotonic_us();
        let due = self.bytes >= self.policy.bytes
            || u128::from(now.saturating_sub(self.made_at_us)) >= self.policy.every.as_micros();
        let busy = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        if due && self.taken && !busy {
            self.keep(snapshot);
        }
    }

    /// Makes a last checkpoint, and waits until it is written.
    pub fn end(mut self, snapshot: impl FnOnce() -> Option<Snapshot>) {
        self.wait();
        if self.taken {
            self.keep(snapshot);
            self.wait();
        }
    }

    fn keep(&mut self, snapshot: impl FnOnce() -> Option<Snapshot>) {
        let Some(snapshot) = snapshot() else { return };
        self.wait();
        (self.made_at_us, self.bytes, self.taken) = (self.log.clock().monotonic_us(), 0, false);
        let (log, hold) = (Arc::clone(&self.log), self.hold.clone());
        let name = format!("checkpoint-{}", snapshot.uid);
        let write = move || write(&log, &snapshot, hold.as_deref());
        let writing = std::thread::Builder::new().name(name).spawn(write);
        self.writing = writing.ok();
    }

    fn wait(&mut self) {
        if let Some(writing) = self.writing.take()
            && writing.join().is_err()
        {
            tracing::error!("the thread of a checkpoint ended with a panic");
        }
    }
}

fn write(log: &Log, snapshot: &Snapshot, hold: Option<&RuleHold>) {
    let saved = save(log, snapshot).and_then(|_| hold.map_or(Ok(()), RuleHold::keep));
    if let Err(error) = saved {
        tracing::warn!(rule_uid = snapshot.uid, %error, "the rule goes on without this checkpoint");
    }
}
