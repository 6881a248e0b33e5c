//! A3: order per key, nothing lost, the cursor waits.

use super::*;
use proptest::prelude::*;

const MS: i64 = 1_000;

fn ladder() -> Ladder {
    Ladder::new(vec![Duration::from_millis(50), Duration::from_millis(100)], EXPIRE, 30, 1)
}

const EXPIRE: Duration = Duration::from_secs(60);

fn ok() -> Outcome {
    Outcome::Answered { status: 204, retry_after: None }
}

fn status(status: u16) -> Outcome {
    Outcome::Answered { status, retry_after: None }
}

fn place(offset: u64) -> Place {
    Place { source: Source::Alarms, offset: Offset(offset) }
}

fn offer(queue: &mut Queue<u64>, offset: u64, key: &str, logged_us: i64) {
    queue.offer(Offer {
        place: place(offset),
        key: key.into(),
        logged_us,
        bytes: 10,
        attempts: 0,
        event: offset,
    });
}

/// Offsets to be sent now.
fn sends(queue: &mut Queue<u64>, now_us: i64) -> Vec<u64> {
    let sent = |step| match step {
        Step::Send { event, .. } => event,
        Step::Bury(burial) => panic!("{burial:?} was not expected"),
    };
    queue.next(now_us).into_iter().map(sent).collect()
}

fn queue() -> Queue<u64> {
    Queue::new(ladder(), Bounds { events_max: 8, bytes_max: 1_000, in_flight_max: 4 })
}

#[test]
fn keys_run_beside_one_another_and_each_in_order() {
    let mut queue = queue();
    for (offset, key) in [(0, "a"), (1, "a"), (2, "b"), (3, "a")] {
        offer(&mut queue, offset, key, 0);
    }
    assert_eq!(sends(&mut queue, 0), [0, 2]);
    assert_eq!(sends(&mut queue, 0), [0_u64; 0]);
    queue.outcome(place(0), ok(), 0);
    assert_eq!(sends(&mut queue, 0), [1]);
    queue.outcome(place(1), ok(), 0);
    assert_eq!(sends(&mut queue, 0), [3]);
}

#[test]
fn a_failed_event_holds_back_its_own_key_only() {
    let mut queue = queue();
    for (offset, key) in [(0, "a"), (1, "a"), (2, "b")] {
        offer(&mut queue, offset, key, 0);
    }
    assert_eq!(sends(&mut queue, 0), [0, 2]);
    let Settled::Retry { at_us } = queue.outcome(place(0), status(503), 0) else { panic!() };
    assert!((45 * MS..=55 * MS).contains(&at_us), "{at_us}");
    queue.outcome(place(2), ok(), 0);
    assert_eq!(sends(&mut queue, at_us - 1), [0_u64; 0]);
    assert_eq!(queue.wake_us(), Some(at_us));
    assert_eq!(sends(&mut queue, at_us), [0]);
}

#[test]
fn the_cursor_waits_for_the_oldest_unfinished_event() {
    let mut queue = queue();
    offer(&mut queue, 3, "a", 0);
    offer(&mut queue, 5, "b", 0);
    queue.pass(Source::Alarms, Offset(9));
    sends(&mut queue, 0);
    queue.outcome(place(5), ok(), 0);
    assert_eq!(queue.cursor(Source::Alarms), Offset(3));
    let progress = queue.progress(Source::Alarms);
    assert_eq!(progress.cursor(), Offset(3));
    assert_eq!(progress.attempts(Offset(3)), Some(1));
    assert_eq!(progress.attempts(Offset(5)), None);
    assert_eq!(progress.attempts(Offset(9)), Some(0));
    queue.outcome(place(3), ok(), 0);
    assert_eq!(queue.cursor(Source::Alarms), Offset(9));
}

#[test]
fn a_permanent_refusal_is_buried_after_one_attempt_and_then_the_key_goes_on() {
    let mut queue = queue();
    offer(&mut queue, 0, "a", 0);
    offer(&mut queue, 1, "a", 0);
    sends(&mut queue, 0);
    let Settled::Bury(burial) = queue.outcome(place(0), status(413), 0) else { panic!() };
    assert_eq!((burial.reason, burial.attempts), (GivenUp::Refused, 1));
    assert_eq!(queue.cursor(Source::Alarms), Offset(0), "not durable in the dead letters yet");
    assert_eq!(sends(&mut queue, 0), [0_u64; 0]);
    queue.buried(place(0));
    assert_eq!(sends(&mut queue, 0), [1]);
}

