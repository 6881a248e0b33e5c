//! All subscriptions: created, listed, dropped, started with the server.
//!
//! Promise: a definition is durable before its worker starts, and gone before it is reported as
//! dropped; a new subscription gets what is logged from its creation on.

use super::condition::Condition;
use super::egress::Allow;
use super::egress::Egress;
use super::queue::{Bounds, Progress};
use super::redeliver::{self, RedeliverError};
use super::sender::Sender;
use super::signature::generate_secret;
use super::subscription::{
    CURSORS, Cursor, SUBSCRIPTIONS, Stored, Subscription, SubscriptionError,
};
use super::worker::{Command, Shown, Wires, Worker};
use crate::sql::{Existing, SubscriptionStatement, Target};
use arrow::datatypes::DataType;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};
use weir_ingest::log::{HOLD_BYTES_MAX, InternalLog, Log};

/// Redeliveries one subscription may have waiting.
const COMMANDS_MAX: usize = 64;

/// How delivery is done.
#[derive(Debug, Clone)]
pub struct DeliverConfig {
    /// What may be reached besides public addresses.
    pub allow: Vec<Allow>,
    /// Who we are in the webhook handshake.
    pub origin: String,
    /// Bounds of each subscription.
    pub bounds: Bounds,
    /// Least time between two commits of one cursor.
    pub cursor_commit_every: Duration,
    /// How long a stop waits for requests under way.
    pub stop_grace: Duration,
    /// Bytes of an internal log that a subscription may keep beyond what retention keeps.
    pub hold_bytes_max: u64,
}

impl Default for DeliverConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            origin: "weir".to_owned(),
            bounds: Bounds::default(),
            cursor_commit_every: Duration::from_millis(50),
            stop_grace: Duration::from_secs(2),
            hold_bytes_max: HOLD_BYTES_MAX,
        }
    }
}

/// How a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Its endpoint has not granted the handshake yet.
    Pending,
    /// Delivers.
    Active,
    /// Its endpoint failed several times in a row and is probed.
    Unhealthy,
}

impl SubscriptionState {
    /// The word tables show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One line of SHOW SUBSCRIPTIONS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionStatus {
    /// Its name.
    pub name: String,
    /// Where it delivers.
    pub target: String,
    /// `ON`.
    pub on: Option<String>,
    /// `FILTER`.
    pub filter: Option<String>,
    /// `WHERE`.
    pub condition: Option<String>,
    /// How it is.
    pub state: SubscriptionState,
    /// Rows of internal/alarms and internal/rows from its cursors to their durable ends.
    pub lag: u64,
    /// Events read and not finished.
    pub waiting: usize,
    /// Requests under way.
    pub in_flight: usize,
    /// How the last attempt or handshake ended.
    pub last_outcome: Option<String>,
}

/// What CREATE SUBSCRIPTION did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its name.
    pub name: String,
    /// Whether it waits for the handshake.
    pub state: SubscriptionState,
    /// The key its bodies are signed with: shown here and never again. Absent where `IF NOT EXISTS`
    /// kept what was there.
    pub secret: Option<String>,
}

#[derive(Debug)]
struct Running {
    subscription: Subscription,
    shown: Arc<Mutex<Shown>>,
    commands: mpsc::Sender<Command>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Tells the worker to stop and waits for it.
    async fn end(self) -> Subscription {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            error!(subscription = %self.subscription.statement.name, %error, "worker ended badly");
        }
        self.subscription
    }
}

/// See the module.
#[derive(Debug)]
pub struct Deliverer {
    log: Arc<Log>,
    config: DeliverConfig,
    sender: Arc<Sender>,
    /// `None` once stopped. Held over awaits: changes are made one after another.
    running: tokio::sync::Mutex<Option<BTreeMap<String, Running>>>,
    /// What `list` reads without waiting for a change under way.
    listed: Mutex<BTreeMap<String, Listed>>,
}

#[derive(Debug, Clone)]
struct Listed {
    statement: SubscriptionStatement,
    shown: Arc<Mutex<Shown>>,
}

impl Deliverer {
    /// Starts a worker for every subscription of the catalog. Must be called inside a tokio runtime.
    /// # Errors
    /// The catalog cannot be read, or no HTTP client can be made. A subscription that cannot be read
    /// is reported and left out; the others run (P10).
    pub fn start(log: Arc<Log>, config: DeliverConfig) -> Result<Arc<Self>, SubscriptionError> {
        let egress = Egress::new(config.allow.clone());
        let sender = Sender::new(egress, config.origin.clone(), Arc::clone(log.clock()))?;
        let found = log.catalog().list(SUBSCRIPTIONS)?;
        let mut deliverer = Self {
            log,
            config,
            sender: Arc::new(sender),
            running: tokio::sync::Mutex::new(None),
            listed: Mutex::new(BTreeMap::new()),
        };
        let mut running = BTreeMap::new();
        for (name, bytes) in found {
            match Subscription::read(&name, &bytes) {
                Ok(subscription) => {
                    let cursor = deliverer.kept_cursor(&name)?;
                    running.insert(name, deliverer.spawn(subscription, cursor));
                }
                Err(error) => error!(%error, "a subscription does not run"),
            }
        }
        *deliverer.running.get_mut() = Some(running);
        Ok(Arc::new(deliverer))
    }

