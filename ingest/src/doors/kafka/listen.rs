//! The accept loop of the Kafka door.
//!
//! Promise: loopback only; at most `connections_max` at once, the next one is closed; a stop reads no further
//! and lets what is under way be confirmed.

use super::{KafkaDoor, connection};
use crate::doors::accept::{ListenError, check_loopback};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long a stop waits for answers under way.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Pause after the system had no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at members of groups that are gone.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

/// Serves until `shutdown`.
/// # Errors
/// The listener is not on loopback.
pub async fn serve(
    listener: TcpListener,
    door: Arc<KafkaDoor>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    if let Ok(address) = listener.local_addr() {
        check_loopback(address)?;
    }
    let places = Arc::new(Semaphore::new(door.limits.connections_max));
    let stop = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => door.sweep(connections.len()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => welcome(&door, stream, &places, &stop, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stop.send_replace(true);
    door.groups.close();
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, finished).await.is_err() {
        tracing::info!(connections = connections.len(), "Kafka connections closed at the stop");
    }
    connections.shutdown().await;
    Ok(())
}

/// A task for the connection, if there is a place for it.
fn welcome(
    door: &Arc<KafkaDoor>,
    stream: TcpStream,
    places: &Arc<Semaphore>,
    stop: &watch::Sender<bool>,
    connections: &mut JoinSet<()>,
) {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        return door.count("weir_kafka_refused_total", "connections_max", 1);
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY is not to be had");
    }
    let (door, stop) = (Arc::clone(door), stop.subscribe());
    connections.spawn(async move {
        connection::serve(&door, stream, stop).await;
        drop(place);
    });
}
