//! One running rule: a thread that feeds its runner and writes its outputs down.
//!
//! Promise: outputs are durable before the next input is taken, and an output that the internal logs
//! already hold is not written again: it is compared by id, and a difference stops the rule (P6).

use super::definition::StoredRule;
use super::feed::{Feed, Next};
use super::outputs::{Outputs, encode_errors, encode_late, ordinals_written};
use super::runner::Runner;
use crate::alarms::{RuleIdentity, StaleAlarms, Transition, TransitionKind, transition_rows};
use arrow::array::RecordBatch;
use futures::FutureExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use weir_ingest::log::{AppendError, EntryBody, InternalLog, Log};
use weir_ingest::model::{AppendTime, EventTime};

/// How a rule is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleState {
    /// Rebuilding its state from the log.
    Starting,
    /// Following the log.
    Running,
    /// Following the log; an expression failed on some rows (`rule_errors`).
    Degraded,
    /// Stopped, with the reason.
    Failed(String),
    /// Dropped or shut down.
    Stopped,
}

impl RuleState {
    /// The word that tables show.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Failed(_) => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// What can be seen of a running rule.
#[derive(Debug, Clone)]
pub struct Progressed {
    /// How it is.
    pub state: RuleState,
    /// Nothing at or before this append time is still to be taken.
    pub taken: AppendTime,
    /// Rows still to be taken.
    pub lag_rows: u64,
    /// The rule's watermark, when it has one.
    pub watermark: Option<EventTime>,
    /// Watermark of each (stream, partition).
    pub watermarks: Vec<(String, u32, Option<EventTime>)>,
    /// Readings that came too late.
    pub late: u64,
    /// Rows an expression failed on.
    pub errors: u64,
    /// Transitions and rows given out.
    pub outputs: u64,
    /// Alarms that rest on sensors which have fallen silent.
    pub stale: StaleAlarms,
}

/// What the owner of the task asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Run,
    FinishAt(AppendTime),
    Stop,
}

/// A running rule.
#[derive(Debug)]
pub struct RuleTask {
    wish: watch::Sender<Wish>,
    progressed: Arc<Mutex<Progressed>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl RuleTask {
    /// Starts the thread. A rule that was being dropped when the process ended finishes first.
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        log: Arc<Log>,
        runner: Runner,
        feed: Feed,
        stored: &StoredRule,
    ) -> std::io::Result<Self> {
        let wish = stored.dropped_at.map_or(Wish::Run, Wish::FinishAt);
        let (wish, wished) = watch::channel(wish);
        let progressed = Arc::new(Mutex::new(Progressed {
            state: RuleState::Starting,
            taken: AppendTime(i64::MIN),
            lag_rows: 0,
            watermark: None,
            watermarks: Vec::new(),
            late: 0,
            errors: 0,
            outputs: 0,
            stale: StaleAlarms::default(),
        }));
        let name = format!("rule-{}", runner.identity().name);
        let worker = Worker {
            changes: log.changes(),
            log,
            runner,
            feed,
            wished,
            progressed: Arc::clone(&progressed),
            written: Written::default(),
        };
        let thread = std::thread::Builder::new().name(name).spawn(move || worker.run())?;
        Ok(Self { wish, progressed, thread: Mutex::new(Some(thread)) })
    }

    /// What can be seen of it.
    pub fn progressed(&self) -> Progressed {
        self.progressed.lock().clone()
    }

    /// Takes all inputs up to `at`, closes its open alarms and ends; waits for that.
    pub fn finish(&self, at: AppendTime) {
        self.wish.send_replace(Wish::FinishAt(at));
        self.join();
    }

    /// Ends where it is; waits for that.
    pub fn stop(&self) {
        self.wish.send_replace(Wish::Stop);
        self.join();
    }

    fn join(&self) {
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("a rule's thread ended with a panic");
        }
    }
}

/// What the internal logs already hold of this rule.
#[derive(Debug, Default)]
struct Written {
    ids: HashMap<u64, String>,
    late: u64,
    errors: u64,
}

impl Written {
    fn read(log: &Log, rule: &RuleIdentity) -> Result<Self, String> {
        let mut written = Self::default();
        for which in [InternalLog::Alarms, InternalLog::Rows] {
            each_batch(log, which, |batch| {
                let transitions = transition_rows::decode(batch).map_err(|e| e.to_string())?;
                let own = transitions
                    .into_iter()
                    .filter(|t| t.rule_uid == rule.uid && t.rule_version == rule.version);
                written.ids.extend(own.map(|t| (t.ordinal, t.id)));
                Ok(())
            })?;
        }
        each_batch(log, InternalLog::Late, |batch| {
            written.late = written.late.max(ordinals_written(rule, batch));
            Ok(())
        })?;
        each_batch(log, InternalLog::RuleErrors, |batch| {
            written.errors = written.errors.max(ordinals_written(rule, batch));
            Ok(())
        })?;
        Ok(written)
    }

    /// Leaves out what is written already.
    fn suppress(&mut self, outputs: &mut Outputs) -> Result<(), String> {
        let mut different = None;
        outputs.transitions.retain(|t| match self.ids.remove(&t.ordinal) {
            None => true,
            Some(id) => {
                if id != t.id {
                    different.get_or_insert(t.ordinal);
                }
                false
            }
        });
        outputs.late.retain(|l| l.ordinal >= self.late);
        outputs.errors.retain(|e| e.ordinal >= self.errors);
        match different {
            None => Ok(()),
            Some(ordinal) => Err(format!(
                "nondeterministic: output {ordinal} differs from the one that was written before the \
                 restart; DROP RULE and create it again"
            )),
        }
    }
}

