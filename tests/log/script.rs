//! One written-down workload that meets every part of the log: three lives of a process on one disk, with
//! batches alone, together and each planned while the one before is synced, rolls, ticks, markers, a new column,
//! the oldest segments removed, an internal log, catalog entries, a clean stop and one that is none.
//!
//! Promise: whatever call fails, the script goes on as a server would: what is refused or unknown is not
//! counted on, a log that does not open is tried once more, and it ends where the power does.

use crate::climate::{PARTITIONS, kept_values, rows, stream, with_stream};
use crate::model::Model;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::io::{SimulatedClock, SimulatedDisk};
use weir_ingest::log::{InternalLog, Log, LogConfig, PartitionState, Receipt, TickKind};
use weir_ingest::model::{Column, ColumnType, EventTime, Offset};

const START_US: i64 = 1_700_000_000_000_000;
/// Small, so that the script rolls.
const SEGMENT_BYTES: u64 = 4 * 1024;
/// What groups gather: all that waits, or a batch alone.
const TOGETHER: usize = 1024 * 1024;
const ALONE: usize = 1;

/// What a run of the script knows afterwards.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// What must be true of each partition.
    pub(crate) models: Vec<Model>,
    /// Batches confirmed, by partition.
    pub(crate) confirmed: Vec<u64>,
    /// Everything that was refused, unknown or an error, and a lie if there was one.
    pub(crate) refusals: Vec<String>,
    pub(crate) lies: Vec<String>,
    /// Which of the recorded calls were made while the log was opened.
    pub(crate) openings: Vec<Range<usize>>,
    /// Partitions whose oldest segments were removed.
    pub(crate) trims: u64,
    notes: BTreeMap<String, Vec<u8>>,
    next_value: u64,
}

struct Script {
    disk: SimulatedDisk,
    clock: Arc<SimulatedClock>,
    log: Option<Arc<Log>>,
    ran: Ran,
    waiting: Vec<(usize, Vec<u64>, Receipt)>,
}

/// Runs the script on `disk`.
pub(crate) fn perform(disk: &SimulatedDisk) -> Ran {
    let partitions = PARTITIONS as usize;
    let ran = Ran {
        models: vec![Model::default(); partitions],
        confirmed: vec![0; partitions],
        refusals: Vec::new(),
        lies: Vec::new(),
        openings: Vec::new(),
        trims: 0,
        notes: BTreeMap::new(),
        next_value: 0,
    };
    let clock = Arc::new(SimulatedClock::at(START_US));
    let mut script = Script { disk: disk.clone(), clock, log: None, ran, waiting: Vec::new() };
    script.first_life();
    script.second_life();
    script.third_life();
    script.ran
}

impl Script {
    fn first_life(&mut self) {
        self.open(TOGETHER);
        for batch in 0..10 {
            self.append(batch);
            if batch % 3 != 0 {
                self.commit();
            }
        }
        self.commit();
        self.idle();
        self.tick();
        self.note("first");
        self.add_column();
        for batch in 10..14 {
            self.append(batch);
            self.commit();
        }
        self.alarm();
        self.append(14);
        self.stop();
    }

    /// Ends without a stop.
    fn second_life(&mut self) {
        self.open(ALONE);
        for batch in 15..20 {
            self.append(batch);
            self.commit();
        }
        for batch in [8, 1, 15] {
            self.append(batch);
        }
        self.commit();
        self.note("second");
        self.trim();
        self.idle();
        self.append(20);
        self.commit();
        self.end();
    }

    fn third_life(&mut self) {
        self.open(TOGETHER);
        for batch in 21..24 {
            self.append(batch);
            self.commit();
        }
        self.stop();
    }

    fn open(&mut self, group_bytes_max: usize) {
        for _ in 0..2 {
            if self.disk.is_off() || self.log.is_some() {
                return;
            }
            let before = self.disk.recorded_calls().len();
            let opened = opened(&self.disk, &self.clock, group_bytes_max);
            self.ran.openings.push(before..self.disk.recorded_calls().len());
            match opened {
                Ok(log) => self.log = Some(log),
                Err(error) => self.ran.refusals.push(format!("open: {error}")),
            }
        }
    }

    /// The log, as long as there is power for it.
    fn log(&self) -> Option<Arc<Log>> {
        self.log.as_ref().filter(|_| !self.disk.is_off()).map(Arc::clone)
    }

    fn append(&mut self, batch: u64) {
        self.clock.advance(Duration::from_millis(7));
        let Some(log) = self.log() else { return };
        let Ok(stream) = stream(&log) else { return };
        let route = match log.streams().route(&format!("/room/{}", batch % 7)) {
            Ok(route) => route,
            Err(error) => return self.ran.refusals.push(format!("route: {error}")),
        };
        let n = 3 + batch * 5 % 20;
        let values: Vec<u64> = (self.ran.next_value..self.ran.next_value + n).collect();
        self.ran.next_value += n;
        let partition = route.partition.0 as usize;
        self.ran.models[partition].sent(values.clone());
        let batch = rows(&stream, route.series.0, &values, START_US);
        let receipt = stream.partitions()[partition].append(batch);
        self.waiting.push((partition, values, receipt));
    }

    fn commit(&mut self) {
        if let Some(log) = self.log() {
            log.step_committers();
        }
        self.collect();
    }

