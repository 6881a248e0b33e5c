//! Who is there: sessions by client identifier, each with at most one connection.
//!
//! Promise: a newer connection takes the session over, the older one is told; a session without a
//! connection is there until its time is over, and its will is told when it is due.

use super::super::limits::MqttLimits;
use super::super::message::{Delivery, To};
use super::super::outbound::Offered;
use super::super::session::{Session, When};
use super::super::wire::Version;
use super::Hub;
use bytestring::ByteString;
use parking_lot::Mutex;
use rmqtt_codec::types::QoS;
use rmqtt_codec::v5::{Connect, LastWill};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Notify;

const MICROSECONDS: i64 = 1_000_000;

/// A session and the bell of its connection.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(in super::super) session: Mutex<Session>,
    /// Rings when something waits for the connection, or another one took over.
    pub(in super::super) bell: Notify,
    /// Held by a connection until nothing of it is under way: the next one knows what was taken.
    pub(in super::super) turn: Arc<tokio::sync::Mutex<()>>,
}

/// A session of the connection that begins.
#[derive(Debug)]
pub(in super::super) struct Connected {
    pub(in super::super) seat: Arc<Seat>,
    pub(in super::super) link: u64,
    /// Whether the session was there.
    pub(in super::super) present: bool,
    /// Of the connection or session that it ends.
    pub(in super::super) will: Option<LastWill>,
}

/// No session can be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server keeps {0} sessions already, its limit; raise ingest.mqtt.sessions_max")]
pub(in super::super) struct Refused(usize);

/// Sessions by client identifier.
#[derive(Debug, Default)]
pub(super) struct Seats {
    by_client: HashMap<ByteString, Arc<Seat>>,
}

impl Seats {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Seat>> {
        self.by_client.values()
    }

    pub(super) fn insert(&mut self, client: ByteString, seat: &Arc<Seat>) {
        self.by_client.insert(client, Arc::clone(seat));
    }
}

impl Seat {
    pub(in super::super) fn new(session: Session) -> Arc<Self> {
        Self::taking_turns(session, Arc::default())
    }

    /// After the connection of another seat of its client.
    fn taking_turns(session: Session, turn: Arc<tokio::sync::Mutex<()>>) -> Arc<Self> {
        Arc::new(Self { session: Mutex::new(session), bell: Notify::new(), turn })
    }

    /// Keeps a delivery for the client, if it is there or comes back.
    pub(in super::super) fn offer(&self, delivery: Delivery, limits: &MqttLimits) -> Offered {
        let mut session = self.session.lock();
        if session.link.is_none() && delivery.qos == QoS::AtMostOnce {
            return match delivery.to {
                To::Session => Offered::Waiting,
                To::Group => Offered::Full,
            };
        }
        let is_kept = delivery.qos != QoS::AtMostOnce;
        let offered = session.outbound.offer(delivery, limits);
        if is_kept {
            session.has_changed(When::Soon);
        }
        drop(session);
        self.bell.notify_one();
        offered
    }
}

