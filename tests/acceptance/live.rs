//! `GET /v1/live`: readings and alarms as they become durable, to who asked for them.

use crate::harness::Server;
use crate::line::{FREEZERS, reading};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(20);

/// A client that listens, and what it has heard.
struct Listener {
    stream: TcpStream,
    heard: String,
}

impl Listener {
    fn open(server: &Server, query: &str) -> Self {
        let address = server.address().trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout can be set");
        let head = format!("GET /v1/live?{query} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the server takes it");
        let mut listener = Self { stream, heard: String::new() };
        listener.until("\r\n\r\n");
        assert!(listener.heard.starts_with("HTTP/1.1 200"), "{}", listener.heard);
        assert!(listener.heard.contains("text/event-stream"), "{}", listener.heard);
        listener
    }

    /// Listens until it has heard these words.
    fn until(&mut self, words: &str) {
        let until = Instant::now() + WITHIN;
        let mut chunk = [0_u8; 4096];
        while !self.heard.contains(words) {
            assert!(Instant::now() < until, "'{words}' is not in: {}", self.heard);
            if let Ok(read) = self.stream.read(&mut chunk) {
                self.heard.push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
        }
    }
}

#[test]
fn a_listener_hears_the_readings_or_alarms_of_its_topics_and_no_others() {
    let server = Server::start();
    server.define(FREEZERS);
    server.define(
        "CREATE RULE too_warm KEY (shop, freezer)
           RAISE WHEN temperature > -15 CLEAR WHEN temperature < -17
         AS SELECT shop, freezer, temperature FROM freezers;",
    );
    let mut readings = Listener::open(&server, "kind=readings&topic=/shop/1/freezer/8");
    let mut alarms = Listener::open(&server, "kind=alarms&topic=/shop/%2B/freezer/8");
    let mut others = Listener::open(&server, "kind=alarms&topic=/shop/2/%23");
    server.publish(&(reading(7, 1_700_000_000, -9.0) + &reading(8, 1_700_000_001, -10.5)));
    server.publish(&reading(8, 1_700_000_002, -20.5));
    readings.until("-20.5");
    alarms.until("weir.alarm.cleared");
    assert!(readings.heard.contains("event: reading"), "{}", readings.heard);
    assert!(readings.heard.contains("-10.5"), "in order, none left out: {}", readings.heard);
    assert!(alarms.heard.contains("event: alarm"), "{}", alarms.heard);
    let raised = alarms.heard.find("weir.alarm.raised").expect("raised is told before cleared");
    assert!(raised < alarms.heard.find("weir.alarm.cleared").expect("it was heard"));
    server.publish(&reading(7, 1_700_000_003, -20.5).replace("/shop/1", "/shop/2"));
    server.publish(&reading(7, 1_700_000_004, -1.5).replace("/shop/1", "/shop/2"));
    others.until("weir.alarm.raised");
    for heard in [&readings.heard, &alarms.heard] {
        assert!(!heard.contains("/shop/1/freezer/7"), "not asked for: {heard}");
    }
    assert!(!others.heard.contains("/shop/1/"), "not asked for: {}", others.heard);
}