    fn collect(&mut self) {
        for (partition, values, mut receipt) in std::mem::take(&mut self.waiting) {
            match receipt.try_take() {
                None => self.waiting.push((partition, values, receipt)),
                Some(Ok(appended)) => {
                    self.ran.confirmed[partition] += 1;
                    let model = &mut self.ran.models[partition];
                    let told = model.confirmed(&values, appended.base_offset.0);
                    self.ran.lies.extend(told.err());
                }
                Some(Err(error)) => self.ran.refusals.push(error.to_string()),
            }
        }
    }

    fn idle(&mut self) {
        self.clock.advance(Duration::from_millis(200));
        if let Some(log) = self.log() {
            log.step_idle();
        }
    }

    fn tick(&mut self) {
        let Some(log) = self.log() else { return };
        let Ok(stream) = stream(&log) else { return };
        for partition in stream.partitions() {
            drop(partition.append_tick(EventTime(START_US), TickKind::Idle));
        }
        self.commit();
    }

    /// All but the newest segment of each partition.
    fn trim(&mut self) {
        let Some(log) = self.log() else { return };
        let Ok(stream) = stream(&log) else { return };
        for (partition, model) in stream.partitions().iter().zip(&mut self.ran.models) {
            let end = partition.ends().durable_end;
            match kept_values(partition) {
                Ok((start, rows)) => self.ran.lies.extend(model.seen(start, &rows).err()),
                Err(error) => {
                    self.ran.refusals.push(format!("read: {error}"));
                    continue;
                }
            }
            model.may_go(end.0);
            match partition.trim(end) {
                Ok(start) => {
                    self.ran.trims += u64::from(start > Offset(0));
                    self.ran.lies.extend(model.starts_at(start.0).err());
                }
                Err(error) => self.ran.refusals.push(format!("trim: {error}")),
            }
        }
    }

    fn note(&mut self, key: &str) {
        let Some(log) = self.log() else { return };
        match log.catalog().put("test", key, key.as_bytes()) {
            Ok(()) => drop(self.ran.notes.insert(key.to_owned(), key.as_bytes().to_vec())),
            Err(error) => self.ran.refusals.push(format!("catalog: {error}")),
        }
    }

    fn add_column(&mut self) {
        let Some(log) = self.log() else { return };
        let name = "humidity".to_owned();
        let column = Column { name, column_type: ColumnType::Double, unit: None };
        if let Err(error) = log.add_column("climate", column) {
            self.ran.refusals.push(format!("column: {error}"));
        }
    }

    fn alarm(&mut self) {
        let Some(log) = self.log() else { return };
        let time = TimestampMicrosecondArray::from(vec![START_US]).with_timezone("UTC");
        let number = Int64Array::from(vec![1]);
        let columns = [("time", Arc::new(time) as ArrayRef), ("number", Arc::new(number))];
        let batch = RecordBatch::try_from_iter(columns).expect("two columns of one row");
        drop(log.internal(InternalLog::Alarms).append(batch));
        self.commit();
    }

    fn stop(&mut self) {
        if let Some(log) = self.log() {
            log.stop();
        }
        self.end();
    }

    fn end(&mut self) {
        self.collect();
        self.waiting.clear();
        self.log = None;
    }
}

fn opened(
    disk: &SimulatedDisk,
    clock: &Arc<SimulatedClock>,
    group_bytes_max: usize,
) -> Result<Arc<Log>, String> {
    let config = LogConfig {
        segment_bytes_max: SEGMENT_BYTES,
        group_bytes_max,
        ahead_bytes_min: 1,
        ..LogConfig::new("/data")
    };
    Log::open_manual(Arc::new(disk.clone()), Arc::clone(clock) as _, config)
        .map_err(|e| e.to_string())
        .and_then(with_stream)
}

/// Opens what the script left on a disk that does nothing wrong any more: everything it was told is true,
/// the log takes rows, and they are there after the next start.
pub(crate) fn examine(disk: &SimulatedDisk, ran: &Ran) -> Result<(), String> {
    if let Some(lie) = ran.lies.first() {
        return Err(lie.clone());
    }
    let mut ran = ran.clone();
    let clock = Arc::new(SimulatedClock::at(START_US + 1_000_000_000));
    for start in 0..2_u64 {
        let log = opened(disk, &clock, TOGETHER).map_err(|e| format!("cannot open: {e}"))?;
        for (key, value) in &ran.notes {
            if log.catalog().get("test", key).map_err(|e| e.to_string())?.as_ref() != Some(value) {
                return Err(format!("the catalog lost {key}"));
            }
        }
        let stream = stream(&log)?;
        for (partition, model) in stream.partitions().iter().zip(&mut ran.models) {
            if partition.state() != PartitionState::Ready {
                return Err(format!("{} is {:?}", partition.name(), partition.state()));
            }
            let (start, rows) = kept_values(partition)?;
            model.check_all(start, &rows)?;
        }
        for room in 0..4 {
            let route = log.streams().route(&format!("/room/{room}")).map_err(|e| e.to_string())?;
            let value = 1_000_000 + start * 100 + room;
            let batch = rows(&stream, route.series.0, &[value], START_US);
            let receipt = stream.partitions()[route.partition.0 as usize].append(batch);
            log.step_committers();
            let appended = receipt.wait().map_err(|e| format!("refused afterwards: {e}"))?;
            let model = &mut ran.models[route.partition.0 as usize];
            model.sent(vec![value]);
            model.confirmed(&[value], appended.base_offset.0)?;
        }
    }
    Ok(())
}
