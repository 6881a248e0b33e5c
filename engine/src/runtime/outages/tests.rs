//! When a partition is left out, and what the built-in alarm does.

use super::*;
use crate::alarms::TransitionKind;
use std::path::Path;
use weir_ingest::io::{SimulatedClock, SimulatedDisk};
use weir_ingest::log::LogConfig;
use weir_ingest::model::PartitionId;

const IDLE: i64 = 10_000_000;

fn log() -> Arc<Log> {
    let (disk, clock) = (SimulatedDisk::new(1), SimulatedClock::at(1_000_000_000));
    let config = LogConfig::new(Path::new("/weir"));
    Log::open_manual(Arc::new(disk), Arc::new(clock), config).unwrap()
}

fn place() -> PartitionPlace {
    PartitionPlace { stream: "climate".to_owned(), partition: PartitionId(1) }
}

fn bad() -> Vec<Bad> {
    vec![Bad { place: place(), why: "failed: no sync".to_owned(), idle_us: IDLE }]
}

/// Writes what is due at `now` down and follows it; the kinds of transitions that come of it.
fn watch(outages: &mut Outages, now: i64, bad: Vec<Bad>) -> Vec<TransitionKind> {
    let due = outages.due(AppendTime(now), bad);
    let due: Vec<_> = due.into_iter().map(|command| (EventTime(now), command)).collect();
    if !due.is_empty() {
        let commands = outages.log.internal(InternalLog::Commands);
        drop(commands.append(command_rows::encode(&due)));
        outages.log.step_committers();
    }
    let writes = outages.follow().unwrap();
    let told = writes.iter().flat_map(|(_, batch)| transition_rows::decode(batch).unwrap());
    let kinds = told.map(|transition| transition.kind).collect();
    for (which, batch) in writes {
        drop(outages.log.internal(which).append(batch));
        outages.log.step_committers();
    }
    kinds
}

#[test]
fn a_partition_is_left_out_after_idle_and_taken_in_when_it_is_well() {
    let log = log();
    let mut outages = Outages::open(&log).unwrap();
    assert_eq!(watch(&mut outages, 0, bad()), []);
    assert_eq!(watch(&mut outages, IDLE, bad()), [], "for longer than idle, not as long");
    assert_eq!(watch(&mut outages, IDLE + 1, bad()), [TransitionKind::Raised]);
    assert_eq!(watch(&mut outages, 3 * IDLE, bad()), [], "it is said once");
    let end = log.internal(InternalLog::Commands).ends().durable_end;
    assert_eq!(out_before(&log, end).unwrap(), BTreeSet::from([place()]));
    assert_eq!(watch(&mut outages, 4 * IDLE, Vec::new()), [TransitionKind::Cleared]);
    assert_eq!(watch(&mut outages, 5 * IDLE, Vec::new()), []);
    assert_eq!(out_before(&log, end).unwrap(), BTreeSet::from([place()]), "as it was there");
}

#[test]
fn a_partition_that_is_bad_now_and_then_is_not_left_out() {
    let mut outages = Outages::open(&log()).unwrap();
    for second in 0..60 {
        let now = if second % 9 == 0 { Vec::new() } else { bad() };
        assert_eq!(watch(&mut outages, second * 1_000_000, now), []);
    }
}

#[test]
fn a_restart_says_nothing_twice_and_takes_in_what_is_well_again() {
    let log = log();
    let mut outages = Outages::open(&log).unwrap();
    assert_eq!(watch(&mut outages, 0, bad()), []);
    assert_eq!(watch(&mut outages, 2 * IDLE, bad()), [TransitionKind::Raised]);
    let mut again = Outages::open(&log).unwrap();
    assert_eq!(again.follow().unwrap(), []);
    assert_eq!(watch(&mut again, 3 * IDLE, bad()), []);
    let mut again = Outages::open(&log).unwrap();
    assert_eq!(again.follow().unwrap(), []);
    assert_eq!(watch(&mut again, 4 * IDLE, Vec::new()), [TransitionKind::Cleared]);
}
