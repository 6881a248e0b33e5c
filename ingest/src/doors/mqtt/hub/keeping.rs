//! What of sessions and retained messages is not durable yet, and what was.
//!
//! Promise: what changed is given once, and again if it could not be made durable; a session that is over
//! is taken out of the catalog if it is there.

use super::super::filter::Filter;
use super::super::keep::Kept;
use super::super::limits::MqttLimits;
use super::super::message::{Message, Place};
use super::super::session::{Behind, Session, When};
use super::{Hub, Seat, State};
use crate::model::Offset;
use bytestring::ByteString;
use std::sync::Arc;

/// What the catalog does not have yet.
#[derive(Debug, Default)]
pub(in super::super) struct Unkept {
    /// Sessions that are over.
    pub(in super::super) gone: Vec<ByteString>,
    pub(in super::super) sessions: Vec<(Arc<Seat>, Kept)>,
    /// What is retained of a topic now.
    pub(in super::super) retained: Vec<(ByteString, Option<Arc<Message>>)>,
}

impl Unkept {
    pub(in super::super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.sessions.is_empty() && self.retained.is_empty()
    }
}

impl Hub {
    /// A session of an earlier process.
    pub(in super::super) fn restore(&self, mut session: Session) {
        session.outbound.share(&self.held);
        let mut state = self.state.lock();
        let seat = Seat::new(session);
        let session = seat.session.lock();
        for (text, subscription) in &session.subscriptions {
            if let Ok(filter) = Filter::parse(text) {
                state.routes.add(&seat, &session.client, text, &filter, *subscription);
            }
        }
        state.seats.insert(session.client.clone(), &seat);
    }

    /// A retained message of an earlier process.
    pub(in super::super) fn restore_retained(&self, message: &Arc<Message>, limits: &MqttLimits) {
        let mut state = self.state.lock();
        if !state.retained.set(message, limits) {
            tracing::warn!(topic = %message.topic, "there is no room for a retained message");
        }
        state.retained.take_changed(usize::MAX);
    }

    /// Sessions that changed and should be durable by then.
    pub(in super::super) fn changed(&self, at_least: When) -> Vec<Arc<Seat>> {
        let state = self.state.lock();
        let has_changed =
            |seat: &&Arc<Seat>| seat.session.lock().changed.is_some_and(|when| when >= at_least);
        state.seats.all().filter(has_changed).map(Arc::clone).collect()
    }

    /// What changed of these sessions, and the sessions that are over; it counts as kept from now on.
    pub(in super::super) fn unkept(&self, seats: &[Arc<Seat>]) -> Unkept {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut unkept = Unkept { gone: std::mem::take(&mut state.gone), ..Unkept::default() };
        for seat in seats {
            let mut session = seat.session.lock();
            if session.changed.take().is_none() {
                continue;
            }
            if session.is_kept() {
                let kept = Kept::of(&session, state.positions(&session));
                session.is_saved = true;
                unkept.sessions.push((Arc::clone(seat), kept));
            } else if std::mem::take(&mut session.is_saved) {
                unkept.gone.push(session.client.clone());
            }
        }
        unkept
    }

    /// How many topics have something else retained than the catalog.
    pub(in super::super) fn retained_changed(&self) -> usize {
        self.state.lock().retained.changed()
    }

    /// What is retained of at most so many of them; it counts as kept from now on.
    pub(in super::super) fn unkept_retained(&self, most: usize) -> Unkept {
        let retained = self.state.lock().retained.take_changed(most);
        Unkept { retained, ..Unkept::default() }
    }

    /// It is durable.
    pub(in super::super) fn is_kept(&self, unkept: &Unkept) {
        for (seat, _) in &unkept.sessions {
            seat.session.lock().is_refused = false;
        }
    }

    /// It could not be made durable.
    pub(in super::super) fn still_unkept(&self, unkept: Unkept) {
        let mut state = self.state.lock();
        state.gone.extend(unkept.gone);
        for (seat, _) in unkept.sessions {
            let mut session = seat.session.lock();
            session.is_refused = true;
            session.has_changed(When::Soon);
        }
        state.retained.not_kept(unkept.retained.into_iter().map(|(topic, _)| topic));
    }
}

impl State {
    /// How far a session has come in each partition: the first row that waits for it, or how far the
    /// partition was handed out.
    fn positions(&self, session: &Session) -> Vec<(Place, Offset)> {
        let first = session.outbound.first_logged();
        let mut positions: Vec<(Place, Offset)> = Vec::with_capacity(self.told.len());
        for (place, told) in &self.told {
            let next =
                first.get(place).copied().unwrap_or_else(|| session.handed_out(place, *told));
            positions.push((*place, next));
        }
        // Places that nobody follows yet in this process.
        let unfollowed = session.behind.iter().filter(|(place, _)| !self.told.contains_key(*place));
        positions.extend(unfollowed.map(|(place, Behind { next, .. })| (*place, *next)));
        positions
    }
}
