//! Open-loop load: requests are due by a clock, whatever became of those before.
//!
//! Promise: a request's time counts from when it was due, so that waiting is never left out; one
//! thread serves all connections, because the load shares the machine with the server.
//! Elsewhere: what is asked is `load`'s.

use crate::CONNECTIONS;
use crate::connection::answer_in;
use crate::load::{Ask, Latency};
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How often what is due is sent and what was answered is read; adds at most this to a latency.
pub(crate) const TICK: Duration = Duration::from_micros(500);
/// Requests sent ahead of their answers on one connection (HTTP/1.1 answers in order); what is due
/// beyond that waits here, and its time counts.
const PIPELINED_MAX: u64 = 32;
const PATIENCE: Duration = Duration::from_secs(10);

/// A load, and how long it lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) requests_per_s: f64,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Load {
    /// It begins now.
    pub(crate) fn begin(self) -> (Schedule, Tally) {
        let schedule = Schedule { start: Instant::now(), requests_per_s: self.requests_per_s };
        let from = schedule.start + self.warm_up;
        (schedule, Tally::new(from, from + self.measured))
    }
}

/// What became of a load.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) answered_per_s: f64,
    pub(crate) latency: Latency,
    /// How many more requests were due and not answered at the end than at the start.
    pub(crate) fell_behind: i64,
}

/// Offers `load` over [`CONNECTIONS`].
pub(crate) fn run(address: &str, ask: Ask, load: Load) -> Served {
    let mut connections: Vec<_> =
        (0..CONNECTIONS).map(|number| Connection::open(address, ask.requests(number))).collect();
    let (schedule, mut tally) = load.begin();
    let (from, end) = (tally.from, tally.end);
    let mut behind_at_start = None;
    let mut now = Instant::now();
    while now < end {
        for (number, connection) in connections.iter_mut().enumerate() {
            connection.receive(|at| schedule.due(number, at), &mut tally);
            connection.send(schedule.due_until(number, now));
        }
        if now >= from {
            behind_at_start.get_or_insert_with(|| behind(&connections, &schedule, now));
        }
        std::thread::sleep(TICK.saturating_sub(now.elapsed()));
        now = Instant::now();
    }
    let fell_behind = behind(&connections, &schedule, now) - behind_at_start.unwrap_or_default();
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.finish(|at| schedule.due(number, at), &mut tally);
    }
    tally.served(load, fell_behind)
}

fn behind(connections: &[Connection], schedule: &Schedule, now: Instant) -> i64 {
    let behind = connections.iter().enumerate().map(|(number, connection)| {
        schedule.due_until(number, now).saturating_sub(connection.answered)
    });
    i64::try_from(behind.sum::<u64>()).unwrap_or(i64::MAX)
}

/// When which request of which connection is due: the connections take turns.
pub(crate) struct Schedule {
    start: Instant,
    requests_per_s: f64,
}

impl Schedule {
    pub(crate) fn due(&self, connection: usize, at: u64) -> Instant {
        let turn = at as f64 * CONNECTIONS as f64 + connection as f64;
        self.start + Duration::from_secs_f64(turn / self.requests_per_s)
    }

    /// How many requests of a connection are due by `now`.
    pub(crate) fn due_until(&self, connection: usize, now: Instant) -> u64 {
        let turns = (now - self.start).as_secs_f64() * self.requests_per_s;
        ((turns - connection as f64) / CONNECTIONS as f64 + 1.0).max(0.0) as u64
    }
}

/// Times of the answers that came between two moments.
pub(crate) struct Tally {
    pub(crate) from: Instant,
    pub(crate) end: Instant,
    times: hdrhistogram::Histogram<u64>,
}

impl Tally {
    pub(crate) fn new(from: Instant, end: Instant) -> Self {
        Self { from, end, times: crate::nanoseconds() }
    }

    pub(crate) fn served(self, load: Load, fell_behind: i64) -> Served {
        let answered_per_s = self.times.len() as f64 / load.measured.as_secs_f64();
        Served { answered_per_s, latency: Latency(self.times), fell_behind }
    }

    pub(crate) fn answered(&mut self, due: Instant, now: Instant) {
        if now >= self.from && now < self.end {
            let took = now.saturating_duration_since(due).as_nanos();
            self.times.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
        }
    }
}

/// A connection that never blocks.
struct Connection {
    stream: TcpStream,
    requests: Vec<Vec<u8>>,
    /// Requests handed over for sending; what the socket did not take yet is in `unsent`.
    sent: u64,
    unsent: VecDeque<(usize, usize)>,
    answered: u64,
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    fn open(address: &str, requests: Vec<Vec<u8>>) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("TCP_NODELAY is there");
        stream.set_nonblocking(true).expect("sockets need not block");
        let buffer = vec![0; 64 * 1024];
        let unsent = VecDeque::new();
        Self { stream, requests, sent: 0, unsent, answered: 0, buffer, filled: 0 }
    }

    /// Sends what is due, as far as the connection takes it.
    fn send(&mut self, due: u64) {
        while self.sent < due && self.sent - self.answered < PIPELINED_MAX {
            self.unsent.push_back(((self.sent % self.requests.len() as u64) as usize, 0));
            self.sent += 1;
        }
        while !self.unsent.is_empty() {
            let parts: Vec<_> = self
                .unsent
                .iter()
                .map(|(request, from)| IoSlice::new(&self.requests[*request][*from..]))
                .collect();
            let Some(taken) = unless_blocked(self.stream.write_vectored(&parts)) else { return };
            self.took(taken);
        }
    }

    fn took(&mut self, mut taken: usize) {
        while let Some((request, from)) = self.unsent.front_mut() {
            let left = self.requests[*request].len() - *from;
            if taken < left {
                *from += taken;
                return;
            }
            taken -= left;
            self.unsent.pop_front();
        }
    }

    /// Takes the answers that are there.
    fn receive(&mut self, due: impl Fn(u64) -> Instant, tally: &mut Tally) {
        while self.answered < self.sent {
            let free = &mut self.buffer[self.filled..];
            let Some(read) = unless_blocked(self.stream.read(free)) else { return };
            assert!(read > 0, "the connection holds");
            self.filled += read;
            let now = Instant::now();
            let mut from = 0;
            while let Some((status, length)) = answer_in(&self.buffer[from..self.filled]) {
                assert_eq!(status, 200, "every request is confirmed");
                tally.answered(due(self.answered), now);
                self.answered += 1;
                from += length;
            }
            self.buffer.copy_within(from..self.filled, 0);
            self.filled -= from;
        }
    }

    /// Waits for the answers to everything sent, so that the next load finds an idle server.
    fn finish(&mut self, due: impl Fn(u64) -> Instant, tally: &mut Tally) {
        let started = Instant::now();
        while self.answered < self.sent {
            assert!(started.elapsed() < PATIENCE, "the server answers what it was sent");
            self.send(self.sent);
            self.receive(&due, tally);
            std::thread::sleep(TICK);
        }
    }
}

fn unless_blocked(result: io::Result<usize>) -> Option<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result.expect("the connection holds")),
    }
}
