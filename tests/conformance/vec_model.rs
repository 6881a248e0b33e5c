//! The log that is easy to believe: a vector of rows.

use crate::readings;
use crate::subject::{Removes, Subject};
use arrow::array::RecordBatch;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use weir_ingest::io::{SimulatedClock, SimulatedDisk};
use weir_ingest::log::{
    Appended, Ends, EntryBody, EntryReader, GroupError, Log, LogConfig, LogEntry, PartitionLog,
    ReadError, Receipt, TickKind, TrimError,
};
use weir_ingest::model::{AppendTime, EventTime, Offset, PartitionId, reading};

const PARTITION: PartitionId = PartitionId(0);

/// Every entry holds one row.
#[derive(Debug, Default)]
pub(crate) struct VecLog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Those that were removed stay in their places, so that readers find theirs.
    entries: Vec<LogEntry>,
    start: Offset,
    end: Offset,
    groups: HashMap<String, Offset>,
}

impl Inner {
    fn push(&mut self, min_time: EventTime, body: EntryBody) {
        let append_time = AppendTime(1 + self.entries.len().cast_signed() as i64);
        let max_time = min_time;
        let base_offset = self.end;
        let entry =
            LogEntry { partition: PARTITION, base_offset, append_time, min_time, max_time, body };
        self.end = entry.end_offset();
        self.entries.push(entry);
    }

    fn appended(&self, base_offset: Offset, rows: u32) -> Appended {
        let append_time = AppendTime(self.entries.len().cast_signed() as i64);
        Appended { base_offset, rows, append_time, duplicates: Vec::new() }
    }
}

impl PartitionLog for VecLog {
    fn id(&self) -> PartitionId {
        PARTITION
    }

    fn append(&self, rows: RecordBatch) -> Receipt {
        let mut inner = self.0.lock();
        let base = inner.end;
        for row in 0..rows.num_rows() {
            let time = EventTime(reading::time_column(&rows)[row]);
            inner.push(time, EntryBody::Rows(rows.slice(row, 1)));
        }
        let rows = u32::try_from(rows.num_rows()).expect("few rows");
        Receipt::known(PARTITION, Ok(inner.appended(base, rows)))
    }

    fn append_tick(&self, event_time: EventTime, kind: TickKind) -> Receipt {
        let mut inner = self.0.lock();
        inner.push(event_time, EntryBody::Tick { event_time, kind });
        Receipt::known(PARTITION, Ok(inner.appended(inner.end, 0)))
    }

    fn read_from(self: Arc<Self>, from: Offset) -> Result<Box<dyn EntryReader>, ReadError> {
        Ok(Box::new(VecReader { log: self, at: 0, begun: false, position: from }))
    }

    fn ends(&self) -> Result<Ends, ReadError> {
        let Inner { start, end, .. } = *self.0.lock();
        Ok(Ends { log_start: start, durable_end: end, safe_time: AppendTime(i64::MIN) })
    }

    fn commit_group(&self, group: &str, next: Offset) -> Result<(), GroupError> {
        self.0.lock().groups.insert(group.to_owned(), next);
        Ok(())
    }

    fn group(&self, group: &str) -> Result<Option<Offset>, GroupError> {
        Ok(self.0.lock().groups.get(group).copied())
    }

    fn trim(&self, before: Offset) -> Result<Offset, TrimError> {
        let mut inner = self.0.lock();
        inner.start = inner.start.max(before.min(inner.end));
        Ok(inner.start)
    }
}

#[derive(Debug)]
struct VecReader {
    log: Arc<VecLog>,
    at: usize,
    begun: bool,
    position: Offset,
}

impl EntryReader for VecReader {
    fn next(&mut self) -> Result<Option<LogEntry>, ReadError> {
        let inner = self.log.0.lock();
        let from_the_start = !self.begun && self.position == Offset(0);
        self.begun = true;
        if self.position < inner.start && !from_the_start {
            let (from, to) = (self.position, inner.start);
            self.position = to;
            let first = inner.entries.iter().find(|e| e.end_offset() > to).expect("not all go");
            let gap =
                LogEntry { base_offset: from, body: EntryBody::Gap { from, to }, ..first.clone() };
            return Ok(Some(gap));
        }
        while let Some(entry) = inner.entries.get(self.at) {
            self.at += 1;
            let is_row = matches!(entry.body, EntryBody::Rows(_));
            let is_kept = entry.base_offset >= inner.start;
            if entry.base_offset >= self.position && (is_kept || !is_row && !from_the_start) {
                self.position = entry.end_offset();
                return Ok(Some(entry.clone()));
            }
        }
        Ok(None)
    }

    fn position(&self) -> Offset {
        self.position
    }
}

/// The model itself, which has to keep what it is the model of.
pub(crate) fn subject() -> Option<Subject> {
    let clock = Arc::new(SimulatedClock::at(1_700_000_000_000_000));
    let disk = Arc::new(SimulatedDisk::new(1));
    let below = Log::open_manual(disk, clock, LogConfig::new("data")).expect("an empty disk");
    let (stream, series) = readings::stream_in(&below);
    let log = Arc::new(VecLog::default());
    Some(Subject { log, stream, series, removes: Removes::Rows, _below: Box::new(below) })
}
