//! Sessions and retained messages in the catalog.
//!
//! Promise: a session that is kept is there after a restart, with its filters, what was under way, what
//! waited for it and is in no log, and how far it had come in the log. Its filters and the ids of its QoS 2
//! messages are durable before they are answered; the rest is as new as the last look, so after a crash
//! what it was sent since then may come again. Many sessions are made durable by one commit.

mod kept;

pub(super) use kept::Kept;

use super::MqttDoor;
use super::hub::{Seat, Unkept};
use super::publish::Ack;
use super::session::When;
use super::wire::Version;
use crate::log::{CatalogError, Change};
use kept::{message_of, record};
use rmqtt_codec::types::QoS;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};

const SESSIONS: &str = "mqtt/sessions";
const RETAINED: &str = "mqtt/retained";
/// Between two looks at what nobody waits for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sessions and messages of one commit.
const ENTRIES_MAX: usize = 200;

/// A session is not durable as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session could not be made durable; connect again, and look at the server's disk")]
pub(super) struct NotKept;

/// Who waits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    asked: AtomicU64,
    bell: Notify,
    /// Everything asked for up to here is durable, or could not be made so.
    done: watch::Sender<u64>,
}

impl MqttDoor {
    /// Takes up what an earlier process kept. Blocks on the catalog.
    /// # Errors
    /// The catalog cannot be read.
    pub(super) fn restore(&self) -> Result<(), CatalogError> {
        let now = self.now().0;
        for (client, bytes) in self.log.catalog().list(SESSIONS)? {
            match serde_json::from_slice::<Kept>(&bytes) {
                Ok(kept) => self.hub.restore(kept.session(now)),
                Err(error) => tracing::warn!(%client, %error, "a kept session cannot be read"),
            }
        }
        for (topic, bytes) in self.log.catalog().list(RETAINED)? {
            match message_of(&bytes) {
                Ok(message) => self.hub.restore_retained(&self.hub.hold(message), &self.mqtt),
                Err(error) => tracing::warn!(%topic, %error, "a retained message cannot be read"),
            }
        }
        Ok(())
    }

    /// Resolves when a session is durable as it is now, if it is one to keep.
    /// # Errors
    /// It could not be made durable.
    pub(super) async fn keep(&self, seat: &Seat) -> Result<(), NotKept> {
        if !seat.session.lock().has_changed(When::Now) {
            return Ok(());
        }
        let mine = self.keeper.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = self.keeper.done.subscribe();
        self.keeper.bell.notify_one();
        drop(done.wait_for(|done| *done >= mine).await);
        match seat.session.lock().is_refused {
            true => Err(NotKept),
            false => Ok(()),
        }
    }

    /// Which QoS 2 messages were taken is known after a restart before it is said: one that comes again
    /// must not be taken again.
    /// # Errors
    /// It could not be made durable.
    pub(super) async fn keep_ids(
        &self,
        seat: &Seat,
        acks: &[Ack],
        version: Version,
    ) -> Result<(), NotKept> {
        match settle_ids(seat, acks, version) {
            0 => Ok(()),
            _ => self.keep(seat).await,
        }
    }

    /// Makes durable what changed, until a stop is said; then all of it once more.
    pub(super) async fn keep_all(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut stopped = pin!(async move { drop(stop.wait_for(|stop| *stop).await) });
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let (wakes_for, is_last) = tokio::select! {
                biased;
                () = &mut stopped => (When::Soon, true),
                _ = look.tick() => (When::Soon, false),
                () = self.keeper.bell.notified() => (When::Now, false),
            };
            self.keep_awaited().await;
            if wakes_for == When::Soon {
                self.keep_the_rest().await;
            }
            if is_last {
                return;
            }
        }
    }

    /// What somebody waits for, commit by commit, until now; then they are told.
    async fn keep_awaited(&self) {
        let asked = self.keeper.asked.load(Ordering::SeqCst);
        if asked == *self.keeper.done.borrow() {
            return;
        }
        for seats in self.hub.changed(When::Now).chunks(ENTRIES_MAX) {
            self.commit(self.hub.unkept(seats)).await;
        }
        self.keeper.done.send_replace(asked);
    }

    /// What changed until now, once: what changes meanwhile is the next look's. Who waits is served between
    /// two commits.
    async fn keep_the_rest(&self) {
        let seats = self.hub.changed(When::Soon);
        let topics = self.hub.retained_changed();
        // Sessions that are over may be all there is.
        let no_seats = seats.is_empty().then_some(&seats[..]);
        let of_seats = seats.chunks(ENTRIES_MAX).chain(no_seats);
        let sessions = of_seats.map(|seats| self.hub.unkept(seats));
        let of_topics = 0..topics.div_ceil(ENTRIES_MAX);
        let retained = of_topics.map(|_| self.hub.unkept_retained(ENTRIES_MAX));
        for unkept in sessions.chain(retained) {
            if self.commit(unkept).await == Committed::No {
                return;
            }
            self.keep_awaited().await;
        }
    }

    async fn commit(&self, unkept: Unkept) -> Committed {
        if unkept.is_empty() {
            return Committed::Yes;
        }
        let (log, changes) = (Arc::clone(&self.log), changes(&unkept));
        let commit = tokio::task::spawn_blocking(move || log.catalog().change(&changes));
        match commit.await {
            Ok(Ok(())) => {
                self.hub.is_kept(&unkept);
                return Committed::Yes;
            }
            Ok(Err(error)) => tracing::warn!(%error, "sessions are not kept over a restart now"),
            Err(error) => tracing::error!(%error, "keeping sessions ended badly"),
        }
        self.hub.still_unkept(unkept);
        Committed::No
    }
}

/// Whether the catalog took a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Committed {
    Yes,
    No,
}

/// What became of QoS 2 messages; how many there are.
fn settle_ids(seat: &Seat, acks: &[Ack], version: Version) -> usize {
    let mut session = seat.session.lock();
    let of_qos_2 = acks.iter().filter(|ack| ack.qos == QoS::ExactlyOnce);
    of_qos_2.map(|ack| session.inbound.settled(ack, version)).count()
}

/// What is over goes before what has its identifier now.
fn changes(unkept: &Unkept) -> Vec<Change> {
    let Unkept { gone, sessions, retained } = unkept;
    let gone =
        gone.iter().map(|client| Change::Remove { space: SESSIONS, key: client.to_string() });
    let sessions = sessions.iter().map(|(_, kept)| Change::Put {
        space: SESSIONS,
        key: kept.client.to_string(),
        value: record(kept),
    });
    let retained = retained.iter().map(|(topic, message)| match message {
        Some(message) => {
            Change::Put { space: RETAINED, key: topic.to_string(), value: record(&**message) }
        }
        None => Change::Remove { space: RETAINED, key: topic.to_string() },
    });
    gone.chain(sessions).chain(retained).collect()
}
