//! The keeper: closes segments that have become old and removes what retention does not keep.
//!
//! Promise: takes no row and no reader by surprise; what may go is decided in `retention`.

use super::InternalLog;
use super::env::Env;
use super::partition::Partition;
use super::streams::Streams;
use super::ticker::Bell;
use crate::model::Retention;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::warn;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Starts the thread.
pub(super) fn spawn(
    env: Arc<Env>,
    streams: Arc<Streams>,
    internal: Vec<Arc<Partition>>,
    bell: Arc<Bell>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
        while !bell.wait(env.clock.real(LOOK_EVERY)) {
            keep(&env, &streams, &internal);
        }
    })
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
