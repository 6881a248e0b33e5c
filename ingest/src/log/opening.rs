//! Opening a log: the catalog, then every partition, then the words that it was down.
//!
//! Promise: nothing is written to a partition before the recovery points of all are durable.

mod partitions;
mod points;

pub(super) use partitions::Pace;
pub(super) use points::{point_key, point_of, put_point, read_point};

use super::catalog::{Catalog, Change};
use super::dedupe::DedupeWindow;
use super::env::Env;
use super::errors::{CatalogError, OpenError};
use super::format;
use super::groups::{self, GroupPosition};
use super::internal::InternalLog;
use super::partition::{Partition, Rows};
use super::recovery::{Recovered, Stop};
use super::starts::{PRODUCERS, STARTS};
use super::streams::{CurrentSchema, NameCounts, Stream};
use super::ticker::newest_event;
use super::ticks::TickPolicy;
use super::vouched::{self, Vouched};
use super::{Log, LogConfig, Restart, Streams};
use crate::io::{Clock, Disk};
use crate::model::{
    AppendTime, PartitionId, SchemaId, SeriesDirectory, SeriesId, StreamDefinition, StreamUid,
};
use parking_lot::Mutex;
use partitions::{Place, partition, recover_all};
use points::POINTS;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

pub(super) const CATALOG: &str = "catalog.redb";
pub(super) const LOCK: &str = "LOCK";
const STREAMS: &str = "log/stream";

/// A stream as the catalog keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StreamRecord {
    uid: StreamUid,
    schema_id: SchemaId,
    definition: StreamDefinition,
}

/// What makes the entry of a stream.
pub(super) fn put_stream(
    uid: StreamUid,
    schema_id: SchemaId,
    definition: &StreamDefinition,
) -> Change {
    let record = StreamRecord { uid, schema_id, definition: definition.clone() };
    let value = serde_json::to_vec(&record).expect("a definition is plain data");
    Change::Put { space: STREAMS, key: definition.name().to_owned(), value }
}

/// What removes every trace of a stream.
pub(super) fn remove_stream(
    catalog: &Catalog,
    stream: &Stream,
) -> Result<Vec<Change>, CatalogError> {
    let name = stream.definition().name().to_owned();
    let mut changes = vec![
        Change::Remove { space: STREAMS, key: name },
        Change::RemoveSeriesOf { stream: stream.uid().0 },
    ];
    for partition in stream.partitions() {
        let key = point_key(partition_uid(stream.uid().0, partition.id().0));
        changes.push(Change::Remove { space: POINTS, key: key.clone() });
        changes.push(Change::Remove { space: STARTS, key: key.clone() });
        changes.push(Change::Remove { space: PRODUCERS, key });
    }
    let of_stream = |group: &GroupPosition| group.partition >> 32 == u64::from(stream.uid().0);
    changes.extend(groups::forget(catalog, of_stream)?);
    changes.extend(vouched::forget_stream(catalog, stream.uid().0)?);
    Ok(changes)
}

/// Identifies a partition in every frame.
pub(super) fn partition_uid(stream: u32, partition: u32) -> u64 {
    (u64::from(stream) << 32) | u64::from(partition)
}

/// A log that is open; nothing runs yet.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    config: LogConfig,
    pace: Pace,
) -> Result<Log, OpenError> {
    let directory = config.directory.clone();
    format::refuse_unknown(&disk, &directory)?;
    disk.create_directories(&directory)
        .map_err(|source| OpenError::Io { path: directory.clone(), source })?;
    let lock =
        disk.lock(&directory.join(LOCK)).map_err(|error| format::locked(&directory, error))?;
    let catalog = Catalog::open(&disk, &directory.join(CATALOG))?;
    let used_before = format::settle(&catalog, &directory)?;
    let env = Env::new(disk, clock, catalog, config)?;
    env.look_at_room();
    let Everything { streams, internal, vouched } = recover_partitions(&env, pace)?;
    sweep(&env, &streams);
    let all = || streams.all().into_iter().flat_map(|s| s.partitions().to_vec());
    let newest =
        all().chain(internal.iter().map(Arc::clone)).filter_map(|p| p.newest_append_time()).max();
    env.append_clock.raise(newest.unwrap_or(AppendTime(i64::MIN)));
    env.watch_clock(newest)?;
    let restarted = used_before.then(|| {
        let opened_at = env.append_clock.draw();
        Restart { down_from: newest.unwrap_or(opened_at), opened_at }
    });
    let log = Log::from_parts(env, streams, internal, restarted, lock);
    log.save_points(Stop::Unclean)?;
    if let Err(error) = log.catalog().change(&vouched) {
        tracing::warn!(%error, "the next start reads files without a seal again");
    }
    for stream in log.streams().all() {
        rebuild_dedupe(&log, &stream);
        resume_ticks(&log, &stream);
    }
    Ok(log)
}

