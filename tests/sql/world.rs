//! A server of one thread: a log on a disk in memory, rules that follow it, a clock that is told.
//!
//! Promise: the same log, decoder, followers and questions as the server's; only who pumps them is
//! this. After every step everything that can come out has come out.

use crate::scribe::Scribe;
use crate::system::Stale;
use std::sync::Arc;
use std::sync::OnceLock;
use tokio::runtime::Runtime;
use weir_engine::alarms::{Command, command_rows};
use weir_engine::runtime::checkpoint;
use weir_engine::runtime::definition::{RULES, StoredRule, relations};
use weir_engine::runtime::downtime::note_downtime;
use weir_engine::runtime::follower::{Followed, Follower, Write};
use weir_engine::runtime::outages::Outages;
use weir_engine::tables::latest::LatestTables;
use weir_engine::tables::reference::ReferenceTables;
use weir_ingest::decode::{Decoder, topic_of};
use weir_ingest::io::{Clock, SimulatedClock, SimulatedDisk};
use weir_ingest::log::{InternalLog, Log, LogConfig};
use weir_ingest::model::{AppendTime, EventTime};
use weir_queries::catalog::{Sources, SystemSource};
use weir_queries::session::{QueryLimits, ReadOnly, Session};

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    disk: SimulatedDisk,
    pub(crate) clock: Arc<SimulatedClock>,
    /// Overrides every stream's partitions.
    pub(crate) partitions: Option<u32>,
    life: Option<Life>,
    pub(crate) scribe: Scribe,
}

/// What one process holds.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) log: Arc<Log>,
    pub(crate) engine: Engine,
}

/// What is built from the log, and dropped by a restart.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) references: Arc<ReferenceTables>,
    session: Arc<Session>,
    stale: Arc<Stale>,
    outages: Outages,
    pub(crate) rules: Vec<Rule>,
}

/// A rule; without a follower when it has failed.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) stored: StoredRule,
    pub(crate) follower: Option<Follower>,
    settled: u32,
}

/// A runtime for questions, which are asynchronous.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("threads can be started"))
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl World {
    /// An empty server one second before `start`.
    /// # Errors
    /// The log cannot be opened.
    pub(crate) fn new(start: i64, partitions: Option<u32>) -> Result<Self, String> {
        let clock = Arc::new(SimulatedClock::at(start - 1_000_000));
        let (disk, scribe) = (SimulatedDisk::new(1), Scribe::new(start));
        let mut world = Self { disk, clock, partitions, life: None, scribe };
        world.open()?;
        Ok(world)
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.wall_us()
    }

    pub(crate) fn life(&self) -> &Life {
        self.life.as_ref().expect("a process runs")
    }

    pub(crate) fn engine(&mut self) -> &mut Engine {
        &mut self.life.as_mut().expect("a process runs").engine
    }

    pub(crate) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.life().log)
    }

    fn open(&mut self) -> Result<(), String> {
        let disk = Arc::new(self.disk.clone());
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let log = Log::open_manual(disk, clock, LogConfig::new("/weir")).map_err(text)?;
        drop(note_downtime(&log));
        log.step_committers();
        let engine = Engine::open(&log)?;
        self.life = Some(Life { log, engine });
        self.settle()
    }

    /// Lets time pass up to `us`, with the ticks that fall due on the way, those at that instant
    /// included.
    /// # Errors
    /// A rule or the log failed.
    pub(crate) fn advance_to(&mut self, us: i64) -> Result<(), String> {
        let log = self.log();
        while let Some(due) = log.next_tick().filter(|due| due.0 <= us) {
            self.clock.advance_to(due.0);
            // Ticks go by what every later append time is above: now that is this instant.
            log.append_clock().draw();
            log.step_ticks();
            log.step_committers();
            self.settle()?;
        }
        self.clock.advance_to(us);
        Ok(())
    }

    /// One request: decoded, appended, confirmed.
    /// # Errors
    /// A rule or the log failed.
    pub(crate) fn publish(&mut self, readings: &[&str]) -> Result<(), String> {
        let (log, now) = (self.log(), self.now());
        let mut decoder = Decoder::new(log.streams());
        for (index, json) in (0..).zip(readings) {
            decoder.push_json(json.as_bytes(), index, AppendTime(now));
        }
        let decoded = decoder.finish();
        for refusal in &decoded.refused {
            let topic = topic_of(&refusal.payload).unwrap_or_else(|| "-".to_owned());
            self.scribe.say(now, "dead_letter", &topic, &refusal.reason.to_string());
        }
        let mut receipts = Vec::new();
        for rows in decoded.rows {
            let partition = &rows.stream.partitions()[rows.partition.0 as usize];
            receipts.push((partition.append(rows.batch), rows.indexes));
        }
        log.step_committers();
        for (mut receipt, indexes) in receipts {
            let appended = receipt.try_take().ok_or("readings were not committed")?;
            for row in appended.map_err(text)?.duplicates {
                let json = readings[indexes[row as usize] as usize];
                let topic = topic_of(json.as_bytes()).unwrap_or_default();
                self.scribe.say(now, "duplicate", &topic, "");
            }
        }
        self.settle()
    }

    /// Every rule takes all inputs there are; what comes out is written down.
    /// # Errors
    /// The log failed.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let (log, now) = (self.log(), self.now());
        let mut failed = Vec::new();
        let told = self.engine().outages.follow()?;
        append(&log, told.into_iter().map(|(to, rows)| Write::Internal(to, rows)).collect())?;
        for rule in &mut self.engine().rules {
            let Some(follower) = &mut rule.follower else { continue };
            if let Err(reason) = follow(&log, follower, None) {
                rule.follower = None;
                failed.push((rule.name.clone(), reason));
                continue;
            }
            // Now and then: a restart finds one that is old, and one that is new.
            rule.settled += 1;
            if rule.settled % 3 == 0
                && let Some(snapshot) = follower.snapshot(&log)
            {
                checkpoint::save(&log, &snapshot).map_err(text)?;
            }
        }
        self.scribe.collect(&log, now)?;
        for (rule, reason) in failed {
            self.scribe.say(now, "failed", &rule, &reason);
        }
        Ok(())
    }

    /// Drops everything the engine holds in memory and builds it again from the log.
    /// # Errors
    /// It cannot be built.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        let log = self.log();
        let life = self.life.as_mut().expect("a process runs");
        life.engine.rules.clear();
        life.engine = Engine::open(&log)?;
        self.settle()
    }

    /// The process says something of a partition, as it does when one has been bad for `idle`.
    /// # Errors
    /// A rule or the log failed.
    pub(crate) fn partition(&mut self, command: Command) -> Result<(), String> {
        let batch = command_rows::encode(&[(EventTime(self.now()), command)]);
        drop(self.log().internal(InternalLog::Commands).append(batch));
        self.log().step_committers();
        self.settle()
    }

    /// The power is cut, and is back at `until`.
    /// # Errors
    /// The log cannot be opened again.
    pub(crate) fn down_until(&mut self, until: i64) -> Result<(), String> {
        self.disk.cut_power_in(0);
        self.life = None;
        self.disk.restart();
        self.clock.advance_to(until);
        self.open()
    }
}

