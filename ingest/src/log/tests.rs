#![allow(clippy::disallowed_methods, reason = "the tests damage files behind the disk's back")]
mod backup;
mod clock;
mod misplaced;
mod producers;
mod repair;
mod retention;
mod room;
mod scrub;

use super::*;
use crate::io::{Disk, RealClock, RealDisk, SimulatedClock, SimulatedDisk};
use crate::model::reading::{DEDUPE, Hidden, stored_schema};
use crate::model::{ColumnType, EventTime, Offset, SeriesId, StreamOptions, TopicTemplate};
use arrow::array::{
    ArrayRef, AsArray, FixedSizeBinaryArray, Float64Array, RecordBatch, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::datatypes::{Float64Type, Schema};
use std::path::Path;

fn config(directory: &Path) -> LogConfig {
    LogConfig { segment_bytes_max: 64 * 1024, ..LogConfig::new(directory) }
}

fn open(directory: &Path) -> Arc<Log> {
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
    Log::open_manual(disk, clock, config(directory)).unwrap()
}

fn definition(name: &str, topic: &str) -> StreamDefinition {
    let column = Column { name: "value".to_owned(), column_type: ColumnType::Double, unit: None };
    let options = StreamOptions { partitions: 1, ..StreamOptions::default() };
    let template = TopicTemplate::parse(topic).unwrap();
    StreamDefinition::new(name, vec![column], template, options).unwrap()
}

fn stream(log: &Log) -> Arc<Stream> {
    match log.streams().get("climate") {
        Some(stream) => stream,
        None => log.create_stream(definition("climate", "/room/{room}")).unwrap(),
    }
}

/// Rows of one series, one microsecond apart from `from` on.
fn rows(series: SeriesId, from: i64, n: i64) -> RecordBatch {
    let schema = stored_schema(&definition("climate", "/room/{room}"), Hidden::default());
    let times = TimestampMicrosecondArray::from_iter_values(from..from + n).with_timezone("UTC");
    let values = Float64Array::from_iter_values((from..from + n).map(|v| v as f64));
    let series = UInt32Array::from(vec![series.0; usize::try_from(n).unwrap()]);
    RecordBatch::try_new(schema, vec![Arc::new(times), Arc::new(series), Arc::new(values)]).unwrap()
}

fn with_ids(batch: &RecordBatch, ids: &[u8]) -> RecordBatch {
    let hashes = FixedSizeBinaryArray::try_from_iter(ids.iter().map(|id| [*id; 16])).unwrap();
    let hidden = Hidden { dedupe: true, source_time: false };
    let schema = stored_schema(&definition("climate", "/room/{room}"), hidden);
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    columns.push(Arc::new(hashes));
    RecordBatch::try_new(schema, columns).unwrap()
}

fn put(log: &Log, from: i64, n: i64) -> Appended {
    let route = {
        stream(log);
        log.streams().route("/room/1").unwrap()
    };
    let partition = &route.stream.partitions()[route.partition.0 as usize];
    let receipt = partition.append(rows(route.series, from, n));
    log.step_committers();
    receipt.wait().unwrap()
}

fn values(log: &Log, from: u64) -> Vec<i64> {
    let mut reader = stream(log).partitions()[0].reader(Offset(from));
    let mut values = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        if let EntryBody::Rows(batch) = &entry.body {
            let column = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
            let skip = from.saturating_sub(entry.base_offset.0);
            values.extend(column.values().iter().skip(skip as usize).map(|v| *v as i64));
        }
    }
    values
}

#[test]
fn rows_are_read_back_in_order_after_a_clean_stop_and_after_none() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let log = open(directory.path());
        let appended = put(&log, round * 10, 10);
        assert_eq!(appended.base_offset, Offset(round as u64 * 10));
        assert_eq!(log.restarted().is_some(), round > 0);
        assert_eq!(values(&log, 0), (0..(round + 1) * 10).collect::<Vec<_>>());
        assert_eq!(values(&log, 5), (5..(round + 1) * 10).collect::<Vec<_>>());
        if round % 2 == 0 {
            log.stop();
        }
    }
}