/// What is in a directory.
struct Everything {
    streams: Streams,
    internal: Vec<Arc<Partition>>,
    /// What was learned of files without a seal.
    vouched: Vec<Change>,
}

/// Every stream and internal log; their files are looked at side by side.
fn recover_partitions(env: &Arc<Env>, pace: Pace) -> Result<Everything, OpenError> {
    let shells = known_streams(env)?;
    let of_streams = shells.iter().flat_map(|shell| shell.places.iter().cloned());
    let internal = InternalLog::ALL.map(|which| internal_place(env, which));
    let places: Vec<Place> = of_streams.chain(internal.iter().cloned()).collect();
    let mut found = recover_all(env, &places, pace)?;
    let recovered = found.iter_mut().filter_map(|found| found.as_mut().ok());
    let vouched = recovered.flat_map(|found| found.vouched.drain(..)).map(Vouched::put).collect();
    let mut found = found.into_iter();
    let streams = Streams::new(&env.config.limits);
    for shell in shells {
        streams.insert(with_partitions(env, shell, &mut found));
    }
    let internal = InternalLog::ALL.into_iter().zip(internal).zip(found);
    let internal =
        internal.map(|((which, place), found)| partition(env, place, Rows::Internal(which), found));
    Ok(Everything { streams, internal: internal.collect(), vouched })
}

fn known_streams(env: &Arc<Env>) -> Result<Vec<Shell>, OpenError> {
    let mut streams = Vec::new();
    for (name, value) in env.catalog.list(STREAMS)? {
        let record: StreamRecord = serde_json::from_slice(&value).map_err(|e| {
            CatalogError::Damaged { entry: format!("stream {name}"), detail: e.to_string() }
        })?;
        let topics = env.catalog.series_of(record.uid.0)?;
        streams.push(shell(env, record.uid, record.schema_id, record.definition, topics));
    }
    Ok(streams)
}

/// The directory of a stream; its uid keeps a re-created stream from old files.
pub(super) fn stream_directory(config: &LogConfig, name: &str, uid: StreamUid) -> PathBuf {
    config.directory.join("streams").join(format!("{name}-{uid}"))
}

/// A stream without its partitions.
struct Shell {
    uid: StreamUid,
    current: Arc<CurrentSchema>,
    series: Arc<SeriesDirectory>,
    durable: Arc<AtomicU32>,
    ticks: Arc<Mutex<TickPolicy>>,
    places: Vec<Place>,
}

/// A new stream.
pub(super) fn stream(
    env: &Arc<Env>,
    uid: StreamUid,
    schema_id: SchemaId,
    definition: StreamDefinition,
) -> Result<Arc<Stream>, CatalogError> {
    let shell = shell(env, uid, schema_id, definition, Vec::new());
    let found = recover_all(env, &shell.places, Pace::OneByOne)?;
    Ok(with_partitions(env, shell, &mut found.into_iter()))
}

fn shell(
    env: &Arc<Env>,
    uid: StreamUid,
    schema_id: SchemaId,
    definition: StreamDefinition,
    topics: Vec<Arc<str>>,
) -> Shell {
    let series = Arc::new(SeriesDirectory::new(definition.template().clone()));
    let known = u32::try_from(topics.len()).expect("series ids are u32");
    for (id, topic) in (0..).zip(topics) {
        series.push(SeriesId(id), topic);
    }
    let directory = stream_directory(&env.config, definition.name(), uid);
    let places = (0..definition.options().partitions)
        .map(|n| Place {
            id: PartitionId(n),
            name: format!("{}/{n}", definition.name()),
            directory: directory.join(n.to_string()),
            partition_uid: partition_uid(uid.0, n),
            series: known,
        })
        .collect();
    let current = Arc::new(CurrentSchema::new(schema_id, definition));
    let policy = TickPolicy::of(&current.get().1, env.append_clock.floor());
    let (durable, ticks) = (Arc::new(AtomicU32::new(known)), Arc::new(Mutex::new(policy)));
    Shell { uid, current, series, durable, ticks, places }
}

