//! Retention passes no row that a rule would read after a restart, and a rule that keeps too much says so.

use super::*;
use crate::runtime::definition::{parse_rule, planned, relations};
use crate::runtime::follower::{Followed, Follower};
use crate::sql::{StartFrom, Statement, parse_statements};
use crate::tables::reference::ReferenceTables;
use arrow::array::{Array, Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use std::time::Duration;
use weir_ingest::io::{Clock, SimulatedClock, SimulatedDisk};
use weir_ingest::log::LogConfig;
use weir_ingest::model::Retention;
use weir_ingest::model::reading::{Hidden, stored_schema};

const STREAM: &str = "CREATE STREAM climate (temperature DOUBLE) TOPIC '/room/{room}' \
     WITH (partitions = 1, lateness = '0 seconds', retention = '20 seconds')";
/// The rows of open windows are read again by a rule that goes on from its checkpoint.
const MIDDLE: &str = "CREATE RULE middle START FROM EARLIEST AS SELECT room, median(temperature) AS t \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '60' SECOND) \
     GROUP BY room, window_start, window_end";
/// It looks at latest values: it reads its log from the start where nobody keeps a checkpoint.
const AGAINST: &str = "CREATE RULE against START FROM EARLIEST AS SELECT room, \
     median(temperature - before) AS up \
     FROM TUMBLE((SELECT c.room, c.time, c.temperature, l.temperature AS before \
     FROM climate c JOIN latest.climate l ON l.room = c.room), \
     DESCRIPTOR(time), size => INTERVAL '6' SECOND) GROUP BY room, window_start, window_end";

/// A log of small segments, and the second it is.
struct Bench {
    log: Arc<Log>,
    disk: SimulatedDisk,
    clock: Arc<SimulatedClock>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(SimulatedClock::at(1_700_000_000_000_000));
        let bench = Self::on(SimulatedDisk::new(1), clock);
        let Some(Statement::CreateStream { definition, .. }) =
            parse_statements(STREAM).unwrap().pop()
        else {
            panic!("a stream")
        };
        bench.log.create_stream(definition).unwrap();
        bench
    }

    fn on(disk: SimulatedDisk, clock: Arc<SimulatedClock>) -> Self {
        let retention = Retention { age: Some(Duration::from_secs(20)), bytes: None };
        let config = LogConfig {
            segment_bytes_max: 1024,
            retention: OUTPUTS.map(|which| (which, retention)).into_iter().collect(),
            ..LogConfig::new("/weir")
        };
        let at: Arc<dyn Clock> = Arc::<SimulatedClock>::clone(&clock);
        let log = Log::open_manual(Arc::new(disk.clone()), at, config).unwrap();
        Self { log, disk, clock }
    }

    /// The process ends and starts again.
    fn restarted(self) -> Self {
        let Self { log, disk, clock } = self;
        drop(log);
        Self::on(disk, clock)
    }

    /// A minute passes, with a reading a second.
    fn minute(&self) {
        let stream = self.log.streams().get("climate").unwrap();
        let route = self.log.streams().route("/room/a").unwrap();
        for _ in 0..60 {
            let now = self.clock.wall_us();
            let rows = 20;
            let batch = RecordBatch::try_new(
                stored_schema(&stream.definition(), Hidden::default()),
                vec![
                    Arc::new(TimestampMicrosecondArray::from(vec![now; rows]).with_timezone("UTC"))
                        as Arc<dyn Array>,
                    Arc::new(UInt32Array::from(vec![route.series.0; rows])),
                    Arc::new(Float64Array::from(vec![25.0; rows])),
                ],
            );
            drop(stream.partitions()[0].append(batch.unwrap()));
            self.log.step_committers();
            self.clock.advance(Duration::from_secs(1));
        }
    }

    fn partition(&self) -> Arc<Partition> {
        Arc::clone(&self.log.streams().get("climate").unwrap().partitions()[0])
    }

    fn start(&self) -> Offset {
        self.log.step_retention();
        self.partition().ends().log_start
    }

    fn planned(&self, rule: &str) -> Planned {
        let references = ReferenceTables::open(Arc::clone(&self.log)).unwrap();
        planned(parse_rule(rule).unwrap(), &relations(&self.log, &references)).unwrap()
    }

    /// A rule at its start, and its hold.
    fn create(&self, rule: &str, bytes_max: u64) -> (StoredRule, Planned, RuleHold) {
        let planned = self.planned(rule);
        let hold = RuleHold::of_all(&self.log, &planned, bytes_max);
        let stored = StoredRule::starting(&self.log, &planned, 7, StartFrom::Now);
        hold.follow(&stored).unwrap();
        (stored, planned, hold)
    }

    /// Takes everything and writes what comes of it; how many outputs.
    fn follow(&self, follower: &mut Follower) -> u64 {
        let mut outputs = 0;
        loop {
            match follower.follow(None).unwrap() {
                Followed::Taken { writes, counts, .. } => {
                    outputs += counts.outputs;
                    writes.iter().for_each(|write| drop(write.begin(&self.log)));
                    self.log.step_committers();
                }
                Followed::Waiting { .. } => return outputs,
                Followed::Finished { .. } => panic!("nobody dropped it"),
            }
        }
    }

    fn checkpoint(&self, follower: &Follower) {
        checkpoint::save(&self.log, &follower.snapshot(&self.log).unwrap()).unwrap();
    }
}