#[test]
fn a_file_whose_sync_failed_is_never_written_again() {
    let disk = SimulatedDisk::new(7);
    let clock = Arc::new(SimulatedClock::at(1_000_000));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = Log::open_manual(Arc::clone(&shared), clock, config(Path::new("data"))).unwrap();
    put(&log, 0, 10);
    let partition = Arc::clone(&stream(&log).partitions()[0]);
    let first = partition.with_published(|p| Arc::clone(&p.segments[0].path));
    let bytes = || {
        let file = shared.open(&first, crate::io::Open::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.pread(&mut bytes, 0).unwrap();
        bytes
    };
    disk.fail_next(crate::io::Call::Sync, "streams/", std::io::ErrorKind::Other);
    assert_eq!(put(&log, 10, 10).base_offset, Offset(10), "L5: the rows went into another file");
    let after_the_failure = bytes();
    for n in 2..6 {
        put(&log, n * 10, 10);
    }
    assert!(bytes() == after_the_failure, "L5: the file is as it was");
    assert_eq!(partition.segments().len(), 2);
    assert_eq!(values(&log, 0), (0..60).collect::<Vec<_>>());
}

#[test]
fn batches_queued_together_share_a_frame() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let partition = Arc::clone(&stream(&log).partitions()[0]);
    let series = log.streams().route("/room/1").unwrap().series;
    let receipts: Vec<Receipt> = (0..100).map(|n| partition.append(rows(series, n, 1))).collect();
    assert_eq!(partition.ends().durable_end, Offset(0), "L4: nothing is visible before the sync");
    log.step_committers();
    for (n, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(receipt.wait().unwrap().base_offset, Offset(n as u64));
    }
    let entry = partition.reader(Offset(0)).next().unwrap().unwrap();
    assert_eq!(entry.end_offset(), Offset(100));
    assert_eq!((entry.min_time, entry.max_time), (EventTime(0), EventTime(99)));
}

#[test]
fn segments_roll_are_sealed_and_can_be_read_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    for n in 0..30 {
        put(&log, n * 500, 500);
    }
    let check = |log: &Log| {
        let partition = Arc::clone(&stream(log).partitions()[0]);
        let segments = partition.segments();
        assert!(segments.len() > 3, "{segments:?}");
        for pair in segments.windows(2) {
            assert!(pair[0].sealed);
            assert_eq!(pair[0].end_offset, pair[1].base_offset);
        }
        let mut reader = partition.segment_reader(segments[1].base_offset);
        let mut end = segments[1].base_offset;
        while let Some(entry) = reader.next().unwrap() {
            assert_eq!(entry.base_offset, end);
            assert!(entry.min_time >= segments[1].min_time);
            end = entry.end_offset();
        }
        assert_eq!(end, segments[1].end_offset);
        assert_eq!(values(log, 0), (0..15_000).collect::<Vec<_>>());
        assert_eq!(values(log, 7_777), (7_777..15_000).collect::<Vec<_>>());
    };
    check(&log);
    drop(log);
    check(&open(directory.path()));
}

#[test]
fn an_added_column_is_null_in_older_rows_and_starts_a_segment() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    put(&log, 0, 5);
    let column = Column { name: "co2".to_owned(), column_type: ColumnType::Double, unit: None };
    let changed = log.add_column("climate", column).unwrap();
    assert_eq!(changed.schema_id(), SchemaId(2));
    put(&log, 5, 5);
    assert_eq!(changed.partitions()[0].segments().len(), 2);
    drop((log, changed));
    let log = open(directory.path());
    assert_eq!(stream(&log).definition().columns().len(), 2);
    put(&log, 10, 5);
    assert_eq!(values(&log, 0), (0..15).collect::<Vec<_>>());
}

