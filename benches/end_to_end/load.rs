//! A client that costs as little as it can: it shares the machine with the server.

use crate::{CONNECTIONS, MEASURED, WARM_UP};
use hdrhistogram::Histogram;
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One HTTP/1.1 connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("TCP_NODELAY is there");
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    pub(crate) fn post(&mut self, path: &str, media: &str, body: &[u8]) -> u16 {
        self.send(&request("POST", path, media, body))
    }

    /// Sends a whole request; the answer's status.
    pub(crate) fn send(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).expect("the connection holds");
        let mut filled = 0;
        loop {
            filled += self.stream.read(&mut self.buffer[filled..]).expect("the connection holds");
            let answer = &self.buffer[..filled];
            let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
            if filled >= end + 4 + length {
                return head[9..12].parse().expect("a status");
            }
        }
    }
}

pub(crate) fn request(method: &str, path: &str, media: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// What is asked again and again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask {
    Health,
    Readings { rows: usize, partitions: u32 },
}

impl Ask {
    /// A few different requests of one connection.
    fn requests(self, connection: usize) -> Vec<Vec<u8>> {
        match self {
            Self::Health => vec![request("GET", "/healthz", "text/plain", b"")],
            Self::Readings { rows, partitions } => (0..16)
                .map(|at| {
                    request(
                        "POST",
                        "/v1/readings",
                        "application/x-ndjson",
                        &body(connection * 16 + at, rows, partitions),
                    )
                })
                .collect(),
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

/// Figures of one load.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) rows_per_s: f64,
    pub(crate) latency: Latency,
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

pub(crate) fn rows_per_s(address: &str, rows: usize, partitions: u32) -> Measured {
    let (requests, latency) = saturate(address, Ask::Readings { rows, partitions });
    Measured { rows_per_s: requests * rows as f64, latency: Latency(latency) }
}

pub(crate) fn requests_per_s(address: &str, ask: Ask) -> f64 {
    saturate(address, ask).0
}

/// Every connection sends its next request when the last one was answered: the most there is.
fn saturate(address: &str, ask: Ask) -> (f64, Histogram<u64>) {
    let start = Instant::now() + WARM_UP;
    let end = start + MEASURED;
    let mut all = crate::nanoseconds();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|number| scope.spawn(move || one(address, &ask.requests(number), start, end)))
            .collect();
        for thread in threads {
            all.add(thread.join().expect("the load ran")).expect("one resolution");
        }
    });
    (all.len() as f64 / MEASURED.as_secs_f64(), all)
}

fn one(address: &str, requests: &[Vec<u8>], start: Instant, end: Instant) -> Histogram<u64> {
    let mut connection = Connection::open(address);
    let mut times = crate::nanoseconds();
    for request in requests.iter().cycle() {
        let sent = Instant::now();
        if sent >= end {
            break;
        }
        let status = connection.send(request);
        match status {
            200 => {}
            429 => {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            other => panic!("the server answered {other}"),
        }
        let now = Instant::now();
        if now >= start && now < end {
            let took = u64::try_from((now - sent).as_nanos()).unwrap_or(u64::MAX);
            times.saturating_record(took);
        }
    }
    times
}
