//! Opening a log: the catalog, then every partition, then the words that it was down.
//!
//! Promise: nothing is written to a partition before the recovery points of all are durable.

use super::append_clock::AppendClock;
use super::catalog::{Catalog, Change};
use super::dedupe::DedupeWindow;
use super::env::{Env, SeriesLedger};
use super::errors::{CatalogError, OpenError};
use super::frame::EncodeRoom;
use super::internal::InternalLog;
use super::partition::{Core, Partition, Rows};
use super::published::{Published, Recent};
use super::recovery::{Known, Recovered, Stop, recover};
use super::segment::{Predecessor, SegmentId};
use super::streams::{CurrentSchema, Stream};
use super::ticker::newest_event;
use super::ticks::TickPolicy;
use super::writer::Writer;
use super::{Log, LogConfig, PartitionState, Restart, Streams};
use crate::io::{Clock, Disk};
use crate::model::{
    AppendTime, Offset, PartitionId, SchemaId, SeriesDirectory, SeriesId, StreamDefinition,
    StreamUid,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use tokio::sync::watch;

/// The format this version writes and reads.
const FORMAT: &str = "1.0";
const SPACE: &str = "log";
const STREAMS: &str = "log/stream";
const POINTS: &str = "log/point";

/// A stream as the catalog keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct StreamRecord {
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
pub(super) fn remove_stream(stream: &Stream) -> Vec<Change> {
    let name = stream.definition().name().to_owned();
    let mut changes = vec![
        Change::Remove { space: STREAMS, key: name },
        Change::RemoveSeriesOf { stream: stream.uid().0 },
    ];
    for partition in stream.partitions() {
        let key = point_key(partition_uid(stream.uid().0, partition.id().0));
        changes.push(Change::Remove { space: POINTS, key });
    }
    changes
}

/// Identifies a partition in every frame.
pub(super) fn partition_uid(stream: u32, partition: u32) -> u64 {
    (u64::from(stream) << 32) | u64::from(partition)
}

fn point_key(partition_uid: u64) -> String {
    format!("{partition_uid:016x}")
}

/// The entry that says up to where a partition is synced.
pub(super) fn put_point(partition_uid: u64, point: Predecessor, stop: Stop) -> Change {
    let mut value = Vec::with_capacity(21);
    value.extend_from_slice(&point.id.base.0.to_le_bytes());
    value.extend_from_slice(&point.id.epoch.to_le_bytes());
    value.extend_from_slice(&point.length.to_le_bytes());
    value.push(u8::from(stop == Stop::Clean));
    Change::Put { space: POINTS, key: point_key(partition_uid), value }
}

fn read_point(catalog: &Catalog, uid: u64) -> Result<(Option<Predecessor>, Stop), CatalogError> {
    let key = point_key(uid);
    let Some(value) = catalog.get(POINTS, &key)? else { return Ok((None, Stop::Unclean)) };
    let Ok(value) = <[u8; 21]>::try_from(value) else {
        return Err(CatalogError::Damaged { entry: key, detail: "wrong length".to_owned() });
    };
    let number = |at: usize| u64::from_le_bytes(*value[at..].first_chunk().expect("21 bytes"));
    let epoch = u32::from_le_bytes(*value[8..].first_chunk().expect("21 bytes"));
    let id = SegmentId { base: Offset(number(0)), epoch };
    let stop = if value[20] == 1 { Stop::Clean } else { Stop::Unclean };
    Ok((Some(Predecessor { id, length: number(12) }), stop))
}

/// A log that is open; nothing runs yet.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    config: LogConfig,
) -> Result<Log, OpenError> {
    let directory = config.directory.clone();
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source: io::Error| OpenError::Io { path, source }
    };
    disk.create_directories(&directory).map_err(at(&directory))?;
    let lock = disk.lock(&directory.join("LOCK")).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { directory: directory.clone() },
        _ => OpenError::Io { path: directory.join("LOCK"), source },
    })?;
    let catalog = Catalog::open(&disk, &directory.join("catalog.redb"))?;
    let used_before = check_format(&catalog, &directory)?;
    let env = Arc::new(Env {
        disk,
        append_clock: AppendClock::above(Arc::clone(&clock), AppendTime(i64::MIN)),
        clock,
        catalog,
        ledger: SeriesLedger::default(),
        changes: watch::Sender::new(0),
        config,
    });
    let streams = Streams::new(&env.config.limits);
    for stream in known_streams(&env)? {
        streams.insert(stream);
    }
    sweep(&env, &streams).map_err(at(&directory.join("streams")))?;
    let internal = InternalLog::ALL
        .iter()
        .map(|which| internal(&env, *which))
        .collect::<Result<Vec<_>, _>>()?;
    let all = || streams.all().into_iter().flat_map(|s| s.partitions().to_vec());
    let newest =
        all().chain(internal.iter().map(Arc::clone)).filter_map(|p| p.newest_append_time()).max();
    env.append_clock.raise(newest.unwrap_or(AppendTime(i64::MIN)));
    let restarted = used_before.then(|| {
        let opened_at = env.append_clock.draw();
        Restart { down_from: newest.unwrap_or(opened_at), opened_at }
    });
    let log = Log::from_parts(env, streams, internal, restarted, lock);
    log.save_points(Stop::Unclean)?;
    for stream in log.streams().all() {
        rebuild_dedupe(&log, &stream);
        resume_ticks(&log, &stream);
    }
    Ok(log)
}

