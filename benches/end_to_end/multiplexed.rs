//! Open-loop load over HTTP/2: requests of one connection do not wait for each other.
//!
//! Promise: as in `open_loop`; here each request that is due is sent at once, up to `UNDER_WAY_MAX` of a
//! connection.

use crate::CONNECTIONS;
use crate::load::Ask;
use crate::open_loop::{Load, Schedule, Served, TICK, Tally};
use bytes::Bytes;
use h2::client::SendRequest;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Requests under way on one connection: fewer than the server allows, because what it counts as
/// ended reaches the client later. What is due beyond that waits here, and its time counts.
const UNDER_WAY_MAX: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// What is counted while the load runs.
struct Shared {
    schedule: Schedule,
    tally: RefCell<Tally>,
    under_way: [Cell<u64>; CONNECTIONS],
}

impl Shared {
    fn under_way(&self) -> u64 {
        self.under_way.iter().map(Cell::get).sum()
    }
}

/// Offers `load` over [`CONNECTIONS`]; all of them on this thread.
pub(crate) fn run(address: &str, ask: Ask, load: Load) -> Served {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, offer(address, ask, load))
}

async fn offer(address: &str, ask: Ask, load: Load) -> Served {
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        connections.push(Connection::open(address, ask, number).await);
    }
    let (schedule, tally) = load.begin();
    let (from, end) = (tally.from, tally.end);
    let shared =
        Rc::new(Shared { schedule, tally: RefCell::new(tally), under_way: Default::default() });
    let mut behind_at_start = None;
    let mut now = Instant::now();
    while now < end {
        let mut unsent = 0;
        for (number, connection) in connections.iter_mut().enumerate() {
            let due = shared.schedule.due_until(number, now);
            connection.send(number, due, &shared);
            unsent += due.saturating_sub(connection.sent);
        }
        let behind = i64::try_from(unsent + shared.under_way()).unwrap_or(i64::MAX);
        if now >= from {
            behind_at_start.get_or_insert(behind);
        }
        tokio::time::sleep(TICK.saturating_sub(now.elapsed())).await;
        now = Instant::now();
    }
    let unsent: u64 = connections
        .iter()
        .enumerate()
        .map(|(number, c)| shared.schedule.due_until(number, now).saturating_sub(c.sent))
        .sum();
    let behind = i64::try_from(unsent + shared.under_way()).unwrap_or(i64::MAX);
    let started = Instant::now();
    while shared.under_way() > 0 {
        assert!(started.elapsed() < PATIENCE, "the server answers what it was sent");
        tokio::time::sleep(TICK).await;
    }
    let fell_behind = behind - behind_at_start.unwrap_or_default();
    shared.tally.replace(Tally::new(from, end)).served(load, fell_behind)
}

struct Connection {
    sender: SendRequest<Bytes>,
    requests: Vec<(axum::http::Request<()>, Bytes)>,
    sent: u64,
}

impl Connection {
    async fn open(address: &str, ask: Ask, number: usize) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("TCP_NODELAY is there");
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2 is spoken");
        tokio::task::spawn_local(async move { drop(connection.await) });
        let requests = ask.parts(number).into_iter().map(|(method, path, media, body)| {
            let request = axum::http::Request::builder()
                .method(method)
                .uri(format!("http://{address}{path}"))
                .header("content-type", media)
                .body(())
                .expect("a request");
            (request, Bytes::from(body))
        });
        let requests = requests.collect();
        Self { sender: sender.ready().await.expect("ready"), requests, sent: 0 }
    }

    /// Sends what is due, as far as the server lets it be under way.
    fn send(&mut self, number: usize, due: u64, shared: &Rc<Shared>) {
        let under_way = &shared.under_way[number];
        while self.sent < due && under_way.get() < UNDER_WAY_MAX {
            let at = self.sent;
            let (request, body) = &self.requests[(at % self.requests.len() as u64) as usize];
            let (answer, mut rest) =
                self.sender.send_request(request.clone(), body.is_empty()).expect("it is sent");
            if !body.is_empty() {
                rest.send_data(body.clone(), true).expect("it is sent");
            }
            self.sent += 1;
            under_way.set(under_way.get() + 1);
            let shared = Rc::clone(shared);
            tokio::task::spawn_local(async move {
                let mut answer = answer.await.expect("an answer");
                assert_eq!(answer.status(), 200, "every request is confirmed");
                while let Some(data) = answer.body_mut().data().await {
                    let length = data.expect("the rest of it").len();
                    drop(answer.body_mut().flow_control().release_capacity(length));
                }
                let due = shared.schedule.due(number, at);
                shared.tally.borrow_mut().answered(due, Instant::now());
                let under_way = &shared.under_way[number];
                under_way.set(under_way.get() - 1);
            });
        }
    }
}