impl Hub {
    /// A connection wants the session of its client.
    /// # Errors
    /// There are as many sessions as there may be.
    pub(in super::super) fn connect(
        &self,
        connect: &Connect,
        version: Version,
        limits: &MqttLimits,
    ) -> Result<Connected, Refused> {
        let link = self.links.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        let state = &mut *state;
        let old = state.seats.by_client.get(&connect.client_id).map(Arc::clone);
        let mut will = None;
        // Of the seat that was: its connection is told when it cannot act for the client any more.
        let mut before: Option<Arc<Seat>> = None;
        let kept = match old {
            None => None,
            Some(seat) => {
                let mut session = seat.session.lock();
                let goes = connect.clean_start || (session.link.is_some() && !session.is_kept());
                // Of a session that goes on, a will with a delay is not due: the client is back.
                let at_once = |will: &LastWill| will.will_delay_interval_sec.unwrap_or(0) == 0;
                if session.link.is_some() && session.will.as_ref().is_some_and(at_once) {
                    will = session.will.take();
                }
                if goes {
                    will = will.or(session.will.take());
                    session.link = None;
                    state.routes.forget(&seat, &session);
                    session.out_of_catalog(&mut state.gone);
                }
                drop(session);
                before = Some(Arc::clone(&seat));
                (!goes).then_some(seat)
            }
        };
        let present = kept.is_some();
        let seat = match kept {
            Some(seat) => seat,
            None => {
                let known = state.seats.by_client.contains_key(&connect.client_id);
                if !known && state.seats.by_client.len() >= limits.sessions_max {
                    return Err(Refused(limits.sessions_max));
                }
                let turn = before.as_ref().map(|seat| Arc::clone(&seat.turn)).unwrap_or_default();
                let mut session = Session::new(connect.client_id.clone());
                session.outbound.share(&self.held);
                let seat = Seat::taking_turns(session, turn);
                state.seats.by_client.insert(connect.client_id.clone(), Arc::clone(&seat));
                seat
            }
        };
        let mut session = seat.session.lock();
        if present && session.link.is_none() {
            Self::come_back(state, &mut session);
        }
        session.resume(link, connect, version, limits);
        drop(session);
        if let Some(before) = before {
            before.bell.notify_one();
        }
        Ok(Connected { seat, link, present, will })
    }

    /// A connection has ended; the will that is due now, if any.
    pub(in super::super) fn disconnect(
        &self,
        seat: &Arc<Seat>,
        link: u64,
        now_us: i64,
        limits: &MqttLimits,
    ) -> Option<LastWill> {
        let mut state = self.state.lock();
        let mut session = seat.session.lock();
        if session.link != Some(link) {
            return None;
        }
        session.link = None;
        session.left_at_us = now_us;
        session.expiry_s = session.expiry_s.min(limits.session_expiry_s_max);
        Self::fall_behind(&state, &mut session);
        session.has_changed(When::Soon);
        let due = due_will(&mut session, now_us);
        if !session.is_kept() {
            state.remove(seat, &mut session);
        }
        due
    }

    /// Takes away what has expired; the wills that are due.
    pub(in super::super) fn sweep(&self, now_us: i64) -> Vec<LastWill> {
        let mut state = self.state.lock();
        let mut wills = Vec::new();
        let seats: Vec<Arc<Seat>> = state.seats.by_client.values().map(Arc::clone).collect();
        for seat in seats {
            let mut session = seat.session.lock();
            if session.link.is_some() {
                continue;
            }
            if let Some(will) = due_will(&mut session, now_us) {
                wills.push(will);
                session.has_changed(When::Soon);
            }
            if now_us >= left_for(&session, session.expiry_s) {
                state.remove(&seat, &mut session);
            }
        }
        wills
    }

    /// Sessions, and how many of them have a connection.
    pub(in super::super) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        let seats = state.seats.by_client.values();
        let connected = seats.filter(|seat| seat.session.lock().link.is_some()).count();
        (state.seats.by_client.len(), connected)
    }
}

impl super::State {
    fn remove(&mut self, seat: &Arc<Seat>, session: &mut Session) {
        self.routes.forget(seat, session);
        session.out_of_catalog(&mut self.gone);
        let is_its = |other: &Arc<Seat>| Arc::ptr_eq(other, seat);
        if self.seats.by_client.get(&session.client).is_some_and(is_its) {
            self.seats.by_client.remove(&session.client);
        }
    }
}

/// When a session that was left will have been left for so many seconds.
fn left_for(session: &Session, seconds: u32) -> i64 {
    session.left_at_us.saturating_add(i64::from(seconds) * MICROSECONDS)
}

/// The will, if its delay or the session is over.
fn due_will(session: &mut Session, now_us: i64) -> Option<LastWill> {
    let will = session.will.as_ref()?;
    let delay = will.will_delay_interval_sec.unwrap_or(0).min(session.expiry_s);
    (now_us >= left_for(session, delay)).then(|| session.will.take()).flatten()
}
