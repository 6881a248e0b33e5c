//! End to end over HTTP: readings confirmed durable a second, reading to webhook, peak memory.
//!
//! Promise: everything is compared within one run, the disk and a server that stores nothing
//! included; the last lines are `figure NAME VALUE UNIT`. Run by `cargo bench --bench end_to_end`.

#![allow(clippy::disallowed_methods, reason = "measures the machine's own time and disk")]

#[path = "../connection.rs"]
mod connection;
mod load;
mod multiplexed;
mod open_loop;
#[path = "../syncs.rs"]
mod syncs;
mod webhook;

use connection::Connection;
use hdrhistogram::Histogram;
use load::Wire;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const CONNECTIONS: usize = 8;

/// Four partitions, as every stream unless it says otherwise, and one: where requests are small, each
/// sync serves more of them the fewer partitions they are spread over.
const PARTITIONS: [u32; 2] = [4, 1];

/// Figure, rows a request, and partitions of the stream they go to.
const LOADS: [(&str, usize, u32); 3] = [
    ("http_rows_per_s_1_of_4_partitions", 1, 4),
    ("http_rows_per_s_100", 100, 4),
    ("http_rows_per_s_1000", 1000, 4),
];
/// Single rows into one partition.
const SINGLE_ROWS: [(&str, Wire); 2] =
    [("http_rows_per_s_1", Wire::Http2), ("http1_rows_per_s_1", Wire::Http1)];
const ROUNDS: usize = 5;

fn define(partitions: u32) -> String {
    format!(
        "CREATE STREAM climate_{partitions} (temperature DOUBLE, humidity DOUBLE, co2 DOUBLE)
         TOPIC '/org/{{org}}/building/{{building}}/floor/{{floor}}/room/{{room}}/climate_{partitions}'
         WITH (future = 'stamp', lateness = '1 minute', partitions = {partitions})"
    )
}

/// Times from a nanosecond to a minute, three digits of each.
fn nanoseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds in order")
}

/// The server under load, in a directory of its own.
struct Server {
    child: Child,
    address: String,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let configuration = directory.path().join("weir.toml");
        std::fs::write(&configuration, "[engine]\nwebhook_allow = [\"127.0.0.0/8\"]\n")
            .expect("the directory is writable");
        let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["serve", "--http", "127.0.0.1:0", "--data"])
            .arg(directory.path().join("data"))
            .arg("--config")
            .arg(configuration)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("it names its address");
        let address = line.split("http://").nth(1).expect("an address").trim().to_owned();
        Self { child, address, directory }
    }

    fn sql(&self, text: &str) {
        let request = connection::request("POST", "/v1/sql", "text/plain", text.as_bytes());
        let answer = Connection::open(&self.address).send(&request);
        assert_eq!(answer, 200, "{text}");
    }

    /// Peak of the resident memory so far.
    fn peak_memory_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: f64 =
            line.and_then(|text| text.trim().split(' ').next()?.parse().ok()).unwrap_or_default();
        kib / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Single rows against their floor, in rounds: the disk, the server without storing and the load change
/// places within seconds, because the disk is another from minute to minute. The median rate.
fn single_rows(server: &Server, wire: Wire) -> f64 {
    let (mut rates, mut reached) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let disk = syncs::measure(server.directory.path());
        let empty = load::capacity(&server.address, wire, load::Ask::Health);
        let ask = load::Ask::Readings { rows: 1, partitions: 1 };
        let rate = load::sustained(&server.address, wire, ask).requests_per_s;
        let floor = (empty / 2.0).min(4.0 * disk.per_s);
        println!(
            "single rows over {wire}, round {round}: {rate:.0} rows/s; floor {floor:.0} (half of {empty:.0} requests/s, or 4 for each of {:.0} syncs/s)",
            disk.per_s
        );
        rates.push(rate);
        reached.push(rate / floor);
    }
    println!(
        "single rows over {wire}: {:.2} of the floor, the median of {ROUNDS} rounds",
        median(reached)
    );
    median(rates)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    weir::cli::install_crypto();
    let server = Server::start();
    for partitions in PARTITIONS {
        server.sql(&define(partitions));
    }
    let disk = syncs::measure(server.directory.path());
    println!("fdatasync of 4 KiB appended: {disk}");
    let mut figures: Vec<(&str, f64, &str)> = Vec::new();
    let empty = load::capacity(&server.address, Wire::Http1, load::Ask::Health);
    println!("the same server answering 200 without storing: {empty:.0} requests/s");
    let named: Vec<String> = std::env::args().filter(|name| name.starts_with("http")).collect();
    let wanted = |figure: &str| named.is_empty() || named.iter().any(|name| name == figure);
    for (figure, rows, partitions) in LOADS.into_iter().filter(|(figure, ..)| wanted(figure)) {
        let sustained =
            load::sustained(&server.address, Wire::Http1, load::Ask::Readings { rows, partitions });
        let rows_per_s = sustained.requests_per_s * rows as f64;
        println!(
            "requests of {rows:>4} rows, {CONNECTIONS} connections, {partitions} partitions: {rows_per_s:>9.0} rows/s sustained, {:>9.0} overloaded; {}",
            sustained.capacity_per_s * rows as f64,
            sustained.latency
        );
        figures.push((figure, rows_per_s, "rows/s"));
    }
    for (figure, wire) in SINGLE_ROWS.into_iter().filter(|(figure, _)| wanted(figure)) {
        figures.push((figure, single_rows(&server, wire), "rows/s"));
    }
    if named.is_empty() {
        let webhook = webhook::measure(&server);
        println!("reading to webhook, a per-reading rule, 100 readings/s: {}", webhook.latency);
        println!(
            "floor of the webhook: p50 {:.1} of {:.1} ms, p99 {:.1} of {:.1} ms",
            webhook.p50_ms,
            3.0 + 2.0 * disk.p50_ms,
            webhook.p99_ms,
            20.0 + 3.0 * disk.p99_ms
        );
        figures.push(("reading_to_webhook_p50_ms", webhook.p50_ms, "ms"));
        figures.push(("reading_to_webhook_p99_ms", webhook.p99_ms, "ms"));
    }
    figures.push(("peak_memory_mib", server.peak_memory_mib(), "MiB"));
    for (name, value, unit) in figures {
        println!("figure {name} {value:.3} {unit}");
    }
}
