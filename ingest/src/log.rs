//! The durable, partitioned log.
//!
//! Promise: a receipt exists only after fdatasync (L1); offsets grow and are never reused (L2);
//! readers never see past the durable end (L4); after a failed write or sync nothing is written to
//! that file again (L5).
//! Elsewhere: JSON is `decode`'s, rules and alarms are the engine's.

mod accepting;
mod append_clock;
mod backup;
mod catalog;
mod clock_watch;
mod committer;
mod dedupe;
mod entry;
mod env;
mod errors;
mod format;
mod frame;
mod group;
mod groups;
mod holds;
mod index;
mod internal;
mod keeper;
mod measured;
mod opening;
mod overlay;
mod partition;
mod partition_log;
#[doc(hidden)]
pub mod probe;
mod producer;
mod published;
mod queue;
mod reader;
mod receipt;
mod recovery;
mod repair;
mod retention;
mod room;
mod seal;
mod scrub;
mod segment;
mod starts;
mod streams;
mod ticker;
mod ticks;
mod vouched;
mod window;
mod writer;

pub use accepting::accept_clock;
pub use append_clock::AppendClock;
pub use backup::{BackedUp, BackupError, BackupProgress, NamedFiles};
pub use catalog::Catalog;
pub(crate) use catalog::Change;
pub use clock_watch::{CLOCK_AGREES_WITHIN_US, ClockState};
pub use dedupe::{Admission, DedupeWindow};
pub use entry::{Ends, EntryBody, LogEntry, PartitionState, Restart, SegmentInfo, TickKind};
pub use errors::{
    AppendError, CatalogError, GroupError, OpenError, ReadError, StreamChangeError, TrimError,
};
pub use groups::GroupPosition;
pub use holds::{HOLD_BYTES_MAX, HeldBy, Hold};
pub use internal::InternalLog;
pub use measured::{Distribution, Measure, Measured, Refused};
pub use partition::Partition;
pub use partition_log::{EntryReader, PartitionLog};
pub use producer::{ProducerId, Source};
pub use reader::PartitionReader;
pub use receipt::{AppendResult, Appended, Receipt};
pub use repair::{Lost, RepairMode, Repaired, repair};
pub use retention::{ReleasedHold, Removed};
pub use room::{Room, RoomMarks};
pub use scrub::{Scrubbed, Unreadable};
pub use streams::{Learned, NameCounts, Route, Stream, Streams};
pub use ticks::{DueTick, TickOutlook, TickPolicy};

use crate::io::{Clock, Disk};
use crate::model::{
    AppendTime, Column, FedBy, Limits, Offset, PartitionId, Retention, SchemaId, StreamDefinition,
    StreamUid,
};
use env::Env;
use opening::Pace;
use overlay::Overlay;
use parking_lot::Mutex;
use recovery::Stop;
use room::Purpose;
use scrub::Scrubber;
use segment::Syncing;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Below it a sync is over before a group is encoded, and one group is better than two.
const AHEAD_BYTES_MIN: usize = 256 * 1024;

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The data directory.
    pub directory: PathBuf,
    /// The bounds.
    pub limits: Limits,
    /// Size at which a segment is closed.
    pub segment_bytes_max: u64,
    /// Age at which a segment with rows is closed.
    pub segment_age_max: Duration,
    /// Time a committer waits for more rows before it writes.
    pub linger: Duration,
    /// Bytes of rows one group gathers.
    pub group_bytes_max: usize,
    /// Bytes of rows that must wait for the next group to be encoded while one is synced; with fewer
    /// it goes on gathering.
    pub ahead_bytes_min: usize,
    /// What is kept of weir's own logs; everything where nothing is said.
    pub retention: BTreeMap<InternalLog, Retention>,
    /// Where the room on the disk becomes too little.
    pub room: RoomMarks,
    /// Bytes of closed segments read again in a second, to find rot; 0 reads none.
    pub scrub_bytes_per_s: u64,
}

impl LogConfig {
    /// The defaults, in `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            limits: Limits::default(),
            segment_bytes_max: 64 * 1024 * 1024,
            segment_age_max: Duration::from_secs(3600),
            linger: Duration::ZERO,
            group_bytes_max: Limits::GROUP_BYTES_MAX,
            ahead_bytes_min: AHEAD_BYTES_MIN,
            retention: BTreeMap::new(),
            room: RoomMarks::default(),
            scrub_bytes_per_s: 1024 * 1024,
        }
    }
}

/// The log of one data directory.
#[derive(Debug)]
pub struct Log {
    env: Arc<Env>,
    streams: Arc<Streams>,
    internal: Vec<Arc<Partition>>,
    restarted: Option<Restart>,
    run: Run,
    bell: Arc<ticker::Bell>,
    scrubber: Arc<Mutex<Scrubber>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Serialises changes of streams, and holds whether the log was stopped.
    stopped: Mutex<bool>,
    _lock: Box<dyn std::fmt::Debug + Send + Sync>,
}

