//! One seed: writers, committers, readers, retention, catalog changes, disks that fail and power cuts, in an order
//! it decides.

mod open;
mod produce;

use crate::climate::{self, PARTITIONS, rows, values};
use crate::model::Model;
use produce::Producer;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::io::{Call, Clock, Disk, Fault, Plan, SimulatedClock, SimulatedDisk, Times};
use weir_ingest::log::{EntryBody, Log, PartitionReader, Receipt, Stream, TickKind};
use weir_ingest::model::{AppendTime, Column, ColumnType, EventTime, Offset};

/// Things that happen in a seed.
pub(crate) const STEPS: usize = 200;

/// What happened, to see that something did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) cuts: u64,
    pub(crate) cuts_in_recovery: u64,
    pub(crate) failures: u64,
    pub(crate) failures_in_recovery: u64,
    pub(crate) full: u64,
    pub(crate) confirmed: u64,
    pub(crate) unconfirmed: u64,
    pub(crate) retried: u64,
    pub(crate) seen: u64,
    pub(crate) segments: u64,
    pub(crate) trims: u64,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.failures += other.failures;
        self.failures_in_recovery += other.failures_in_recovery;
        self.full += other.full;
        self.confirmed += other.confirmed;
        self.unconfirmed += other.unconfirmed;
        self.retried += other.retried;
        self.seen += other.seen;
        self.segments += other.segments;
        self.trims += other.trims;
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
    /// One for each partition.
    producers: Vec<Producer>,
    /// Catalog entries that were confirmed.
    notes: BTreeMap<String, Vec<u8>>,
    next_value: u64,
    last_append: AppendTime,
    /// Whether a failure of the disk is planned, or it has a small capacity.
    failing: bool,
    outcome: Outcome,
}

/// Runs one seed; `power` is below `disk`.
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
        producers: (0..PARTITIONS).map(|_| Producer::default()).collect(),
        notes: BTreeMap::new(),
        next_value: 0,
        last_append: AppendTime(0),
        failing: false,
        outcome: Outcome::default(),
    };
    world.open()?;
    for _ in 0..STEPS {
        world.step()?;
    }
    world.cut_now()?;
    let partitions = world.stream()?;
    world.outcome.segments =
        partitions.partitions().iter().map(|p| p.segments().len() as u64).sum();
    Ok(world.outcome)
}