    fn spawn(&self, subscription: Subscription, cursor: Cursor) -> Running {
        let state = match subscription.is_granted() {
            true => SubscriptionState::Active,
            false => SubscriptionState::Pending,
        };
        let shown = Arc::new(Mutex::new(Shown {
            state,
            alarms: cursor.alarms.cursor(),
            rows: cursor.rows.cursor(),
            waiting: 0,
            in_flight: 0,
            last_outcome: None,
        }));
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let (stop, stopped) = watch::channel(false);
        let wires = Wires { shown: Arc::clone(&shown), commands: orders, stop: stopped };
        let worker = Worker::new(
            Arc::clone(&self.log),
            self.config.clone(),
            subscription.clone(),
            cursor,
            Arc::clone(&self.sender),
            wires,
        );
        let listed =
            Listed { statement: subscription.statement.clone(), shown: Arc::clone(&shown) };
        self.listed.lock().insert(subscription.statement.name.clone(), listed);
        Running { subscription, shown, commands, stop, task: tokio::spawn(worker.run()) }
    }

    /// The durable cursor; a subscription without one starts now.
    fn kept_cursor(&self, name: &str) -> Result<Cursor, SubscriptionError> {
        let damaged = |error: serde_json::Error| SubscriptionError::Damaged {
            name: name.to_owned(),
            detail: error.to_string(),
        };
        match self.log.catalog().get(CURSORS, name)? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(damaged),
            None => Ok(self.cursor_now()),
        }
    }

    fn cursor_now(&self) -> Cursor {
        let end = |which| Progress::at(self.log.internal(which).ends().durable_end);
        Cursor { alarms: end(InternalLog::Alarms), rows: end(InternalLog::Rows) }
    }

    /// CREATE SUBSCRIPTION. `rule_columns` are the output columns of the rules there are; levels and
    /// fields of the streams are known anyway.
    /// # Errors
    /// Why it is refused; then nothing has changed.
    pub async fn create(
        &self,
        statement: SubscriptionStatement,
        rule_columns: BTreeMap<String, DataType>,
    ) -> Result<Created, SubscriptionError> {
        let mut guard = self.running.lock().await;
        let running = guard.as_mut().ok_or(SubscriptionError::Stopped)?;
        let name = statement.name.clone();
        let taken = running.get(&name);
        match (taken, statement.existing) {
            (Some(_), Existing::Refuse) => return Err(SubscriptionError::Exists(name)),
            (Some(there), Existing::Keep) => {
                return Ok(Created { name, state: there.shown.lock().state, secret: None });
            }
            (Some(_), Existing::Replace) | (None, _) => {}
        }
        let subscription = self.check(statement, taken, rule_columns)?;
        let cursor = match running.remove(&name) {
            Some(there) => {
                drop(there.end().await);
                self.kept_cursor(&name)?
            }
            None => self.cursor_now(),
        };
        self.keep(&subscription, &cursor).await?;
        let secret = Some(subscription.stored.secret.clone());
        let started = self.spawn(subscription, cursor);
        let state = started.shown.lock().state;
        running.insert(name.clone(), started);
        info!(subscription = %name, state = state.as_str(), "subscription created");
        Ok(Created { name, state, secret })
    }

    fn check(
        &self,
        statement: SubscriptionStatement,
        there: Option<&Running>,
        rule_columns: BTreeMap<String, DataType>,
    ) -> Result<Subscription, SubscriptionError> {
        let Target::Webhook(url) = &statement.target;
        self.sender.egress().check_target(url)?;
        let columns = match &statement.condition {
            None => Vec::new(),
            Some(expr) => {
                let mut known = self.stream_columns();
                known.extend(rule_columns);
                Condition::new(&expr.to_string(), &known)?.columns().to_vec()
            }
        };
        let old = there.map(|there| &there.subscription);
        let secret = match (&statement.options.secret, old) {
            (Some(secret), _) => secret.clone(),
            (None, Some(old)) => old.stored.secret.clone(),
            (None, None) => generate_secret()?,
        };
        let same_target = old.filter(|old| old.statement.target == statement.target);
        let grant = same_target.and_then(|old| old.stored.grant);
        let text = statement.text.clone();
        Ok(Subscription { statement, stored: Stored { text, secret, columns, grant } })
    }

    /// Levels and fields of all streams: what keys and outputs of rules are mostly made of.
    fn stream_columns(&self) -> BTreeMap<String, DataType> {
        let mut known = BTreeMap::new();
        for stream in self.log.streams().all() {
            let definition = stream.definition();
            known.extend(definition.levels().iter().map(|name| (name.clone(), DataType::Utf8)));
            let fields = definition.columns().iter();
            known.extend(fields.map(|c| (c.name.clone(), c.column_type.data_type())));
        }
        known
    }

    async fn keep(
        &self,
        subscription: &Subscription,
        cursor: &Cursor,
    ) -> Result<(), SubscriptionError> {
        let log = Arc::clone(&self.log);
        let name = subscription.statement.name.clone();
        let definition = subscription.to_bytes();
        let cursor = serde_json::to_vec(cursor).expect("numbers are JSON");
        blocking(move || {
            // The cursor first: a definition without one would start at a later place.
            log.catalog().put(CURSORS, &name, &cursor)?;
            Ok(log.catalog().put(SUBSCRIPTIONS, &name, &definition)?)
        })
        .await
    }

    /// DROP SUBSCRIPTION. What it had not delivered is not delivered any more.
    /// # Errors
    /// There is none, or the catalog did not take it.
    pub async fn remove(&self, name: &str) -> Result<(), SubscriptionError> {
        let mut guard = self.running.lock().await;
        let running = guard.as_mut().ok_or(SubscriptionError::Stopped)?;
        let there =
            running.remove(name).ok_or_else(|| SubscriptionError::Unknown(name.to_owned()))?;
        drop(there.end().await);
        self.listed.lock().remove(name);
        let (log, key) = (Arc::clone(&self.log), name.to_owned());
        blocking(move || {
            log.catalog().remove(SUBSCRIPTIONS, &key)?;
            Ok(log.catalog().remove(CURSORS, &key)?)
        })
        .await?;
        info!(subscription = %name, "subscription dropped");
        Ok(())
    }

    /// SHOW SUBSCRIPTIONS, by name.
    pub fn list(&self) -> Vec<SubscriptionStatus> {
        let end = |which| self.log.internal(which).ends().durable_end.0;
        let (alarms_end, rows_end) = (end(InternalLog::Alarms), end(InternalLog::Rows));
        let listed = self.listed.lock().clone();
        listed
            .into_values()
            .map(|Listed { statement, shown }| {
                let shown = shown.lock().clone();
                let Target::Webhook(target) = statement.target;
                SubscriptionStatus {
                    name: statement.name,
                    target,
                    on: statement.on,
                    filter: statement.filter.map(|filter| filter.as_str().to_owned()),
                    condition: statement.condition.map(|expr| expr.to_string()),
                    state: shown.state,
                    lag: alarms_end.saturating_sub(shown.alarms.0)
                        + rows_end.saturating_sub(shown.rows.0),
                    waiting: shown.waiting,
                    in_flight: shown.in_flight,
                    last_outcome: shown.last_outcome,
                }
            })
            .collect()
    }

    /// Sends an event again, under its id, to every subscription that tried it before. Returns their
    /// names.
    /// # Errors
    /// Nobody knows the event, or the logs cannot be read.
    pub async fn redeliver(&self, event_id: &str) -> Result<Vec<String>, RedeliverError> {
        let (log, id) = (Arc::clone(&self.log), event_id.to_owned());
        let search = move || redeliver::search(&log, &id);
        let found = tokio::task::spawn_blocking(search).await;
        let found = found.map_err(|_| RedeliverError::Stopped)??;
        let guard = self.running.lock().await;
        let running = guard.as_ref().ok_or(RedeliverError::Stopped)?;
        let mut sent = Vec::new();
        for name in found.subscriptions {
            let Some(there) = running.get(&name) else { continue };
            let again = Command::Again(Box::new(found.transition.clone()));
            match there.commands.try_send(again) {
                Ok(()) => sent.push(name),
                Err(error) => warn!(subscription = %name, %error, "not sent again"),
            }
        }
        match sent.is_empty() {
            true => Err(RedeliverError::NoSubscription(event_id.to_owned())),
            false => Ok(sent),
        }
    }

    /// Stops every worker and keeps the cursors. Idempotent.
    pub async fn stop(&self) {
        let Some(running) = self.running.lock().await.take() else { return };
        let all: Vec<_> =
            running.into_values().map(|running| async move { drop(running.end().await) }).collect();
        futures::future::join_all(all).await;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SubscriptionError> + Send + 'static,
) -> Result<T, SubscriptionError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(SubscriptionError::Stopped),
    }
}

#[cfg(test)]
mod tests;