#[test]
fn an_unhealthy_endpoint_delays_new_events_and_is_probed_one_at_a_time() {
    let mut queue = queue();
    for (offset, key) in [(0, "a"), (1, "b"), (2, "c")] {
        offer(&mut queue, offset, key, 0);
    }
    assert_eq!(sends(&mut queue, 0).len(), 3);
    for offset in 0..3 {
        queue.outcome(place(offset), Outcome::TimedOut, 0);
    }
    assert!(!queue.is_healthy());
    offer(&mut queue, 3, "new", 0);
    assert_eq!(sends(&mut queue, 49 * MS), [0_u64; 0]);
    let probe = sends(&mut queue, 60 * MS);
    assert_eq!(probe, [3], "the longest due goes first");
    assert_eq!(sends(&mut queue, 60 * MS), [0_u64; 0]);
    queue.outcome(place(3), ok(), 61 * MS);
    assert_eq!(sends(&mut queue, 61 * MS).len(), 3);
}

#[test]
fn retry_after_holds_the_whole_endpoint() {
    let mut queue = queue();
    offer(&mut queue, 0, "a", 0);
    sends(&mut queue, 0);
    let busy = Outcome::Answered { status: 429, retry_after: Some(Duration::from_secs(2)) };
    assert_eq!(queue.outcome(place(0), busy, 0), Settled::Retry { at_us: 2_000 * MS });
    offer(&mut queue, 1, "b", 0);
    assert_eq!(sends(&mut queue, 1_999 * MS), [0_u64; 0]);
    assert_eq!(sends(&mut queue, 2_000 * MS), [1, 0]);
}

#[test]
fn an_event_gets_a_last_attempt_at_the_end_of_its_time() {
    let mut queue: Queue<u64> =
        Queue::new(Ladder::new(vec![Duration::from_secs(600)], EXPIRE, 30, 1), Bounds::default());
    offer(&mut queue, 0, "a", 0);
    sends(&mut queue, 0);
    let settled = queue.outcome(place(0), status(500), 0);
    assert_eq!(settled, Settled::Retry { at_us: 60_000 * MS });
    assert_eq!(sends(&mut queue, 60_005 * MS), [0]);
    let Settled::Bury(burial) = queue.outcome(place(0), status(500), 60_006 * MS) else { panic!() };
    assert_eq!((burial.reason, burial.attempts), (GivenUp::Expired, 2));
}

