//! The deliveries of one subscription: what may be sent now, what waits, what is finished.
//!
//! Promise: pure; time comes in as microseconds. Order is kept per alarm key (one in flight per
//! key), nothing offered is lost, and the cursor never passes an unfinished event (A3).
//! Elsewhere: who reads the log, sends and commits is `worker`; the delays are `ladder`'s.

use super::ladder::{Ladder, Outcome, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::model::Offset;

/// Which log an event was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// internal/alarms.
    Alarms = 0,
    /// internal/rows.
    Rows = 1,
    /// Asked for by a person; has no cursor.
    Again = 2,
}

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its log.
    pub source: Source,
    /// Its offset there.
    pub offset: Offset,
}

/// How much one subscription may hold and do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Events read ahead and not finished.
    pub events_max: usize,
    /// Bytes of them.
    pub bytes_max: usize,
    /// Requests at once.
    pub in_flight_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events_max: 1_024, bytes_max: 16 * 1024 * 1024, in_flight_max: 64 }
    }
}

/// Failures in a row, over all keys, after which an endpoint counts as unhealthy.
pub const UNHEALTHY_AFTER: u32 = 3;
/// Longest time between two probes of an unhealthy endpoint: a new alarm waits no longer than this.
pub const PROBE_PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// One event handed to the queue.
#[derive(Debug, Clone)]
pub struct Offer<E> {
    /// Where it stands.
    pub place: Place,
    /// What order is kept by.
    pub key: Arc<str>,
    /// When it was logged, microseconds.
    pub logged_us: i64,
    /// What it takes in memory.
    pub bytes: usize,
    /// Attempts an earlier process made.
    pub attempts: u32,
    /// The event.
    pub event: E,
}

/// What the worker is to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<E> {
    /// Send it, then say [`Queue::outcome`].
    Send {
        /// Which.
        place: Place,
        /// From 1.
        attempt: u32,
        /// The event.
        event: E,
    },
    /// Write it into the dead letters, then say [`Queue::buried`].
    Bury(Burial<E>),
}

/// An event that is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burial<E> {
    /// Which.
    pub place: Place,
    /// Why.
    pub reason: GivenUp,
    /// Attempts made.
    pub attempts: u32,
    /// How the last one ended.
    pub last: Option<Outcome>,
    /// The event.
    pub event: E,
}

/// Why an event is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// The endpoint will not take it.
    Refused,
    /// Older than `expire`.
    Expired,
    /// Out of attempts.
    Attempts,
}

impl GivenUp {
    /// The word in the dead letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "delivery_refused",
            Self::Expired => "delivery_expired",
            Self::Attempts => "delivery_attempts",
        }
    }
}

/// What became of an event after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled<E> {
    /// Finished.
    Delivered,
    /// Waits until then.
    Retry {
        /// Microseconds.
        at_us: i64,
    },
    /// To be written into the dead letters.
    Bury(Burial<E>),
}

/// What is finished of one source, in a form that survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Everything below is finished, but for `unfinished`.
    pub read_to: Offset,
    /// Offsets below `read_to` not finished, with the attempts made; ascending.
    pub unfinished: Vec<(Offset, u32)>,
}

impl Progress {
    /// Nothing below `offset` is wanted.
    pub fn at(offset: Offset) -> Self {
        Self { read_to: offset, unfinished: Vec::new() }
    }

    /// The lowest offset not finished.
    pub fn cursor(&self) -> Offset {
        self.unfinished.first().map_or(self.read_to, |(offset, _)| *offset)
    }

