//! The keeper: closes segments that have become old, removes what retention does not keep, and reads
//! closed ones again.
//!
//! Promise: takes no row and no reader by surprise; what may go is decided in `retention`, and nothing
//! goes before those who need old rows could say so.

use super::InternalLog;
use super::env::Env;
use super::partition::Partition;
use super::scrub::Scrubber;
use super::streams::Streams;
use super::ticker::Bell;
use crate::model::Retention;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::warn;

/// Longest and shortest time between two looks, and the time between two times that the scrubber goes
/// on: on the machine's clock, as it is the machine's disk that is read.
const LOOK_MAX: Duration = Duration::from_secs(30);
const LOOK_MIN: Duration = Duration::from_secs(1);
const SCRUB_EVERY: Duration = Duration::from_secs(5);

/// What it looks after.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) env: Arc<Env>,
    pub(super) streams: Arc<Streams>,
    pub(super) internal: Vec<Arc<Partition>>,
    pub(super) scrubber: Arc<Mutex<Scrubber>>,
}

/// Starts the thread.
pub(super) fn spawn(keeper: Keeper, bell: Arc<Bell>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
        let (mut since_scrub, mut since_look) = (Duration::ZERO, Duration::ZERO);
        loop {
            let look_every = keeper.look_every();
            let pause = look_every.min(SCRUB_EVERY);
            if bell.wait(pause) {
                break;
            }
            since_scrub += pause;
            since_look += pause;
            if since_scrub >= SCRUB_EVERY {
                since_scrub = Duration::ZERO;
                keeper.scrub();
            }
            if since_look >= look_every && keeper.env.removals.begun.load(Ordering::SeqCst) {
                since_look = Duration::ZERO;
                keep(&keeper.env, &keeper.streams, &keeper.internal);
            }
        }
    })
}

impl Keeper {
    /// Often enough for what is kept the shortest.
    fn look_every(&self) -> Duration {
        let streams = self.streams.all();
        let of_streams = streams.iter().map(|stream| stream.definition().options().retention);
        let all = of_streams.chain(self.env.config.retention.values().copied());
        let shortest = all.filter_map(|policy| policy.age).min();
        shortest.map_or(LOOK_MAX, |age| self.env.clock.real(age / 4).clamp(LOOK_MIN, LOOK_MAX))
    }

    fn scrub(&self) {
        let bytes = self.env.config.scrub_bytes_per_s * SCRUB_EVERY.as_secs();
        if bytes > 0 {
            let streams = self.streams.all();
            let partitions = streams.iter().flat_map(|stream| stream.partitions());
            let partitions: Vec<_> = partitions.chain(&self.internal).map(Arc::clone).collect();
            self.scrubber.lock().step(&partitions, bytes);
        }
    }
}

/// Looks at every partition once; how many segments were removed.
pub(super) fn keep(env: &Env, streams: &Streams, internal: &[Arc<Partition>]) -> usize {
    let mut removed = 0;
    // Ages mean nothing by a clock that is not to be believed.
    let suspect = env.clock_state().is_suspect();
    let by_clock = |policy: Retention| match suspect {
        true => Retention { age: None, ..policy },
        false => policy,
    };
    for stream in streams.all() {
        let policy = by_clock(stream.definition().options().retention);
        for partition in stream.partitions() {
            removed += look(env, partition, policy, stream.definition().options().partitions);
        }
    }
    for (which, partition) in InternalLog::ALL.into_iter().zip(internal) {
        let policy = env.config.retention.get(&which).copied();
        let policy = policy.filter(|_| which.may_expire()).unwrap_or_default();
        removed += look(env, partition, by_clock(policy), 1);
    }
    removed
}

fn look(env: &Env, partition: &Partition, policy: Retention, parts: u32) -> usize {
    if policy == Retention::default() {
        return 0;
    }
    partition.close_old();
    partition.retain(policy, parts, env.append_clock.floor()).unwrap_or_else(|error| {
        warn!(partition = %partition.name(), %error, "old rows are not removed");
        0
    })
}
