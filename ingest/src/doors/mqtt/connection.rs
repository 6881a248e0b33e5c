//! The task of one connection: bytes in, packets out.
//!
//! Promise: messages that came together are queued together and confirmed in order, and the next ones are
//! read while they wait (pipelined); nothing is read while as much waits as may, or while the client does
//! not read what it is sent (P9). Elsewhere: rules of the protocol are `session`'s.

mod catching_up;
mod greeting;
mod latest;
mod settling;
mod subscribing;
mod writing;

use super::MqttDoor;
use super::ending::Ending;
use super::hub::Seat;
use super::message::Place;
use super::publish::Ack;
use super::session::Step;
use super::stream::{Moved, Stream};
use super::verdict::Verdict;
use super::wire::{Version, Wire};
use crate::doors::budget::Permit;
use crate::log::PartitionReader;
use bytes::BytesMut;
use greeting::Greeted;
use latest::Fed;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::DisconnectReasonCode;
use settling::{Settled, Settling, next_settled};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::Instant;
use writing::Owner;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// Bytes that may wait to be written before no more packets are made.
const WRITE_BYTES: usize = 64 * 1024;
/// What a row takes besides its payload, about.
const ROW_BYTES: usize = 128;
/// Batches of one connection that wait for the log at once.
const BATCHES_MAX: usize = 64;
/// How long a client may take to read the last packet, behind all that it was sent before; at a stop it
/// has less.
const FAREWELL: Duration = Duration::from_secs(5);
const STOP_FAREWELL: Duration = Duration::from_secs(1);
/// How long the goodbye, or the next connection, waits for the will.
const WILL_FIRST: Duration = Duration::from_secs(1);

/// One connection, its client known.
pub(super) struct Connection<'d> {
    door: &'d MqttDoor,
    stream: Stream,
    wire: Wire,
    version: Version,
    seat: Arc<Seat>,
    link: u64,
    /// Bytes that are not a whole packet yet.
    input: BytesMut,
    permit: Option<Permit>,
    /// It waits for the budget before it reads on.
    starved: bool,
    output: BytesMut,
    settling: VecDeque<Settling<'d>>,
    /// Messages in `settling`.
    unsettled: usize,
    /// Silence after which the client is gone.
    patience: Option<Duration>,
    heard: Instant,
    /// Since when the first packet of the input is on its way.
    begun: Option<Instant>,
    aliases: greeting::Aliases,
    /// Where it reads the log itself.
    reader: Option<(Place, PartitionReader)>,
    /// A row it read found no room when so many had been taken from what waits.
    stalled: Option<u64>,
    /// Held while something of it may be under way.
    turn: Option<OwnedMutexGuard<()>>,
}

/// How a connection goes.
enum End {
    /// The client said goodbye, or is gone.
    Gone,
    /// It is told why.
    Told(Ending),
}

impl End {
    fn farewell(&self) -> Duration {
        match self {
            Self::Told(Ending { code: DisconnectReasonCode::ServerShuttingDown, .. }) => {
                STOP_FAREWELL
            }
            Self::Told(_) | Self::Gone => FAREWELL,
        }
    }
}

/// Serves a connection until it ends or `stop` says so.
pub(super) async fn serve(door: &MqttDoor, stream: Stream, stop: watch::Receiver<bool>) {
    let patience = Duration::from_millis(door.limits.header_timeout_ms);
    let greeted = match tokio::time::timeout(patience, greeting::greet(door, stream)).await {
        Ok(Some(greeted)) => greeted,
        Ok(None) | Err(_) => return door.count("weir_mqtt_refused_total", "connect", 1),
    };
    let Greeted { mut connection, will } = greeted;
    connection.take_turn().await;
    let mut testament = pin!(door.publish_wills(will.into_iter().collect()));
    let end = match tokio::time::timeout(WILL_FIRST, &mut testament).await {
        Ok(()) => connection.run(stop).await,
        Err(_) => tokio::join!(testament, connection.run(stop)).1,
    };
    connection.drain().await;
    if let End::Told(ending) = &end {
        let (client, why) = (&connection.seat.session.lock().client.clone(), &ending.what);
        tracing::debug!(%client, code = ?ending.code, %why, "an MQTT connection ends");
        connection.say(ending.packet());
    }
    let now = door.now().0;
    let will = door.hub.disconnect(&connection.seat, connection.link, now, &door.mqtt);
    let turn = connection.turn.take();
    // Whoever is told that it is over, and whoever comes next, finds the will published.
    let mut testament = pin!(async {
        door.publish_wills(will.into_iter().collect()).await;
        drop(turn);
    });
    let is_told = tokio::time::timeout(WILL_FIRST, &mut testament).await.is_ok();
    let farewell = tokio::time::timeout(end.farewell(), connection.farewell());
    if is_told {
        drop(farewell.await);
    } else {
        drop(tokio::join!(testament, farewell));
    }
}

