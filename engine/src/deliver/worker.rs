//! The task of one subscription: reads the log, sends what the queue says, commits the cursor.
//!
//! Promise (A3): a slow or dead endpoint holds up nobody but its own subscription; after a restart
//! everything not known to be finished is sent again under the same id.
//! Elsewhere: every decision is `queue`'s; this file only waits, sends and writes down.

use super::event::Outgoing;
use super::filter::Filter;
use super::handshake::Grant;
use super::ladder::Outcome;
use super::manager::{DeliverConfig, SubscriptionState};
use super::queue::{Burial, Offer, Place, Queue, Settled, Source, Step};
use super::records::{Delivery, dead_letter_row, delivery_row};
use super::sender::Sender;
use super::subscription::{CURSORS, Cursor, SUBSCRIPTIONS, Subscription};
use super::tail::{Found, Read, Tail};
use crate::alarms::Transition;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use weir_ingest::io::Clock;
use weir_ingest::log::{CatalogError, Hold, InternalLog, Log};
use weir_ingest::model::Offset;

/// How long to wait before the log or the catalog is tried again.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);
/// How long a cursor that only passed unwanted events may stay uncommitted.
const PASSED_COMMIT_EVERY: Duration = Duration::from_secs(1);

/// What a worker shows of itself.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) state: SubscriptionState,
    pub(super) alarms: Offset,
    pub(super) rows: Offset,
    pub(super) waiting: usize,
    pub(super) in_flight: usize,
    pub(super) last_outcome: Option<String>,
}

/// What a worker is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Send it again, whatever became of it.
    Again(Box<Transition>),
}

/// The worker's own end of what connects it with the manager.
#[derive(Debug)]
pub(super) struct Wires {
    pub(super) shown: Arc<Mutex<Shown>>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Something that was under way and has come to an end.
enum Done {
    Sent { place: Place, attempt: u32, event: Arc<Outgoing>, outcome: Outcome, latency: Duration },
    Buried(Place),
    Committed { cursor: Cursor, result: Result<(), CatalogError> },
}

/// See the module.
pub(super) struct Worker {
    log: Arc<Log>,
    config: DeliverConfig,
    subscription: Subscription,
    sender: Arc<Sender>,
    time: Time,
    queue: Queue<Arc<Outgoing>>,
    filter: Filter,
    tails: [Tail; 2],
    again: u64,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    committed: Cursor,
    commit: Commit,
    /// What is not delivered yet is kept.
    hold: Hold,
    /// Not before this time are the logs read: something went wrong with one.
    read_not_before_us: i64,
    wires: Wires,
}

/// When the cursor is next written.
#[derive(Debug, Default)]
struct Commit {
    under_way: bool,
    not_before_us: i64,
    /// Something was delivered since the last one.
    urgent: bool,
}

impl Worker {
    pub(super) fn new(
        log: Arc<Log>,
        config: DeliverConfig,
        subscription: Subscription,
        cursor: Cursor,
        sender: Arc<Sender>,
        wires: Wires,
    ) -> Self {
        let name = &subscription.statement.name;
        let hold = log.hold(&format!("subscription {name}"), config.hold_bytes_max);
        log.internal(InternalLog::Alarms).hold(&hold, cursor.alarms.cursor());
        log.internal(InternalLog::Rows).hold(&hold, cursor.rows.cursor());
        let tails = [
            Tail::new(&log, Source::Alarms, InternalLog::Alarms, cursor.alarms.clone()),
            Tail::new(&log, Source::Rows, InternalLog::Rows, cursor.rows.clone()),
        ];
        let mut queue = Queue::new(subscription.ladder(), config.bounds);
        queue.pass(Source::Alarms, cursor.alarms.cursor());
        queue.pass(Source::Rows, cursor.rows.cursor());
        Self {
            time: Time::new(Arc::clone(log.clock())),
            filter: subscription.filter(),
            log,
            config,
            subscription,
            sender,
            queue,
            tails,
            again: 0,
            under_way: FuturesUnordered::new(),
            committed: cursor,
            commit: Commit::default(),
            hold,
            read_not_before_us: i64::MIN,
            wires,
        }
    }

    /// Runs until told to stop.
    pub(super) async fn run(mut self) {
        let mut changes = self.log.changes();
        if !self.await_grant().await {
            return;
        }
        loop {
            let now_us = self.time.now_us();
            self.read_ahead(now_us);
            self.dispatch(now_us);
            self.commit_when_due(now_us);
            self.show();
            let pause = self.pause(self.time.now_us());
            tokio::select! {
                biased;
                _ = self.wires.stop.changed() => break,
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.done(done);
                }
                Some(command) = self.wires.commands.recv() => self.obey(command),
                changed = changes.changed() => if changed.is_err() { break },
                () = self.time.sleep(pause) => {}
            }
        }
        self.finish().await;
    }

