//! The alarm about the clock is raised once, cleared when it agrees or is accepted, and kept over restarts.

use super::*;
use crate::alarms::TransitionKind;
use std::time::Duration;
use weir_ingest::io::{Clock, SimulatedClock, SimulatedDisk};
use weir_ingest::log::LogConfig;
use weir_ingest::model::Offset;

const HOUR: i64 = 3_600_000_000;
const NOON: i64 = 1_700_000_000_000_000;

/// A log with committers of its own, so that what is written down is waited for.
fn log(disk: &SimulatedDisk, clock: &Arc<SimulatedClock>) -> Arc<Log> {
    let at: Arc<dyn Clock> = Arc::<SimulatedClock>::clone(clock);
    Log::open(Arc::new(disk.clone()), at, LogConfig::new("/weir")).unwrap()
}

fn kinds(log: &Log) -> Vec<TransitionKind> {
    let mut reader = log.internal(InternalLog::Alarms).reader(Offset(0));
    let mut kinds = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let EntryBody::Rows(batch) = &entry.body else { continue };
        let told = transition_rows::decode(batch).unwrap();
        kinds.extend(told.iter().filter(|t| t.rule == CLOCK_SUSPECT).map(|t| t.kind));
    }
    kinds
}

#[test]
fn a_clock_that_is_set_raises_an_alarm_until_it_is_set_back() {
    let (disk, clock) = (SimulatedDisk::new(1), Arc::new(SimulatedClock::at(NOON)));
    let log = log(&disk, &clock);
    let mut alarm = ClockAlarm::open(&log).unwrap();
    alarm.watch().unwrap();
    clock.step_wall(NOON + 2 * HOUR);
    alarm.watch().unwrap();
    alarm.watch().unwrap();
    assert_eq!(kinds(&log), [TransitionKind::Raised], "it is said once");
    let mut again = ClockAlarm::open(&log).unwrap();
    again.watch().unwrap();
    assert_eq!(kinds(&log), [TransitionKind::Raised], "also by the next process");
    clock.step_wall(NOON);
    again.watch().unwrap();
    assert_eq!(kinds(&log), [TransitionKind::Raised, TransitionKind::Cleared]);
}

#[test]
fn a_start_before_the_newest_row_raises_it_and_accepting_clears_it_also_for_the_next_start() {
    let (disk, clock) = (SimulatedDisk::new(1), Arc::new(SimulatedClock::at(NOON)));
    let first = log(&disk, &clock);
    let mut alarm = ClockAlarm::open(&first).unwrap();
    alarm.watch().unwrap();
    let row = command_rows::encode(&[(EventTime(NOON), Command::ClockAgrees)]);
    first.internal(InternalLog::Commands).append(row).wait().unwrap();
    drop((alarm, first));
    clock.step_wall(NOON - 3 * HOUR);
    let second = log(&disk, &clock);
    let mut alarm = ClockAlarm::open(&second).unwrap();
    alarm.watch().unwrap();
    assert_eq!(kinds(&second), [TransitionKind::Raised]);
    second.accept_clock().unwrap();
    alarm.watch().unwrap();
    assert_eq!(kinds(&second), [TransitionKind::Raised, TransitionKind::Cleared]);
    drop((alarm, second));
    clock.advance(Duration::from_secs(60));
    let third = log(&disk, &clock);
    assert_eq!(third.clock_state(), ClockState::Agrees);
}
