use super::*;
use crate::runtime::definition::{StoredRule, parse_rule, planned, relations};
use crate::runtime::follower::{Followed, Follower};
use crate::sql::{StartFrom, Statement, parse_statements};
use crate::tables::reference::ReferenceTables;
use arrow::array::{Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use std::sync::Arc;
use weir_ingest::io::{Clock, SimulatedClock, SimulatedDisk};
use weir_ingest::log::{Log, LogConfig};
use weir_ingest::model::reading::{Hidden, stored_schema};

const STREAM: &str = "CREATE STREAM climate (temperature DOUBLE) TOPIC '/floor/{floor}/room/{room}' \
     WITH (partitions = 1, lateness = '5 seconds')";
const ROOMS: usize = 5_000;

fn log() -> Arc<Log> {
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::at(1_700_000_000_000_000));
    let disk = Arc::new(SimulatedDisk::new(1));
    let log = Log::open_manual(disk, clock, LogConfig::new("/weir")).unwrap();
    let Some(Statement::CreateStream { definition, .. }) = parse_statements(STREAM).unwrap().pop()
    else {
        panic!("a stream")
    };
    log.create_stream(definition).unwrap();
    log
}

/// Every room says something at that second.
fn readings(log: &Log, second: i64) {
    let stream = log.streams().get("climate").unwrap();
    let route = |room: usize| {
        let topic = format!("/floor/{}/room/{room}", room / 100);
        log.streams().route(&topic).unwrap().series.0
    };
    let batch = RecordBatch::try_new(
        stored_schema(&stream.definition(), Hidden::default()),
        vec![
            Arc::new(
                TimestampMicrosecondArray::from(vec![second * 1_000_000; ROOMS])
                    .with_timezone("UTC"),
            ),
            Arc::new(UInt32Array::from_iter_values((0..ROOMS).map(route))),
            Arc::new(Float64Array::from_iter_values((0..ROOMS).map(|room| room as f64))),
        ],
    )
    .unwrap();
    drop(stream.partitions()[0].append(batch));
    log.step_committers();
}

fn follower(log: &Arc<Log>, rule: &str) -> (Planned, Follower) {
    let references = ReferenceTables::open(Arc::clone(log)).unwrap();
    let planned = planned(parse_rule(rule).unwrap(), &relations(log, &references)).unwrap();
    let stored = StoredRule::starting(log, &planned, 7, StartFrom::Earliest);
    let follower = stored.follow(log, std::slice::from_ref(&planned)).unwrap();
    (planned, follower)
}

/// Takes everything; the most that its state took on the way.
fn peak(follower: &mut Follower) -> Result<usize, String> {
    let mut peak = 0;
    while let Followed::Taken { .. } = follower.follow(None)? {
        peak = peak.max(follower.runner().bytes());
    }
    Ok(peak)
}

#[test]
fn what_is_said_of_a_rule_s_state_is_at_least_what_it_takes_and_three_times_that_at_most() {
    for keys in ["floor", "floor, room"] {
        let log = log();
        let (planned, mut follower) = follower(
            &log,
            &format!(
                "CREATE RULE r START FROM EARLIEST AS SELECT {keys}, avg(temperature) AS a, \
                 min(temperature) AS b, max(temperature) AS c, count(*) AS n \
                 FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
                 GROUP BY {keys}, window_start, window_end"
            ),
        );
        let mut most = 0;
        for second in (0..600).step_by(30).chain([598, 602, 599, 603]) {
            readings(&log, second);
            most = most.max(peak(&mut follower).unwrap());
        }
        let bound = Bound::of(&planned.plan).expect("it is on the dense path");
        let of_keys = if keys == "floor" { ROOMS / 100 } else { ROOMS };
        let said = bound.bytes(ROOMS, of_keys);
        assert!(most <= said, "{keys}: it took {most}, {said} were said");
        assert!(said <= 3 * most, "{keys}: it took {most}, {said} were said");
        assert!(bound.bytes(ROOMS, ROOMS) <= 256 * ROOMS * bound.windows());
    }
}

#[test]
fn a_rule_beyond_its_limit_stops_with_a_sentence_while_another_goes_on() {
    let log = log();
    let window = "FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
         GROUP BY floor, window_start, window_end";
    let rule = |name: &str, aggregate: &str| {
        let text =
            format!("CREATE RULE {name} START FROM EARLIEST AS SELECT floor, {aggregate} {window}");
        follower(&log, &text).1.within(1_000_000)
    };
    let mut small = rule("small", "avg(temperature) AS a");
    let mut large = rule("large", "median(temperature) AS a");
    let mut stopped = None;
    for second in 0..60 {
        readings(&log, second);
        peak(&mut small).unwrap();
        stopped = stopped.or(peak(&mut large).err());
    }
    let sentence = stopped.expect("300000 values are more than it may keep");
    assert!(sentence.contains("engine.rule_memory_max = 1000000"), "{sentence}");
}
