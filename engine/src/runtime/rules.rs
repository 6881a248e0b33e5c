//! All rules of a server: created, dropped, listed, explained; and what operators say to their alarms.
//!
//! Promise: a statement returns after it is durable; a rule that cannot start is listed with its reason
//! and does not stop the others (P10).

mod again; // REPLAY and RESET
mod derived; // CREATE STREAM ... AS SELECT
mod listing; // SHOW and EXPLAIN
mod operators; // ACKNOWLEDGE, SHELVE and the others
mod memory; // how much state a rule may have
mod replace; // CREATE OR REPLACE
mod watermark; // EXPLAIN WATERMARK

pub use memory::Bound;

use super::checkpoint;
use super::definition::{Planned, RULES, StoredRule, forget, planned, relations};
use super::downtime::note_downtime;
use super::follower::{Follower, RULE_MEMORY_MAX};
use super::holds::{RuleHold, note_released};
use super::task::{CheckpointPolicy, Progressed, RuleState, RuleTask};
use super::versions::Versions;
use crate::alarms::StaleAlarms;
use crate::sql::{Existing, Missing, RuleStatement, SqlError, StartFrom};
use crate::tables::reference::ReferenceTables;
use arrow::datatypes::{DataType, SchemaRef};
use listing::describe;
use operators::Book;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::log::{HOLD_BYTES_MAX, Log};
use weir_ingest::model::{AppendTime, Offset};

/// The rules over one log.
#[derive(Debug)]
pub struct Rules {
    log: Arc<Log>,
    references: Arc<ReferenceTables>,
    running: Mutex<BTreeMap<String, Arc<Rule>>>,
    /// One change of a rule at a time.
    changing: Mutex<()>,
    bounds: RuleBounds,
    book: Mutex<Book>,
}

/// How often rules are kept, and how much each may take.
#[derive(Debug, Clone, Copy)]
pub struct RuleBounds {
    /// When checkpoints are made.
    pub checkpoints: CheckpointPolicy,
    /// Bytes of a rule's state; it stops beyond.
    pub memory_max: usize,
    /// Bytes of a partition that a rule may keep beyond what retention keeps; it stops beyond.
    pub hold_bytes_max: u64,
}

impl Default for RuleBounds {
    fn default() -> Self {
        Self {
            checkpoints: CheckpointPolicy::default(),
            memory_max: RULE_MEMORY_MAX,
            hold_bytes_max: HOLD_BYTES_MAX,
        }
    }
}

#[derive(Debug)]
struct Rule {
    stored: StoredRule,
    /// Every version, the oldest first; none where one cannot be planned any more.
    versions: Vec<Planned>,
    running: Result<Arc<RuleTask>, String>,
    /// Also of one that does not run: it may be started again.
    hold: Arc<RuleHold>,
}

/// One rule, as it is now.
#[derive(Debug, Clone)]
pub struct RuleStatus {
    /// Its name.
    pub name: String,
    /// Its newest version.
    pub version: u32,
    /// Its statement.
    pub text: String,
    /// The streams it reads.
    pub streams: Vec<String>,
    /// How far it has come.
    pub progressed: Progressed,
    /// How far behind the log it is, seconds; 0 when it has taken everything.
    pub lag_seconds: f64,
}

fn refused(error: impl std::fmt::Display) -> SqlError {
    SqlError::new(error.to_string())
}

impl Rules {
    /// Starts the rules the catalog holds.
    /// # Errors
    /// The catalog cannot be read. A rule that cannot start is listed as failed.
    pub fn open(log: Arc<Log>, references: Arc<ReferenceTables>) -> Result<Arc<Self>, SqlError> {
        Self::open_with(log, references, RuleBounds::default())
    }