/// Takes from `found` what was found of each of its partitions.
fn with_partitions(
    env: &Arc<Env>,
    shell: Shell,
    found: &mut dyn Iterator<Item = io::Result<Recovered>>,
) -> Arc<Stream> {
    let Shell { uid, current, series, durable, ticks, places } = shell;
    let stamped = Arc::<NameCounts>::default();
    let partitions = places
        .into_iter()
        .zip(found)
        .map(|(place, recovered)| {
            let rows = Rows::Readings {
                current: Arc::clone(&current),
                series: Arc::clone(&series),
                durable: Arc::clone(&durable),
                ticks: Arc::clone(&ticks),
                stamped: Arc::clone(&stamped),
            };
            partition(env, place, rows, recovered)
        })
        .collect();
    let counted = (ticks, stamped);
    Arc::new(Stream::new(uid, current, series, durable, partitions, Arc::clone(env), counted))
}

/// A partition by itself, of whatever schema its segments say.
pub(super) fn lone(
    env: &Arc<Env>,
    directory: PathBuf,
    partition_uid: u64,
    series: u32,
) -> Result<Arc<Partition>, CatalogError> {
    let (id, name) = (PartitionId(0), "lone/0".to_owned());
    let place = Place { id, name, directory, partition_uid, series };
    let mut found = recover_all(env, std::slice::from_ref(&place), Pace::OneByOne)?;
    Ok(partition(env, place, Rows::Internal(InternalLog::Alarms), found.remove(0)))
}

fn internal_place(env: &Env, which: InternalLog) -> Place {
    let number = u32::try_from(which.index()).expect("a handful of internal logs");
    Place {
        id: PartitionId(0),
        name: format!("internal/{}", which.name()),
        directory: env.config.directory.join("internal").join(which.name()).join("0"),
        partition_uid: partition_uid(0, number),
        series: 0,
    }
}

pub(super) fn rebuild_dedupe(log: &Log, stream: &Stream) {
    let definition = stream.definition();
    let options = definition.options();
    if options.dedupe.is_zero() {
        return;
    }
    let bytes = options.dedupe_bytes / u64::from(options.partitions);
    let window_us = i64::try_from(options.dedupe.as_micros()).unwrap_or(i64::MAX);
    let since = AppendTime(log.append_clock().floor().0.saturating_sub(window_us));
    for partition in stream.partitions() {
        partition.rebuild_dedupe(DedupeWindow::new(options.dedupe, bytes), since);
    }
}

/// Silence counts from now; what the partitions knew before is known again.
fn resume_ticks(log: &Log, stream: &Stream) {
    let definition = stream.definition();
    let opened = log.append_clock().floor();
    let mut policy = TickPolicy::of(&definition, opened);
    for partition in stream.partitions() {
        if let Some((event, appended)) = newest_event(partition) {
            policy.resume(partition.id(), event, appended);
        }
    }
    *stream.ticks().lock() = policy;
}

/// Removes what a DROP STREAM left when the process ended in the middle of it. What cannot be
/// removed now is nobody's, and is tried again at the next start.
fn sweep(env: &Env, streams: &Streams) {
    let known: Vec<PathBuf> = streams
        .all()
        .iter()
        .map(|s| stream_directory(&env.config, s.definition().name(), s.uid()))
        .collect();
    let directory = env.config.directory.join("streams");
    let swept = env.disk.list(&directory).and_then(|found| {
        let dropped = found.iter().filter(|directory| !known.contains(directory));
        dropped.into_iter().try_for_each(|left| remove_files(env.disk.as_ref(), left))
    });
    if let Err(error) = swept {
        tracing::warn!(directory = %directory.display(), %error, "files of a dropped stream left");
    }
}

/// Removes a stream's directory with its partitions' files.
pub(super) fn remove_files(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    for partition in disk.list(directory)? {
        for file in disk.list(&partition)? {
            disk.unlink(&file)?;
        }
        disk.unlink(&partition)?;
    }
    disk.unlink(directory)
}

#[cfg(test)]
mod tests;
