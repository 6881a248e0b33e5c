//! Rows that are not all there are found out. What is answered stands in tests/sql.

use super::*;
use crate::alarms::{PartitionReceipt, Receipt};
use crate::sql::{Statement, parse_statements};
use std::path::Path;
use weir_ingest::decode::Decoder;
use weir_ingest::io::{SimulatedClock, SimulatedDisk};
use weir_ingest::log::LogConfig;
use weir_ingest::model::{Offset, PartitionId};

const DEFINE: &str = "CREATE STREAM t (n DOUBLE) TOPIC '/{a}' WITH (partitions = 1);
CREATE RULE r RAISE WHEN n > 1 AS SELECT n FROM t";

/// Three readings and whether all of the range `first..=last` can be read again.
fn is_complete(first: u64, last: u64) -> bool {
    let (disk, clock) = (SimulatedDisk::new(1), SimulatedClock::at(1_000_000_000));
    let config = LogConfig::new(Path::new("/weir"));
    let log = Log::open_manual(Arc::new(disk), Arc::new(clock), config).unwrap();
    let references = ReferenceTables::open(Arc::clone(&log)).unwrap();
    let mut statements = parse_statements(DEFINE).unwrap().into_iter();
    let (Some(Statement::CreateStream { definition, .. }), Some(Statement::CreateRule(rule))) =
        (statements.next(), statements.next())
    else {
        panic!("a stream and a rule")
    };
    log.create_stream(definition).unwrap();
    let mut decoder = Decoder::new(log.streams());
    for row in 0..3 {
        decoder.push_json(br#"{"topic":"/x","time":1000,"n":2}"#, row, AppendTime(1_000_000_000));
    }
    for rows in decoder.finish().rows {
        drop(rows.stream.partitions()[0].append(rows.batch));
    }
    log.step_committers();
    let planned = planned(rule, &relations(&log, &references)).unwrap();
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