#[test]
fn retention_waits_for_what_the_oldest_checkpoint_reads_again() {
    let bench = Bench::new();
    let (stored, planned, hold) = bench.create(MIDDLE, u64::MAX);
    bench.minute();
    assert_eq!(bench.start(), Offset(0), "without a checkpoint it needs all from its start");
    let mut follower = stored.from_start(stored.open_all(&bench.log, &[planned]).unwrap());
    let mut outputs = bench.follow(&mut follower);
    bench.checkpoint(&follower);
    hold.keep().unwrap();
    let first = checkpoint::entries(&bench.log, 7).unwrap()[0].needs.clone().unwrap();
    let (needed, taken) = (first.streams["climate"][0], bench.partition().ends().durable_end);
    assert!(needed > Offset(0) && needed < taken, "{needed}: the open window's rows");
    bench.minute();
    let start = bench.start();
    assert!(start > Offset(0) && start <= needed, "{start}");
    assert_eq!(bench.partition().held_by().unwrap().name, "rule middle");
    // The oldest of the checkpoints kept counts.
    outputs += bench.follow(&mut follower);
    bench.checkpoint(&follower);
    hold.keep().unwrap();
    bench.minute();
    assert_eq!(bench.start(), start);
    drop((follower, hold));
    let bench = bench.restarted();
    let planned = bench.planned(MIDDLE);
    let hold = RuleHold::of_stored(&bench.log, "middle", &stored, u64::MAX).unwrap();
    assert_eq!(bench.start(), start);
    let mut follower = stored.follow(&bench.log, &[planned]).unwrap();
    follower.read_written(&bench.log).unwrap();
    outputs += bench.follow(&mut follower);
    assert!(outputs >= 2, "{outputs}: every window is given out once");
    for _ in 0..3 {
        bench.minute();
        bench.follow(&mut follower);
        bench.checkpoint(&follower);
    }
    hold.keep().unwrap();
    assert!(bench.start() > needed);
}

#[test]
fn a_rule_whose_rows_are_gone_is_refused_in_words_and_never_goes_on_without_them() {
    let bench = Bench::new();
    let (stored, planned, hold) = bench.create(AGAINST, u64::MAX);
    let mut follower = stored.from_start(stored.open_all(&bench.log, &[planned]).unwrap());
    bench.minute();
    bench.follow(&mut follower);
    bench.minute();
    drop(hold);
    assert!(bench.start() > Offset(1200), "past what it has taken");
    let error = follower.follow(None).unwrap_err();
    assert!(error.contains("removed by retention"), "{error}");
    let error = check_from_start(&bench.log, "against", &stored).unwrap_err();
    assert!(error.message.contains("which retention removed"), "{error}");
    let error = stored.follow(&bench.log, &[bench.planned(AGAINST)]).unwrap_err();
    assert!(error.hint.unwrap().contains("RESET RULE against"), "{}", error.message);
}

#[test]
fn a_rule_that_keeps_too_much_is_told_of_in_words_and_as_an_event() {
    let bench = Bench::new();
    let (_, _, hold) = bench.create(AGAINST, 2048);
    assert!(note_released(&bench.log).is_none());
    bench.minute();
    assert!(bench.start() > Offset(0));
    assert!(*hold.released().borrow());
    assert!(hold.why_released("against").contains("RESET RULE against"));
    let receipt = note_released(&bench.log).unwrap();
    bench.log.step_committers();
    receipt.wait().unwrap();
    let rows = bench.log.internal(InternalLog::Rows);
    let entry = rows.reader(Offset(0)).next().unwrap().unwrap();
    let weir_ingest::log::EntryBody::Rows(batch) = &entry.body else { panic!("{entry:?}") };
    let told = transition_rows::decode(batch).unwrap();
    assert_eq!(told[0].rule, HOLD_RELEASED);
    assert!(told[0].values.contains("rule against"), "{}", told[0].values);
    assert!(note_released(&bench.log).is_none(), "once");
}

#[test]
fn what_a_rule_gave_out_is_kept_as_long_as_it_may_give_it_out_again() {
    let bench = Bench::new();
    let (stored, planned, hold) = bench.create(AGAINST, u64::MAX);
    let mut follower = stored.from_start(stored.open_all(&bench.log, &[planned]).unwrap());
    for _ in 0..3 {
        bench.minute();
        bench.follow(&mut follower);
    }
    let rows = bench.log.internal(InternalLog::Rows);
    assert!(rows.segments().len() > 3, "{:?}", rows.segments());
    bench.start();
    assert_eq!(rows.ends().log_start, Offset(0));
    let mut again = stored.follow(&bench.log, &[bench.planned(AGAINST)]).unwrap();
    again.read_written(&bench.log).unwrap();
    drop(hold);
    bench.start();
    assert!(rows.ends().log_start > Offset(0));
    // What it read is gone, too; here only what it gave out is looked at.
    let mut later = stored.clone();
    later.offsets.values_mut().for_each(|from| *from = vec![bench.partition().ends().log_start]);
    let versions = later.open_all(&bench.log, &[bench.planned(AGAINST)]).unwrap();
    let mut again = stored.from_start(versions);
    let error = again.read_written(&bench.log).unwrap_err();
    assert!(error.contains("internal/rows") && error.contains("RESET RULE"), "{error}");
}
