//! One running rule: a thread around its follower.
//!
//! Promise: outputs are durable before the next input is taken. Elsewhere: what is taken and what is
//! written is the follower's; this only waits, for commits and for wishes.

mod keeper;

pub use keeper::{CheckpointPolicy, Keeper};

use super::follower::{Counts, Followed, Follower, Write};
use super::holds::RuleHold;
use super::marks::Mark;
use super::versions::Version;
use crate::alarms::{RuleAlarms, StaleAlarms};
use crate::stream::watermark::NEVER;
use futures::FutureExt;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use weir_ingest::io::Clock;
use weir_ingest::log::{AppendError, CatalogError, Log, Receipt};
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
    /// The version at work; 0 when none is.
    pub version: u32,
    /// Nothing at or before this append time is still to be taken.
    pub taken: AppendTime,
    /// Rows still to be taken.
    pub lag_rows: u64,
    /// The rule's watermark, when it has one.
    pub watermark: Option<EventTime>,
    /// Watermark of each (stream, partition).
    pub watermarks: Vec<(String, u32, Option<EventTime>)>,
    /// What last moved each of them.
    pub marks: Vec<Mark>,
    /// Readings that came too late.
    pub late: u64,
    /// Rows an expression failed on.
    pub errors: u64,
    /// Transitions and rows given out.
    pub outputs: u64,
    /// Alarms that rest on sensors which have fallen silent.
    pub stale: StaleAlarms,
}

impl Progressed {
    /// Nothing taken yet.
    pub fn at_start(state: RuleState) -> Self {
        Self {
            state,
            version: 0,
            taken: AppendTime(i64::MIN),
            lag_rows: 0,
            watermark: None,
            watermarks: Vec::new(),
            marks: Vec::new(),
            late: 0,
            errors: 0,
            outputs: 0,
            stale: StaleAlarms::default(),
        }
    }
}

/// What the owner of the task asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Run,
    Hold,
    FinishAt(AppendTime),
    Stop,
}

/// A running rule.
#[derive(Debug)]
pub struct RuleTask {
    wish: watch::Sender<Wish>,
    shared: Arc<Shared>,
    progressed: Arc<Mutex<Progressed>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What a task and its thread say to each other beside wishes.
#[derive(Debug, Default)]
struct Shared {
    /// The thread takes nothing.
    held: AtomicBool,
    /// Versions that the follower does not know yet.
    replacements: Mutex<Vec<Version>>,
}

/// How long a rule may take to come to rest.
const HOLD_WITHIN_US: u64 = 5_000_000;

/// A rule that takes no input as long as this lives.
#[derive(Debug)]
pub struct Held<'t>(&'t RuleTask);

impl Held<'_> {
    /// Goes on, with a version that replaces the newest so far.
    pub fn replace_by(self, version: Version) {
        self.0.shared.replacements.lock().push(version);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.wish.send_if_modified(|wish| {
            let held = *wish == Wish::Hold;
            if held {
                *wish = Wish::Run;
            }
            held
        });
    }
}

