//! All rules of a server: created, dropped, listed, explained; and what operators say to their alarms.
//!
//! Promise: a statement returns after it is durable; a rule that cannot start is listed with its reason
//! and does not stop the others (P10).

use super::definition::{Planned, RULES, StoredRule, parse_rule, planned, relations};
use super::downtime::note_downtime;
use super::task::{Progressed, RuleState, RuleTask};
use crate::alarms::{AlarmBook, Command, StaleAlarms, command_rows, transition_rows};
use crate::sql::plan::{Key, Shape};
use crate::sql::{Existing, Missing, RuleStatement, SqlError, StartFrom};
use crate::tables::reference::ReferenceTables;
use arrow::array::{
    ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, SchemaRef};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::log::{EntryBody, InternalLog, Log, PartitionReader};
use weir_ingest::model::{AppendTime, EventTime, Offset};

/// The rules over one log.
#[derive(Debug)]
pub struct Rules {
    log: Arc<Log>,
    references: Arc<ReferenceTables>,
    running: Mutex<BTreeMap<String, Arc<Rule>>>,
    /// One change of a rule at a time.
    changing: Mutex<()>,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    alarms: AlarmBook,
    reader: PartitionReader,
}

#[derive(Debug)]
struct Rule {
    stored: StoredRule,
    statement: Option<RuleStatement>,
    planned: Option<Planned>,
    running: Result<RuleTask, String>,
}

