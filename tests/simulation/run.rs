//! One seed: writers, committers, readers, catalog changes and power cuts, in an order it decides.

use crate::model::Model;
use arrow::array::{AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::Int64Type;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::io::{Call, Clock, Disk, SimulatedClock, SimulatedDisk};
use weir_ingest::log::{
    EntryBody, Log, LogConfig, PartitionReader, PartitionState, Receipt, Stream, TickKind,
};
use weir_ingest::model::reading::{Hidden, stored_schema};
use weir_ingest::model::{
    AppendTime, Column, ColumnType, EventTime, Offset, StreamDefinition, StreamOptions,
    TopicTemplate,
};

const STEPS: usize = 60;
const PARTITIONS: u32 = 2;

/// What happened, to see that something did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) cuts: u64,
    pub(crate) cuts_in_recovery: u64,
    pub(crate) failures: u64,
    pub(crate) confirmed: u64,
    pub(crate) unconfirmed: u64,
    pub(crate) segments: u64,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.failures += other.failures;
        self.confirmed += other.confirmed;
        self.unconfirmed += other.unconfirmed;
        self.segments += other.segments;
    }
}

struct Sent {
    partition: usize,
    values: Vec<u64>,
    receipt: Receipt,
}

struct World<'a> {
    rng: StdRng,
    power: &'a SimulatedDisk,
    disk: Arc<dyn Disk>,
    clock: Arc<SimulatedClock>,
    log: Option<Arc<Log>>,
    models: Vec<Model>,
    readers: Vec<PartitionReader>,
    waiting: Vec<Sent>,
    /// Catalog entries that were confirmed.
    notes: BTreeMap<String, Vec<u8>>,
    next_value: u64,
    last_append: AppendTime,
    outcome: Outcome,
}

/// Runs one seed.
pub(crate) fn run(
    seed: u64,
    power: &SimulatedDisk,
    disk: Arc<dyn Disk>,
) -> Result<Outcome, String> {
    let mut world = World {
        rng: StdRng::seed_from_u64(seed ^ 0x5eed),
        power,
        disk,
        clock: Arc::new(SimulatedClock::at(1_700_000_000_000_000)),
        log: None,
        models: (0..PARTITIONS).map(|_| Model::default()).collect(),
        readers: Vec::new(),
        waiting: Vec::new(),
        notes: BTreeMap::new(),
        next_value: 0,
        last_append: AppendTime(0),
        outcome: Outcome::default(),
    };
    world.open()?;
    for _ in 0..STEPS {
        world.step()?;
    }
    world.power.behave();
    world.power.restart();
    world.lose_power();
    world.open()?;
    world.outcome.segments =
        world.stream()?.partitions().iter().map(|p| p.segments().len() as u64).sum();
    Ok(world.outcome)
}

