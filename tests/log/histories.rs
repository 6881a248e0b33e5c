//! Histories: of a log with real threads, and made-up ones with each thing that can be wrong.

use crate::climate::{all_values, rows, stream, values, with_stream};
use crate::history::{Anomaly, Event, check};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use weir_ingest::io::{RealClock, SimulatedDisk};
use weir_ingest::log::{EntryBody, Log, LogConfig, PartitionReader};
use weir_ingest::model::Offset;

fn sent(write: u64, values: &[u64]) -> Event {
    Event::Invoked { write, values: values.to_vec() }
}

fn told(write: u64, base_offset: u64) -> Event {
    Event::Confirmed { write, base_offset: Some(base_offset) }
}

fn read(offset: u64, values: &[u64]) -> Event {
    Event::Read { reader: 0, offset, values: values.to_vec() }
}

/// Two batches, one after the other, read as `end`.
fn with_end(end: &[u64]) -> BTreeSet<Anomaly> {
    check(&[sent(1, &[10, 11]), told(1, 0), sent(2, &[20, 21]), told(2, 2), read(0, end)])
}

#[test]
fn a_history_without_fault_is_not_accused() {
    assert_eq!(with_end(&[10, 11, 20, 21]), BTreeSet::new());
    let unknown = [sent(1, &[10, 11]), Event::Unknown { write: 1 }, sent(2, &[20]), told(2, 2)];
    let end = read(0, &[10, 11, 20]);
    assert_eq!(check(&[unknown.as_slice(), &[end]].concat()), BTreeSet::new());
    let never = [sent(1, &[10]), Event::Unknown { write: 1 }, read(0, &[])];
    assert_eq!(check(&never), BTreeSet::new(), "what nobody confirmed need not be there");
    let side_by_side = [sent(1, &[10]), sent(2, &[20]), told(1, 1), told(2, 0), read(0, &[20, 10])];
    assert_eq!(
        check(&side_by_side),
        BTreeSet::new(),
        "neither was confirmed before the other was sent"
    );
}

#[test]
fn each_thing_that_can_be_wrong_is_named() {
    assert!(with_end(&[10, 11, 20]).contains(&Anomaly::Lost { value: 21 }));
    assert!(with_end(&[10, 11, 20, 21, 20]).contains(&Anomaly::Duplicate { value: 20 }));
    assert!(with_end(&[20, 21, 10, 11]).contains(&Anomaly::Reordered { value: 20 }));
    assert!(with_end(&[11, 10, 20, 21]).contains(&Anomaly::Reordered { value: 10 }));
    assert!(with_end(&[10, 11, 20, 21, 30]).contains(&Anomaly::Phantom { value: 30 }));
    assert!(with_end(&[10, 11, 0, 20, 21]).contains(&Anomaly::Misplaced { write: 2 }));
    let refused = [sent(1, &[10]), Event::Refused { write: 1 }, read(0, &[10])];
    assert!(check(&refused).contains(&Anomaly::Phantom { value: 10 }));
    let changed = [sent(1, &[10]), sent(2, &[20]), read(0, &[10]), read(0, &[20])];
    assert!(check(&changed).contains(&Anomaly::Changed { offset: 0, was: 10, is: 20 }));
    let partial = [sent(1, &[10, 11]), Event::Unknown { write: 1 }, read(0, &[10])];
    assert!(check(&partial).contains(&Anomaly::Partial { write: 1 }));
    let skipped = [sent(1, &[10, 11]), told(1, 0), read(1, &[11]), read(0, &[10, 11])];
    assert!(check(&skipped).contains(&Anomaly::Skipped { reader: 0, offset: 1 }));
}

const WRITERS: u64 = 4;
const WRITES: u64 = 60;

/// What a reader gets up to the durable end, from where it stands.
fn follow(reader: &mut PartitionReader, number: u64, history: &Mutex<Vec<Event>>) {
    while let Ok(Some(entry)) = reader.next() {
        if let EntryBody::Rows(batch) = &entry.body {
            let offset = entry.base_offset.0;
            let read = Event::Read { reader: number, offset, values: values(batch) };
            history.lock().expect("no thread panics with it").push(read);
        }
    }
}

#[test]
fn the_history_of_many_writers_and_readers_is_that_of_one_log() {
    let disk = Arc::new(SimulatedDisk::new(1));
    let config = LogConfig { segment_bytes_max: 32 * 1024, ..LogConfig::new("/data") };
    let log = Log::open(disk, Arc::new(RealClock::new()), config).expect("an empty disk");
    let log = with_stream(log).expect("nothing is there yet");
    let stream = stream(&log).expect("just declared");
    let route = log.streams().route("/room/1").expect("it fits");
    let partition = &stream.partitions()[route.partition.0 as usize];
    let history = Mutex::new(Vec::new());
    let note = |event| history.lock().expect("no thread panics with it").push(event);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (stream, note) = (&stream, &note);
            scope.spawn(move || {
                for n in 0..WRITES {
                    let write = writer * WRITES + n;
                    let values: Vec<u64> = (0..1 + n % 5).map(|i| write * 10 + i).collect();
                    note(Event::Invoked { write, values: values.clone() });
                    let batch = rows(stream, route.series.0, &values, 1_000_000);
                    match partition.append(batch).wait() {
                        Ok(told) => {
                            note(Event::Confirmed { write, base_offset: Some(told.base_offset.0) });
                        }
                        Err(_) => note(Event::Unknown { write }),
                    }
                }
            });
        }
        for number in 1..3 {
            let history = &history;
            scope.spawn(move || {
                let mut reader = partition.reader(Offset(0));
                let all = WRITERS * WRITES;
                while partition.ends().durable_end.0 < all * 2 {
                    follow(&mut reader, number, history);
                    std::thread::yield_now();
                }
            });
        }
    });
    let values = all_values(partition).expect("nothing is damaged");
    note(Event::Read { reader: 0, offset: 0, values });
    let history = history.into_inner().expect("no thread panicked with it");
    assert_eq!(check(&history), BTreeSet::new());
    log.stop();
}
