//! From a reading's scheduled sending to its alarm at a webhook, open loop.

use crate::Server;
use crate::connection::{Connection, request};
use crate::load::Latency;
use parking_lot::Mutex;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const READINGS: u32 = 2_000;
const EVERY: Duration = Duration::from_millis(10);
/// Each reading has a key of its own turn, so that order per key holds nothing back.
const KEYS: u32 = 100;

pub(crate) struct Measured {
    pub(crate) latency: Latency,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Number of the reading, and when its event came.
type Arrivals = Arc<Mutex<Vec<(usize, Instant)>>>;

pub(crate) fn measure(server: &Server) -> Measured {
    let arrivals: Arrivals = Arc::default();
    let port = receive(Arc::clone(&arrivals));
    server.sql(
        "CREATE STREAM probe (n BIGINT, high BOOLEAN) TOPIC '/probe/{key}' WITH (future = 'stamp')",
    );
    server
        .sql("CREATE RULE probe_high KEY (key) RAISE WHEN high AS SELECT key, n, high FROM probe");
    server.sql(&format!(
        "CREATE SUBSCRIPTION probe TO 'http://127.0.0.1:{port}/' ON '/probe' WITH (handshake = 'skip')"
    ));
    let mut connection = Connection::open(&server.address);
    let start = Instant::now() + Duration::from_millis(200);
    for n in 0..READINGS {
        let due = start + EVERY * n;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        assert_eq!(connection.send(&reading(n)), 200, "the reading is taken");
    }
    std::thread::sleep(Duration::from_secs(2));
    let mut times = crate::nanoseconds();
    for (n, arrived) in arrivals.lock().iter() {
        let scheduled = start + EVERY * u32::try_from(*n).unwrap_or(0);
        let waited = arrived.saturating_duration_since(scheduled).as_nanos();
        times.saturating_record(u64::try_from(waited).unwrap_or(u64::MAX));
    }
    assert!(times.len() >= u64::from(READINGS), "{} of {READINGS} events came", times.len());
    let latency = Latency(times);
    Measured { p50_ms: latency.ms(0.5), p99_ms: latency.ms(0.99), latency }
}

/// Each is a transition: a key's readings are high and low in turn.
fn reading(n: u32) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later than 1970").as_micros();
    let (key, high) = (n % KEYS, (n / KEYS).is_multiple_of(2));
    let body = format!("{{\"topic\":\"/probe/{key}\",\"time\":{now},\"n\":{n},\"high\":{high}}}");
    request("POST", "/v1/readings", "application/json", body.as_bytes())
}

/// Takes events on a free port.
fn receive(arrivals: Arrivals) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let arrivals = Arc::clone(&arrivals);
            std::thread::spawn(move || serve(stream, &arrivals));
        }
    });
    port
}

fn serve(stream: TcpStream, arrivals: &Arrivals) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut answers = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let now = Instant::now();
        answers.write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").ok()?;
        let event: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let data = event.get("data").unwrap_or(&event);
        // A raise also closes the occurrence before it (superseded), which shows that one's values.
        let is_of_its_reading = matches!(data["state"].as_str(), Some("raised" | "cleared"));
        if let Some(n) = data["values"]["n"].as_u64().filter(|_| is_of_its_reading) {
            arrivals.lock().push((usize::try_from(n).ok()?, now));
        }
    }
}