impl World<'_> {
    fn step(&mut self) -> Result<(), String> {
        self.clock.advance(Duration::from_micros(self.rng.random_range(0..50_000)));
        match self.rng.random_range(0..100) {
            0..40 => self.append()?,
            40..65 => {
                self.log()?.step_committers();
            }
            65..72 => self.follow()?,
            72..76 => self.log()?.step_idle(),
            76..80 => self.tick()?,
            80..84 => self.note()?,
            84..86 => self.add_column()?,
            86..90 => self.plan_failure(),
            90..95 => self.power.cut_power_in(self.rng.random_range(0..40)),
            95..97 => self.cut_now()?,
            _ => self.stop_and_open()?,
        }
        self.collect()?;
        if self.power.is_off() {
            self.cut_now()?;
        }
        Ok(())
    }

    fn log(&self) -> Result<Arc<Log>, String> {
        self.log.as_ref().map(Arc::clone).ok_or_else(|| "no log is open".to_owned())
    }

    fn stream(&self) -> Result<Arc<Stream>, String> {
        self.log()?.streams().get("climate").ok_or_else(|| "the stream is gone".to_owned())
    }

    fn append(&mut self) -> Result<(), String> {
        let (log, stream) = (self.log()?, self.stream()?);
        let topic = format!("/room/{}", self.rng.random_range(0..20));
        let route = log.streams().route(&topic).map_err(|e| e.to_string())?;
        let n = self.rng.random_range(1..60_u64);
        let values: Vec<u64> = (self.next_value..self.next_value + n).collect();
        self.next_value += n;
        let batch = rows(&stream, route.series.0, &values, self.clock.wall_us());
        let partition = route.partition.0 as usize;
        self.models[partition].sent(values.clone());
        let receipt = stream.partitions()[partition].append(batch);
        self.waiting.push(Sent { partition, values, receipt });
        Ok(())
    }

    /// Takes the receipts that are there.
    fn collect(&mut self) -> Result<(), String> {
        for mut sent in std::mem::take(&mut self.waiting) {
            match sent.receipt.try_take() {
                None => self.waiting.push(sent),
                Some(Ok(appended)) => {
                    self.outcome.confirmed += 1;
                    if appended.append_time <= AppendTime(0) {
                        return Err("an append time before 1970".to_owned());
                    }
                    self.last_append = self.last_append.max(appended.append_time);
                    let base = appended.base_offset.0;
                    self.models[sent.partition].confirmed(&sent.values, base)?;
                }
                Some(Err(_)) => self.outcome.unconfirmed += 1,
            }
        }
        Ok(())
    }

    /// Readers at the tail, which get most from memory.
    fn follow(&mut self) -> Result<(), String> {
        for (reader, model) in self.readers.iter_mut().zip(&mut self.models) {
            loop {
                match reader.next() {
                    Ok(Some(entry)) => {
                        if let EntryBody::Rows(batch) = &entry.body {
                            model.seen(entry.base_offset.0, &values(batch))?;
                        }
                    }
                    Ok(None) => break,
                    Err(_) if self.power.is_off() => break,
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), String> {
        let stream = self.stream()?;
        let partition = self.rng.random_range(0..stream.partitions().len());
        let time = EventTime(self.clock.wall_us());
        drop(stream.partitions()[partition].append_tick(time, TickKind::Idle));
        Ok(())
    }

    fn note(&mut self) -> Result<(), String> {
        let key = format!("note-{}", self.rng.random_range(0..4));
        let value = self.next_value.to_le_bytes().to_vec();
        match self.log()?.catalog().put("test", &key, &value) {
            Ok(()) => drop(self.notes.insert(key, value)),
            Err(error) if !self.power.is_off() => return Err(error.to_string()),
            // The cut decides whether it is there; both are right.
            Err(_) => drop(self.notes.remove(&key)),
        }
        Ok(())
    }

    fn add_column(&mut self) -> Result<(), String> {
        let name = format!("extra_{}", self.next_value);
        self.next_value += 1;
        let column = Column { name, column_type: ColumnType::Double, unit: None };
        match self.log()?.add_column("climate", column) {
            Err(error) if !self.power.is_off() => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// One failing call somewhere below the stream; the log must heal or refuse, and lose nothing.
    fn plan_failure(&mut self) {
        let (call, kind) = match self.rng.random_range(0..5) {
            0 => (Call::Write, io::ErrorKind::Other),
            1 => (Call::Sync, io::ErrorKind::Other),
            2 => (Call::Allocate, io::ErrorKind::StorageFull),
            3 => (Call::Rename, io::ErrorKind::Other),
            _ => (Call::SyncDirectory, io::ErrorKind::Other),
        };
        self.power.fail_next(call, "streams/", kind);
        self.outcome.failures += 1;
    }

    fn cut_now(&mut self) -> Result<(), String> {
        self.collect()?;
        self.lose_power();
        self.power.restart();
        self.open()
    }

    fn lose_power(&mut self) {
        self.outcome.cuts += 1;
        self.outcome.unconfirmed += self.waiting.len() as u64;
        self.waiting.clear();
        self.readers.clear();
        // The process is gone with the power: nothing it still does reaches the disk.
        self.power.cut_power_in(0);
        self.log = None;
    }

    fn stop_and_open(&mut self) -> Result<(), String> {
        self.log()?.stop();
        self.collect()?;
        self.waiting.clear();
        self.readers.clear();
        self.log = None;
        if self.power.is_off() {
            return self.cut_now();
        }
        self.power.behave();
        self.open()
    }

    /// Opens the log, now and then with a power cut on the way, and checks all of it.
    fn open(&mut self) -> Result<(), String> {
        while self.log.is_none() {
            self.power.behave();
            if self.rng.random_bool(0.3) {
                self.power.cut_power_in(self.rng.random_range(0..200));
            }
            let config = LogConfig { segment_bytes_max: 16 * 1024, ..LogConfig::new("/data") };
            let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
            let opened = Log::open_manual(Arc::clone(&self.disk), clock, config)
                .map_err(|e| e.to_string())
                .and_then(with_stream);
            match opened {
                Ok(log) if !self.power.is_off() => self.log = Some(log),
                Err(error) if !self.power.is_off() => return Err(format!("cannot open: {error}")),
                _ => {
                    self.outcome.cuts += 1;
                    self.outcome.cuts_in_recovery += 1;
                    drop(opened);
                    self.power.restart();
                }
            }
        }
        self.power.behave();
        self.check()
    }

    fn check(&mut self) -> Result<(), String> {
        let (log, stream) = (self.log()?, self.stream()?);
        if log.append_clock().draw() <= self.last_append {
            return Err("an append time on disk is above the clock".to_owned());
        }
        for (key, value) in &self.notes {
            if log.catalog().get("test", key).map_err(|e| e.to_string())?.as_ref() != Some(value) {
                return Err(format!("the catalog lost {key}"));
            }
        }
        self.readers.clear();
        for (partition, model) in stream.partitions().iter().zip(&mut self.models) {
            if partition.state() != PartitionState::Ready {
                return Err(format!("{:?} after a power cut", partition.state()));
            }
            let mut reader = partition.reader(Offset(0));
            let mut rows = Vec::new();
            while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
                if let EntryBody::Rows(batch) = &entry.body {
                    if entry.base_offset.0 != rows.len() as u64 {
                        return Err(format!("L2: {} after {}", entry.base_offset, rows.len()));
                    }
                    rows.extend(values(batch));
                }
            }
            if partition.ends().durable_end != Offset(rows.len() as u64) {
                return Err("the durable end is not the end of the rows".to_owned());
            }
            model.check_all(&rows)?;
            self.readers.push(reader);
        }
        Ok(())
    }
}

fn with_stream(log: Arc<Log>) -> Result<Arc<Log>, String> {
    if log.streams().get("climate").is_none() {
        let column =
            Column { name: "value".to_owned(), column_type: ColumnType::Bigint, unit: None };
        let options = StreamOptions { partitions: PARTITIONS, ..StreamOptions::default() };
        let template = TopicTemplate::parse("/room/{room}").map_err(|e| e.to_string())?;
        let definition = StreamDefinition::new("climate", vec![column], template, options)
            .map_err(|e| e.to_string())?;
        log.create_stream(definition).map_err(|e| e.to_string())?;
    }
    Ok(log)
}

/// A batch as the decoder makes it: the newest schema, other columns null.
fn rows(stream: &Stream, series: u32, values: &[u64], now: i64) -> RecordBatch {
    let schema = stored_schema(&stream.definition(), Hidden::default());
    let n = values.len();
    let time = TimestampMicrosecondArray::from(vec![now; n]).with_timezone("UTC");
    let mut columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(time),
        Arc::new(UInt32Array::from(vec![series; n])),
        Arc::new(Int64Array::from_iter_values(values.iter().map(|v| v.cast_signed()))),
    ];
    for field in &schema.fields()[3..] {
        columns.push(arrow::array::new_null_array(field.data_type(), n));
    }
    RecordBatch::try_new(schema, columns).expect("the columns are the schema's")
}

fn values(batch: &RecordBatch) -> Vec<u64> {
    let column = batch.column_by_name("value").expect("the stream has it");
    column.as_primitive::<Int64Type>().values().iter().map(|v| v.cast_unsigned()).collect()
}