/// Who pumps the committers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Threads,
    Caller,
}

impl Log {
    /// Locks the directory, recovers every partition, starts the committer threads and the ticker.
    /// # Errors
    /// The directory is in use, of an unknown format, or cannot be read. A damaged partition is not
    /// an error: it is `Corrupt`, the others run.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        config: LogConfig,
    ) -> Result<Arc<Self>, OpenError> {
        let mut log = opening::open(disk, clock, config, Pace::SideBySide)?;
        log.run = Run::Threads;
        for partition in log.partitions() {
            log.spawn(&partition).map_err(|source| OpenError::Io {
                path: log.env.config.directory.clone(),
                source,
            })?;
        }
        for receipt in log.say_restarted() {
            drop(receipt.wait());
        }
        let (env, streams) = (Arc::clone(&log.env), Arc::clone(&log.streams));
        let ticker = ticker::spawn(env, streams, Arc::clone(&log.bell))
            .map_err(|source| OpenError::Io { path: log.env.config.directory.clone(), source })?;
        let (env, streams) = (Arc::clone(&log.env), Arc::clone(&log.streams));
        let (internal, scrubber) = (log.internal.clone(), Arc::clone(&log.scrubber));
        let keeper = keeper::Keeper { env, streams, internal, scrubber };
        let keeper = keeper::spawn(keeper, Arc::clone(&log.bell))
            .map_err(|source| OpenError::Io { path: log.env.config.directory.clone(), source })?;
        log.threads.lock().extend([ticker, keeper]);
        Ok(Arc::new(log))
    }

    /// As [`Self::open`], but nothing runs by itself: the caller pumps with
    /// [`Self::step_committers`].
    /// # Errors
    /// As [`Self::open`].
    pub fn open_manual(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        config: LogConfig,
    ) -> Result<Arc<Self>, OpenError> {
        let log = opening::open(disk, clock, config, Pace::OneByOne)?;
        drop(log.say_restarted());
        log.step_committers();
        Ok(Arc::new(log))
    }

    /// A log as the next start will find it. Nothing in the directory changes: what is written stays
    /// in memory, and nobody is told that the log was down.
    /// # Errors
    /// As [`Self::open`].
    pub fn open_read_only(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        config: LogConfig,
    ) -> Result<Arc<Self>, OpenError> {
        let above = Arc::new(Overlay::new(disk));
        Ok(Arc::new(opening::open(above, clock, config, Pace::SideBySide)?))
    }

    fn from_parts(
        env: Arc<Env>,
        streams: Streams,
        internal: Vec<Arc<Partition>>,
        restarted: Option<Restart>,
        lock: Box<dyn std::fmt::Debug + Send + Sync>,
    ) -> Self {
        Self {
            env,
            streams: Arc::new(streams),
            internal,
            restarted,
            run: Run::Caller,
            bell: Arc::default(),
            scrubber: Arc::default(),
            threads: Mutex::default(),
            stopped: Mutex::new(false),
            _lock: lock,
        }
    }

    fn say_restarted(&self) -> Vec<Receipt> {
        let Some(Restart { down_from, .. }) = self.restarted else { return Vec::new() };
        let streams = self.streams.all();
        let partitions = streams.iter().flat_map(|s| s.partitions());
        partitions.map(|p| p.append_restart(down_from)).collect()
    }

    fn partitions(&self) -> Vec<Arc<Partition>> {
        let streams = self.streams.all();
        let of_streams = streams.iter().flat_map(|s| s.partitions());
        of_streams.chain(&self.internal).map(Arc::clone).collect()
    }

    fn spawn(&self, partition: &Arc<Partition>) -> std::io::Result<()> {
        if self.run == Run::Threads {
            self.threads.lock().push(committer::spawn(Arc::clone(partition))?);
        }
        Ok(())
    }

    /// Commits everything queued, on this thread; the number of groups.
    pub fn step_committers(&self) -> usize {
        let mut groups = 0;
        for partition in self.partitions() {
            while partition.commit_group(Syncing::Inline).is_some() {
                groups += 1;
            }
        }
        groups
    }

    /// What ticks will do for a partition if nothing arrives; nothing where there is no such stream.
    pub fn tick_outlook(&self, stream: &str, partition: PartitionId) -> TickOutlook {
        let Some(stream) = self.streams.get(stream) else { return TickOutlook::Silent };
        match stream.definition().fed_by() {
            FedBy::Rule => TickOutlook::ByRule,
            FedBy::Doors => stream.ticks().lock().outlook(partition),
        }
    }

    /// Queues the ticks that are due now; how many.
    pub fn step_ticks(&self) -> usize {
        ticker::tick(&self.env, &self.streams)
    }

    /// When the next tick is due, for a caller that moves the clock itself.
    pub fn next_tick(&self) -> Option<AppendTime> {
        self.streams.all().iter().filter_map(|stream| stream.ticks().lock().next_due()).min()
    }

    /// From now on what retention does not keep is removed by itself. Before, whoever needs old rows
    /// takes a hold.
    pub fn begin_retention(&self) {
        self.env.removals.begun.store(true, Ordering::SeqCst);
    }

    /// What retention did since the start.
    pub fn removed(&self) -> Removed {
        self.env.removals.now()
    }

    /// The holds that were taken away since the last call.
    pub fn take_released(&self) -> Vec<ReleasedHold> {
        self.env.removals.untold.lock().drain(..).collect()
    }

    /// How weir's own logs are kept.
    pub fn retention_of(&self, which: InternalLog) -> Retention {
        let policy = self.env.config.retention.get(&which).copied();
        policy.filter(|_| which.may_expire()).unwrap_or_default()
    }

    /// Closes segments that have become old and removes what retention does not keep; how many.
    pub fn step_retention(&self) -> usize {
        keeper::keep(&self.env, &self.streams, &self.internal)
    }

    /// Reads on in closed segments for about `budget` bytes, so that rot in what nobody reads is
    /// found; it becomes the partition's state.
    pub fn step_scrub(&self, budget: u64) {
        self.scrubber.lock().step(&self.partitions(), budget);
    }

    /// What was read of closed segments since the start, to see whether they are as they were
    /// written.
    pub fn scrubbed(&self) -> Scrubbed {
        self.scrubber.lock().done()
    }

    /// A hold of `name`, of nothing yet. It may keep `bytes_max` of a partition beyond what retention
    /// keeps; then it is taken away. Take it first, look at `log_start` then.
    pub fn hold(&self, name: &str, bytes_max: u64) -> Hold {
        self.env.holds.hold(name, bytes_max)
    }

    /// Makes durable how far a consumer group has come: the next offset it wants, by partition.
    /// # Errors
    /// The catalog did not take it.
    pub fn commit_group(
        &self,
        group: &str,
        positions: &[(&Partition, Offset)],
    ) -> Result<(), CatalogError> {
        let positions: Vec<_> = positions.iter().map(|(p, next)| (p.uid(), *next)).collect();
        let (catalog, at) = (&self.env.catalog, self.env.append_clock.floor());
        self.env.groups.commit(catalog, group, &positions, at)
    }

    /// The next offset a group wants of a partition, if it ever said.
    /// # Errors
    /// The catalog cannot be read.
    pub fn group(
        &self,
        group: &str,
        partition: &Partition,
    ) -> Result<Option<Offset>, CatalogError> {
        groups::position(&self.env.catalog, group, partition.uid())
    }

    /// Every position of every group.
    /// # Errors
    /// The catalog cannot be read.
    pub fn groups(&self) -> Result<Vec<GroupPosition>, CatalogError> {
        groups::list(&self.env.catalog)
    }

    /// Forgets a group.
    /// # Errors
    /// The catalog did not take it.
    pub fn forget_group(&self, group: &str) -> Result<(), CatalogError> {
        let gone = groups::forget(&self.env.catalog, |position| position.group == group)?;
        self.env.catalog.change(&gone)
    }

    /// What the committers do after a time without work, on this thread.
    pub fn step_idle(&self) {
        for partition in self.partitions() {
            partition.prove();
        }
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.env.catalog
    }

    /// The disk everything is on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.env.disk
    }

    /// The data directory.
    pub fn directory(&self) -> &std::path::Path {
        &self.env.config.directory
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.env.clock
    }

    /// The clock of append times.
    pub fn append_clock(&self) -> &AppendClock {
        &self.env.append_clock
    }

    /// The registry.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Declares a stream; durable when it returns.
    /// # Errors
    /// The name is taken, a topic could match another stream too, or the catalog or disk refused.
    pub fn create_stream(
        &self,
        definition: StreamDefinition,
    ) -> Result<Arc<Stream>, StreamChangeError> {
        let stopped = self.stopped.lock();
        self.streams.check_new(&definition)?;
        let uid = self.env.catalog.next_uid("log/stream")?;
        let uid = StreamUid(u32::try_from(uid).map_err(|e| disk_error(&e))?);
        let stream = opening::stream(&self.env, uid, SchemaId(1), definition.clone())?;
        for partition in stream.partitions() {
            if let PartitionState::Failed(why) = partition.state() {
                return Err(StreamChangeError::Disk(Arc::from(why)));
            }
        }
        self.env.catalog.change(&[opening::put_stream(uid, SchemaId(1), &definition)])?;
        opening::rebuild_dedupe(self, &stream);
        if !*stopped {
            for partition in stream.partitions() {
                self.spawn(partition).map_err(|e| disk_error(&e))?;
            }
        }
        self.streams.insert(Arc::clone(&stream));
        Ok(stream)
    }

    /// Adds a nullable column; durable when it returns.
    /// # Errors
    /// There is no such stream, the name is taken or reserved, or the catalog refused.
    pub fn add_column(
        &self,
        stream: &str,
        column: Column,
    ) -> Result<Arc<Stream>, StreamChangeError> {
        let _one_at_a_time = self.stopped.lock();
        let name = stream;
        let stream =
            self.streams.get(name).ok_or_else(|| StreamChangeError::Unknown(name.to_owned()))?;
        let (schema_id, definition) = stream.current().get();
        let definition = definition.with_column(column)?;
        let schema_id = SchemaId(schema_id.0 + 1);
        self.env.catalog.change(&[opening::put_stream(stream.uid(), schema_id, &definition)])?;
        stream.current().set(schema_id, definition);
        Ok(stream)
    }

    /// Forgets a stream and removes its files. The caller has checked that nobody reads it.
    /// # Errors
    /// There is no such stream, or the catalog refused.
    pub fn drop_stream(&self, stream: &str) -> Result<(), StreamChangeError> {
        let _one_at_a_time = self.stopped.lock();
        let name = stream;
        let stream =
            self.streams.get(name).ok_or_else(|| StreamChangeError::Unknown(name.to_owned()))?;
        self.env.catalog.change(&opening::remove_stream(&self.env.catalog, &stream)?)?;
        self.streams.remove(name);
        for partition in stream.partitions() {
            partition.finish();
        }
        let directory = opening::stream_directory(&self.env.config, name, stream.uid());
        if let Err(error) = opening::remove_files(self.env.disk.as_ref(), &directory) {
            // The next start sweeps what is left; the stream is gone all the same.
            tracing::warn!(directory = %directory.display(), %error, "files of a dropped stream left");
        }
        Ok(())
    }

    /// How much room there is on the disk.
    pub fn room(&self) -> Room {
        self.env.room.now()
    }

    /// Whether there is room for a checkpoint of a rule.
    pub fn may_checkpoint(&self) -> bool {
        self.room().admits(Purpose::Checkpoint)
    }

    /// Tells when the disk failed below the catalog: the process should end, and say why.
    pub fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.env.catalog.failure()
    }

    /// One of weir's own logs.
    pub fn internal(&self, which: InternalLog) -> &Arc<Partition> {
        &self.internal[which.index()]
    }

    /// What was measured of the streams' groups.
    pub fn measured(&self) -> &Measured {
        &self.env.measured
    }

    /// What was measured of the groups of weir's own logs.
    pub fn measured_internal(&self) -> &Measured {
        &self.env.measured_internal
    }

    /// Changes after any durable commit in any partition.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.env.changes.subscribe()
    }

    /// Since when the log was closed, if the directory had been used before.
    pub fn restarted(&self) -> Option<Restart> {
        self.restarted
    }

    /// Writes what is queued, marks the stop as clean and ends the threads. Idempotent.
    pub fn stop(&self) {
        let mut stopped = self.stopped.lock();
        if std::mem::replace(&mut *stopped, true) {
            return;
        }
        self.bell.ring();
        for partition in self.partitions() {
            partition.queue.close();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a committer ended in a panic");
            }
        }
        if let Err(error) = self.save_points(Stop::Clean) {
            tracing::warn!(%error, "the stop is not marked as clean; the next start checks the log");
        }
    }

    /// Makes durable up to where every partition is synced.
    fn save_points(&self, stop: Stop) -> Result<(), CatalogError> {
        let mut changes = Vec::new();
        for partition in self.partitions() {
            if let Some(point) = partition.point(stop) {
                changes.push(opening::put_point(partition.uid(), point, stop));
            }
        }
        self.env.catalog.change(&changes)
    }
}

impl Drop for Log {
    /// Ends the threads; only [`Log::stop`] marks the stop as clean.
    fn drop(&mut self) {
        self.bell.ring();
        for partition in self.partitions() {
            partition.queue.close();
        }
        for thread in self.threads.lock().drain(..) {
            drop(thread.join());
        }
    }
}

fn disk_error(error: &dyn std::error::Error) -> StreamChangeError {
    StreamChangeError::Disk(Arc::from(error.to_string()))
}

#[cfg(test)]
mod test_disk;
#[cfg(test)]
mod test_room;
#[cfg(test)]
mod tests;
