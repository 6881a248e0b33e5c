//! Is what writers were told and readers saw the history of one log? A checker that knows neither.
//!
//! Promise: it names a confirmed row that is gone, a row that is there twice, rows that changed places, a
//! row nobody sent, a row that was seen and is another now, and an answer that contradicts what was read.
//! A write whose answer never came may have happened, whole or not at all.
//! Also used by `tests/acceptance`, over the real process.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One thing that somebody did or saw. Events stand in the order in which they were observed; of one
/// partition, if there are several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A writer sent a batch of rows, each with a value nobody else sends.
    Invoked { write: u64, values: Vec<u64> },
    /// The batch is durable, from this offset on where that was told.
    Confirmed { write: u64, base_offset: Option<u64> },
    /// The batch was refused: it is not there and never will be.
    Refused { write: u64 },
    /// Nobody knows.
    Unknown { write: u64 },
    /// A reader got these rows from `offset` on.
    Read { reader: u64, offset: u64, values: Vec<u64> },
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Anomaly {
    /// A confirmed row is not there at the end.
    Lost { value: u64 },
    /// A row is there at more than one offset.
    Duplicate { value: u64 },
    /// Rows of one batch, or of two batches of which one was confirmed before the other was sent, stand
    /// the other way round.
    Reordered { value: u64 },
    /// A row that nobody sent, or that was refused.
    Phantom { value: u64 },
    /// An offset that held one row when it was read and another at another time.
    Changed { offset: u64, was: u64, is: u64 },
    /// Of a batch some rows are there and some are not.
    Partial { write: u64 },
    /// A batch is not where its writer was told.
    Misplaced { write: u64 },
    /// A reader went on from an offset that is not the next.
    Skipped { reader: u64, offset: u64 },
}

struct Write {
    values: Vec<u64>,
    invoked: usize,
    confirmed: Option<usize>,
    base_offset: Option<u64>,
    refused: bool,
}

/// Everything wrong with a history. The last `Read` from offset 0 is taken for what is there at the end.
pub(crate) fn check(events: &[Event]) -> BTreeSet<Anomaly> {
    let mut found = BTreeSet::new();
    let writes = writes(events);
    let seen = seen(events, &mut found);
    let last = events.iter().rev().find_map(|event| match event {
        Event::Read { offset: 0, values, .. } => Some(values.as_slice()),
        _ => None,
    });
    let last = last.unwrap_or_default();
    let mut places: HashMap<u64, u64> = HashMap::new();
    for (offset, value) in (0..).zip(last) {
        if places.insert(*value, offset).is_some() {
            found.insert(Anomaly::Duplicate { value: *value });
        }
    }
    let sent: BTreeSet<u64> =
        writes.values().filter(|w| !w.refused).flat_map(|w| w.values.iter().copied()).collect();
    let strange = seen.values().chain(last).filter(|value| !sent.contains(*value));
    found.extend(strange.map(|value| Anomaly::Phantom { value: *value }));
    for (id, write) in &writes {
        placed(*id, write, &places, &mut found);
    }
    reordered(&writes, &places, &mut found);
    found
}

fn writes(events: &[Event]) -> BTreeMap<u64, Write> {
    let mut writes = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Invoked { write, values } => {
                let values = values.clone();
                let new = Write {
                    values,
                    invoked: at,
                    confirmed: None,
                    base_offset: None,
                    refused: false,
                };
                writes.insert(*write, new);
            }
            Event::Confirmed { write, base_offset } => {
                if let Some(known) = writes.get_mut(write) {
                    known.confirmed = Some(at);
                    known.base_offset = *base_offset;
                }
            }
            Event::Refused { write } => {
                if let Some(known) = writes.get_mut(write) {
                    known.refused = true;
                }
            }
            Event::Unknown { .. } | Event::Read { .. } => {}
        }
    }
    writes
}

/// The row of each offset as it was first read; later reads must agree, and a reader goes on without gaps.
fn seen(events: &[Event], found: &mut BTreeSet<Anomaly>) -> BTreeMap<u64, u64> {
    let (mut seen, mut next) = (BTreeMap::new(), HashMap::new());
    for event in events {
        let Event::Read { reader, offset, values } = event else { continue };
        let expected = *next.get(reader).unwrap_or(&0);
        if *offset != expected && *offset != 0 {
            found.insert(Anomaly::Skipped { reader: *reader, offset: *offset });
        }
        next.insert(*reader, offset + values.len() as u64);
        for (offset, value) in (*offset..).zip(values) {
            let was = *seen.entry(offset).or_insert(*value);
            if was != *value {
                found.insert(Anomaly::Changed { offset, was, is: *value });
            }
        }
    }
    seen
}

/// Whether a batch is there whole, where it should be.
fn placed(id: u64, write: &Write, places: &HashMap<u64, u64>, found: &mut BTreeSet<Anomaly>) {
    let there: Vec<Option<u64>> = write.values.iter().map(|v| places.get(v).copied()).collect();
    let missing = there.iter().filter(|place| place.is_none()).count();
    if write.confirmed.is_some() {
        let lost = write.values.iter().zip(&there).filter(|(_, place)| place.is_none());
        found.extend(lost.map(|(value, _)| Anomaly::Lost { value: *value }));
    } else if missing > 0 && missing < there.len() {
        found.insert(Anomaly::Partial { write: id });
    }
    for (pair, value) in there.windows(2).zip(&write.values) {
        if let [Some(a), Some(b)] = pair
            && a >= b
        {
            found.insert(Anomaly::Reordered { value: *value });
        }
    }
    if let (Some(told), Some(Some(first))) = (write.base_offset, there.first())
        && told != *first
    {
        found.insert(Anomaly::Misplaced { write: id });
    }
}

/// A batch that was sent after another was confirmed stands behind it.
fn reordered(
    writes: &BTreeMap<u64, Write>,
    places: &HashMap<u64, u64>,
    found: &mut BTreeSet<Anomaly>,
) {
    let place = |value: Option<&u64>| value.and_then(|value| places.get(value)).copied();
    let mut confirmed: Vec<(usize, u64)> =
        writes.values().filter_map(|w| Some((w.confirmed?, place(w.values.last())?))).collect();
    confirmed.sort_unstable();
    // The furthest place of all that were confirmed up to each of them.
    let mut furthest = 0;
    for (_, place) in &mut confirmed {
        furthest = furthest.max(*place);
        *place = furthest;
    }
    for write in writes.values() {
        let before = confirmed.partition_point(|(at, _)| *at < write.invoked);
        let Some((_, furthest)) = before.checked_sub(1).map(|last| confirmed[last]) else {
            continue;
        };
        if let Some(first) = place(write.values.first())
            && first <= furthest
        {
            found.insert(Anomaly::Reordered { value: write.values[0] });
        }
    }
}
