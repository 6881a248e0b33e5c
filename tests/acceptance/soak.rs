//! P9: five times more than the server can take, a webhook that never answers and listeners that never
//! read: its memory stays within what it was given, what was confirmed is there, and what was refused may
//! be sent again and is counted.
//!
//! `WEIR_SOAK_S=<seconds>` makes it longer than a minute.

use crate::harness::Server;
use crate::statements::wait_until;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SECONDS: u64 = 60;
/// How much more is offered than was taken.
const TIMES: f64 = 5.0;
const ROWS: u64 = 2_000;
const NAMES: u64 = 16;
/// Of so many requests one raises, and the next clears.
const RAISES: u64 = 50;
/// Connections that find out what can be taken, and those that offer more.
const FEW: u64 = 8;
const MANY: u64 = 128;
const MIB: u64 = 1024 * 1024;
const INGEST_MIB: u64 = 4;
const RULE_MIB: u64 = 32;
/// What the process may take beside what it was given.
const BESIDE_MIB: u64 = 64;
/// Stands where the number of the request will.
const NUMBER: &str = "@";

const STREAM: &str =
    "CREATE STREAM load (n BIGINT, level BIGINT) TOPIC '/load/{name}' WITH (time = 'arrival');
CREATE RULE high KEY (name) RAISE WHEN level > 0 CLEAR WHEN level < 1
  AS SELECT name, level FROM load;";

fn configuration() -> String {
    format!(
        "[engine]\nwebhook_allow = [\"127.0.0.0/8\"]\nrule_memory_max = {}\n\
         [ingest.limits]\ningest_bytes_max = {}\npartition_bytes_max = {}\nrequest_bytes_max = {MIB}\n",
        RULE_MIB * MIB,
        INGEST_MIB * MIB,
        INGEST_MIB * MIB / 2
    )
}

/// What the server said, over all connections.
#[derive(Debug, Default)]
struct Told {
    next: AtomicU64,
    refused: AtomicU64,
}

/// A connection that posts readings.
struct Connection<'a> {
    address: &'a str,
    stream: Option<BufReader<TcpStream>>,
}

impl<'a> Connection<'a> {
    fn new(address: &'a str) -> Self {
        Self { address: address.trim_start_matches("http://"), stream: None }
    }

    /// Posts; status, and whether it may come again.
    fn post(&mut self, body: &str) -> (u16, bool) {
        let stream = self.stream.get_or_insert_with(|| {
            let stream = TcpStream::connect(self.address).expect("the server listens");
            stream.set_nodelay(true).expect("a socket");
            BufReader::new(stream)
        });
        let head = format!(
            "POST /v1/readings HTTP/1.1\r\nhost: weir\r\ncontent-type: application/x-ndjson\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut out = stream.get_ref();
        out.write_all(head.as_bytes()).and_then(|()| out.write_all(body.as_bytes())).expect("sent");
        let (mut head, mut line) = (HashMap::new(), String::new());
        stream.read_line(&mut line).expect("an answer");
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        loop {
            line.clear();
            stream.read_line(&mut line).expect("an answer");
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            head.insert(name.to_lowercase(), value.to_owned());
        }
        let length = head.get("content-length").and_then(|n| n.parse().ok()).expect("a length");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("an answer");
        if head.get("connection").is_some_and(|it| it == "close") {
            self.stream = None;
        }
        (status, head.contains_key("retry-after"))
    }
}

/// A request's rows, its number left out.
fn template(level: u64) -> String {
    let row =
        |i| format!("{{\"topic\":\"/load/{}\",\"n\":{NUMBER},\"level\":{level}}}\n", i % NAMES);
    (0..ROWS).map(row).collect()
}

/// Posts over so many connections for `time`, each when it is due and at once where it is late; without a
/// rate as fast as answers come. The numbers of the requests that were confirmed.
fn load(
    server: &Server,
    told: &Told,
    connections: u64,
    time: Duration,
    rate: Option<f64>,
) -> Vec<u64> {
    let (started, templates) = (Instant::now(), [template(0), template(1)]);
    let period = rate.map(|rate| Duration::from_secs_f64((connections * ROWS) as f64 / rate));
    let run = |connection: u64| {
        let (mut to, mut confirmed) = (Connection::new(server.address()), Vec::new());
        let offset = period.unwrap_or_default().mul_f64(connection as f64 / connections as f64);
        for sent in 0.. {
            let due = started + offset + period.unwrap_or_default() * sent;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if started.elapsed() >= time {
                break;
            }
            let n = told.next.fetch_add(1, Ordering::SeqCst);
            let template = &templates[usize::from(n.is_multiple_of(RAISES))];
            match to.post(&template.replace(NUMBER, &n.to_string())) {
                (200, _) => confirmed.push(n),
                (429 | 503, true) => {
                    told.refused.fetch_add(1, Ordering::SeqCst);
                }
                other => panic!("{other:?} is no answer to a busy writer"),
            }
        }
        confirmed
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..connections).map(|connection| scope.spawn(move || run(connection))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    })
}

