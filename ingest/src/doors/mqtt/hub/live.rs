//! Rows of the log to the sessions that follow it, and the way back for those that fell behind.
//!
//! Promise: a session gets each row of a partition once, in order: live, or by reading the log itself from
//! where it fell behind until it has come to where the others are. QoS 0 is live or not at all. A row that a
//! group shares goes to a member that has room and waits there; nobody reads it again.

use super::super::limits::MqttLimits;
use super::super::message::{Delivery, Message, Place, To};
use super::super::outbound::Offered;
use super::super::session::{Behind, Session, When};
use super::routes::Listener;
use super::{Hub, Seat};
use crate::model::{Offset, SeriesId, StreamUid};
use rmqtt_codec::types::QoS;
use std::sync::Arc;

/// One row of a frame, as those who listen see it.
#[derive(Debug)]
pub(in super::super) struct Row<'r> {
    pub(in super::super) offset: Offset,
    pub(in super::super) topic: &'r str,
    /// Of a reading.
    pub(in super::super) series: Option<(StreamUid, SeriesId)>,
}

impl Hub {
    /// Whether nobody listens: rows need not be looked at.
    pub(in super::super) fn is_unheard(&self) -> bool {
        self.state.lock().routes.is_empty()
    }

    /// A partition is handed out up to `end`.
    pub(in super::super) fn told(&self, place: Place, end: Offset) {
        self.state.lock().told.insert(place, end);
    }

    /// Rows that are not handed out: each session that follows live reads them itself.
    pub(in super::super) fn leave_to_sessions(&self, place: Place, from: Offset, end: Offset) {
        let mut state = self.state.lock();
        for seat in state.seats.all() {
            let mut session = seat.session.lock();
            let behind = session.behind.get(&place).copied();
            if session.link.is_none() || behind.is_some_and(|behind| behind.reads) {
                continue;
            }
            let next = behind.map_or(from, |behind| behind.next.max(from));
            session.behind.insert(place, Behind { next, reads: next < end });
            session.has_changed(When::Soon);
            drop(session);
            seat.bell.notify_one();
        }
        state.told.insert(place, end);
    }

    /// Hands the rows of a frame out; `make` is asked for what somebody wants. How many found no room.
    pub(in super::super) fn tell<'r>(
        &self,
        place: Place,
        rows: impl Iterator<Item = Row<'r>>,
        end: Offset,
        make: impl Fn(&Row<'r>) -> Message,
        limits: &MqttLimits,
    ) -> u64 {
        let mut state = self.state.lock();
        let mut dropped = 0;
        for row in rows.filter(|row| !self.is_private(row.topic)) {
            let audience = match row.series {
                Some((stream, series)) => state.routes.of_series(stream, series, row.topic, limits),
                None => state.routes.audience(row.topic, None, limits),
            };
            let mut made = None;
            for listener in audience {
                let message = made.get_or_insert_with(|| self.hold(make(&row)));
                let (seat, delivery) = delivery(listener, message);
                let offered = match delivery.to {
                    To::Session => seat.offer_logged(delivery, place, row.offset, limits),
                    To::Group => seat.offer(delivery, limits),
                };
                dropped += u64::from(offered == Offered::Full);
            }
        }
        state.told.insert(place, end);
        dropped
    }

    /// Where a session that leaves has to read on: in each partition the first row that waits for it, or
    /// how far the partition was handed out.
    pub(super) fn fall_behind(state: &super::State, session: &mut Session) {
        let first = session.outbound.leave();
        for (place, told) in &state.told {
            let next =
                first.get(place).copied().unwrap_or_else(|| session.handed_out(place, *told));
            session.behind.insert(*place, Behind { next, reads: true });
        }
    }

    /// A session comes back: what it does not know was made while it was away.
    pub(super) fn come_back(state: &super::State, session: &mut Session) {
        for place in state.told.keys() {
            let from_its_start = Behind { next: Offset(0), reads: true };
            session.behind.entry(*place).or_insert(from_its_start);
        }
    }

    /// A session has read a partition on to `next`; from there it follows live if the others are no
    /// further.
    pub(in super::super) fn caught_up(&self, seat: &Seat, place: Place, next: Offset) {
        let state = self.state.lock();
        let mut session = seat.session.lock();
        let told = state.told.get(&place).copied().unwrap_or_default();
        let reads = next < told;
        session.behind.insert(place, Behind { next, reads });
        if !reads {
            session.is_level(place);
        }
    }

    /// A partition that is gone, or that nobody wants to read on in.
    pub(in super::super) fn forget_place(&self, seat: &Seat, place: Place) {
        let mut session = seat.session.lock();
        session.behind.remove(&place);
        session.is_level(place);
    }
}

fn delivery(listener: Listener, message: &Arc<Message>) -> (Arc<Seat>, Delivery) {
    let Listener { seat, qos, ids, to, .. } = listener;
    (seat, Delivery { message: Arc::clone(message), qos, retain: false, ids, to })
}

impl Seat {
    /// Keeps a row for the client if it follows live; one that does not reads it later.
    fn offer_logged(
        &self,
        delivery: Delivery,
        place: Place,
        offset: Offset,
        limits: &MqttLimits,
    ) -> Offered {
        let mut session = self.session.lock();
        if session.link.is_none() {
            return Offered::Waiting;
        }
        let qos = delivery.qos;
        let behind = session.behind.get(&place).copied();
        let elsewhere = behind.is_some_and(|behind| behind.reads || offset < behind.next);
        if qos != QoS::AtMostOnce && elsewhere {
            return Offered::Waiting;
        }
        let mut offered = session.outbound.offer(delivery, limits);
        if qos != QoS::AtMostOnce {
            session.has_changed(When::Soon);
        }
        if offered == Offered::Full && qos != QoS::AtMostOnce {
            session.behind.insert(place, Behind { next: offset, reads: true });
            offered = Offered::Waiting;
        }
        drop(session);
        self.bell.notify_one();
        offered
    }
}
