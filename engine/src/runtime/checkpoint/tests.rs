use super::*;
use crate::runtime::definition::{parse_rule, planned, relations};
use crate::runtime::follower::{Followed, Follower};
use crate::sql::{StartFrom, Statement, parse_statements};
use crate::tables::reference::ReferenceTables;
use arrow::array::{Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use std::sync::Arc;
use weir_ingest::io::{Clock, Open, SimulatedClock, SimulatedDisk};
use weir_ingest::log::LogConfig;
use weir_ingest::model::reading::{Hidden, stored_schema};

const STREAM: &str = "CREATE STREAM climate (temperature DOUBLE) TOPIC '/room/{room}' \
     WITH (partitions = 1, lateness = '0 seconds')";
const RULE: &str = "CREATE RULE warm START FROM EARLIEST RAISE WHEN t > 22 \
     AS SELECT room, avg(temperature) AS t \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '5' SECOND) \
     GROUP BY room, window_start, window_end";

/// A log with one rule over some readings.
struct Bench {
    log: Arc<Log>,
    disk: SimulatedDisk,
    stored: StoredRule,
    planned: Vec<Planned>,
    second: i64,
}

impl Bench {
    fn new() -> Self {
        let disk = SimulatedDisk::new(1);
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::at(1_700_000_000_000_000));
        let at = LogConfig::new("/weir");
        let log = Log::open_manual(Arc::new(disk.clone()), clock, at).unwrap();
        let Some(Statement::CreateStream { definition, .. }) =
            parse_statements(STREAM).unwrap().pop()
        else {
            panic!("a stream")
        };
        log.create_stream(definition).unwrap();
        let references = ReferenceTables::open(Arc::clone(&log)).unwrap();
        let planned = planned(parse_rule(RULE).unwrap(), &relations(&log, &references)).unwrap();
        let stored = StoredRule::starting(&log, &planned, 7, StartFrom::Earliest);
        Self { log, disk, stored, planned: vec![planned], second: 0 }
    }

    fn readings(&mut self, rows: usize) {
        let stream = self.log.streams().get("climate").unwrap();
        let route = self.log.streams().route("/room/a").unwrap();
        let times: Vec<i64> = (0..rows as i64).map(|i| (self.second + i) * 1_000_000).collect();
        self.second += rows as i64;
        let batch = RecordBatch::try_new(
            stored_schema(&stream.definition(), Hidden::default()),
            vec![
                Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
                Arc::new(UInt32Array::from(vec![route.series.0; rows])),
                Arc::new(Float64Array::from(vec![25.0; rows])),
            ],
        )
        .unwrap();
        drop(stream.partitions()[0].append(batch));
        self.log.step_committers();
    }

    fn follower(&self) -> Follower {
        self.stored.follow(&self.log, &self.planned).unwrap()
    }

    /// Takes everything; how many rows that were.
    fn follow(&self, follower: &mut Follower) -> u64 {
        let mut bytes = 0;
        loop {
            match follower.follow(None).unwrap() {
                Followed::Taken { bytes: more, .. } => bytes += more,
                Followed::Waiting { .. } => return bytes / 24,
                Followed::Finished { .. } => panic!("nobody dropped it"),
            }
        }
    }

    fn damage(&self, entry: &Entry) {
        let file = self.disk.open(&self.log.directory().join(&entry.file), Open::Write).unwrap();
        file.pwrite(&[std::io::IoSlice::new(b"?")], entry.bytes / 2).unwrap();
    }
}

use weir_ingest::io::Disk;

#[test]
fn a_rule_reads_again_only_what_came_after_its_checkpoint() {
    let mut bench = Bench::new();
    let mut follower = bench.follower();
    bench.readings(100);
    assert_eq!(bench.follow(&mut follower), 100);
    let entry = save(&bench.log, &follower.snapshot(&bench.log).unwrap()).unwrap();
    assert_eq!((entry.epoch, entry.ends.streams["climate"][0]), (1, Offset(100)));
    bench.readings(7);
    assert_eq!(bench.follow(&mut bench.follower()), 7);
}

#[test]
fn a_damaged_checkpoint_falls_back_on_the_one_before_and_three_are_kept() {
    let mut bench = Bench::new();
    let mut follower = bench.follower();
    for _ in 0..5 {
        bench.readings(10);
        bench.follow(&mut follower);
        save(&bench.log, &follower.snapshot(&bench.log).unwrap()).unwrap();
    }
    let kept = entries(&bench.log, 7).unwrap();
    assert_eq!(kept.iter().map(|entry| entry.epoch).collect::<Vec<_>>(), [3, 4, 5]);
    let files = bench.disk.list(&bench.log.directory().join(DIRECTORY)).unwrap();
    assert_eq!(files.len(), 3);
    for (damaged, read_again) in [(2, 10), (1, 20), (0, 50)] {
        bench.damage(&kept[damaged]);
        let mut again = bench.follower();
        assert_eq!(bench.follow(&mut again), read_again);
        let same = |follower: &Follower| {
            file::encode(&Snapshot {
                outputs: BTreeMap::new(),
                ..follower.snapshot(&bench.log).unwrap()
            })
        };
        assert_eq!(same(&again), same(&follower), "the state is equal byte for byte");
    }
}

#[test]
fn a_checkpoint_of_another_plan_is_refused_with_the_choices() {
    let mut bench = Bench::new();
    let mut follower = bench.follower();
    bench.readings(10);
    bench.follow(&mut follower);
    let snapshot = follower.snapshot(&bench.log).unwrap();
    save(&bench.log, &Snapshot { fingerprint: "another".to_owned(), ..snapshot }).unwrap();
    let refused = bench.stored.follow(&bench.log, &bench.planned).unwrap_err().to_string();
    assert!(
        refused.contains("REPLAY RULE warm") && refused.contains("RESET RULE warm"),
        "{refused}"
    );
    forget(&bench.log, 7).unwrap();
    assert_eq!(bench.follow(&mut bench.follower()), 10);
}
