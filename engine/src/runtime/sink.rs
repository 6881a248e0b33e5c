//! The stream that a rule writes: rows into partitions, ticks into all of them, each once.
//!
//! Promise: a row carries the rule and its ordinal (in the place of a sender's id), so what the log
//! holds already is known after a restart: it is compared and not written again, and a difference
//! stops the rule (P6). Elsewhere: what the rows are is `derived`'s.

use super::derived::{Derived, DerivedRows, DerivedTick};
use super::follower::Write;
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use weir_ingest::log::{EntryBody, Log, Partition, Stream, TickKind};
use weir_ingest::model::PartitionId;
use weir_ingest::model::reading::{DEDUPE, Hidden, conform, stored_schema};

/// Rows of one append, far below what a frame may have.
const ROWS_MAX: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub struct Sink {
    log: Arc<Log>,
    stream: Arc<Stream>,
    rule_uid: u64,
    schema: SchemaRef,
    /// By ordinal, a hash of each row that the log holds and that was not given out again yet.
    written: HashMap<u64, u64>,
    /// By partition, the largest event time of its ticks.
    ticked: Vec<i64>,
    /// By partition, how many flushes it has.
    flushes: Vec<u64>,
}

impl Sink {
    /// The sink of a rule that goes on with the ordinal `next`: what the stream holds from there on is
    /// read.
    /// # Errors
    /// There is no such stream, or it cannot be read.
    pub fn open(log: &Arc<Log>, stream: &str, rule_uid: u64, next: u64) -> Result<Self, String> {
        let missing = || format!("the stream '{stream}' is gone; DROP STREAM {stream}");
        let stream = log.streams().get(stream).ok_or_else(missing)?;
        let partitions = stream.partitions().len();
        let mut sink = Self {
            log: Arc::clone(log),
            schema: stored_schema(
                &stream.definition(),
                Hidden { dedupe: true, ..Hidden::default() },
            ),
            rule_uid,
            written: HashMap::new(),
            ticked: vec![i64::MIN; partitions],
            flushes: vec![0; partitions],
            stream,
        };
        for partition in sink.stream.partitions().to_vec() {
            sink.read(&partition, next)?;
        }
        Ok(sink)
    }