fn each_batch(
    log: &Log,
    which: InternalLog,
    mut take: impl FnMut(&RecordBatch) -> Result<(), String>,
) -> Result<(), String> {
    let partition = log.internal(which);
    let mut reader = partition.reader(partition.ends().log_start);
    while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
        if let EntryBody::Rows(batch) = &entry.body {
            take(batch)?;
        }
    }
    Ok(())
}

struct Worker {
    log: Arc<Log>,
    runner: Runner,
    feed: Feed,
    wished: watch::Receiver<Wish>,
    changes: watch::Receiver<u64>,
    progressed: Arc<Mutex<Progressed>>,
    written: Written,
}

impl Worker {
    fn run(mut self) {
        let ended = self.follow();
        let mut progressed = self.progressed.lock();
        match ended {
            Ok(()) => progressed.state = RuleState::Stopped,
            Err(reason) => {
                let rule = &self.runner.identity().name;
                tracing::error!(%rule, %reason, "rule failed");
                progressed.state = RuleState::Failed(reason);
            }
        }
    }

    fn follow(&mut self) -> Result<(), String> {
        self.written = Written::read(&self.log, self.runner.identity())?;
        loop {
            let wish = *self.wished.borrow_and_update();
            self.changes.borrow_and_update();
            if wish == Wish::Stop {
                return Ok(());
            }
            match self.feed.next_input().map_err(|e| e.to_string())? {
                Next::Input(input) => {
                    if let Wish::FinishAt(at) = wish
                        && input.appended() > at
                    {
                        return self.drop_rule(at);
                    }
                    let outputs = self.runner.step(&input).map_err(|e| e.to_string())?;
                    self.write(outputs)?;
                    self.progressed.lock().taken = input.appended();
                }
                Next::Wait => {
                    let safe = self.feed.safe_time();
                    self.publish(safe);
                    if let Wish::FinishAt(at) = wish
                        && safe >= at
                    {
                        return self.drop_rule(at);
                    }
                    self.wait();
                }
            }
        }
    }

    fn drop_rule(&mut self, at: AppendTime) -> Result<(), String> {
        let event_time = EventTime(self.runner.progress().rule_watermark().max(0));
        let transitions = self.runner.drop_rule(event_time, at);
        self.write(Outputs { transitions, ..Outputs::default() })
    }

    // Woken by a commit or a wish; a partition that was in flight without a commit to follow (its
    // group was refused) is looked at again after a moment.
    fn wait(&mut self) {
        let changed = self.changes.changed().fuse();
        let wished = self.wished.changed().fuse();
        let (mut changed, mut wished) = (Box::pin(changed), Box::pin(wished));
        futures::executor::block_on(async {
            futures::select! {
                ended = changed => drop(ended),
                ended = wished => drop(ended),
            }
        });
    }

    fn publish(&self, safe: AppendTime) {
        let progress = self.runner.progress();
        let known = |time: i64| (time > crate::stream::watermark::NEVER).then_some(EventTime(time));
        let mut progressed = self.progressed.lock();
        progressed.taken = safe;
        progressed.lag_rows = self.feed.lag_rows();
        progressed.watermark = known(progress.rule_watermark());
        progressed.watermarks = (0..progress.lanes())
            .map(|lane| {
                let (stream, partition) = progress.partition_of(lane);
                let name = self.runner.plan().streams[stream].name().to_owned();
                (name, partition.0, known(progress.watermark(lane)))
            })
            .collect();
        progressed.stale = self.runner.alarms().map(|a| a.stale_alarms()).unwrap_or_default();
        if progressed.state == RuleState::Starting {
            progressed.state = RuleState::Running;
        }
    }

    fn write(&mut self, mut outputs: Outputs) -> Result<(), String> {
        if outputs.is_empty() {
            return Ok(());
        }
        {
            let mut progressed = self.progressed.lock();
            progressed.outputs += outputs.transitions.len() as u64;
            progressed.late += outputs.late.len() as u64;
            progressed.errors += outputs.errors.len() as u64;
            if !outputs.errors.is_empty() {
                progressed.state = RuleState::Degraded;
            }
        }
        self.written.suppress(&mut outputs)?;
        let (rows, alarms): (Vec<Transition>, Vec<Transition>) =
            outputs.transitions.into_iter().partition(|t| t.kind == TransitionKind::Row);
        let rule = self.runner.identity().clone();
        if !alarms.is_empty() {
            self.append(InternalLog::Alarms, transition_rows::encode(&alarms))?;
        }
        if !rows.is_empty() {
            self.append(InternalLog::Rows, transition_rows::encode(&rows))?;
        }
        if !outputs.late.is_empty() {
            self.append(InternalLog::Late, encode_late(&rule, &outputs.late))?;
        }
        if !outputs.errors.is_empty() {
            self.append(InternalLog::RuleErrors, encode_errors(&rule, &outputs.errors))?;
        }
        Ok(())
    }

    /// Waits until the batch is durable; on a full disk, until there is room.
    fn append(&self, which: InternalLog, batch: RecordBatch) -> Result<(), String> {
        loop {
            match self.log.internal(which).append(batch.clone()).wait() {
                Ok(_) => return Ok(()),
                Err(AppendError::Full { .. }) => {
                    if *self.wished.borrow() == Wish::Stop {
                        return Ok(());
                    }
                    std::thread::sleep(self.log.clock().real(Duration::from_millis(200)));
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
