//! The keeper: closes segments that have become old, removes what retention does not keep, and reads
//! closed ones again.
//!
//! Promise: takes no row and no reader by surprise; what may go is decided in `retention`.

use super::InternalLog;
use super::env::Env;
use super::partition::Partition;
use super::scrub::Scrubber;
use super::streams::Streams;
use super::ticker::Bell;
use crate::model::Retention;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::warn;

/// Time between two looks, and between two times that the scrubber goes on: on the machine's clock,
/// as it is the machine's disk that is read.
const LOOK_EVERY: Duration = Duration::from_secs(30);
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
        let mut seconds = 0;
        while !bell.wait(SCRUB_EVERY) {
            keeper.scrub();
            seconds += SCRUB_EVERY.as_secs();
            if seconds >= LOOK_EVERY.as_secs() {
                seconds = 0;
                keep(&keeper.env, &keeper.streams, &keeper.internal);
            }
        }
    })
}

impl Keeper {
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
    for stream in streams.all() {
        let policy = stream.definition().options().retention;
        for partition in stream.partitions() {
            removed += look(env, partition, policy, stream.definition().options().partitions);
        }
    }
    for (which, partition) in InternalLog::ALL.into_iter().zip(internal) {
        let policy = env.config.retention.get(&which).copied();
        removed +=
            look(env, partition, policy.filter(|_| which.may_expire()).unwrap_or_default(), 1);
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