fn check_format(catalog: &Catalog, directory: &Path) -> Result<bool, OpenError> {
    match catalog.get(SPACE, "format")? {
        None => {
            catalog.put(SPACE, "format", FORMAT.as_bytes())?;
            Ok(false)
        }
        Some(found) if found == FORMAT.as_bytes() => Ok(true),
        Some(found) => Err(OpenError::UnknownFormat {
            directory: directory.to_path_buf(),
            found: String::from_utf8_lossy(&found).into_owned(),
            known: FORMAT,
        }),
    }
}

fn known_streams(env: &Arc<Env>) -> Result<Vec<Arc<Stream>>, OpenError> {
    let mut streams = Vec::new();
    for (name, value) in env.catalog.list(STREAMS)? {
        let record: StreamRecord = serde_json::from_slice(&value).map_err(|e| {
            CatalogError::Damaged { entry: format!("stream {name}"), detail: e.to_string() }
        })?;
        let topics = env.catalog.series_of(record.uid.0)?;
        streams.push(stream(env, record.uid, record.schema_id, record.definition, topics)?);
    }
    Ok(streams)
}

/// The directory of a stream; its uid keeps a re-created stream from old files.
pub(super) fn stream_directory(config: &LogConfig, name: &str, uid: StreamUid) -> PathBuf {
    config.directory.join("streams").join(format!("{name}-{uid}"))
}

/// A stream with its partitions recovered.
pub(super) fn stream(
    env: &Arc<Env>,
    uid: StreamUid,
    schema_id: SchemaId,
    definition: StreamDefinition,
    topics: Vec<Arc<str>>,
) -> Result<Arc<Stream>, OpenError> {
    let series = Arc::new(SeriesDirectory::new(definition.template().clone()));
    let known = u32::try_from(topics.len()).expect("series ids are u32");
    for (id, topic) in (0..).zip(topics) {
        series.push(SeriesId(id), topic);
    }
    let durable = Arc::new(AtomicU32::new(known));
    let directory = stream_directory(&env.config, definition.name(), uid);
    let name = definition.name().to_owned();
    let count = definition.options().partitions;
    let current = Arc::new(CurrentSchema::new(schema_id, definition));
    let policy = TickPolicy::of(&current.get().1, env.append_clock.floor());
    let ticks = Arc::new(Mutex::new(policy));
    let partitions = (0..count)
        .map(|n| {
            let rows = Rows::Readings {
                current: Arc::clone(&current),
                series: Arc::clone(&series),
                durable: Arc::clone(&durable),
                ticks: Arc::clone(&ticks),
            };
            let place = Place {
                id: PartitionId(n),
                name: format!("{name}/{n}"),
                directory: directory.join(n.to_string()),
                partition_uid: partition_uid(uid.0, n),
            };
            partition(env, place, rows, known)
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Stream::new(uid, current, series, durable, partitions, Arc::clone(env), ticks)))
}

fn internal(env: &Arc<Env>, which: InternalLog) -> Result<Arc<Partition>, OpenError> {
    let number = u32::try_from(which.index()).expect("a handful of internal logs");
    let place = Place {
        id: PartitionId(0),
        name: format!("internal/{}", which.name()),
        directory: env.config.directory.join("internal").join(which.name()).join("0"),
        partition_uid: partition_uid(0, number),
    };
    partition(env, place, Rows::Internal, 0)
}

struct Place {
    id: PartitionId,
    name: String,
    directory: PathBuf,
    partition_uid: u64,
}

fn partition(
    env: &Arc<Env>,
    place: Place,
    rows: Rows,
    series: u32,
) -> Result<Arc<Partition>, OpenError> {
    let Place { id, name, directory, partition_uid } = place;
    let at = |source: io::Error| OpenError::Io { path: directory.clone(), source };
    env.disk.create_directories(&directory).map_err(at)?;
    let (point, stop) = read_point(&env.catalog, partition_uid)?;
    let known = Known { partition_uid, series, point, stop };
    let recovered = recover(env, &directory, known).map_err(at)?;
    let published = published(&recovered);
    let schemas = match rows {
        // Those of the declaration, when its first rows come.
        Rows::Readings { .. } => None,
        Rows::Internal => recovered.segments.last().map(|s| Arc::clone(&s.schemas)),
    };
    let writer = Writer {
        directory,
        partition_uid,
        epoch: recovered.active.as_ref().map_or(recovered.epoch, |active| active.id.epoch),
        active: recovered.active,
        follows: recovered.follows,
        next_offset: recovered.next_offset,
        must_heal: false,
        failed: None,
        last_allocation: 0,
        prepared: None,
        // Which series the recovered part used is not known: the seal then names all.
        used_series: vec![u64::MAX; (series as usize).div_ceil(64)],
    };
    let core = Core { writer, dedupe: None, schemas, room: EncodeRoom::default() };
    Ok(Partition::new(id, name, Arc::clone(env), rows, published, core))
}

fn published(recovered: &Recovered) -> Published {
    let state = match &recovered.corrupt {
        Some(detail) => PartitionState::Corrupt(detail.clone()),
        None => PartitionState::Ready,
    };
    Published {
        newest_event: recovered.newest_event(),
        segments: recovered.segments.clone(),
        durable_end: recovered.next_offset,
        in_flight: None,
        state,
        recent: Recent::default(),
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

/// Removes what a DROP STREAM left when the process ended in the middle of it.
fn sweep(env: &Env, streams: &Streams) -> io::Result<()> {
    let known: Vec<PathBuf> = streams
        .all()
        .iter()
        .map(|s| stream_directory(&env.config, s.definition().name(), s.uid()))
        .collect();
    for directory in env.disk.list(&env.config.directory.join("streams"))? {
        if !known.contains(&directory) {
            remove_files(env.disk.as_ref(), &directory)?;
        }
    }
    Ok(())
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