/// Listens to everything and reads nothing of it.
fn deaf(server: &Server) -> TcpStream {
    let address = server.address().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let head = "GET /v1/live?kind=readings&topic=/%23 HTTP/1.1\r\nhost: weir\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the server takes it");
    stream
}

/// The largest resident memory of the server so far.
fn peak_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    peak.expect("Linux tells") / 1024
}

/// Requests to the door for readings that the server says it refused.
fn counted_refusals(server: &Server) -> u64 {
    let address = server.address().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let head = "GET /metrics HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the server takes it");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    let lines = text.lines().filter(|line| line.starts_with("weir_requests_total{"));
    let refused = lines.filter(|line| line.contains("\"readings\"") && !line.contains("\"200\""));
    refused.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Every request that was confirmed is there with all its rows, and no row is there that nobody sent.
fn check(server: &Server, confirmed: &[u64], sent: u64) {
    let rows = server.query("SELECT n, count(*) AS rows FROM load GROUP BY n");
    let number = |row: &serde_json::Value, name: &str| row[name].as_u64().expect("a number");
    let stored: HashMap<u64, u64> =
        rows.iter().map(|row| (number(row, "n"), number(row, "rows"))).collect();
    let lost: Vec<_> = confirmed.iter().filter(|n| stored.get(n) != Some(&ROWS)).collect();
    assert!(lost.is_empty(), "P1: confirmed and not there with all rows: {lost:?}");
    let phantoms: Vec<_> = stored.iter().filter(|(n, rows)| **n >= sent || **rows > ROWS).collect();
    assert!(phantoms.is_empty(), "nobody sent {phantoms:?}");
}

#[test]
fn five_times_more_than_it_can_take_costs_no_row_and_no_memory() {
    let seconds = std::env::var("WEIR_SOAK_S").ok().and_then(|s| s.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let mut server = Server::start_configured(&configuration());
    server.expect("deliver");
    server.define(STREAM);
    // Connections to it are made, and nobody ever takes them up.
    let dead = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = dead.local_addr().expect("it is bound");
    server.define(&format!("CREATE SUBSCRIPTION pager TO 'http://{address}/hook' ON '/load';"));
    let deaf: Vec<TcpStream> = (0..4).map(|_| deaf(&server)).collect();

    let (told, first) = (Told::default(), time / 20);
    let mut confirmed = load(&server, &told, FEW, first, None);
    let taken = (confirmed.len() as u64 * ROWS) as f64 / first.as_secs_f64();
    assert!(taken > 0.0, "the server takes rows");
    let before = confirmed.len();
    confirmed.extend(load(&server, &told, MANY, time, Some(TIMES * taken)));
    let (sent, refused) = (told.next.into_inner(), told.refused.into_inner());
    let peak = peak_mib(&server);
    println!(
        "{taken:.0} rows/s taken alone, {:.0} offered, {:.0} taken; {sent} requests, {refused} refused; peak {peak} MiB",
        TIMES * taken,
        ((confirmed.len() - before) as u64 * ROWS) as f64 / time.as_secs_f64(),
    );
    assert!(refused > 0, "nothing was too much");
    assert_eq!(counted_refusals(&server), refused, "what is refused is counted");
    assert!(
        peak <= INGEST_MIB + RULE_MIB + BESIDE_MIB,
        "{peak} MiB, of which it was given {INGEST_MIB} for rows and {RULE_MIB} for a rule"
    );
    let mut again = Connection::new(server.address());
    let last = template(0).replace(NUMBER, &sent.to_string());
    wait_until("the next is taken", || again.post(&last).0 == 200);
    check(&server, &confirmed, sent + 1);
    drop((deaf, dead));
}
