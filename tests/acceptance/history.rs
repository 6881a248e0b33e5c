//! Writers, readers, SIGSTOP and SIGKILL over the real process: what writers were told and readers saw is
//! the history of one log (P1, P2).

use crate::harness::Server;
use crate::history_checker::{Event, check};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const RUNS: u64 = 10;
/// Lives of the process in a run.
const LIVES: u64 = 3;
const WRITERS: u64 = 3;
const ROWS_MAX: u64 = 8;
const STREAM: &str = "CREATE STREAM ledger (seq BIGINT) TOPIC '/ledger/{name}'
  WITH (partitions = 1, max_future_skew = '1 hour');";
const ALL: &str = "SELECT \"offset\", seq FROM ledger ORDER BY \"offset\"";

/// What a run has seen so far.
#[derive(Debug, Default)]
struct Run {
    events: Mutex<Vec<Event>>,
    writes: AtomicU64,
}

impl Run {
    fn note(&self, event: Event) {
        self.events.lock().push(event);
    }

    /// Sends requests of a few rows until told to stop or the connection breaks.
    async fn write(&self, address: &str, stop: &AtomicBool, seed: u64) {
        let client = weir::client::Client::new(address).expect("an address");
        let mut random = StdRng::seed_from_u64(seed);
        while !stop.load(Ordering::Relaxed) {
            let write = self.writes.fetch_add(1, Ordering::SeqCst);
            let rows = random.random_range(1..=ROWS_MAX);
            let values: Vec<u64> = (0..rows).map(|n| write * ROWS_MAX + n).collect();
            let body: String = values.iter().map(|value| row(write, *value)).collect();
            self.note(Event::Invoked { write, values });
            let answer = match client.post_readings(body.into()).await {
                Ok(response) => Some((response.status().as_u16(), response.bytes().await.is_ok())),
                Err(_) => None,
            };
            match answer {
                Some((200..300, true)) => self.note(Event::Confirmed { write, base_offset: None }),
                // The budget was full: nothing was taken.
                Some((429, _)) => self.note(Event::Refused { write }),
                _ => return self.note(Event::Unknown { write }),
            }
        }
    }

    /// Reads everything.
    fn read(&self, server: &Server, reader: u64) {
        let rows = server.query(ALL);
        let number = |row: &serde_json::Value, name: &str| row[name].as_u64().expect("a number");
        let offsets: Vec<u64> = rows.iter().map(|row| number(row, "offset")).collect();
        let dense: Vec<u64> = (0..rows.len() as u64).collect();
        assert_eq!(offsets, dense, "L2: offsets are dense");
        let values = rows.iter().map(|row| number(row, "seq")).collect();
        self.note(Event::Read { reader, offset: 0, values });
    }
}

/// Rows of one write have one topic, so that they go together.
fn row(write: u64, value: u64) -> String {
    let (name, time) = (write % 5, 1_700_000_000 + write);
    format!("{{\"topic\":\"/ledger/{name}\",\"time\":{time},\"seq\":{value}}}\n")
}

fn signal(server: &Server, signal: &str) {
    let pid = server.pid().to_string();
    let status = Command::new("kill").args([signal, &pid]).status().expect("kill is there");
    assert!(status.success(), "the server runs");
}

/// Writers write and a reader reads; the process stands still for a while, and is killed.
fn live_and_die(run: &Run, server: &mut Server, random: &mut StdRng) {
    let stop = AtomicBool::new(false);
    let address = server.address().to_owned();
    let mut pause = || Duration::from_millis(random.random_range(20..120));
    let pauses = [pause(), pause(), pause()];
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            let (stop, address, seed) = (&stop, &address, random.random());
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(run.write(address, stop, seed));
            });
        }
        std::thread::sleep(pauses[0]);
        run.read(server, 1);
        signal(server, "-STOP");
        std::thread::sleep(pauses[1]);
        signal(server, "-CONT");
        run.read(server, 2);
        std::thread::sleep(pauses[2]);
        server.kill();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_writers_were_told_and_readers_saw_is_the_history_of_one_log() {
    let (mut writes, mut rows) = (0, 0);
    for seed in 0..RUNS {
        let mut server = Server::start();
        // A tear is cut and told.
        server.expect("torn tail");
        server.expect("unclean");
        server.define(STREAM);
        let (run, mut random) = (Run::default(), StdRng::seed_from_u64(seed));
        for _ in 0..LIVES {
            live_and_die(&run, &mut server, &mut random);
            server.restart();
            run.read(&server, 0);
        }
        let events = run.events.into_inner();
        let confirmed = events.iter().filter(|e| matches!(e, Event::Confirmed { .. })).count();
        assert!(confirmed > 10, "run {seed}: the writers were under way: {confirmed}");
        assert_eq!(check(&events), BTreeSet::new(), "run {seed}");
        let read = events.iter().map(|event| match event {
            Event::Read { values, .. } => values.len(),
            _ => 0,
        });
        (writes, rows) = (writes + confirmed, rows + read.sum::<usize>());
    }
    println!(
        "{RUNS} runs, {} kills, as many pauses: {writes} confirmed writes, {rows} rows read",
        RUNS * LIVES
    );
}