    /// As [`Self::open`], within other bounds.
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        log: Arc<Log>,
        references: Arc<ReferenceTables>,
        bounds: RuleBounds,
    ) -> Result<Arc<Self>, SqlError> {
        let stored = log.catalog().list(RULES).map_err(refused)?;
        derived::sweep(&log, &stored);
        let rules = Arc::new(Self {
            book: Mutex::new(Book::new(&log, bounds.hold_bytes_max)),
            log,
            references,
            running: Mutex::default(),
            changing: Mutex::default(),
            bounds,
        });
        for (name, value) in stored {
            let stored: StoredRule = serde_json::from_slice(&value).map_err(refused)?;
            let rule = rules.restart(&name, stored)?;
            if let Err(reason) = &rule.running {
                tracing::error!(rule = %name, %reason, "rule cannot start");
            }
            rules.running.lock().insert(name, Arc::new(rule));
        }
        rules.finish_dropped();
        drop(note_downtime(&rules.log));
        Ok(rules)
    }

    /// Bytes that the state of one rule may take.
    pub fn memory_max(&self) -> usize {
        self.bounds.memory_max
    }

    fn restart(&self, name: &str, stored: StoredRule) -> Result<Rule, SqlError> {
        // First of all, so that what is found to be there stays.
        let hold = RuleHold::of_stored(&self.log, name, &stored, self.bounds.hold_bytes_max);
        let hold = Arc::new(hold.map_err(refused)?);
        let planned = stored.planned(&relations(&self.log, &self.references));
        let opened = planned.and_then(|p| Ok((stored.follow(&self.log, &p)?, p)));
        let (running, versions) = match opened {
            Ok((follower, planned)) => (self.start(&stored, follower, &hold), planned),
            Err(error) => (Err(error), Vec::new()),
        };
        Ok(Rule { stored, versions, running: running.map_err(|e| e.message), hold })
    }

    fn start(
        &self,
        stored: &StoredRule,
        follower: Follower,
        hold: &Arc<RuleHold>,
    ) -> Result<Arc<RuleTask>, SqlError> {
        let log = Arc::clone(&self.log);
        let follower = follower.within(self.bounds.memory_max);
        let (policy, hold) = (self.bounds.checkpoints, Arc::clone(hold));
        let task = RuleTask::start(log, follower, stored.dropped_at, policy, hold);
        task.map(Arc::new).map_err(refused)
    }

    // A rule whose DROP was cut short by a crash finishes in its task; then it is forgotten.
    fn finish_dropped(&self) {
        let dropped: Vec<(String, Arc<Rule>)> = self
            .running
            .lock()
            .iter()
            .filter(|(_, rule)| rule.stored.dropped_at.is_some())
            .map(|(name, rule)| (name.clone(), Arc::clone(rule)))
            .collect();
        for (name, rule) in dropped {
            if let (Ok(task), Some(at)) = (&rule.running, rule.stored.dropped_at) {
                task.finish(at);
            }
            self.forget(&name, &rule.stored);
        }
    }

    fn forget(&self, name: &str, stored: &StoredRule) {
        if let Err(error) = checkpoint::forget(&self.log, stored.uid) {
            tracing::error!(rule = %name, %error, "checkpoints of a dropped rule stay");
        }
        if let Err(error) = forget(&self.log, name, stored) {
            tracing::error!(rule = %name, %error, "a dropped rule stays in the catalog");
        }
        self.running.lock().remove(name);
    }

    /// CREATE RULE: durable and running when it returns; one sentence about it.
    /// # Errors
    /// What is wrong with the statement, or the catalog refused it.
    pub fn create(&self, statement: RuleStatement) -> Result<String, SqlError> {
        let _one = self.changing.lock();
        let name = statement.name.clone();
        let there = self.running.lock().get(&name).cloned();
        if let Some(rule) = there {
            derived::check_replaced(&rule.stored, &statement)?;
            return match statement.existing {
                Existing::Keep => Ok(format!("rule '{name}' was there already")),
                Existing::Refuse => Err(SqlError::new(format!("there is a rule '{name}' already"))
                    .with_hint(format!(
                        "CREATE OR REPLACE RULE {name} puts a new version in its place and carries its \
                         open alarms; or choose another name"
                    ))),
                Existing::Replace => self.replace(&rule, statement),
            };
        }
        let planned = planned(statement, &relations(&self.log, &self.references))?;
        let stream = self.create_stream_of(&planned)?;
        let created = self.create_planned(name, planned);
        if let (Err(_), Some(stream)) = (&created, stream) {
            // What has no rule would be swept at the next start.
            drop(self.log.drop_stream(&stream));
        }
        created
    }

    fn create_planned(&self, name: String, planned: Planned) -> Result<String, SqlError> {
        let uid = self.log.catalog().next_uid(RULES).map_err(refused)?;
        let hold = RuleHold::of_all(&self.log, &planned, self.bounds.hold_bytes_max);
        let stored = StoredRule::starting(&self.log, &planned, uid, StartFrom::Now);
        let versions = Versions::new(stored.open(&self.log, &planned)?);
        hold.follow(&stored).map_err(refused)?;
        self.store(&name, &stored)?;
        let hold = Arc::new(hold);
        let task = self.start(&stored, stored.from_start(versions), &hold)?;
        let how = format!("{}; {}", describe(&planned), self.state_of(&planned));
        let rule = Arc::new(Rule { stored, versions: vec![planned], running: Ok(task), hold });
        self.running.lock().insert(name.clone(), Arc::clone(&rule));
        let rule_is = |how: String| format!("rule '{name}' is running: {how}");
        Ok(derived::said(&rule).unwrap_or_else(|| rule_is(how)))
    }

    fn store(&self, name: &str, stored: &StoredRule) -> Result<(), SqlError> {
        let value = serde_json::to_vec(stored).map_err(refused)?;
        self.log.catalog().put(RULES, name, &value).map_err(refused)
    }

    /// DROP RULE: its open alarms are closed and it is gone when it returns.
    /// # Errors
    /// There is no such rule, or the catalog refused.
    pub fn drop_rule(&self, name: &str, missing: Missing) -> Result<String, SqlError> {
        let _one = self.changing.lock();
        if self.stream_of(name).is_some() {
            return Err(derived::no_rule_alone(name));
        }
        self.drop_named(name, missing)
    }

    fn drop_named(&self, name: &str, missing: Missing) -> Result<String, SqlError> {
        let Some(rule) = self.running.lock().get(name).cloned() else {
            return match missing {
                Missing::Ignore => Ok(format!("there was no rule '{name}'")),
                Missing::Refuse => Err(self.unknown(name)),
            };
        };
        // A rule that rests has taken nothing beyond the place; one that has failed takes nothing.
        let held = rule.running.as_ref().ok().map(|task| task.hold(self.log.clock().as_ref()));
        let at = self.log.append_clock().draw();
        let stored = StoredRule { dropped_at: Some(at), ..rule.stored.clone() };
        self.store(name, &stored)?;
        if let Ok(task) = &rule.running {
            task.finish(at);
        }
        drop(held);
        self.forget(name, &rule.stored);
        Ok(format!("rule '{name}' is gone; its open alarms are closed"))
    }

    fn get(&self, name: &str) -> Result<Arc<Rule>, SqlError> {
        let rule = self.running.lock().get(name).cloned();
        rule.ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> SqlError {
        let names: Vec<String> = self.running.lock().keys().cloned().collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let error = SqlError::new(format!("there is no rule '{name}'"));
        match crate::sql::did_you_mean(name, &known) {
            Some(known) => error.with_hint(format!("did you mean {known}?")),
            None => error.with_hint("SHOW RULES lists the rules"),
        }
    }

    /// The rules that read a stream or a table, in any of their versions: it cannot be dropped.
    pub fn readers_of(&self, relation: &str) -> Vec<String> {
        let reads = |rule: &Rule| {
            rule.versions.iter().any(|planned| {
                planned.plan.streams.iter().any(|s| s.name() == relation)
                    || planned.plan.tables.iter().any(|t| t == relation)
            }) || rule.stored.versions().iter().any(|v| v.offsets.contains_key(relation))
        };
        let running = self.running.lock();
        running.iter().filter(|(_, rule)| reads(rule)).map(|(name, _)| name.clone()).collect()
    }

    /// The columns the rules give out, for WHERE over their events; without those that two rules
    /// give with different types.
    pub fn output_columns(&self) -> BTreeMap<String, DataType> {
        let running = self.running.lock();
        columns_of(running.values().filter_map(|rule| Some(&rule.planned()?.plan.output)))
    }

    /// All rules, by name.
    pub fn list(&self) -> Vec<RuleStatus> {
        let now = self.log.append_clock().floor();
        self.running.lock().iter().map(|(name, rule)| rule.status(name, now)).collect()
    }

    /// What has to be done now and then: the alarms that are open are kept in internal/alarms, and it is
    /// told whose hold was taken away.
    /// # Errors
    /// internal/alarms cannot be read.
    pub fn look_after_holds(&self) -> Result<(), String> {
        self.book.lock().catch_up()?;
        drop(note_released(&self.log));
        Ok(())
    }

    /// By rule, the alarms that rest on sensors which have fallen silent.
    pub fn stale_alarms(&self) -> Vec<(String, StaleAlarms)> {
        let status = self.list();
        status.into_iter().map(|status| (status.name, status.progressed.stale)).collect()
    }

    /// Waits, a few seconds at most, until every running rule has taken all inputs up to `at`.
    pub fn settle(&self, at: AppendTime) {
        let clock = self.log.clock();
        let until = clock.monotonic_us() + 5_000_000;
        let behind = || {
            self.list().iter().any(|status| {
                let running =
                    matches!(status.progressed.state, RuleState::Running | RuleState::Degraded);
                running && status.progressed.taken < at
            })
        };
        while behind() && clock.monotonic_us() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends all rules where they are.
    pub fn stop(&self) {
        for rule in self.running.lock().values() {
            if let Ok(task) = &rule.running {
                task.stop();
            }
        }
    }
}

fn columns_of<'a>(outputs: impl Iterator<Item = &'a SchemaRef>) -> BTreeMap<String, DataType> {
    let mut columns: BTreeMap<String, Option<DataType>> = BTreeMap::new();
    for field in outputs.flat_map(|output| output.fields()) {
        let known =
            columns.entry(field.name().clone()).or_insert_with(|| Some(field.data_type().clone()));
        if known.as_ref() != Some(field.data_type()) {
            *known = None;
        }
    }
    columns.into_iter().filter_map(|(name, data_type)| Some((name, data_type?))).collect()
}

impl Rule {
    /// The newest version, where it can be planned.
    fn planned(&self) -> Option<&Planned> {
        self.versions.last()
    }

    fn progressed(&self) -> Progressed {
        match &self.running {
            Ok(task) => task.progressed(),
            Err(reason) => Progressed::at_start(RuleState::Failed(reason.clone())),
        }
    }

    fn status(&self, name: &str, now: AppendTime) -> RuleStatus {
        let progressed = self.progressed();
        let lag_seconds = match progressed.lag_rows {
            0 => 0.0,
            _ => (now.0.saturating_sub(progressed.taken.0.max(0))) as f64 / 1e6,
        };
        RuleStatus {
            name: name.to_owned(),
            version: self.stored.version,
            text: self.stored.text.clone(),
            streams: self.stored.offsets.keys().cloned().collect(),
            progressed,
            lag_seconds,
        }
    }
}

/// First offset of every partition of a stream: where a rule over all of history begins.
pub fn log_starts(stream: &weir_ingest::log::Stream) -> Vec<Offset> {
    stream.partitions().iter().map(|p| p.ends().log_start).collect()
}

#[cfg(test)]
mod tests;