/// One rule, as it is now.
#[derive(Debug, Clone)]
pub struct RuleStatus {
    /// Its name.
    pub name: String,
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
        let stored = log.catalog().list(RULES).map_err(refused)?;
        let alarms = log.internal(InternalLog::Alarms);
        let reader = alarms.reader(alarms.ends().log_start);
        let rules = Arc::new(Self {
            book: Mutex::new(Book { alarms: AlarmBook::new(), reader }),
            log,
            references,
            running: Mutex::default(),
            changing: Mutex::default(),
        });
        for (name, value) in stored {
            let stored: StoredRule = serde_json::from_slice(&value).map_err(refused)?;
            let rule = rules.restart(stored);
            if let Err(reason) = &rule.running {
                tracing::error!(rule = %name, %reason, "rule cannot start");
            }
            rules.running.lock().insert(name, Arc::new(rule));
        }
        rules.finish_dropped();
        drop(note_downtime(&rules.log));
        Ok(rules)
    }

    fn restart(&self, stored: StoredRule) -> Rule {
        let relations = relations(&self.log, &self.references);
        let statement = parse_rule(&stored.text);
        let planned = statement.clone().and_then(|statement| planned(statement, &relations));
        let running = match &planned {
            Ok(planned) => self.start(&stored, planned).map_err(|e| e.message),
            Err(error) => Err(error.message.clone()),
        };
        Rule { statement: statement.ok(), planned: planned.ok(), stored, running }
    }

    fn start(&self, stored: &StoredRule, planned: &Planned) -> Result<RuleTask, SqlError> {
        let (runner, feed) = stored.open(&self.log, planned)?;
        RuleTask::start(Arc::clone(&self.log), runner, feed, stored).map_err(refused)
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
            self.forget(&name);
        }
    }

    fn forget(&self, name: &str) {
        if let Err(error) = self.log.catalog().remove(RULES, name) {
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
        if self.running.lock().contains_key(&name) {
            return match statement.existing {
                Existing::Keep => Ok(format!("rule '{name}' was there already")),
                Existing::Refuse => Err(SqlError::new(format!("there is a rule '{name}' already"))
                    .with_hint(format!("DROP RULE {name}, or choose another name"))),
                Existing::Replace => {
                    Err(SqlError::new(format!("not yet: replacing the running rule '{name}'"))
                        .with_hint(format!(
                            "DROP RULE {name} closes its open alarms; then CREATE RULE {name} again"
                        )))
                }
            };
        }
        let planned = planned(statement, &relations(&self.log, &self.references))?;
        let uid = self.log.catalog().next_uid(RULES).map_err(refused)?;
        let stored = StoredRule::starting(&self.log, &planned, uid, StartFrom::Now);
        self.store(&name, &stored)?;
        let task = self.start(&stored, &planned)?;
        let how = describe(&planned);
        let rule = Rule {
            statement: Some(planned.statement.clone()),
            planned: Some(planned),
            stored,
            running: Ok(task),
        };
        self.running.lock().insert(name.clone(), Arc::new(rule));
        Ok(format!("rule '{name}' is running: {how}"))
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
        let Some(rule) = self.running.lock().get(name).cloned() else {
            return match missing {
                Missing::Ignore => Ok(format!("there was no rule '{name}'")),
                Missing::Refuse => Err(self.unknown(name)),
            };
        };
        let at = self.log.append_clock().draw();
        let stored = StoredRule { dropped_at: Some(at), ..rule.stored.clone() };
        self.store(name, &stored)?;
        if let Ok(task) = &rule.running {
            task.finish(at);
        }
        self.forget(name);
        Ok(format!("rule '{name}' is gone; its open alarms are closed"))
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

    /// The rules that read a stream or a table: it cannot be dropped.
    pub fn readers_of(&self, relation: &str) -> Vec<String> {
        let reads = |rule: &Rule| {
            rule.planned.as_ref().is_some_and(|planned| {
                planned.plan.streams.iter().any(|s| s.name() == relation)
                    || planned.plan.tables.iter().any(|t| t == relation)
            }) || rule.stored.offsets.contains_key(relation)
        };
        let running = self.running.lock();
        running.iter().filter(|(_, rule)| reads(rule)).map(|(name, _)| name.clone()).collect()
    }

    /// The columns the rules give out, for WHERE over their events; without those that two rules
    /// give with different types.
    pub fn output_columns(&self) -> BTreeMap<String, DataType> {
        let running = self.running.lock();
        columns_of(running.values().filter_map(|rule| Some(&rule.planned.as_ref()?.plan.output)))
    }

    /// All rules, by name.
    pub fn list(&self) -> Vec<RuleStatus> {
        let now = self.log.append_clock().floor();
        self.running.lock().iter().map(|(name, rule)| rule.status(name, now)).collect()
    }

    /// EXPLAIN RULE: how it is evaluated, and its plan.
    /// # Errors
    /// There is no such rule.
    pub fn explain(&self, name: &str) -> Result<RecordBatch, SqlError> {
        let Some(rule) = self.running.lock().get(name).cloned() else {
            return Err(self.unknown(name));
        };
        let mut lines = vec![("rule", rule.stored.text.clone())];
        if let Some(planned) = &rule.planned {
            lines.push(("evaluated", describe(planned)));
            lines.push(("key", describe_key(planned)));
            lines.push(("plan", planned.plan.explained.clone()));
        }
        if let Err(reason) = &rule.running {
            lines.push(("failed", reason.clone()));
        }
        let columns: [(&str, ArrayRef); 2] = [
            ("what", Arc::new(StringArray::from_iter_values(lines.iter().map(|(w, _)| *w)))),
            ("how", Arc::new(StringArray::from_iter_values(lines.iter().map(|(_, h)| h)))),
        ];
        RecordBatch::try_from_iter(columns).map_err(refused)
    }

    /// By rule, the alarms that rest on sensors which have fallen silent.
    pub fn stale_alarms(&self) -> Vec<(String, StaleAlarms)> {
        let status = self.list();
        status.into_iter().map(|status| (status.name, status.progressed.stale)).collect()
    }

    /// Writes an operator's command down; returns when it is durable and the rules have taken it.
    /// # Errors
    /// The log did not take it.
    pub fn command(&self, command: Command) -> Result<(), SqlError> {
        let at = EventTime(self.log.append_clock().floor().0);
        let batch = command_rows::encode(&[(at, command)]);
        let written = self.log.internal(InternalLog::Commands).append(batch).wait();
        self.settle(written.map_err(refused)?.append_time);
        Ok(())
    }

    /// The occurrence `alarm_id`, for a command about it.
    /// # Errors
    /// There is none.
    pub fn target(&self, alarm_id: &str) -> Result<crate::alarms::Target, SqlError> {
        let mut book = self.book.lock();
        book.catch_up().map_err(refused)?;
        book.alarms.find(alarm_id).and_then(|alarm| alarm.target()).ok_or_else(|| {
            SqlError::new(format!("there is no open alarm '{alarm_id}'"))
                .with_hint("SELECT alarm_id, rule, key FROM alarms lists the open ones")
        })
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

    /// `system.rules`.
    pub fn table(&self) -> RecordBatch {
        let all = self.list();
        let text = |of: &dyn Fn(&RuleStatus) -> Option<String>| -> ArrayRef {
            Arc::new(all.iter().map(of).collect::<StringArray>())
        };
        let count = |of: &dyn Fn(&Progressed) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(all.iter().map(|s| of(&s.progressed))))
        };
        let lag: arrow::array::Float64Array = all.iter().map(|s| Some(s.lag_seconds)).collect();
        let watermark = times(all.iter().map(|s| s.progressed.watermark));
        let reason = |s: &RuleStatus| match &s.progressed.state {
            RuleState::Failed(reason) => Some(reason.clone()),
            _ => None,
        };
        RecordBatch::try_from_iter_with_nullable([
            ("rule", text(&|s| Some(s.name.clone())), true),
            ("status", text(&|s| Some(s.progressed.state.as_str().to_owned())), true),
            ("lag_rows", count(&|p| p.lag_rows), true),
            ("lag_seconds", Arc::new(lag) as ArrayRef, true),
            ("watermark", watermark, true),
            ("outputs", count(&|p| p.outputs), true),
            ("late", count(&|p| p.late), true),
            ("errors", count(&|p| p.errors), true),
            ("streams", text(&|s| Some(s.streams.join(", "))), true),
            ("reason", text(&reason), true),
            ("text", text(&|s| Some(s.text.clone())), true),
        ])
        .expect("columns of one length")
    }

    /// `system.watermarks`.
    pub fn watermarks(&self) -> RecordBatch {
        let mut rows = Vec::new();
        for status in self.list() {
            for (stream, partition, watermark) in status.progressed.watermarks {
                rows.push((status.name.clone(), stream, partition.cast_signed(), watermark));
            }
        }
        let rule: StringArray = rows.iter().map(|(rule, ..)| Some(rule)).collect();
        let stream: StringArray = rows.iter().map(|(_, stream, ..)| Some(stream)).collect();
        let partition: Int32Array =
            rows.iter().map(|(_, _, partition, _)| Some(*partition)).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("rule", Arc::new(rule) as ArrayRef, true),
            ("stream", Arc::new(stream), true),
            ("partition", Arc::new(partition), true),
            ("watermark", times(rows.iter().map(|(.., watermark)| *watermark)), true),
        ])
        .expect("columns of one length")
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