    fn read(&mut self, partition: &Arc<Partition>, next: u64) -> Result<(), String> {
        let lane = partition.id().0 as usize;
        let mut reader = partition.reader(partition.ends().log_start);
        while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
            match &entry.body {
                EntryBody::Rows(batch) => {
                    let batch = conform(batch, &self.schema);
                    let hashes = hashes(&batch).map_err(|e| e.to_string())?;
                    let known = ordinals(&batch, self.rule_uid).zip(hashes);
                    let known = known.filter_map(|(ordinal, hash)| Some((ordinal?, hash)));
                    self.written.extend(known.filter(|(ordinal, _)| *ordinal >= next));
                }
                EntryBody::Tick { event_time, kind: TickKind::Idle } => {
                    self.ticked[lane] = self.ticked[lane].max(event_time.0);
                }
                EntryBody::Tick { kind: TickKind::Flush, .. } => self.flushes[lane] += 1,
                EntryBody::Restart { .. } | EntryBody::Gap { .. } => {}
            }
        }
        Ok(())
    }

    /// What of this the log does not hold yet, in order.
    /// # Errors
    /// A row differs from the one that was written before; or there are too many series.
    pub fn writes(&mut self, derived: Vec<Derived>) -> Result<Vec<Write>, String> {
        let mut writes = Vec::new();
        for one in derived {
            match one {
                Derived::Rows(rows) => writes.extend(self.rows(&rows)?),
                Derived::Tick(tick) => writes.extend(self.tick(tick)),
            }
        }
        Ok(writes)
    }

    fn rows(&mut self, rows: &DerivedRows) -> Result<Vec<Write>, String> {
        let all = self.stored(rows)?;
        let hashes = hashes(&all).map_err(|e| e.to_string())?;
        let mut by_partition: BTreeMap<PartitionId, Vec<u32>> = BTreeMap::new();
        for ((row, topic), hash) in (0_u32..).zip(&rows.topics).zip(hashes) {
            let ordinal = rows.first_ordinal + u64::from(row);
            match self.written.remove(&ordinal) {
                None => {}
                Some(known) if known == hash => continue,
                Some(_) => {
                    let name = self.stream.definition().name().to_owned();
                    return Err(format!(
                        "nondeterministic: row {ordinal} differs from the one that was written before \
                         the restart; DROP STREAM {name} and create it again"
                    ));
                }
            }
            let route = self.log.streams().place(topic).map_err(|e| e.to_string())?;
            by_partition.entry(route.partition).or_default().push(row);
        }
        let mut writes = Vec::new();
        for (partition, rows) in by_partition {
            for rows in rows.chunks(ROWS_MAX) {
                let partition = Arc::clone(&self.stream.partitions()[partition.0 as usize]);
                let rows = UInt32Array::from(rows.to_vec());
                let batch = take_record_batch(&all, &rows).map_err(|e| e.to_string())?;
                writes.push(Write::Rows { partition, batch });
            }
        }
        Ok(writes)
    }

    /// The rows in stored form.
    fn stored(&self, rows: &DerivedRows) -> Result<RecordBatch, String> {
        let series = rows.topics.iter().map(|topic| {
            let route = self.log.streams().place(topic).map_err(|e| e.to_string())?;
            assert_eq!(route.stream.uid(), self.stream.uid(), "templates never overlap");
            Ok(route.series.0)
        });
        let series = series.collect::<Result<Vec<u32>, String>>()?;
        let times = TimestampMicrosecondArray::from(rows.times.clone()).with_timezone("UTC");
        let ids =
            (0..rows.times.len() as u64).map(|row| id(self.rule_uid, rows.first_ordinal + row));
        let ids = FixedSizeBinaryArray::try_from_iter(ids).map_err(|e| e.to_string())?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(UInt32Array::from(series))];
        columns.extend(rows.fields.columns().iter().map(Arc::clone));
        columns.push(Arc::new(ids));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|e| e.to_string())
    }

    fn tick(&mut self, tick: DerivedTick) -> Vec<Write> {
        let DerivedTick { event_time, kind, flushes, .. } = tick;
        let mut writes = Vec::new();
        for (lane, partition) in self.stream.partitions().iter().enumerate() {
            let is_new = match kind {
                TickKind::Idle => self.ticked[lane] < event_time.0,
                TickKind::Flush => self.flushes[lane] <= flushes,
            };
            if is_new {
                writes.push(Write::Tick { partition: Arc::clone(partition), event_time, kind });
                match kind {
                    TickKind::Idle => self.ticked[lane] = event_time.0,
                    TickKind::Flush => self.flushes[lane] = flushes + 1,
                }
            }
        }
        writes
    }
}

/// Producer and sequence of a row, in the place of the hash of a sender's id.
fn id(rule_uid: u64, ordinal: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&rule_uid.to_be_bytes());
    id[8..].copy_from_slice(&ordinal.to_be_bytes());
    id
}

/// The ordinal of each row that this rule wrote.
pub fn ordinals(batch: &RecordBatch, rule_uid: u64) -> impl Iterator<Item = Option<u64>> {
    let ids = batch.column_by_name(DEDUPE).map(|ids| ids.as_fixed_size_binary().clone());
    (0..batch.num_rows()).map(move |row| {
        let id = ids.as_ref().filter(|ids| ids.is_valid(row))?;
        let (uid, ordinal) = id.value(row).split_at_checked(8)?;
        let is_own = uid == rule_uid.to_be_bytes();
        is_own.then(|| ordinal.try_into().map(u64::from_be_bytes).ok()).flatten()
    })
}

/// Of each row of a stored batch, what it says, ids left out.
fn hashes(batch: &RecordBatch) -> Result<Vec<u64>, ArrowError> {
    let columns: Vec<ArrayRef> =
        batch.columns()[..batch.num_columns() - 1].iter().map(Arc::clone).collect();
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    let hash = |row: arrow::row::Row<'_>| {
        let mut hasher = DefaultHasher::new();
        row.as_ref().hash(&mut hasher);
        hasher.finish()
    };
    Ok(rows.iter().map(hash).collect())
}
