//! What is put to the suite, and how it is asked.

use crate::readings::{self, Seen};
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::log::{EntryReader, PartitionLog, Stream};
use weir_ingest::model::{EventTime, Offset};

/// What `trim` takes away when it is told to remove rows in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removes {
    /// All of them.
    Rows,
    /// As many as make up whole segments.
    Segments,
    /// Nothing: it says so.
    Nothing,
}

/// A log of one partition.
pub(crate) struct Subject {
    pub(crate) log: Arc<dyn PartitionLog>,
    /// As which its rows are declared.
    pub(crate) stream: Arc<Stream>,
    /// The series its readings are of.
    pub(crate) series: [u32; 2],
    pub(crate) removes: Removes,
    /// What has to live as long.
    pub(crate) _below: Box<dyn Any>,
}

/// How often a reader is asked in vain before it is given up: a hang, not a measure of speed.
const ASKED_MAX: usize = 60_000;

impl Subject {
    /// Appends readings with these values; the offset of the first, once all are durable.
    pub(crate) fn append(&self, values: impl IntoIterator<Item = i64>) -> Offset {
        let rows = readings::rows(self, values);
        let n = rows.num_rows();
        let appended = self.log.append(rows).wait().expect("the log takes rows");
        assert_eq!(appended.rows as usize, n, "every row is stored");
        appended.base_offset
    }

    /// Appends a tick; durable when it returns.
    pub(crate) fn tick(&self, event_time: i64, kind: weir_ingest::log::TickKind) {
        self.log.append_tick(EventTime(event_time), kind).wait().expect("the log takes ticks");
    }

    /// Offset after the newest durable row.
    pub(crate) fn end(&self) -> Offset {
        self.log.ends().expect("the log says how far it is").durable_end
    }

    pub(crate) fn reader(&self, from: Offset) -> Box<dyn EntryReader> {
        Arc::clone(&self.log).read_from(from).expect("the log can be read")
    }

    /// Everything from `from` up to the durable end.
    pub(crate) fn read(&self, from: Offset) -> Vec<Seen> {
        read_to(&mut *self.reader(from), from, self.end())
    }

    /// The values of all rows kept.
    pub(crate) fn values(&self) -> Vec<i64> {
        readings::values(&self.read(Offset(0)))
    }
}

/// What a reader gives up to `end`, without rows before `from`.
pub(crate) fn read_to(reader: &mut dyn EntryReader, from: Offset, end: Offset) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut asked = 0;
    while reader.position() < end {
        match reader.next().expect("the log can be read") {
            Some(entry) => seen.extend(readings::seen(&entry, from)),
            None if asked < ASKED_MAX => {
                asked += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            None => panic!("nothing comes after {}, the log ends at {end}", reader.position()),
        }
    }
    seen
}