#[test]
fn a_row_with_an_id_is_stored_once_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    stream(&log);
    let route = log.streams().route("/room/1").unwrap();
    let append = |log: &Log, batch| {
        let receipt = stream(log).partitions()[0].append(batch);
        log.step_committers();
        receipt.wait().unwrap()
    };
    let first = append(&log, with_ids(&rows(route.series, 0, 3), &[1, 2, 3]));
    assert_eq!((first.rows, first.duplicates), (3, vec![]));
    let again = append(&log, with_ids(&rows(route.series, 0, 3), &[3, 4, 1]));
    assert_eq!((again.rows, again.duplicates), (1, vec![0, 2]));
    append(&log, rows(route.series, 0, 3));
    drop((log, route));
    let log = open(directory.path());
    let series = log.streams().route("/room/1").unwrap().series;
    let third = append(&log, with_ids(&rows(series, 0, 2), &[4, 5]));
    assert_eq!((third.rows, third.duplicates), (1, vec![0]));
    let mut reader = stream(&log).partitions()[0].reader(Offset(0));
    let entry = reader.next().unwrap().unwrap();
    let EntryBody::Rows(batch) = entry.body else { panic!("rows first") };
    assert!(batch.column_by_name(DEDUPE).is_some());
}

#[test]
fn ticks_and_restarts_stand_in_the_log_without_offsets() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    put(&log, 0, 2);
    let partition = Arc::clone(&stream(&log).partitions()[0]);
    let receipt = partition.append_tick(EventTime(77), TickKind::Idle);
    log.step_committers();
    receipt.wait().unwrap();
    assert_eq!(partition.newest_event_time(), Some(EventTime(77)));
    let flushes = stream(&log).begin_flush();
    log.step_committers();
    flushes.into_iter().for_each(|r| drop(r.wait().unwrap()));
    drop((log, partition));
    let log = open(directory.path());
    let partition = Arc::clone(&stream(&log).partitions()[0]);
    assert_eq!(partition.newest_event_time(), Some(EventTime(77)));
    put(&log, 2, 2);
    let mut reader = partition.reader(Offset(2));
    let mut seen = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        seen.push(match entry.body {
            EntryBody::Rows(batch) => format!("{} rows at {}", batch.num_rows(), entry.base_offset),
            EntryBody::Tick { event_time, kind } => format!("{kind:?} {event_time}"),
            EntryBody::Restart { .. } => "restart".to_owned(),
            EntryBody::Gap { .. } => "gap".to_owned(),
        });
    }
    assert_eq!(seen, ["Idle 77", "Flush 77", "restart", "2 rows at 2"]);
}

#[test]
fn a_dropped_stream_is_gone_and_one_of_the_same_name_starts_empty() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    put(&log, 0, 5);
    let old = stream(&log).uid();
    log.drop_stream("climate").unwrap();
    assert!(log.streams().route("/room/1").is_err());
    assert!(log.streams().get("climate").is_none());
    assert_ne!(stream(&log).uid(), old);
    assert_eq!(values(&log, 0), Vec::<i64>::new());
    put(&log, 7, 1);
    drop(log);
    assert_eq!(values(&open(directory.path()), 0), [7]);
}

#[test]
fn streams_with_a_common_topic_or_the_same_name_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    stream(&log);
    let same = log.create_stream(definition("climate", "/other/{x}"));
    assert!(matches!(same, Err(StreamChangeError::Exists(_))));
    let overlapping = log.create_stream(definition("other", "/{a}/{b}"));
    assert!(matches!(overlapping, Err(StreamChangeError::Overlaps { .. })));
}

#[test]
fn a_directory_in_use_and_an_unknown_format_are_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let again = || {
        let clock = Arc::new(RealClock::new());
        Log::open_manual(Arc::new(RealDisk), clock, config(directory.path()))
    };
    assert!(matches!(again(), Err(OpenError::Locked { .. })));
    log.catalog().put("log", "format", b"7.0").unwrap();
    drop(log);
    let refused = again().unwrap_err();
    assert!(matches!(&refused, OpenError::UnknownFormat { found, .. } if found == "7.0"));
    assert!(refused.to_string().contains("has format 7.0"), "{refused}");
}