impl RuleTask {
    /// Starts the thread. A rule that was being dropped when the process ended finishes first.
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        log: Arc<Log>,
        follower: Follower,
        dropped_at: Option<AppendTime>,
        policy: CheckpointPolicy,
        hold: Arc<RuleHold>,
    ) -> std::io::Result<Self> {
        let wish = dropped_at.map_or(Wish::Run, Wish::FinishAt);
        let (wish, wished) = watch::channel(wish);
        let totals = follower.totals();
        let progressed = Arc::new(Mutex::new(Progressed {
            outputs: totals.outputs,
            late: totals.late,
            errors: totals.errors,
            ..Progressed::at_start(RuleState::Starting)
        }));
        let shared = Arc::new(Shared::default());
        let name = format!("rule-{}", follower.runner().identity().name);
        let worker = Worker {
            shown: 0,
            changes: log.changes(),
            keeper: Keeper::new(policy, Arc::clone(&log)).holding(Arc::clone(&hold)),
            released: hold.released(),
            hold,
            log,
            follower,
            wished,
            shared: Arc::clone(&shared),
            progressed: Arc::clone(&progressed),
        };
        let thread = std::thread::Builder::new().name(name).spawn(move || worker.run())?;
        Ok(Self { wish, shared, progressed, thread: Mutex::new(Some(thread)) })
    }

    /// What can be seen of it.
    pub fn progressed(&self) -> Progressed {
        self.progressed.lock().clone()
    }

    /// Waits until it takes nothing: a place drawn now is behind everything it took.
    /// # Errors
    /// It has ended, or does not come to rest.
    pub fn hold(&self, clock: &dyn Clock) -> Result<Held<'_>, String> {
        self.wish.send_replace(Wish::Hold);
        let held = Held(self);
        let until = clock.monotonic_us() + HOLD_WITHIN_US;
        while !self.shared.held.load(Ordering::SeqCst) {
            match self.progressed.lock().state.clone() {
                RuleState::Failed(reason) => return Err(reason),
                RuleState::Stopped => return Err("it has ended".to_owned()),
                RuleState::Starting | RuleState::Running | RuleState::Degraded => {}
            }
            if clock.monotonic_us() > until {
                return Err("it is busy; say it again in a moment".to_owned());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(held)
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

/// Inputs after which a rule that is behind shows how far it has come.
const SHOW_EVERY: u32 = 64;

/// How a task ends that does not fail.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Stopped,
    Dropped,
}

struct Worker {
    shown: u32,
    log: Arc<Log>,
    follower: Follower,
    keeper: Keeper,
    hold: Arc<RuleHold>,
    released: watch::Receiver<bool>,
    wished: watch::Receiver<Wish>,
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    progressed: Arc<Mutex<Progressed>>,
}

impl Worker {
    fn run(mut self) {
        let ended = self.follow();
        if ended == Ok(End::Stopped) {
            self.keeper.end(|| self.follower.snapshot(&self.log));
        }
        let mut progressed = self.progressed.lock();
        match ended {
            Ok(_) => progressed.state = RuleState::Stopped,
            Err(reason) => {
                let rule = &self.follower.runner().identity().name;
                tracing::error!(%rule, %reason, "rule failed");
                progressed.state = RuleState::Failed(reason);
            }
        }
    }

    fn follow(&mut self) -> Result<End, String> {
        self.follower.read_written(&self.log)?;
        loop {
            if *self.released.borrow_and_update() {
                return Err(self.hold.why_released(&self.follower.runner().identity().name));
            }
            let wish = *self.wished.borrow_and_update();
            self.changes.borrow_and_update();
            let finish_at = match wish {
                Wish::Run => None,
                Wish::Hold => {
                    self.rest();
                    continue;
                }
                Wish::FinishAt(at) => Some(at),
                Wish::Stop => return Ok(End::Stopped),
            };
            for version in self.shared.replacements.lock().drain(..) {
                self.follower.replace_by(version);
            }
            match self.follower.follow(finish_at)? {
                Followed::Taken { appended, bytes, counts, writes } => {
                    self.note(counts);
                    self.append_all(writes)?;
                    self.progressed.lock().taken = appended;
                    self.keeper.took(bytes);
                    self.keeper.keep_if_due(|| self.follower.snapshot(&self.log));
                    self.show_progress();
                }
                Followed::Waiting { safe } => {
                    self.publish(safe);
                    self.keeper.keep_if_due(|| self.follower.snapshot(&self.log));
                    self.wait();
                }
                Followed::Finished { counts, writes } => {
                    self.note(counts);
                    self.append_all(writes)?;
                    return Ok(End::Dropped);
                }
            }
        }
    }

    /// Shows how far a rule has come that is far behind.
    fn show_progress(&mut self) {
        self.shown += 1;
        if self.shown >= SHOW_EVERY {
            self.shown = 0;
            let lag_rows = self.follower.lag_rows();
            self.progressed.lock().lag_rows = lag_rows;
        }
    }

    // Woken by a wish alone.
    fn rest(&mut self) {
        self.shared.held.store(true, Ordering::SeqCst);
        drop(futures::executor::block_on(self.wished.changed()));
        self.shared.held.store(false, Ordering::SeqCst);
    }

    // Woken by a commit, a wish, or when what it would need is not kept any more.
    fn wait(&mut self) {
        let changed = self.changes.changed().fuse();
        let wished = self.wished.changed().fuse();
        let released = self.released.changed().fuse();
        let (mut changed, mut wished) = (Box::pin(changed), Box::pin(wished));
        let mut released = Box::pin(released);
        futures::executor::block_on(async {
            futures::select! {
                ended = changed => drop(ended),
                ended = wished => drop(ended),
                ended = released => drop(ended),
            }
        });
    }

    fn note(&self, counts: Counts) {
        let mut progressed = self.progressed.lock();
        progressed.outputs += counts.outputs;
        progressed.late += counts.late;
        progressed.errors += counts.errors;
        if counts.errors > 0 {
            progressed.state = RuleState::Degraded;
        }
    }

    fn publish(&self, safe: AppendTime) {
        let runner = self.follower.runner();
        let progress = runner.progress();
        let known = |time: i64| (time > NEVER).then_some(EventTime(time));
        let mut progressed = self.progressed.lock();
        progressed.version = runner.identity().version;
        progressed.taken = safe;
        progressed.lag_rows = self.follower.lag_rows();
        progressed.watermark = known(progress.rule_watermark());
        let read = || (0..progress.lanes()).filter(|lane| !progress.is_aside(*lane));
        progressed.watermarks = read()
            .map(|lane| {
                let (stream, partition) = progress.partition_of(lane);
                let name = runner.plan().streams[stream].name().to_owned();
                (name, partition.0, known(progress.watermark(lane)))
            })
            .collect();
        let marks = self.follower.marks().all();
        progressed.marks = read().map(|lane| marks[lane]).collect();
        progressed.stale = runner.alarms().map(RuleAlarms::stale_alarms).unwrap_or_default();
        if progressed.state == RuleState::Starting {
            progressed.state = RuleState::Running;
        }
    }

    fn append_all(&self, writes: Vec<Write>) -> Result<(), String> {
        let begun: Vec<(Write, Receipt)> = writes
            .into_iter()
            .map(|write| {
                let receipt = write.begin(&self.log);
                (write, receipt)
            })
            .collect();
        begun.into_iter().try_for_each(|(write, receipt)| self.append(&write, receipt))
    }

    /// Waits until it is durable; on a full disk, until there is room.
    fn append(&self, write: &Write, mut receipt: Receipt) -> Result<(), String> {
        loop {
            match receipt.wait() {
                Ok(_) => return Ok(()),
                // What is not written now comes again when the rule is rebuilt.
                Err(error) if is_full(&error) && *self.wished.borrow() == Wish::Stop => {
                    return Ok(());
                }
                Err(error) if is_full(&error) => {
                    std::thread::sleep(self.log.clock().real(Duration::from_millis(200)));
                    receipt = write.begin(&self.log);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// Whether nothing was stored for want of room, in the log or in the catalog.
fn is_full(error: &AppendError) -> bool {
    matches!(error, AppendError::Full { .. } | AppendError::Catalog(CatalogError::Full))
}