    /// Asks the endpoint until it wants our events. False: stopped meanwhile.
    async fn await_grant(&mut self) -> bool {
        let ladder = self.subscription.ladder();
        let mut failures = 0;
        while !self.subscription.is_granted() {
            let timeout = self.subscription.statement.options.timeout;
            let asked = tokio::select! {
                biased;
                _ = self.wires.stop.changed() => return false,
                asked = self.sender.ask(self.subscription.url(), timeout) => asked,
            };
            match asked {
                Ok(grant) => self.granted(grant).await,
                Err(error) => {
                    failures += 1;
                    self.wires.shown.lock().last_outcome = Some(error.to_string());
                    tokio::select! {
                        biased;
                        _ = self.wires.stop.changed() => return false,
                        () = self.time.sleep(ladder.delay(failures, 0)) => {}
                    }
                }
            }
        }
        let grant = self.subscription.stored.grant.unwrap_or_default();
        self.queue.set_rate(grant.rate_per_minute);
        true
    }

    async fn granted(&mut self, grant: Grant) {
        self.subscription.stored.grant = Some(grant);
        let name = self.subscription.statement.name.clone();
        info!(subscription = %name, "granted");
        self.wires.shown.lock().last_outcome = Some("handshake granted".to_owned());
        let (log, bytes) = (Arc::clone(&self.log), self.subscription.to_bytes());
        let put = move || log.catalog().put(SUBSCRIPTIONS, &name, &bytes);
        // If it is not kept, the endpoint is asked once more after the next start.
        match tokio::task::spawn_blocking(put).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the grant was not kept"),
            Err(error) => warn!(%error, "the grant was not kept"),
        }
    }

    fn read_ahead(&mut self, now_us: i64) {
        if now_us < self.read_not_before_us {
            return;
        }
        for index in 0..self.tails.len() {
            while self.queue.has_room() {
                match self.tails[index].next() {
                    Ok(Some(Read::Found(found))) => {
                        self.consider(self.tails[index].source(), *found, now_us);
                    }
                    Ok(Some(Read::Removed { from, to })) => self.missed(from, to),
                    Ok(None) => break,
                    Err(error) => {
                        warn!(subscription = %self.subscription.statement.name, %error, "cannot read");
                        self.read_not_before_us = self.time.after(now_us, TROUBLE_PAUSE);
                        return;
                    }
                }
            }
            let tail = &self.tails[index];
            self.queue.pass(tail.source(), tail.read_to());
        }
    }

    /// It was so far behind that its hold was taken away; it goes on with what is left.
    fn missed(&self, from: Offset, to: Offset) {
        let name = &self.subscription.statement.name;
        warn!(subscription = %name, %from, %to, "removed by retention before they were read");
        self.wires.shown.lock().last_outcome = Some(format!(
            "rows {from} to {to} were removed by retention before they were delivered"
        ));
    }

    fn consider(&mut self, source: Source, found: Found, now_us: i64) {
        let Found { offset, logged_us, attempts, transition } = found;
        match self.filter.wants(&transition) {
            Ok(true) => {
                let event = Outgoing::new(&transition, self.subscription.statement.options.mode);
                let place = Place { source, offset };
                let (key, bytes) = (Arc::clone(&event.key), event.bytes());
                let event = Arc::new(event);
                self.queue.offer(Offer { place, key, logged_us, bytes, attempts, event });
            }
            Ok(false) => self.queue.pass(source, offset.plus(1)),
            Err(error) => {
                self.record(&Delivery {
                    time_us: now_us,
                    subscription: &self.subscription.statement.name,
                    event_id: &transition.id,
                    alarm_id: transition.alarm_id.as_deref(),
                    attempt: 0,
                    outcome: "where_failed",
                    status: None,
                    error: Some(error.to_string()),
                    latency: None,
                    next_attempt_us: None,
                });
                self.queue.pass(source, offset.plus(1));
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let Command::Again(transition) = command;
        let event = Outgoing::new(&transition, self.subscription.statement.options.mode);
        let place = Place { source: Source::Again, offset: Offset(self.again) };
        self.again += 1;
        self.queue.offer(Offer {
            place,
            key: format!("again {}", event.id).into(),
            logged_us: self.time.now_us(),
            bytes: event.bytes(),
            attempts: 0,
            event: Arc::new(event),
        });
    }

    fn dispatch(&mut self, now_us: i64) {
        for step in self.queue.next(now_us) {
            match step {
                Step::Send { place, attempt, event } => self.send(place, attempt, event),
                Step::Bury(burial) => self.bury(burial, now_us),
            }
        }
    }

    fn send(&self, place: Place, attempt: u32, event: Arc<Outgoing>) {
        let sender = Arc::clone(&self.sender);
        let url = self.subscription.url().to_owned();
        let secret = self.subscription.stored.secret.clone();
        let timeout = self.subscription.statement.options.timeout;
        let time = self.time.clone();
        self.under_way.push(Box::pin(async move {
            let began_us = time.now_us();
            let outcome = sender.send(&url, &secret, &event, attempt, timeout).await;
            let took_us = time.now_us().saturating_sub(began_us);
            let latency = Duration::from_micros(u64::try_from(took_us).unwrap_or(0));
            Done::Sent { place, attempt, event, outcome, latency }
        }));
    }

    /// The cursor may pass an event only when its dead letter is durable (P8).
    fn bury(&self, burial: Burial<Arc<Outgoing>>, now_us: i64) {
        let name = self.subscription.statement.name.clone();
        self.record(&Delivery {
            time_us: now_us,
            subscription: &name,
            event_id: &burial.event.id,
            alarm_id: burial.event.alarm_id.as_deref(),
            attempt: burial.attempts,
            outcome: "dead_letter",
            status: burial.last.as_ref().and_then(Outcome::status),
            error: Some(burial.reason.as_str().to_owned()),
            latency: None,
            next_attempt_us: None,
        });
        warn!(subscription = %name, event = %burial.event.id, reason = burial.reason.as_str(), "given up");
        let (log, time) = (Arc::clone(&self.log), self.time.clone());
        self.under_way.push(Box::pin(async move {
            let dead_letters = log.internal(InternalLog::DeadLetters);
            loop {
                let row = dead_letter_row(&name, &burial, time.now_us());
                match dead_letters.append(row).await {
                    Ok(_) => return Done::Buried(burial.place),
                    Err(error) => warn!(subscription = %name, %error, "a dead letter waits"),
                }
                time.sleep(TROUBLE_PAUSE).await;
            }
        }));
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Sent { place, attempt, event, outcome, latency } => {
                self.settle(place, attempt, &event, outcome, latency);
            }
            Done::Buried(place) => {
                self.queue.buried(place);
                self.commit.urgent = true;
            }
            Done::Committed { cursor, result } => {
                self.commit.under_way = false;
                match result {
                    Ok(()) => self.let_go_before(cursor),
                    Err(error) => {
                        warn!(subscription = %self.subscription.statement.name, %error, "cursor not kept");
                        self.commit.urgent = true;
                        let now_us = self.time.now_us();
                        self.commit.not_before_us = self.time.after(now_us, TROUBLE_PAUSE);
                    }
                }
            }
        }
    }

    /// What comes before a cursor that is kept is not needed any more.
    fn let_go_before(&mut self, cursor: Cursor) {
        let keep = |which, from| self.hold.keep(self.log.internal(which).uid(), from);
        keep(InternalLog::Alarms, cursor.alarms.cursor());
        keep(InternalLog::Rows, cursor.rows.cursor());
        self.committed = cursor;
    }

    fn settle(
        &mut self,
        place: Place,
        attempt: u32,
        event: &Arc<Outgoing>,
        outcome: Outcome,
        latency: Duration,
    ) {
        let now_us = self.time.now_us();
        self.wires.shown.lock().last_outcome = Some(outcome.describe());
        let (status, error) = (outcome.status(), outcome.error());
        let settled = self.queue.outcome(place, outcome, now_us);
        let (word, next_attempt_us) = match &settled {
            Settled::Delivered => ("delivered", None),
            Settled::Retry { at_us } => ("retry", Some(*at_us)),
            Settled::Bury(_) => ("refused", None),
        };
        self.record(&Delivery {
            time_us: now_us,
            subscription: &self.subscription.statement.name,
            event_id: &event.id,
            alarm_id: event.alarm_id.as_deref(),
            attempt,
            outcome: word,
            status,
            error,
            latency: Some(latency),
            next_attempt_us,
        });
        match settled {
            Settled::Delivered => self.commit.urgent = true,
            Settled::Retry { .. } => {}
            Settled::Bury(burial) => self.bury(burial, now_us),
        }
    }

    /// Nobody waits for these rows: they are a record, not a promise.
    fn record(&self, delivery: &Delivery<'_>) {
        drop(self.log.internal(InternalLog::Deliveries).append(delivery_row(delivery)));
    }

    fn cursor(&self) -> Cursor {
        Cursor {
            alarms: self.queue.progress(Source::Alarms),
            rows: self.queue.progress(Source::Rows),
        }
    }

    fn commit_when_due(&mut self, now_us: i64) {
        if self.commit.under_way || now_us < self.commit_due_us() {
            return;
        }
        let cursor = self.cursor();
        self.commit.urgent = false;
        let pause = self.config.cursor_commit_every;
        self.commit.not_before_us = self.time.after(now_us, pause);
        if cursor == self.committed {
            return;
        }
        self.commit.under_way = true;
        let put = put_cursor(Arc::clone(&self.log), &self.subscription, &cursor);
        self.under_way.push(Box::pin(async move {
            let result = put.await;
            Done::Committed { cursor, result }
        }));
    }

    /// Soon after something was delivered, else now and then.
    fn commit_due_us(&self) -> i64 {
        match self.commit.urgent {
            true => self.commit.not_before_us,
            false => self.time.after(self.commit.not_before_us, PASSED_COMMIT_EVERY),
        }
    }

    fn pause(&self, now_us: i64) -> Duration {
        let commit = (!self.commit.under_way && (self.commit.urgent || self.has_passed()))
            .then(|| self.commit_due_us());
        let read = (self.read_not_before_us > now_us).then_some(self.read_not_before_us);
        let wake_us = [self.queue.wake_us(), commit, read].into_iter().flatten().min();
        let pause_us = wake_us.map_or(3_600_000_000, |wake_us| wake_us.saturating_sub(now_us));
        Duration::from_micros(u64::try_from(pause_us).unwrap_or(0))
    }

    fn has_passed(&self) -> bool {
        self.queue.cursor(Source::Alarms) != self.committed.alarms.cursor()
            || self.queue.cursor(Source::Rows) != self.committed.rows.cursor()
    }

    fn show(&self) {
        let mut shown = self.wires.shown.lock();
        shown.state = match self.queue.is_healthy() {
            true => SubscriptionState::Active,
            false => SubscriptionState::Unhealthy,
        };
        shown.alarms = self.queue.cursor(Source::Alarms);
        shown.rows = self.queue.cursor(Source::Rows);
        shown.waiting = self.queue.len();
        shown.in_flight = self.queue.in_flight();
    }

    /// Waits a little for what is under way, then keeps the cursor.
    async fn finish(mut self) {
        let grace = tokio::time::sleep(self.config.stop_grace);
        tokio::pin!(grace);
        while self.queue.in_flight() > 0 || self.commit.under_way {
            tokio::select! {
                () = &mut grace => break,
                Some(done) = self.under_way.next() => self.done(done),
            }
        }
        let cursor = self.cursor();
        if cursor != self.committed
            && let Err(error) = put_cursor(Arc::clone(&self.log), &self.subscription, &cursor).await
        {
            warn!(subscription = %self.subscription.statement.name, %error, "cursor not kept");
        }
    }
}

fn put_cursor(
    log: Arc<Log>,
    subscription: &Subscription,
    cursor: &Cursor,
) -> impl Future<Output = Result<(), CatalogError>> + Send + use<> {
    let name = subscription.statement.name.clone();
    let bytes = serde_json::to_vec(cursor).expect("numbers are JSON");
    async move {
        let put = move || log.catalog().put(CURSORS, &name, &bytes);
        match tokio::task::spawn_blocking(put).await {
            Ok(result) => result,
            Err(error) => Err(CatalogError::Failed(error.to_string().into())),
        }
    }
}

/// Wall-clock microseconds that never step: the wall at the start, then the monotonic clock.
#[derive(Debug, Clone)]
struct Time {
    clock: Arc<dyn Clock>,
    offset_us: i64,
}

impl Time {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let offset_us = clock.wall_us().saturating_sub(monotonic_us(&*clock));
        Self { clock, offset_us }
    }

    fn now_us(&self) -> i64 {
        monotonic_us(&*self.clock).saturating_add(self.offset_us)
    }

    fn after(&self, now_us: i64, pause: Duration) -> i64 {
        now_us.saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(self.clock.real(pause)).await;
    }
}

fn monotonic_us(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.monotonic_us()).unwrap_or(i64::MAX)
}
