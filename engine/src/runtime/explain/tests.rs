//! Rows that are not all there are found out, and reading a rule's input again has its bounds. What is answered
//! stands in tests/sql.

use super::*;
use crate::alarms::{PartitionReceipt, Receipt};
use crate::runtime::definition::{RULES, StoredRule};
use crate::runtime::feed::Next;
use crate::runtime::versions::Version;
use crate::sql::{StartFrom, Statement, parse_statements};
use std::path::Path;
use weir_ingest::decode::Decoder;
use weir_ingest::io::{SimulatedClock, SimulatedDisk};
use weir_ingest::log::LogConfig;
use weir_ingest::model::{Offset, PartitionId};

const DEFINE: &str =
    "CREATE STREAM t (n DOUBLE) TOPIC '/{a}' WITH (partitions = 1, lateness = '0 seconds');";

/// A log with three readings and a rule over it.
fn three_readings(rule: &str) -> (Arc<Log>, ReferenceTables, Planned) {
    let (disk, clock) = (SimulatedDisk::new(1), SimulatedClock::at(1_000_000_000));
    let config = LogConfig::new(Path::new("/weir"));
    let log = Log::open_manual(Arc::new(disk), Arc::new(clock), config).unwrap();
    let references = ReferenceTables::open(Arc::clone(&log)).unwrap();
    let mut statements = parse_statements(&format!("{DEFINE} {rule}")).unwrap().into_iter();
    let (Some(Statement::CreateStream { definition, .. }), Some(Statement::CreateRule(rule))) =
        (statements.next(), statements.next())
    else {
        panic!("a stream and a rule")
    };
    log.create_stream(definition).unwrap();
    let mut decoder = Decoder::new(log.streams());
    for row in 0..3 {
        let reading = format!(r#"{{"topic":"/x","time":{},"n":{}}}"#, 1000 + row, 2 * row);
        decoder.push_json(reading.as_bytes(), row, AppendTime(1_000_000_000));
    }
    for rows in decoder.finish().rows {
        drop(rows.stream.partitions()[0].append(rows.batch));
    }
    drop(decoder);
    log.step_committers();
    let planned = planned(rule, &relations(&log, &references)).unwrap();
    (log, references, planned)
}

/// Whether all of the range `first..=last` can be read again.
fn is_complete(first: u64, last: u64) -> bool {
    let (log, _, planned) = three_readings("CREATE RULE r RAISE WHEN n > 1 AS SELECT n FROM t");
    let lane = PartitionReceipt {
        stream: "t".to_owned(),
        partition: PartitionId(0),
        first_offset: Offset(first),
        last_offset: Offset(last),
        watermark_before: None,
    };
    let receipt = Receipt { partitions: vec![lane], ..Receipt::default() };
    let until = log.append_clock().floor();
    let evidence = Evidence { log: &log, planned: &planned, receipt: &receipt, until };
    let mut read = 0;
    let complete = evidence.read(&mut |input| {
        if let crate::stream::input::Input::Rows(rows) = input {
            read += rows.len() as u64;
        }
        Ok(())
    });
    assert!(read <= last + 1 - first, "nothing outside the range");
    complete.unwrap()
}

#[test]
fn a_range_is_complete_when_each_of_its_rows_is_there() {
    assert!(is_complete(0, 2) && is_complete(1, 1));
    assert!(!is_complete(1, 3), "the last row is not there");
    assert!(!is_complete(5, 5));
}

/// What is found behind the alarm of a rule that looks back.
fn behind_an_alarm(bounds: Bounds<'_>) -> Result<Found, SqlError> {
    let (log, references, planned) = three_readings(
        "CREATE RULE r KEY (a) RAISE WHEN step > 1 AS SELECT a, n - lag(n) AS step FROM t",
    );
    let stored = StoredRule::starting(&log, &planned, 7, StartFrom::Earliest);
    log.catalog().put(RULES, "r", &serde_json::to_vec(&stored).unwrap()).unwrap();
    let Version { mut runner, mut feed } = stored.open(&log, &planned).unwrap();
    let mut raised = Vec::new();
    while let Next::Input(input) = feed.next_input().unwrap() {
        raised.extend(runner.step(&input).unwrap().transitions);
    }
    look(&log, &references, &raised[0], bounds)
}

#[test]
fn input_is_read_again_within_what_a_rule_may_have_and_as_long_as_nobody_says_stop() {
    let bounds = Bounds { memory_max: 1 << 20, halted: &|| None };
    let found = behind_an_alarm(bounds);
    assert!(matches!(found, Ok(Found::Again { recomputed: Some(_), .. })), "{found:?}");
    let found = behind_an_alarm(Bounds { memory_max: 0, ..bounds });
    assert!(matches!(found, Ok(Found::NotAgain(why)) if why.contains("rule_memory_max")));
    let halted = behind_an_alarm(Bounds { halted: &|| Some(SqlError::new("enough")), ..bounds });
    assert_eq!(halted.map(drop), Err(SqlError::new("enough")));
}