impl World<'_> {
    fn step(&mut self) -> Result<(), String> {
        self.clock.advance(Duration::from_micros(self.rng.random_range(0..50_000)));
        match self.rng.random_range(0..1000) {
            0..350 => self.append()?,
            350..450 => self.produce()?,
            450..470 => self.trim()?,
            470..730 => {
                self.log()?.step_committers();
            }
            730..810 => self.follow()?,
            810..860 => self.log()?.step_idle(),
            860..890 => self.tick()?,
            890..910 => self.note()?,
            910..920 => self.add_column()?,
            920..950 => self.plan_failure("streams/"),
            950..955 => self.fill_disk(),
            955..960 => self.step_clock(),
            960..985 => self.power.cut_power_in(self.rng.random_range(0..40)),
            985..992 => self.cut_now()?,
            _ => self.stop_and_open()?,
        }
        self.collect()?;
        if self.power.is_off() {
            self.cut_now()?;
        }
        Ok(())
    }

    /// Somebody sets the machine's clock.
    fn step_clock(&mut self) {
        let by = self.rng.random_range(-5_000_000..5_000_000);
        self.clock.step_wall(self.clock.wall_us() + by);
    }

    fn log(&self) -> Result<Arc<Log>, String> {
        self.log.as_ref().map(Arc::clone).ok_or_else(|| "no log is open".to_owned())
    }

    fn stream(&self) -> Result<Arc<Stream>, String> {
        climate::stream(&*self.log()?)
    }

    /// Whether an error has a reason that lies in the disk.
    fn is_excused(&self) -> bool {
        self.failing || self.power.is_off()
    }

    fn append(&mut self) -> Result<(), String> {
        let (log, stream) = (self.log()?, self.stream()?);
        let topic = format!("/room/{}", self.rng.random_range(0..20));
        let route = log.streams().route(&topic).map_err(|e| e.to_string())?;
        let n = self.rng.random_range(1..40_u64);
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
        self.collect_produced()
    }

    /// Readers at the tail, which get most from memory.
    fn follow(&mut self) -> Result<(), String> {
        let excused = self.is_excused();
        for (reader, model) in self.readers.iter_mut().zip(&mut self.models) {
            loop {
                match reader.next() {
                    Ok(Some(entry)) => {
                        if let EntryBody::Rows(batch) = &entry.body {
                            self.outcome.seen += batch.num_rows() as u64;
                            model.seen(entry.base_offset.0, &values(batch))?;
                        }
                    }
                    Ok(None) => break,
                    Err(_) if excused || self.power.is_off() => break,
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

    /// The oldest rows are wanted gone; who reads holds on to what it has not seen.
    fn trim(&mut self) -> Result<(), String> {
        let (log, stream) = (self.log()?, self.stream()?);
        let index = self.rng.random_range(0..stream.partitions().len());
        let (partition, model) = (&stream.partitions()[index], &mut self.models[index]);
        let (ends, seen) = (partition.ends(), model.seen_to());
        let before = self.rng.random_range(0..=ends.durable_end.0);
        let reader = log.hold("reader", u64::MAX);
        reader.keep(partition.uid(), Offset(seen));
        model.may_go(before.min(seen));
        match partition.trim(Offset(before)) {
            Ok(start) => {
                self.outcome.trims += u64::from(start > ends.log_start);
                model.starts_at(start.0)
            }
            Err(_) if self.is_excused() => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn note(&mut self) -> Result<(), String> {
        let key = format!("note-{}", self.rng.random_range(0..4));
        let value = self.next_value.to_le_bytes().to_vec();
        match self.log()?.catalog().put("test", &key, &value) {
            Ok(()) => drop(self.notes.insert(key, value)),
            Err(error) if !self.is_excused() => return Err(error.to_string()),
            // The disk decides whether it is there; both are right.
            Err(_) => drop(self.notes.remove(&key)),
        }
        Ok(())
    }

    fn add_column(&mut self) -> Result<(), String> {
        let name = format!("extra_{}", self.next_value);
        self.next_value += 1;
        let column = Column { name, column_type: ColumnType::Double, unit: None };
        match self.log()?.add_column("climate", column) {
            Err(error) if !self.is_excused() => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// A failing call, or all of a kind, below the streams; the log must heal or refuse, and lose nothing.
    fn plan_failure(&mut self, part: &str) {
        let call = match self.rng.random_range(0..10) {
            0..3 => Call::Write,
            3..6 => Call::Sync,
            6 => Call::Rename,
            7 => Call::SyncDirectory,
            _ => Call::ALL[self.rng.random_range(0..Call::ALL.len())],
        };
        let fault = match self.rng.random_range(0..10) {
            0..4 => Fault::Error(io::ErrorKind::Other),
            4..6 => Fault::Error(io::ErrorKind::StorageFull),
            6 => Fault::Error(io::ErrorKind::Interrupted),
            7 => Fault::Short,
            _ => Fault::Dropped,
        };
        let endless = Fault::Error(io::ErrorKind::Interrupted) != fault && fault != Fault::Short;
        let always = endless && self.rng.random_bool(0.1);
        let times = if always { Times::Always } else { Times::Once };
        let skip = self.rng.random_range(0..4);
        self.power.plan(Plan { skip, times, ..Plan::next(call, part, fault) });
        self.failing = true;
        self.outcome.failures += 1;
    }

    /// From now on there is room for little more, until the next start.
    fn fill_disk(&mut self) {
        if let Ok(space) = self.power.space("/data".as_ref()) {
            let used = space.total_bytes - space.available_bytes;
            self.power.set_capacity(used + self.rng.random_range(0..40_000));
            self.failing = true;
            self.outcome.full += 1;
        }
    }
}