impl Connection<'_> {
    /// Waits until nothing of the connection before this one is under way.
    async fn take_turn(&mut self) {
        let turn = Arc::clone(&self.seat.turn).lock_owned();
        self.turn = tokio::time::timeout(FAREWELL, turn).await.ok();
        self.seat.session.lock().inbound.begin();
    }

    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> End {
        let mut stopped = pin!(async move {
            drop(stop.wait_for(|stop| *stop).await);
        });
        let seat = Arc::clone(&self.seat);
        loop {
            if let Err(end) = self.parse().await {
                return end;
            }
            if self.fill_output() == Owner::Another {
                return End::Told(Ending::taken_over());
            }
            let was_full = self.is_unread();
            if self.write_some().is_err() {
                return End::Gone;
            }
            let may_go_on = was_full && self.output.is_empty();
            self.feed_retained();
            let fed = self.feed_latest();
            let behind = self.behind();
            if let Some((place, from)) = behind {
                self.catch_up(place, from).await;
            }
            let writes = !(self.output.is_empty() && self.stream.is_flushed());
            let (reads, unread) = (self.may_read(), self.is_unread());
            let (waits, wanted) = (self.starved, self.wanted_bytes());
            let whole_by = self.whole_by();
            let forgiven = self.forgives_silence();
            let deadline =
                self.patience.filter(|_| !forgiven).map(|patience| self.heard + patience);
            tokio::select! {
                biased;
                () = &mut stopped => {
                    let end = told(DisconnectReasonCode::ServerShuttingDown, "the server stops");
                    return self.settle().await.err().unwrap_or(end);
                }
                settled = next_settled(&mut self.settling), if !self.settling.is_empty() => {
                    if let Err(end) = self.confirm(settled) {
                        return end;
                    }
                }
                permit = self.door.budget.wait(wanted), if reads && waits => {
                    (self.permit, self.starved) = (Some(permit), false);
                    self.read();
                }
                moved = self.stream.moved(
                    (reads && !waits).then_some(&mut self.input),
                    &mut self.output,
                ), if writes || (reads && !waits) => {
                    if unread { self.heard = Instant::now(); }
                    let Ok(moved) = moved else { return End::Gone };
                    self.has_moved(moved);
                }
                () = until(deadline) => {
                    let what = "nothing was heard for one and a half times the keep-alive";
                    return told(DisconnectReasonCode::KeepAliveTimeout, what);
                }
                () = until(whole_by) => {
                    let most = self.door.limits.body_timeout_ms;
                    let what = format!("a packet that was begun was not whole within {most} ms");
                    return told(DisconnectReasonCode::UnspecifiedError, &what);
                }
                // Behind the client's own: what comes for it may ring without a pause.
                () = seat.bell.notified() => {}
                () = tokio::task::yield_now(), if behind.is_some() || may_go_on || fed == Fed::More => {}
            }
            if forgiven {
                self.heard = Instant::now();
            }
        }
    }

    fn may_read(&self) -> bool {
        self.may_take() && !self.is_unread()
    }

    /// Whether less is under way than may be.
    fn may_take(&self) -> bool {
        self.unsettled < usize::from(self.door.mqtt.in_flight_max)
            && self.settling.len() < BATCHES_MAX
    }

    /// Whether the client does not read what it is sent.
    fn is_unread(&self) -> bool {
        self.output.len() >= WRITE_BYTES
    }

    /// Silence while the door cannot take more is none of the client's. One that does not read is not read
    /// from either, but it is no less gone: bytes that it takes are its sign of life.
    fn forgives_silence(&self) -> bool {
        !self.may_take() || self.starved
    }

    /// When the packet that was begun has to be whole; it is not the client's fault if it is not read.
    fn whole_by(&mut self) -> Option<Instant> {
        let reads = self.may_read() && !self.starved;
        let waits_for_more = reads && !self.input.is_empty();
        self.begun = waits_for_more.then(|| self.begun.unwrap_or_else(Instant::now));
        self.begun.map(|begun| begun + Duration::from_millis(self.door.limits.body_timeout_ms))
    }

    /// Bytes that the next read may fill, all of them with a permit.
    fn wanted_bytes(&self) -> usize {
        self.input.len() + READ_BYTES
    }

    /// Whether the budget has room for another read now.
    fn has_permit(&mut self) -> bool {
        let bytes = self.wanted_bytes();
        match &mut self.permit {
            Some(permit) => permit.grow_to(bytes).is_ok(),
            None => {
                self.permit = self.door.budget.take(bytes).ok();
                self.permit.is_some()
            }
        }
    }

    /// More comes, or more goes out.
    fn has_moved(&mut self, moved: Moved) {
        if moved == Moved::In {
            self.heard = Instant::now();
            self.read();
        }
    }

    /// Reads what is there, if the budget has room for it.
    fn read(&mut self) {
        if !self.has_permit() {
            // What is held already comes back first, or two connections would wait for each other.
            (self.permit, self.starved) = (None, true);
            return;
        }
        self.input.reserve(READ_BYTES);
        if self.stream.read_now(&mut self.input, READ_BYTES) > 0 {
            self.heard = Instant::now();
        }
    }

    /// Every whole packet of the input.
    async fn parse(&mut self) -> Result<(), End> {
        let mut batch: Vec<Publish> = Vec::new();
        let mut released = Vec::new();
        while self.unsettled + batch.len() < usize::from(self.door.mqtt.in_flight_max) {
            let packet = match self.wire.take(&mut self.input) {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(error) => return Err(self.broken(batch, error.into()).await),
            };
            self.begun = None;
            let step = self.seat.session.lock().take_from(self.link, packet);
            match step {
                Ok(Step::Publish(publish)) => batch.push(*publish),
                Ok(Step::Repeat(id)) => {
                    self.queue(&mut batch).await?;
                    let verdict = Verdict::Taken;
                    let acks = vec![Ack { id: Some(id), qos: QoS::ExactlyOnce, verdict }];
                    self.settling.push_back(Box::pin(std::future::ready(Settled::Acks(acks))));
                    self.unsettled += 1;
                }
                Ok(Step::Nothing) => {}
                Ok(Step::Answer(packet)) => self.say(packet),
                Ok(Step::Release(packet)) => released.push(packet),
                Ok(Step::Subscribe(subscribe)) => {
                    self.queue(&mut batch).await?;
                    self.subscribe(subscribe).await?;
                }
                Ok(Step::Unsubscribe(unsubscribe)) => {
                    self.queue(&mut batch).await?;
                    self.unsubscribe(&unsubscribe).await?;
                }
                Ok(Step::Leave(_)) => {
                    self.queue(&mut batch).await?;
                    return Err(End::Gone);
                }
                Err(ending) => return Err(self.broken(batch, ending).await),
            }
        }
        self.queue(&mut batch).await?;
        self.release(released);
        if self.input.is_empty() {
            self.permit = None;
            // A buffer of its own for 10,000 silent connections would be memory for nothing.
            self.input = BytesMut::new();
        } else if let Some(permit) = &mut self.permit {
            permit.shrink_to(self.input.len());
        }
        Ok(())
    }

    /// What came before a broken packet is taken all the same.
    async fn broken(&mut self, mut batch: Vec<Publish>, ending: Ending) -> End {
        match self.queue(&mut batch).await {
            Ok(()) => End::Told(ending),
            Err(end) => end,
        }
    }
}

fn told(code: DisconnectReasonCode, what: &str) -> End {
    End::Told(Ending::new(code, what))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
