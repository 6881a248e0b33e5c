//! The threads that commit: one a partition, woken by its queue.
//!
//! Promise: the sync that is running is what gathers the next group, and beside it a large one is
//! encoded; nothing else waits.

use super::partition::{Next, Partition};
use super::queue::Wake;
use super::segment::Syncing;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Time without work after which the last sync is proven by a marker.
const PROVE_AFTER: Duration = Duration::from_millis(100);
const STACK_BYTES: usize = 1024 * 1024;

/// Starts the committer of a partition; it ends when its queue is closed and empty.
pub(super) fn spawn(partition: Arc<Partition>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("commit {}", partition.name()))
        .stack_size(STACK_BYTES)
        .spawn(move || run(&partition))
}

fn run(partition: &Partition) {
    let linger = partition.env().config.linger;
    loop {
        let idle_after = partition.is_unproven().then_some(PROVE_AFTER);
        match partition.queue.wait(idle_after) {
            Wake::Work => {
                if !linger.is_zero() {
                    std::thread::sleep(linger);
                }
                while partition.commit_group(Syncing::Beside) == Some(Next::Planned) {}
            }
            Wake::Idle => partition.prove(),
            Wake::Closed => return,
        }
    }
}