#[test]
fn internal_logs_take_batches_of_their_own_and_change_schema() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let batch = rows(SeriesId(0), 0, 3);
    let two = RecordBatch::try_new(
        Arc::new(Schema::new(batch.schema().fields()[..2].to_vec())),
        batch.columns()[..2].to_vec(),
    )
    .unwrap();
    let alarms = Arc::clone(log.internal(InternalLog::Alarms));
    let receipts = [alarms.append(two.clone()), alarms.append(batch.clone())];
    log.step_committers();
    receipts.into_iter().for_each(|r| drop(r.wait().unwrap()));
    drop((log, alarms));
    let log = open(directory.path());
    let mut reader = log.internal(InternalLog::Alarms).reader(Offset(0));
    let mut read = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        if let EntryBody::Rows(batch) = entry.body {
            read.push(batch);
        }
    }
    assert_eq!(read, [two, batch]);
}

#[test]
fn committer_threads_confirm_many_writers_and_readers_follow() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
    let log = Log::open(disk, clock, config(directory.path())).unwrap();
    let stream = log.create_stream(definition("climate", "/room/{room}")).unwrap();
    let series = log.streams().route("/room/1").unwrap().series;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let partition = &stream.partitions()[0];
            scope.spawn(move || {
                for n in 0..100 {
                    let appended = partition.append(rows(series, writer * 1000 + n, 1)).wait();
                    assert_eq!(appended.unwrap().rows, 1);
                }
            });
        }
    });
    let ends = stream.partitions()[0].ends();
    assert_eq!(ends.durable_end, Offset(400));
    assert!(ends.safe_time >= stream.partitions()[0].newest_append_time().unwrap());
    let mut read = values(&log, 0);
    read.sort_unstable();
    assert_eq!(read.len(), 400);
    log.stop();
    let refused = stream.partitions()[0].append(rows(series, 0, 1)).wait();
    assert!(matches!(refused, Err(AppendError::Stopped)));
}

#[test]
fn a_torn_tail_is_kept_aside_and_a_rotten_row_stops_only_its_partition() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    put(&log, 0, 10);
    put(&log, 10, 10);
    let segment = segment_file(directory.path());
    drop(log);
    let bytes = std::fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    // The last group was proven by no later frame: a changed byte there is a tear.
    let mut torn = bytes.clone();
    torn[end] ^= 1;
    std::fs::write(&segment, &torn).unwrap();
    let log = open(directory.path());
    assert_eq!(values(&log, 0), (0..10).collect::<Vec<_>>());
    assert_eq!(stream(&log).partitions()[0].state(), PartitionState::Ready);
    assert!(directory.path().join("quarantine/streams/climate-1/0").exists());
    drop(log);
    // The first group was proven, by the second and by the start that followed.
    let segment = segment_file(directory.path());
    let mut rotten = std::fs::read(&segment).unwrap();
    let at = rotten.windows(4).rposition(|w| *w == 9_f64.to_le_bytes()[4..]).unwrap();
    rotten[at] ^= 1;
    std::fs::write(&segment, &rotten).unwrap();
    let log = open(directory.path());
    let partition = Arc::clone(&stream(&log).partitions()[0]);
    assert!(matches!(partition.state(), PartitionState::Corrupt(_)), "{:?}", partition.state());
    let refused = partition.append(rows(SeriesId(0), 0, 1)).wait();
    assert!(matches!(refused, Err(AppendError::Corrupt { .. })));
    log.create_stream(definition("other", "/other/{x}")).unwrap();
}

fn segment_file(directory: &Path) -> PathBuf {
    let files = RealDisk.list(&directory.join("streams/climate-1/0")).unwrap();
    files.into_iter().find(|f| f.extension().is_some_and(|e| e == "seg")).unwrap()
}
