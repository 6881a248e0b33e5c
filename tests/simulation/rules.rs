//! One seed of rules over a disk that forgets: readings, ticks, power cuts at any call, restarts; in every
//! third seed also retention.
//!
//! Promise (P6, S3): what the alarm log holds in the end is what an uninterrupted run over the same
//! final log gives: the same ids in the same order, none twice. A checkpoint that the catalog names is
//! there whole, whenever the power was cut. Where retention removes rows, the final log is the one with
//! all of them put back.

use super::oracle::{first_difference, reference, same_readings, written};
use super::removed::{Removed, forget_starts};
use arrow::array::{
    Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::{Field, Schema};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use weir_engine::alarms::{Command, PartitionPlace, command_rows};
pub(crate) use weir_engine::runtime::definition::relations;
use weir_engine::runtime::definition::{StoredRule, parse_rule, planned};
use weir_engine::runtime::follower::{Followed, Follower, OUTPUTS};
use weir_engine::runtime::holds::RuleHold;
use weir_engine::runtime::runner::RunnerState;
use weir_engine::runtime::{checkpoint, outages};
use weir_engine::sql::{StartFrom, Statement, parse_statements};
use weir_engine::tables::reference::{ReferenceTables, TableChange, TableDefinition};
use weir_ingest::io::{Clock, SimulatedClock, SimulatedDisk};
use weir_ingest::log::{InternalLog, Log, LogConfig, Stream};
use weir_ingest::model::reading::{Hidden, stored_schema};
use weir_ingest::model::{EventTime, PartitionId, Retention, StreamDefinition};

const STREAM: &str = "CREATE STREAM climate (temperature DOUBLE) TOPIC '/floor/{floor}/room/{room}' \
     WITH (partitions = 2, lateness = '2 seconds', idle = '4 seconds')";
const RETAINED: &str = "CREATE STREAM climate (temperature DOUBLE) TOPIC '/floor/{floor}/room/{room}' \
     WITH (partitions = 2, lateness = '2 seconds', idle = '4 seconds', retention = '6 seconds')";
const TABLE: &str = "CREATE TABLE weights (floor TEXT PRIMARY KEY, weight DOUBLE)";
pub(crate) const RULES: [&str; 15] = [
    "CREATE RULE hot KEY (floor) START FROM EARLIEST RAISE WHEN temperature > 27 \
     AS SELECT floor, room, temperature FROM climate",
    "CREATE RULE warm START FROM EARLIEST RAISE WHEN t > 22 FOR INTERVAL '10' SECOND \
     CLEAR WHEN t < 20 ON NO DATA FOR INTERVAL '30' SECOND RAISE \
     AS SELECT floor, avg(temperature) AS t \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '5' SECOND) \
     GROUP BY floor, window_start, window_end",
    "CREATE RULE middle START FROM EARLIEST AS SELECT floor, window_end, median(temperature) AS t, \
     count(DISTINCT room) AS rooms \
     FROM HOP(climate, DESCRIPTOR(time), slide => INTERVAL '3' SECOND, size => INTERVAL '9' SECOND) \
     GROUP BY floor, window_start, window_end",
    "CREATE RULE stays START FROM EARLIEST AS SELECT room, window_start, window_end, \
     count(*) AS readings, avg(temperature) AS t \
     FROM SESSION(climate, DESCRIPTOR(time), key => DESCRIPTOR(room), gap => INTERVAL '2' SECOND) \
     GROUP BY room, window_start, window_end",
    "CREATE RULE lasting KEY (room) START FROM EARLIEST \
     RAISE WHEN temperature > 22 FOR INTERVAL '3' SECOND CLEAR WHEN temperature < 21 \
     AS SELECT room, topic, temperature FROM climate",
    "CREATE STREAM averages TOPIC '/average/{floor}' WITH (partitions = 2, idle = '3 seconds') \
     START FROM EARLIEST AS SELECT floor, avg(temperature) AS t \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '5' SECOND) \
     GROUP BY floor, window_start, window_end",
    "CREATE RULE averaged START FROM EARLIEST RAISE WHEN t > 22 CLEAR WHEN t < 20 \
     ON NO DATA FOR INTERVAL '20' SECOND RAISE AS SELECT floor, max(t) AS t \
     FROM TUMBLE(averages, DESCRIPTOR(time), size => INTERVAL '10' SECOND) \
     GROUP BY floor, window_start, window_end",
    "CREATE RULE spread START FROM EARLIEST RAISE WHEN s > 2 FOR INTERVAL '5' SECOND CLEAR WHEN s < 1 \
     ON NO DATA FOR INTERVAL '20' SECOND RAISE \
     AS SELECT floor, max(t) - min(t) AS s, median(t) AS m \
     FROM HOP((SELECT floor, room, window_end, avg(temperature) AS t \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '3' SECOND) \
     GROUP BY floor, room, window_start, window_end), \
     DESCRIPTOR(time), slide => INTERVAL '5' SECOND, size => INTERVAL '10' SECOND) \
     GROUP BY floor, window_start, window_end",
    "CREATE RULE fastest START FROM EARLIEST AS SELECT floor, max(r) AS fastest, count(*) AS n \
     FROM TUMBLE((SELECT floor, time, rate(temperature) AS r FROM climate), \
     DESCRIPTOR(time), size => INTERVAL '5' SECOND) GROUP BY floor, window_start, window_end",
    "CREATE RULE warmer KEY (floor) START FROM EARLIEST RAISE WHEN temperature > before + 2 \
     CLEAR WHEN temperature < before \
     AS SELECT c.floor, c.room, c.temperature, l.temperature AS before \
     FROM climate c JOIN latest.climate l ON l.topic = c.topic",
    "CREATE RULE jumps KEY (room) START FROM EARLIEST RAISE WHEN step > 2 FOR INTERVAL '1' SECOND \
     AS SELECT room, temperature - lag(temperature) AS step FROM climate",
    "CREATE RULE against START FROM EARLIEST AS SELECT floor, median(temperature - before) AS up, \
     count(*) AS n \
     FROM HOP((SELECT c.floor, c.time, c.temperature, l.temperature AS before \
     FROM climate c JOIN latest.climate l ON l.floor = c.floor), \
     DESCRIPTOR(time), slide => INTERVAL '3' SECOND, size => INTERVAL '6' SECOND) \
     GROUP BY floor, window_start, window_end",
    "CREATE RULE beside START FROM EARLIEST AS SELECT floor, max(t) AS t, min(now) AS now \
     FROM TUMBLE((SELECT a.floor, a.time, a.t, l.temperature AS now \
     FROM averages a LEFT JOIN latest.climate l ON l.floor = a.floor AND l.temperature > a.t), \
     DESCRIPTOR(time), size => INTERVAL '10' SECOND) GROUP BY floor, window_start, window_end",
    "CREATE RULE moved START FROM EARLIEST RAISE WHEN moved > 3 CLEAR WHEN moved < 0 \
     AS SELECT floor, sum(step * weight) AS moved, count(*) AS n \
     FROM HOP((SELECT c.floor, c.time, w.weight, c.temperature - lag(c.temperature) AS step \
     FROM climate c LEFT JOIN weights w ON w.floor = c.floor), \
     DESCRIPTOR(time), slide => INTERVAL '4' SECOND, size => INTERVAL '8' SECOND) \
     GROUP BY floor, window_start, window_end",
    "CREATE RULE weighted START FROM EARLIEST AS SELECT floor, median(t * weight) AS t \
     FROM TUMBLE((SELECT r.floor, r.window_end, r.t, w.weight \
     FROM (SELECT floor, room, window_end, avg(temperature) AS t \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '3' SECOND) \
     GROUP BY floor, room, window_start, window_end) r LEFT JOIN weights w ON w.floor = r.floor), \
     DESCRIPTOR(time), size => INTERVAL '12' SECOND) \
     GROUP BY floor, window_start, window_end",
];
/// What may replace each of the first of them, also more than once: other verdicts, FOR, windows and keys.
const REPLACEMENTS: [&[&str]; 2] = [
    &[
        "CREATE OR REPLACE RULE hot KEY (floor) RAISE WHEN temperature > 24 \
         AS SELECT floor, room, temperature FROM climate",
        "CREATE OR REPLACE RULE hot KEY (floor) RAISE WHEN temperature > 24 FOR INTERVAL '3' SECOND \
         ON NO DATA FOR INTERVAL '20' SECOND RAISE AS SELECT floor, room, temperature FROM climate",
        "CREATE OR REPLACE RULE hot RAISE WHEN temperature > 26 \
         AS SELECT floor, room, temperature FROM climate",
        "CREATE OR REPLACE RULE hot KEY (floor) RAISE WHEN temperature > 24 \
         AS SELECT floor, max(temperature) AS temperature \
         FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '9' SECOND) \
         GROUP BY floor, window_start, window_end",
    ],
    &[
        "CREATE OR REPLACE RULE warm RAISE WHEN t > 24 CLEAR WHEN t < 21 \
         AS SELECT floor, avg(temperature) AS t \
         FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '5' SECOND) \
         GROUP BY floor, window_start, window_end",
        "CREATE OR REPLACE RULE warm RAISE WHEN t > 23 ON NO DATA FOR INTERVAL '30' SECOND RAISE \
         AS SELECT floor, max(temperature) AS t \
         FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '7' SECOND) \
         GROUP BY floor, window_start, window_end",
        "CREATE OR REPLACE RULE warm RAISE WHEN t > 22 AS SELECT floor, room, avg(temperature) AS t \
         FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '5' SECOND) \
         GROUP BY floor, room, window_start, window_end",
    ],
];
/// Of the rule that writes a stream.
pub(crate) const RULE_UID: u64 = 6;
const STEPS: usize = 60;

/// What happened, to see that something did.
#[derive(Debug, Default)]
pub(crate) struct Followings {
    pub(crate) lives: u64,
    pub(crate) replacements: u64,
    pub(crate) transitions: u64,
    pub(crate) checkpoints: u64,
    pub(crate) outages: u64,
    /// Rules whose state could be kept in the end.
    pub(crate) kept: u64,
    /// Segments that retention removed and that were put back.
    pub(crate) removed: u64,
}

struct World {
    rng: StdRng,
    disk: SimulatedDisk,
    clock: Arc<SimulatedClock>,
    seconds: i64,
    replacements: u64,
    checkpoints: u64,
    outages: u64,
    kept: u64,
    /// Retention is on; what it removed.
    removed: Option<Removed>,
}

/// One process: a log and the rules that follow it.
struct Life {
    log: Arc<Log>,
    stream: Arc<Stream>,
    references: ReferenceTables,
    stored: Vec<StoredRule>,
    followers: Vec<Follower>,
    holds: Vec<RuleHold>,
}

/// Runs one seed.
pub(crate) fn run(seed: u64) -> Result<Followings, String> {
    let mut world = World {
        rng: StdRng::seed_from_u64(seed ^ 0xa1a2),
        disk: SimulatedDisk::new(seed),
        clock: Arc::new(SimulatedClock::at(1_700_000_000_000_000)),
        seconds: 0,
        replacements: 0,
        checkpoints: 0,
        outages: 0,
        kept: 0,
        removed: seed.is_multiple_of(3).then(Removed::default),
    };
    let mut followings = Followings::default();
    let mut steps = 0;
    while steps < STEPS {
        if world.rng.random_bool(0.8) {
            world.disk.cut_power_in(world.rng.random_range(5..120));
        }
        followings.lives += 1;
        steps += 1;
        match world.open() {
            Ok(mut life) => world.live(&mut life, &mut steps)?,
            Err(_) if world.disk.is_off() => {}
            Err(error) => return Err(format!("with the power on: {error}")),
        }
        world.disk.behave();
        world.disk.restart();
    }
    (followings.transitions, followings.removed) = world.check()?;
    followings.replacements = world.replacements;
    followings.checkpoints = world.checkpoints;
    followings.outages = world.outages;
    followings.kept = world.kept;
    Ok(followings)
}

impl World {
    fn live(&mut self, life: &mut Life, steps: &mut usize) -> Result<(), String> {
        while *steps < STEPS {
            match self.step(life) {
                Ok(()) => *steps += 1,
                Err(_) if self.disk.is_off() => break,
                Err(error) => return Err(format!("with the power on: {error}")),
            }
        }
        Ok(())
    }

    /// A process starts: recovery, the stream and the rules if they are not there yet.
    fn open(&mut self) -> Result<Life, String> {
        self.clock.advance(Duration::from_millis(1));
        let disk = Arc::new(self.disk.clone());
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let log = Log::open_manual(disk, clock, self.config()).map_err(text)?;
        let stream = match log.streams().get("climate") {
            Some(stream) => stream,
            None => log.create_stream(self.declared()).map_err(text)?,
        };
        let references = ReferenceTables::open(Arc::clone(&log)).map_err(text)?;
        if references.get("weights").is_none() {
            change(&log, &TableChange::Create(Arc::new(weights())))?;
        }
        let references = ReferenceTables::open(Arc::clone(&log)).map_err(text)?;
        let (mut all, mut followers, mut holds) = (Vec::new(), Vec::new(), Vec::new());
        for (rule, uid) in RULES.iter().zip(1..) {
            let planned = planned(parse_rule(rule).map_err(text)?, &relations(&log, &references));
            let planned = planned.map_err(text)?;
            let name = planned.statement.name.clone();
            let (stored, hold) = match log.catalog().get("rules", &name).map_err(text)? {
                Some(value) => {
                    let stored: StoredRule = serde_json::from_slice(&value).map_err(text)?;
                    let hold = RuleHold::of_stored(&log, &name, &stored, u64::MAX);
                    (stored, hold.map_err(text)?)
                }
                None => {
                    if let Some(into) = &planned.plan.into
                        && log.streams().get(&name).is_none()
                    {
                        log.create_stream((*into.stream).clone()).map_err(text)?;
                    }
                    let hold = RuleHold::of_all(&log, &planned, u64::MAX);
                    let stored = StoredRule::starting(&log, &planned, uid, StartFrom::Now);
                    hold.follow(&stored).map_err(text)?;
                    let value = serde_json::to_vec(&stored).map_err(text)?;
                    log.catalog().put("rules", &name, &value).map_err(text)?;
                    (stored, hold)
                }
            };
            for entry in checkpoint::entries(&log, stored.uid).map_err(text)? {
                let whole = checkpoint::read(&log, &entry);
                whole.map_err(|why| format!("checkpoint {} was named: {why}", entry.file))?;
            }
            let planned = stored.planned(&relations(&log, &references)).map_err(text)?;
            let mut follower = stored.follow(&log, &planned).map_err(text)?;
            follower.read_written(&log)?;
            followers.push(follower);
            all.push(stored);
            holds.push(hold);
        }
        Ok(Life { log, stream, references, stored: all, followers, holds })
    }

    fn config(&self) -> LogConfig {
        let config = LogConfig::new("/weir");
        if self.removed.is_none() {
            return config;
        }
        let retention = Retention { age: Some(Duration::from_secs(6)), bytes: None };
        LogConfig {
            segment_bytes_max: 2048,
            segment_age_max: Duration::from_secs(4),
            retention: OUTPUTS.map(|which| (which, retention)).into_iter().collect(),
            ..config
        }
    }

    fn declared(&self) -> StreamDefinition {
        declared(if self.removed.is_some() { RETAINED } else { STREAM })
    }

    /// What is old goes, as far as no rule needs it.
    fn retain(&mut self, life: &Life) -> Result<(), String> {
        if let Some(removed) = &mut self.removed {
            removed.look(&self.disk, &life.log)?;
            life.log.step_retention();
        }
        Ok(())
    }

    /// The log as it would be without retention, to be read; and how many segments that brought back.
    fn whole(&mut self, life: Life) -> Result<(Arc<Log>, u64), String> {
        let Life { log, stream, references, stored, followers, holds } = life;
        let Some(removed) = self.removed.take() else { return Ok((log, 0)) };
        // Nobody has the directory open any more.
        drop((stream, references, stored, followers, holds));
        let config = LogConfig { retention: BTreeMap::new(), ..self.config() };
        forget_starts(&log)?;
        log.stop();
        drop(log);
        let back = removed.put_back(&self.disk)?;
        let (disk, clock) = (Arc::new(self.disk.clone()), Arc::clone(&self.clock));
        let log = Log::open_read_only(disk, clock as Arc<dyn Clock>, config).map_err(text)?;
        Ok((log, back))
    }

    /// Another version in the place of a rule.
    fn replace(&mut self, life: &mut Life) -> Result<(), String> {
        let which = self.rng.random_range(0..REPLACEMENTS.len());
        let others = REPLACEMENTS[which];
        let statement = parse_rule(others[self.rng.random_range(0..others.len())]).map_err(text)?;
        let name = statement.name.clone();
        let planned = planned(statement, &relations(&life.log, &life.references));
        let planned = planned.map_err(text)?;
        let meanwhile = RuleHold::of_all(&life.log, &planned, u64::MAX);
        let stored = StoredRule::replacing(&life.stored[which], &life.log, &planned);
        let version = stored.open(&life.log, &planned).map_err(text)?;
        life.holds[which].follow(&stored).map_err(text)?;
        drop(meanwhile);
        let value = serde_json::to_vec(&stored).map_err(text)?;
        life.log.catalog().put("rules", &name, &value).map_err(text)?;
        life.followers[which].replace_by(version);
        life.stored[which] = stored;
        self.replacements += 1;
        Ok(())
    }

    /// A floor's weight changes, now and then from an earlier event time on.
    fn weigh(&mut self, life: &Life) -> Result<(), String> {
        let floor = self.rng.random_range(0..2).to_string();
        let weight = f64::from(self.rng.random_range(1..9_u32));
        let earlier = self.rng.random_range(0..20_i64) * 1_000_000;
        let from = self.rng.random_bool(0.5).then(|| self.clock.wall_us() - earlier);
        let definition = weights();
        let columns = vec![
            Arc::new(StringArray::from(vec![floor])) as Arc<dyn Array>,
            Arc::new(Float64Array::from(vec![weight])),
            Arc::new(TimestampMicrosecondArray::from(vec![from]).with_timezone("UTC")),
        ];
        let names = ["floor", "weight", "valid_from"];
        let source = RecordBatch::try_from_iter(names.into_iter().zip(columns)).map_err(text)?;
        let rows = definition.rows(&names.map(ToOwned::to_owned), &source).map_err(text)?;
        change(&life.log, &TableChange::Insert { table: "weights".to_owned(), rows })
    }

    /// Readings, time or a rule's next inputs, as the seed decides.
    fn step(&mut self, life: &mut Life) -> Result<(), String> {
        match self.rng.random_range(0..10) {
            0..4 => self.readings(life)?,
            4..6 => {
                let passes = self.rng.random_range(1..8);
                self.clock.advance(Duration::from_secs(passes));
                self.seconds += passes.cast_signed();
                life.log.step_ticks();
                life.log.step_committers();
            }
            6 if self.rng.random_bool(0.4) => self.replace(life)?,
            7 if self.rng.random_bool(0.3) => self.weigh(life)?,
            8 if self.rng.random_bool(0.6) => self.outage(life)?,
            9 if self.removed.is_some() && self.rng.random_bool(0.4) => self.retain(life)?,
            _ => {
                let which = self.rng.random_range(0..life.followers.len());
                self.follow(life, which)?;
            }
        }
        if self.disk.is_off() { Err("the power is off".to_owned()) } else { Ok(()) }
    }

    /// A partition is said to take no rows, or to take them again.
    fn outage(&mut self, life: &Life) -> Result<(), String> {
        let commands = life.log.internal(InternalLog::Commands);
        let out = outages::out_before(&life.log, commands.ends().durable_end)?;
        let place = match out.first() {
            Some(place) if self.rng.random_bool(0.7) => place.clone(),
            _ => {
                let stream = ["climate", "averages"][self.rng.random_range(0..2)].to_owned();
                PartitionPlace { stream, partition: PartitionId(self.rng.random_range(0..2)) }
            }
        };
        let command = match out.contains(&place) {
            true => Command::PartitionIn { place },
            false => Command::PartitionOut { place, why: "the seed says so".to_owned() },
        };
        let at = EventTime(self.clock.wall_us());
        self.outages += 1;
        durable(&life.log, InternalLog::Commands, command_rows::encode(&[(at, command)]))
    }

    fn readings(&mut self, life: &Life) -> Result<(), String> {
        for _ in 0..self.rng.random_range(1..4) {
            let topic = format!(
                "/floor/{}/room/{}",
                self.rng.random_range(0..2),
                self.rng.random_range(0..3)
            );
            let route = life.log.streams().route(&topic).map_err(text)?;
            let rows = self.rng.random_range(1..4);
            let jitter = self.rng.random_range(0..4_i64);
            let times: Vec<i64> = (0..rows)
                .map(|_| {
                    self.seconds += self.rng.random_range(0..2);
                    self.clock.wall_us() + (self.seconds % 3 - jitter) * 1_000_000
                })
                .collect();
            let values: Vec<f64> =
                (0..rows).map(|_| f64::from(self.rng.random_range(150..300_u32)) / 10.0).collect();
            let batch = RecordBatch::try_new(
                stored_schema(&life.stream.definition(), Hidden::default()),
                vec![
                    Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
                    Arc::new(UInt32Array::from(vec![route.series.0; rows])),
                    Arc::new(Float64Array::from(values)),
                ],
            )
            .map_err(text)?;
            drop(life.stream.partitions()[route.partition.0 as usize].append(batch));
        }
        life.log.step_committers();
        Ok(())
    }

    /// The last process follows to the end; then its alarm log is held against the reference.
    fn check(&mut self) -> Result<(u64, u64), String> {
        let mut life = self.open()?;
        for which in 0..life.followers.len() {
            self.follow(&mut life, which)?;
        }
        // By now most of what the rules no longer need is old.
        self.clock.advance(Duration::from_secs(60));
        self.retain(&life)?;
        let states: Vec<Option<RunnerState>> =
            life.followers.iter().map(|f| f.snapshot(&life.log).map(|s| s.state)).collect();
        let (log, back) = self.whole(life)?;
        let mut transitions = 0;
        for (rule, state) in RULES.into_iter().zip(states) {
            let name = parse_rule(rule).map_err(text)?.name;
            let written = written(&log, &name)?;
            let ids: HashSet<&str> = written.iter().map(|t| t.id.as_str()).collect();
            if ids.len() != written.len() {
                return Err(format!("P6: rule {name} wrote an id twice"));
            }
            let (reference, expected, derived) = reference(&log, &name)?;
            same_readings(&log, &name, &derived)?;
            self.kept += u64::from(state.is_some());
            let bytes = |state| serde_json::to_string(&state).map_err(text);
            let (state, expected) = (bytes(state)?, bytes(expected)?);
            if state != expected {
                return Err(format!("S3: {name} {}", first_difference(&state, &expected)));
            }
            if let Some(place) = (0..written.len().max(reference.len()))
                .find(|i| written.get(*i) != reference.get(*i))
            {
                let (written, reference) = (written.get(place), reference.get(place));
                return Err(format!(
                    "P6: output {place} of {name} is {written:?}, the reference says {reference:?}"
                ));
            }
            transitions += written.len() as u64;
        }
        Ok((transitions, back))
    }
}

impl World {
    /// Takes all inputs there are; outputs are durable before the next input. Now and then a checkpoint
    /// is made in between.
    fn follow(&mut self, life: &mut Life, which: usize) -> Result<(), String> {
        loop {
            if self.rng.random_bool(0.2)
                && let Some(snapshot) = life.followers[which].snapshot(&life.log)
            {
                checkpoint::save(&life.log, &snapshot).map_err(text)?;
                life.holds[which].keep().map_err(text)?;
                self.checkpoints += 1;
            }
            match life.followers[which].follow(None)? {
                Followed::Taken { writes, .. } | Followed::Finished { writes, .. } => {
                    let begun: Vec<_> = writes.iter().map(|w| w.begin(&life.log)).collect();
                    life.log.step_committers();
                    for mut receipt in begun {
                        match receipt.try_take() {
                            Some(Ok(_)) => {}
                            Some(Err(error)) => return Err(error.to_string()),
                            None => return Err("an output was not committed".to_owned()),
                        }
                    }
                }
                Followed::Waiting { .. } => return Ok(()),
            }
        }
    }
}

fn weights() -> TableDefinition {
    match parse_statements(TABLE).expect("it is SQL").pop() {
        Some(Statement::CreateTable(table)) => {
            let fields = table.columns.iter();
            let fields = fields.map(|c| Field::new(&c.name, c.column_type.data_type(), c.nullable));
            let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            TableDefinition::new(&table.name, schema, table.primary_key, TABLE).expect("a table")
        }
        other => panic!("not a table: {other:?}"),
    }
}

/// A table changes, durably.
fn change(log: &Log, change: &TableChange) -> Result<(), String> {
    durable(log, InternalLog::Tables, change.encode(log.append_clock().draw()))
}

fn durable(log: &Log, which: InternalLog, batch: RecordBatch) -> Result<(), String> {
    let mut receipt = log.internal(which).append(batch);
    log.step_committers();
    match receipt.try_take() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("{} was not committed", which.name())),
    }
}

fn declared(stream: &str) -> StreamDefinition {
    match parse_statements(stream).expect("it is SQL").pop() {
        Some(Statement::CreateStream { definition, .. }) => definition,
        other => panic!("not a stream: {other:?}"),
    }
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
