//! What is asked of the server, and how much of it the server sustains.
//!
//! Promise: the rate found is one that was offered by a clock (`open_loop`) and kept up with.

use crate::connection::request;
use crate::multiplexed;
use crate::open_loop::{self, Load, Served};
use hdrhistogram::Histogram;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(3);
const OVERLOADED: Duration = Duration::from_secs(2);
/// More requests a second than any server on this machine answers.
const OVERLOAD_PER_S: f64 = 2e6;
/// The share of what is offered that may be missing in a rate that counts as sustained.
const MISSED_MAX: f64 = 0.02;
/// From one offered rate to the next.
const STEP: f64 = 0.96;

/// What is asked again and again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask {
    Health,
    Readings { rows: usize, partitions: u32 },
}

/// Method, path, media type and body.
pub(crate) type Parts = (&'static str, &'static str, &'static str, Vec<u8>);

impl Ask {
    /// A few different requests of one connection.
    pub(crate) fn parts(self, connection: usize) -> Vec<Parts> {
        match self {
            Self::Health => vec![("GET", "/healthz", "text/plain", Vec::new())],
            Self::Readings { rows, partitions } => (0..16)
                .map(|at| {
                    let body = body(connection * 16 + at, rows, partitions);
                    ("POST", "/v1/readings", "application/x-ndjson", body)
                })
                .collect(),
        }
    }

    /// The same as they are written over HTTP/1.1.
    pub(crate) fn requests(self, connection: usize) -> Vec<Vec<u8>> {
        let written = |(method, path, media, body): Parts| request(method, path, media, &body);
        self.parts(connection).into_iter().map(written).collect()
    }
}

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// The server takes one request at a time of each connection.
    Http1,
    /// Many of each connection are under way.
    Http2,
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}

impl Wire {
    fn run(self, address: &str, ask: Ask, load: Load) -> Served {
        match self {
            Self::Http1 => open_loop::run(address, ask, load),
            Self::Http2 => multiplexed::run(address, ask, load),
        }
    }
}

/// NDJSON of 1,000 rooms, about 150 bytes a row.
fn body(seed: usize, rows: usize, partitions: u32) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later than 1970").as_millis();
    let mut body = String::new();
    for row in 0..rows {
        let n = seed * 7919 + row * 31;
        let (floor, room, value) = (n / 100 % 10, n % 100, n % 977);
        let time = now + row as u128;
        body.push_str(&format!(
            "{{\"topic\":\"/org/contoso/building/41/floor/{floor}/room/{room}/climate_{partitions}\",\"time\":{time},\"temperature\":{}.{value:03},\"humidity\":{}.5,\"co2\":{}}}\n",
            18 + n % 5,
            40 + n % 9,
            400 + n % 600
        ));
    }
    body.into_bytes()
}

/// Time from request to answer.
#[derive(Debug)]
pub(crate) struct Latency(pub(crate) Histogram<u64>);

impl Latency {
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e6
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, p999) = (self.ms(0.5), self.ms(0.99), self.ms(0.999));
        write!(f, "p50 {p50:.3} ms, p99 {p99:.3} ms, p99.9 {p999:.3} ms")
    }
}

/// The highest rate that was sustained.
#[derive(Debug)]
pub(crate) struct Sustained {
    /// What was answered when far more was offered.
    pub(crate) capacity_per_s: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) latency: Latency,
}

/// Requests answered a second when far more are offered.
pub(crate) fn capacity(address: &str, wire: Wire, ask: Ask) -> f64 {
    let load = Load { requests_per_s: OVERLOAD_PER_S, warm_up: WARM_UP, measured: OVERLOADED };
    wire.run(address, ask, load).answered_per_s
}

/// Offers what the overloaded server answered, then less and less until it keeps up: as many answers
/// as requests, give or take [`MISSED_MAX`], and no growing number of them waiting.
pub(crate) fn sustained(address: &str, wire: Wire, ask: Ask) -> Sustained {
    let capacity_per_s = capacity(address, wire, ask);
    let mut requests_per_s = capacity_per_s;
    loop {
        let load = Load { requests_per_s, warm_up: WARM_UP, measured: MEASURED };
        let served = wire.run(address, ask, load);
        let missed_max = requests_per_s * MISSED_MAX;
        let kept_up = served.answered_per_s >= requests_per_s - missed_max;
        if kept_up && served.fell_behind as f64 <= missed_max * MEASURED.as_secs_f64() {
            let Served { answered_per_s, latency, .. } = served;
            return Sustained { capacity_per_s, requests_per_s: answered_per_s, latency };
        }
        requests_per_s *= STEP;
        assert!(requests_per_s > 1.0, "some rate is sustained");
    }
}