#[test]
fn what_expired_while_nobody_was_there_is_buried_unsent() {
    let mut queue = queue();
    offer(&mut queue, 0, "a", 0);
    offer(&mut queue, 1, "a", 61_000 * MS);
    let steps = queue.next(62_000 * MS);
    let [Step::Bury(burial)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((burial.event, burial.reason, burial.attempts), (0, GivenUp::Expired, 0));
    queue.buried(place(0));
    assert_eq!(sends(&mut queue, 62_000 * MS), [1]);
}

#[test]
fn thirty_attempts_are_enough() {
    let mut queue = Queue::new(
        Ladder::new(vec![Duration::from_millis(1)], Duration::from_secs(86_400), 30, 1),
        Bounds::default(),
    );
    offer(&mut queue, 0, "a", 0);
    let mut now_us = 0;
    for attempt in 1..=30 {
        assert_eq!(sends(&mut queue, now_us), [0], "attempt {attempt}");
        match queue.outcome(place(0), status(500), now_us) {
            Settled::Retry { .. } => assert!(attempt < 30),
            Settled::Bury(burial) => assert_eq!((burial.reason, attempt), (GivenUp::Attempts, 30)),
            Settled::Delivered => panic!(),
        }
        now_us = queue.wake_us().unwrap_or(now_us);
    }
}

#[test]
fn a_granted_rate_paces_the_requests() {
    let mut queue = queue();
    queue.set_rate(Some(60));
    offer(&mut queue, 0, "a", 0);
    offer(&mut queue, 1, "b", 0);
    assert_eq!(sends(&mut queue, 0), [0]);
    assert_eq!(sends(&mut queue, 999 * MS), [0_u64; 0]);
    assert_eq!(sends(&mut queue, 1_000 * MS), [1]);
}

#[test]
fn reading_ahead_stops_at_the_bounds() {
    let mut queue = queue();
    for offset in 0..8 {
        assert!(queue.has_room());
        offer(&mut queue, offset, "a", 0);
    }
    assert!(!queue.has_room());
    sends(&mut queue, 0);
    queue.outcome(place(0), ok(), 0);
    assert!(queue.has_room());
}

/// What the world does next.
#[derive(Debug, Clone)]
enum Move {
    Offer { key: u8 },
    Pass,
    Wait { ms: i64 },
    Answer { which: usize, status: u16 },
    Bury { which: usize },
    Restart,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let answer = prop_oneof![Just(200_u16), Just(500), Just(413), Just(429)];
    let one = prop_oneof![
        4 => (0_u8..4).prop_map(|key| Move::Offer { key }),
        1 => Just(Move::Pass),
        3 => (0_i64..30_000).prop_map(|ms| Move::Wait { ms }),
        5 => (any::<usize>(), answer).prop_map(|(which, status)| Move::Answer { which, status }),
        2 => any::<usize>().prop_map(|which| Move::Bury { which }),
        1 => Just(Move::Restart),
    ];
    proptest::collection::vec(one, 1..200)
}

/// The world around one queue, and what it knows to be true.
struct World {
    queue: Queue<u64>,
    now_us: i64,
    log: Vec<Option<(u8, i64)>>,
    in_flight: Vec<u64>,
    burying: Vec<u64>,
    finished: BTreeSet<u64>,
    first_sent: HashMap<u8, Vec<u64>>,
}

impl World {
    fn new() -> Self {
        Self {
            queue: queue(),
            now_us: 0,
            log: vec![],
            in_flight: vec![],
            burying: vec![],
            finished: BTreeSet::new(),
            first_sent: HashMap::new(),
        }
    }

    fn key(&self, offset: u64) -> u8 {
        self.log[offset as usize].unwrap().0
    }

    fn step(&mut self) {
        for step in self.queue.next(self.now_us) {
            match step {
                Step::Send { event, .. } => {
                    let key = self.key(event);
                    assert!(self.in_flight.iter().all(|other| self.key(*other) != key));
                    self.in_flight.push(event);
                    let sent = self.first_sent.entry(key).or_default();
                    if !sent.contains(&event) {
                        assert!(sent.last() < Some(&event), "A3: reordered within a key");
                        sent.push(event);
                    }
                }
                Step::Bury(burial) => self.burying.push(burial.event),
            }
        }
        let unfinished =
            |offset: &u64| self.log[*offset as usize].is_some() && !self.finished.contains(offset);
        let oldest = (0..self.log.len() as u64).find(unfinished);
        let cursor = self.queue.cursor(Source::Alarms).0;
        assert!(oldest.is_none_or(|oldest| cursor <= oldest), "A3: the cursor passed an event");
        assert!(self.queue.len() <= 8);
        if let (Some(wake), true) = (self.queue.wake_us(), self.in_flight.is_empty()) {
            assert!(wake > self.now_us, "nothing is left undone at {wake} <= {}", self.now_us);
        }
    }

    fn apply(&mut self, step: &Move) {
        match step {
            Move::Offer { key } if self.queue.has_room() => {
                self.log.push(Some((*key, self.now_us)));
                offer(&mut self.queue, self.log.len() as u64 - 1, &key.to_string(), self.now_us);
            }
            Move::Offer { .. } => {}
            Move::Pass => {
                self.log.push(None);
                self.queue.pass(Source::Alarms, Offset(self.log.len() as u64));
            }
            Move::Wait { ms } => self.now_us += ms * MS,
            Move::Answer { which, status: code } if !self.in_flight.is_empty() => {
                let event = self.in_flight.swap_remove(which % self.in_flight.len());
                match self.queue.outcome(place(event), status(*code), self.now_us) {
                    Settled::Delivered => {
                        self.finished.insert(event);
                    }
                    Settled::Retry { .. } => {}
                    Settled::Bury(burial) => self.burying.push(burial.event),
                }
            }
            Move::Bury { which } if !self.burying.is_empty() => {
                let event = self.burying.swap_remove(which % self.burying.len());
                self.queue.buried(place(event));
                self.finished.insert(event);
            }
            Move::Answer { .. } | Move::Bury { .. } => {}
            Move::Restart => self.restart(),
        }
    }

    /// A new process with the progress of the old one.
    fn restart(&mut self) {
        let progress = self.queue.progress(Source::Alarms);
        self.queue = queue();
        self.in_flight.clear();
        self.burying.clear();
        for (offset, entry) in self.log.clone().into_iter().enumerate() {
            let offset = offset as u64;
            let wanted = progress.attempts(Offset(offset)).is_some();
            assert!(wanted || entry.is_none() || self.finished.contains(&offset), "lost {offset}");
            match entry {
                Some((key, logged_us)) if wanted => {
                    offer(&mut self.queue, offset, &key.to_string(), logged_us);
                }
                _ => self.queue.pass(Source::Alarms, Offset(offset + 1)),
            }
        }
    }

    /// The endpoint gets well: everything must come to an end.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            if self.queue.is_empty() {
                return;
            }
            self.step();
            let in_flight = std::mem::take(&mut self.in_flight);
            for event in in_flight {
                self.queue.outcome(place(event), ok(), self.now_us);
                self.finished.insert(event);
            }
            for event in std::mem::take(&mut self.burying) {
                self.queue.buried(place(event));
                self.finished.insert(event);
            }
            self.now_us = self.queue.wake_us().unwrap_or(self.now_us).max(self.now_us);
        }
        panic!("the queue never ran empty: {:?}", self.queue);
    }
}

proptest! {
    #[test]
    fn never_reorders_never_loses_and_the_cursor_never_passes(moves in moves()) {
        let mut world = World::new();
        for step in &moves {
            world.apply(step);
            world.step();
        }
        world.drain();
        for (offset, entry) in world.log.iter().enumerate() {
            assert!(entry.is_none() || world.finished.contains(&(offset as u64)), "lost {offset}");
        }
        assert_eq!(world.queue.cursor(Source::Alarms), Offset(world.log.len() as u64));
    }
}