    /// Attempts made of the event at `offset`; `None` if it is finished.
    pub fn attempts(&self, offset: Offset) -> Option<u32> {
        if offset >= self.read_to {
            return Some(0);
        }
        let found = self.unfinished.binary_search_by_key(&offset, |(offset, _)| *offset);
        found.ok().map(|index| self.unfinished[index].1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not to be sent before this time; in `due` if it is the head of its key.
    Waiting(i64),
    InFlight,
    Burying,
}

#[derive(Debug)]
struct Pending<E> {
    key: Arc<str>,
    expires_us: i64,
    bytes: usize,
    attempts: u32,
    last: Option<Outcome>,
    /// Its last attempt was put off to the end of its time: it gets that attempt.
    last_chance: bool,
    stage: Stage,
    event: E,
}

/// See the module.
#[derive(Debug)]
pub struct Queue<E> {
    ladder: Ladder,
    bounds: Bounds,
    pending: BTreeMap<Place, Pending<E>>,
    keys: HashMap<Arc<str>, VecDeque<Place>>,
    /// Heads that wait, by when they may be sent.
    due: BTreeSet<(i64, Place)>,
    /// Heads that wait and have no last chance coming, by when they expire.
    expiring: BTreeSet<(i64, Place)>,
    read_to: [Offset; 3],
    in_flight: usize,
    bytes: usize,
    health: Health,
}

impl<E: Clone> Queue<E> {
    /// An empty queue.
    pub fn new(ladder: Ladder, bounds: Bounds) -> Self {
        Self {
            ladder,
            bounds,
            pending: BTreeMap::new(),
            keys: HashMap::new(),
            due: BTreeSet::new(),
            expiring: BTreeSet::new(),
            read_to: [Offset(0); 3],
            in_flight: 0,
            bytes: 0,
            health: Health::default(),
        }
    }

    /// Whether another event may be offered.
    pub fn has_room(&self) -> bool {
        self.pending.len() < self.bounds.events_max && self.bytes < self.bounds.bytes_max
    }

    /// Takes an event; its offset must not be below one already offered or passed.
    pub fn offer(&mut self, offer: Offer<E>) {
        let Offer { place, key, logged_us, bytes, attempts, event } = offer;
        assert!(
            place.offset >= self.read_to[place.source as usize],
            "A3: events come in log order"
        );
        self.read_to[place.source as usize] = place.offset.plus(1);
        let waiting = self.keys.entry(Arc::clone(&key)).or_default();
        waiting.push_back(place);
        let is_head = waiting.len() == 1;
        self.bytes += bytes;
        let pending = Pending {
            key,
            expires_us: after(logged_us, self.ladder.expire()),
            bytes,
            attempts,
            last: None,
            last_chance: false,
            stage: Stage::Waiting(logged_us),
            event,
        };
        self.pending.insert(place, pending);
        if is_head {
            self.wait(place);
        }
    }

    /// The head of a key begins to wait.
    fn wait(&mut self, place: Place) {
        let pending = &self.pending[&place];
        if let Stage::Waiting(due_us) = pending.stage {
            self.due.insert((due_us, place));
            if !pending.last_chance {
                self.expiring.insert((pending.expires_us, place));
            }
        }
    }

    /// The head of a key ends its wait.
    fn leave(&mut self, place: Place) {
        let pending = &self.pending[&place];
        if let Stage::Waiting(due_us) = pending.stage {
            self.due.remove(&(due_us, place));
            self.expiring.remove(&(pending.expires_us, place));
        }
    }

    /// Nothing below `offset` is still to be offered.
    pub fn pass(&mut self, source: Source, offset: Offset) {
        let read_to = &mut self.read_to[source as usize];
        *read_to = (*read_to).max(offset);
    }

    /// What to do now. Every step must be answered.
    pub fn next(&mut self, now_us: i64) -> Vec<Step<E>> {
        let mut steps = Vec::new();
        while let Some((expires_us, place)) = self.expiring.first().copied()
            && expires_us <= now_us
        {
            self.leave(place);
            steps.push(Step::Bury(self.bury(place, GivenUp::Expired)));
        }
        while self.in_flight < self.health.limit(self.bounds.in_flight_max, now_us) {
            let Some((due_us, place)) = self.due.first().copied() else { break };
            if due_us > now_us {
                break;
            }
            self.leave(place);
            let pending = self.pending.get_mut(&place).expect("what is due is pending");
            pending.stage = Stage::InFlight;
            pending.attempts += 1;
            self.in_flight += 1;
            self.health.sent(now_us);
            steps.push(Step::Send {
                place,
                attempt: pending.attempts,
                event: pending.event.clone(),
            });
        }
        steps
    }

    /// Answers a [`Step::Send`].
    pub fn outcome(&mut self, place: Place, outcome: Outcome, now_us: i64) -> Settled<E> {
        let verdict = outcome.verdict();
        let pending = self.pending.get_mut(&place).expect("an outcome answers an attempt");
        assert_eq!(pending.stage, Stage::InFlight, "A3: an outcome answers an attempt");
        self.in_flight -= 1;
        pending.last = Some(outcome);
        match verdict {
            Verdict::Delivered => {
                self.health.succeeded();
                self.finish(place);
                Settled::Delivered
            }
            Verdict::Permanent => Settled::Bury(self.bury(place, GivenUp::Refused)),
            Verdict::Retry { not_before } => self.retry(place, not_before, now_us),
        }
    }

    fn retry(&mut self, place: Place, not_before: Option<Duration>, now_us: i64) -> Settled<E> {
        let not_before = not_before.map(|pause| after(now_us, pause.min(self.ladder.expire())));
        self.health.failed(&self.ladder, not_before, now_us);
        let pending = self.pending.get_mut(&place).expect("the caller has just seen it");
        if pending.attempts >= self.ladder.attempts_max() {
            return Settled::Bury(self.bury(place, GivenUp::Attempts));
        }
        if now_us >= pending.expires_us {
            return Settled::Bury(self.bury(place, GivenUp::Expired));
        }
        let on_ladder = after(now_us, self.ladder.delay(pending.attempts, place.offset.0));
        let at_us = on_ladder.min(pending.expires_us).max(not_before.unwrap_or(i64::MIN));
        pending.last_chance = at_us >= pending.expires_us;
        pending.stage = Stage::Waiting(at_us);
        self.wait(place);
        Settled::Retry { at_us }
    }

    fn bury(&mut self, place: Place, reason: GivenUp) -> Burial<E> {
        let pending = self.pending.get_mut(&place).expect("only what is pending is given up");
        pending.stage = Stage::Burying;
        Burial {
            place,
            reason,
            attempts: pending.attempts,
            last: pending.last.clone(),
            event: pending.event.clone(),
        }
    }

    /// Answers a burial: the dead letter is durable.
    pub fn buried(&mut self, place: Place) {
        let stage = self.pending.get(&place).map(|pending| pending.stage);
        assert_eq!(stage, Some(Stage::Burying), "A3: only what was given up is buried");
        self.finish(place);
    }

    fn finish(&mut self, place: Place) {
        let pending = self.pending.remove(&place).expect("only what is pending is finished");
        self.bytes -= pending.bytes;
        let waiting = self.keys.get_mut(&pending.key).expect("a pending event stands in its key");
        assert_eq!(waiting.pop_front(), Some(place), "A3: order is kept per key");
        match waiting.front().copied() {
            None => {
                self.keys.remove(&pending.key);
            }
            Some(head) => self.wait(head),
        }
    }

    /// When `next` may have something to do without anything else happening.
    pub fn wake_us(&self) -> Option<i64> {
        let send = self.due.first().and_then(|(due_us, _)| {
            let may_send = self.in_flight < self.health.limit(self.bounds.in_flight_max, i64::MAX);
            may_send.then(|| (*due_us).max(self.health.hold_until_us))
        });
        let expire = self.expiring.first().map(|(expires_us, _)| *expires_us);
        send.into_iter().chain(expire).min()
    }

    /// What is finished of `source`.
    pub fn progress(&self, source: Source) -> Progress {
        let first = |offset| Place { source, offset };
        let range = self.pending.range(first(Offset(0))..=first(Offset(u64::MAX)));
        let unfinished = range.map(|(place, pending)| (place.offset, pending.attempts)).collect();
        Progress { read_to: self.read_to[source as usize], unfinished }
    }

    /// The lowest offset of `source` not finished.
    pub fn cursor(&self, source: Source) -> Offset {
        let first = |offset| Place { source, offset };
        let mut range = self.pending.range(first(Offset(0))..=first(Offset(u64::MAX)));
        range.next().map_or(self.read_to[source as usize], |(place, _)| place.offset)
    }

    /// Events held.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether the endpoint takes what it is sent.
    pub fn is_healthy(&self) -> bool {
        !self.health.is_unhealthy()
    }

    /// The endpoint granted only so many requests a minute.
    pub fn set_rate(&mut self, per_minute: Option<u32>) {
        self.health.pause_us = per_minute.map_or(0, |rate| 60_000_000 / i64::from(rate.max(1)));
    }
}

/// Whether the endpoint answers, over all keys: after [`UNHEALTHY_AFTER`] failures in a row it is
/// probed by one event at a time until it takes one, and new events wait with the rest.
#[derive(Debug, Default)]
struct Health {
    failures: u32,
    hold_until_us: i64,
    /// Microseconds between two requests, where the endpoint granted a rate.
    pause_us: i64,
}

impl Health {
    fn is_unhealthy(&self) -> bool {
        self.failures >= UNHEALTHY_AFTER
    }

    fn limit(&self, in_flight_max: usize, now_us: i64) -> usize {
        match now_us < self.hold_until_us {
            true => 0,
            false if self.is_unhealthy() => 1,
            false => in_flight_max,
        }
    }

    fn sent(&mut self, now_us: i64) {
        if self.pause_us > 0 {
            self.hold_until_us = self.hold_until_us.max(now_us.saturating_add(self.pause_us));
        }
    }

    fn succeeded(&mut self) {
        self.failures = 0;
    }

    fn failed(&mut self, ladder: &Ladder, not_before: Option<i64>, now_us: i64) {
        self.failures = self.failures.saturating_add(1);
        let mut hold = not_before.unwrap_or(i64::MIN);
        if self.is_unhealthy() {
            let pause = ladder.step(self.failures + 1 - UNHEALTHY_AFTER).min(PROBE_PAUSE_MAX);
            hold = hold.max(after(now_us, pause));
        }
        self.hold_until_us = self.hold_until_us.max(hold);
    }
}

fn after(now_us: i64, pause: Duration) -> i64 {
    now_us.saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
