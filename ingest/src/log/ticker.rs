//! The ticker: asks each stream's policy and writes the ticks that are due.
//!
//! Promise: writes nothing but ticks; what they say is decided in `ticks`. Each time it also sees how
//! full the disk is, and whether the clock is to be believed.

use super::env::Env;
use super::streams::Streams;
use super::ticks::LiveTicks;
use super::{EntryBody, Partition, TickKind};
use crate::model::{AppendTime, EventTime};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest and shortest time between two looks, on the machine's clock.
const LOOK_MAX: Duration = Duration::from_millis(250);
const LOOK_MIN: Duration = Duration::from_millis(5);

/// Ends the ticker.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Lets the ticker end.
    pub(super) fn ring(&self) {
        *self.rung.lock() = true;
        self.changed.notify_all();
    }

    /// Waits; whether it was rung.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let mut rung = self.rung.lock();
        if !*rung {
            self.changed.wait_for(&mut rung, at_most);
        }
        *rung
    }
}

/// Starts the thread.
pub(super) fn spawn(
    env: Arc<Env>,
    streams: Arc<Streams>,
    bell: Arc<Bell>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("ticker".to_owned()).spawn(move || {
        while !bell.wait(look_again(&env, &streams)) {
            tick(&env, &streams);
        }
    })
}

/// Often enough for the shortest `idle`, at whatever speed the clock runs.
fn look_again(env: &Env, streams: &Streams) -> Duration {
    let idle = streams.all().iter().map(|s| s.definition().options().idle).min();
    idle.map_or(LOOK_MAX, |idle| env.clock.real(idle / 8).clamp(LOOK_MIN, LOOK_MAX))
}

/// Queues the ticks that are due now; how many.
pub(super) fn tick(env: &Env, streams: &Streams) -> usize {
    env.look_at_room();
    let now = env.append_clock.floor();
    // Looked at after `now` was: a clock that is set in between is found out.
    let live = match env.look_at_clock().is_suspect() {
        true => LiveTicks::Stop,
        false => LiveTicks::Go,
    };
    let mut ticks = 0;
    for stream in streams.all() {
        let due = stream.ticks().lock().due_with(now, live);
        ticks += due.len();
        for tick in due {
            let partition = &stream.partitions()[tick.partition.0 as usize];
            // Nobody waits for a tick: the next one says more.
            drop(partition.append_tick(tick.event_time, TickKind::Idle));
        }
    }
    ticks
}

/// The newest event time of a partition and when it was appended.
pub(super) fn newest_event(partition: &Arc<Partition>) -> Option<(EventTime, AppendTime)> {
    let newest = partition.newest_event_time()?;
    let (segment, at) = partition.with_published(|published| {
        let segment = published.segments.iter().find(|s| s.summary.newest_event() == newest)?;
        Some((segment.id.base, segment.summary.newest_event_at))
    })?;
    if at.is_some() {
        return at.map(|at| (newest, at));
    }
    let mut reader = partition.segment_reader(segment);
    while let Ok(Some(entry)) = reader.next() {
        let is_event = matches!(entry.body, EntryBody::Rows(_) | EntryBody::Tick { .. });
        if is_event && entry.max_time == newest {
            return Some((newest, entry.append_time));
        }
    }
    None
}
