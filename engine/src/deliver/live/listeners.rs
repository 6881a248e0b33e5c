//! Those who listen to a live tail, and what each of them asks for.
//!
//! Promise: an event goes to everybody who asks for it, found by the patterns' index and not one by one;
//! a full queue takes nothing and counts what it missed.

use super::LiveEvent;
use crate::alarms::Transition;
use crate::deliver::interest::{InStream, Interest};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use weir_ingest::model::{StreamUid, TopicPattern};

/// The hub's end of a listener.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) pattern: TopicPattern,
    pub(super) events: mpsc::Sender<LiveEvent>,
    pub(super) missed: Arc<AtomicU64>,
}

impl Listener {
    /// Hands over an event, or counts it as missed; `make` is called only when there is room.
    fn give(&self, make: impl FnOnce() -> LiveEvent) {
        let missed = self.missed.swap(0, Ordering::AcqRel);
        let room = match missed {
            0 => self.events.capacity() > 0,
            _ => self.events.try_send(LiveEvent::lagged(missed)).is_ok(),
        };
        let given = room && self.events.try_send(make()).is_ok();
        if !given {
            let again = if room { 1 } else { missed + 1 };
            self.missed.fetch_add(again, Ordering::AcqRel);
        }
    }
}

/// All listeners of a kind, each under a number.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    slots: Vec<Option<Listener>>,
    free: Vec<u32>,
    interest: Interest,
}

impl Listeners {
    /// Whether nobody listens.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    pub(super) fn add(&mut self, listener: Listener) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("there are fewer listeners than 2^32")
        });
        self.interest.add(&listener.pattern, number);
        self.slots[number as usize] = Some(listener);
    }

    /// Forgets those that have gone.
    pub(super) fn forget_gone(&mut self) {
        for (number, slot) in (0_u32..).zip(&mut self.slots) {
            if let Some(gone) = slot.take_if(|listener| listener.events.is_closed()) {
                self.interest.remove(&gone.pattern, number);
                self.free.push(number);
            }
        }
    }

    /// Everybody missed that many.
    pub(super) fn all_missed(&self, events: u64) {
        for listener in self.slots.iter().flatten() {
            listener.missed.fetch_add(events, Ordering::AcqRel);
        }
    }

    /// Hands an alarm's event to those who ask for its subject, a member, or its reading's topic.
    pub(super) fn tell_alarm(&self, transition: &Transition, make: impl Fn() -> LiveEvent) {
        let topic = transition.topic.as_deref();
        let members = transition.members.iter().map(|member| -> &str { member });
        let paths = [&*transition.subject].into_iter().chain(members).chain(topic);
        let mut wanted: Vec<u32> = paths.flat_map(|path| self.interest.of_path(path)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        tell(&self.slots, &wanted, make);
    }

    /// Who asks for the readings of a stream.
    pub(super) fn in_stream(&mut self, stream: StreamUid) -> Audience<'_> {
        Audience { slots: &self.slots, interest: self.interest.in_stream(stream) }
    }
}

/// Those who listen to readings of one stream.
#[derive(Debug)]
pub(super) struct Audience<'l> {
    slots: &'l [Option<Listener>],
    interest: InStream<'l>,
}

impl Audience<'_> {
    /// Hands a reading's event to those who ask for its series.
    pub(super) fn tell(
        &mut self,
        series: weir_ingest::model::SeriesId,
        topic: &str,
        make: impl Fn() -> LiveEvent,
    ) {
        tell(self.slots, self.interest.of(series, || topic), make);
    }
}

/// The event is made once, and only if somebody has room for it.
fn tell(slots: &[Option<Listener>], wanted: &[u32], make: impl Fn() -> LiveEvent) {
    let mut made: Option<LiveEvent> = None;
    for listener in wanted.iter().filter_map(|number| slots[*number as usize].as_ref()) {
        listener.give(|| made.get_or_insert_with(&make).clone());
    }
}
