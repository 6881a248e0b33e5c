//! The accept loop of the MQTT door.
//!
//! Promise: loopback only; at most `connections_max` at once, the next one is closed; a stop tells every
//! client and lets what is under way be confirmed, then makes durable what is to be kept.

use super::MqttDoor;
use super::connection;
use super::stream::Stream;
use crate::doors::accept::{ListenError, check_loopback};
use rmqtt_codec::v5::LastWill;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long a stop waits for clients.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Pause after the system had no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at sessions that end and wills that are due.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// Serves until `shutdown`, then says so to every client.
/// # Errors
/// The listener is not on loopback.
pub async fn serve(
    listener: TcpListener,
    door: Arc<MqttDoor>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    if let Ok(address) = listener.local_addr() {
        check_loopback(address)?;
    }
    let places = Arc::new(Semaphore::new(door.limits.connections_max));
    let (stop, kept) = (watch::Sender::new(false), watch::Sender::new(false));
    door.take_up().await;
    let (mut connections, mut keeping) = (JoinSet::new(), JoinSet::new());
    keeping.spawn(Arc::clone(&door).keep_all(kept.subscribe()));
    let followed = door.meet_all();
    connections.spawn(Arc::clone(&door).follow(followed, stop.subscribe()));
    let mut arrived = door.arrived.lock().await;
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => {
                let wills = door.sweep();
                if !wills.is_empty() {
                    let door = Arc::clone(&door);
                    connections.spawn(async move { door.publish_wills(wills).await });
                }
            }
            Some(stream) = arrived.recv() => {
                welcome(&door, stream, &places, &stop, &mut connections);
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY is not to be had");
                    }
                    welcome(&door, Stream::new(stream), &places, &stop, &mut connections);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, finished).await.is_err() {
        tracing::info!(connections = connections.len(), "MQTT connections closed at the stop");
    }
    connections.shutdown().await;
    kept.send_replace(true);
    while keeping.join_next().await.is_some() {}
    Ok(())
}

/// A task for the connection, if there is a place for it. One too many is closed without a word: it has
/// not said yet which version it speaks.
fn welcome(
    door: &Arc<MqttDoor>,
    stream: Stream,
    places: &Arc<Semaphore>,
    stop: &watch::Sender<bool>,
    connections: &mut JoinSet<()>,
) {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        door.count("weir_mqtt_refused_total", "connections_max", 1);
        return;
    };
    let (door, stop) = (Arc::clone(door), stop.subscribe());
    connections.spawn(async move {
        connection::serve(&door, stream, stop).await;
        drop(place);
    });
}

impl MqttDoor {
    /// What an earlier process kept; without it the door opens all the same.
    async fn take_up(self: &Arc<Self>) {
        let door = Arc::clone(self);
        let restored = tokio::task::spawn_blocking(move || door.restore()).await;
        match restored {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "kept sessions cannot be read"),
            Err(error) => tracing::error!(%error, "kept sessions were not taken up"),
        }
    }

    /// Sessions end; the wills that are due.
    fn sweep(&self) -> Vec<LastWill> {
        let wills = self.hub.sweep(self.now().0);
        let (sessions, connected) = self.hub.counts();
        self.metrics.set("weir_mqtt_sessions", Vec::new(), sessions as u64);
        self.metrics.set("weir_mqtt_connections", Vec::new(), connected as u64);
        wills
    }
}