fn times(values: impl Iterator<Item = Option<EventTime>>) -> ArrayRef {
    let times: TimestampMicrosecondArray = values.map(|time| time.map(|t| t.0)).collect();
    Arc::new(times.with_timezone("UTC"))
}

impl Book {
    fn catch_up(&mut self) -> Result<(), String> {
        while let Some(entry) = self.reader.next().map_err(|e| e.to_string())? {
            let EntryBody::Rows(batch) = &entry.body else { continue };
            for transition in transition_rows::decode(batch).map_err(|e| e.to_string())? {
                self.alarms.apply(&transition);
            }
        }
        Ok(())
    }
}

impl Rule {
    fn status(&self, name: &str, now: AppendTime) -> RuleStatus {
        let progressed = match &self.running {
            Ok(task) => task.progressed(),
            Err(reason) => Progressed::at_start(RuleState::Failed(reason.clone())),
        };
        let lag_seconds = match progressed.lag_rows {
            0 => 0.0,
            _ => (now.0.saturating_sub(progressed.taken.0.max(0))) as f64 / 1e6,
        };
        let text = self.statement.as_ref().map_or(&self.stored.text, |s| &s.text).clone();
        let streams = self.stored.offsets.keys().cloned().collect();
        RuleStatus { name: name.to_owned(), text, streams, progressed, lag_seconds }
    }
}

fn describe(planned: &Planned) -> String {
    let waits = planned.statement.raise.as_ref().is_some_and(|raise| {
        let clear = planned.statement.clear.as_ref().map_or(Duration::ZERO, |c| c.hold);
        raise.hold > Duration::ZERO || clear > Duration::ZERO
    });
    match &planned.plan.shape {
        Shape::Windowed(aggregation) => format!(
            "once a window of {} is closed in every partition",
            seconds(aggregation.window.size_us)
        ),
        Shape::PerReading if waits => {
            "per reading, in event-time order behind the watermark (it has FOR)".to_owned()
        }
        Shape::PerReading => "per reading, on arrival".to_owned(),
    }
}

fn seconds(us: i64) -> String {
    format!("{} s", us as f64 / 1e6)
}

fn describe_key(planned: &Planned) -> String {
    match &planned.plan.key {
        Key::Topic => "topic".to_owned(),
        Key::Columns(columns) => {
            columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        }
    }
}

/// First offset of every partition of a stream: where a rule over all of history begins.
pub fn log_starts(stream: &weir_ingest::log::Stream) -> Vec<Offset> {
    stream.partitions().iter().map(|p| p.ends().log_start).collect()
}

#[cfg(test)]
mod tests;