impl Engine {
    /// The rules of the catalog, the tables and the questions.
    fn open(log: &Arc<Log>) -> Result<Self, String> {
        let references = Arc::new(ReferenceTables::open(Arc::clone(log)).map_err(text)?);
        let stale = Arc::new(Stale::default());
        let sources = Sources {
            log: Arc::clone(log),
            latest: Arc::new(LatestTables::new(Arc::clone(log))),
            references: Arc::clone(&references),
            system: Arc::clone(&stale) as Arc<dyn SystemSource>,
        };
        let session = Session::new(sources, Arc::new(ReadOnly), QueryLimits::default());
        let mut rules = Vec::new();
        for (name, value) in log.catalog().list(RULES).map_err(text)? {
            let stored: StoredRule = serde_json::from_slice(&value).map_err(text)?;
            rules.push(Rule::open(log, &references, name, stored)?);
        }
        rules.sort_by_key(|rule| rule.stored.uid);
        let outages = Outages::open(log)?;
        Ok(Self { references, session: Arc::new(session.map_err(text)?), stale, outages, rules })
    }

    /// The session, knowing what is stale now.
    pub(crate) fn questions(&self) -> Arc<Session> {
        let alarms = |rule: &Rule| {
            let alarms = rule.follower.as_ref()?.runner().alarms()?;
            Some((rule.name.clone(), alarms.stale_alarms()))
        };
        self.stale.set(self.rules.iter().filter_map(alarms).collect());
        Arc::clone(&self.session)
    }
}

impl Rule {
    /// A rule as the catalog has it, at its start; it learns what it has written before.
    pub(crate) fn open(
        log: &Arc<Log>,
        references: &ReferenceTables,
        name: String,
        stored: StoredRule,
    ) -> Result<Self, String> {
        let planned = stored.planned(&relations(log, references)).map_err(text)?;
        let mut follower = stored.follow(log, &planned).map_err(text)?;
        follower.read_written(log)?;
        Ok(Self { name, stored, follower: Some(follower), settled: 0 })
    }
}

/// Takes all inputs there are; outputs are durable before the next input. With `finish_at`, up to the
/// rule's end.
pub(crate) fn follow(
    log: &Log,
    follower: &mut Follower,
    finish_at: Option<AppendTime>,
) -> Result<(), String> {
    loop {
        match follower.follow(finish_at)? {
            Followed::Taken { writes, .. } => append(log, writes)?,
            Followed::Finished { writes, .. } => return append(log, writes),
            Followed::Waiting { .. } => return Ok(()),
        }
    }
}

fn append(log: &Log, writes: Vec<Write>) -> Result<(), String> {
    let begun: Vec<_> = writes.iter().map(|write| write.begin(log)).collect();
    log.step_committers();
    for mut receipt in begun {
        receipt.try_take().ok_or("an output was not committed")?.map_err(text)?;
    }
    Ok(())
}
