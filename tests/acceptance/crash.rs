//! SIGKILL at a random moment under load: what was confirmed is there once, in order (P1, P2).
//!
//! `WEIR_KILLS=<number>` more or fewer of them.

use crate::harness::Server;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Kills of a CI run.
const KILLS: u32 = 500;
/// Kills between two looks at all rows.
const CHECK_EVERY: u32 = 50;
const WRITERS: u64 = 4;
const STREAM: &str = "CREATE STREAM load (writer BIGINT, seq BIGINT) TOPIC '/load/{name}'
  WITH (max_future_skew = '1 hour');";

/// One writer's rows: numbered without gaps, none sent twice.
#[derive(Debug, Default)]
struct Writer {
    number: u64,
    next: u64,
    confirmed: Vec<u64>,
}

impl Writer {
    /// Publishes requests of 1 to 20 rows until told to stop or the connection breaks.
    async fn write(&mut self, address: &str, stop: &AtomicBool, seed: u64) {
        let client = weir::client::Client::new(address).expect("an address");
        let mut random = StdRng::seed_from_u64(seed);
        while !stop.load(Ordering::Relaxed) {
            let rows = random.random_range(1..=20_u64);
            let sent: Vec<u64> = (self.next..self.next + rows).collect();
            self.next += rows;
            let body: String = sent.iter().map(|seq| self.row(*seq)).collect();
            let Ok(response) = client.post_readings(body.into()).await else { return };
            if response.status().is_success() && response.bytes().await.is_ok() {
                self.confirmed.extend(sent);
            } else {
                return;
            }
        }
    }

    fn row(&self, seq: u64) -> String {
        let (writer, time) = (self.number, 1_700_000_000 + seq / 1000);
        format!(
            "{{\"topic\":\"/load/{writer}\",\"time\":{time},\"writer\":{writer},\"seq\":{seq}}}\n"
        )
    }
}

/// Lets the writers write for a while, kills the server amidst.
fn load_and_kill(server: &mut Server, writers: &mut [Writer], random: &mut StdRng) {
    let stop = AtomicBool::new(false);
    let address = server.address().to_owned();
    let moment = Duration::from_micros(random.random_range(5_000..120_000));
    std::thread::scope(|scope| {
        for writer in writers.iter_mut() {
            let (stop, address, seed) = (&stop, &address, random.random());
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(writer.write(address, stop, seed));
            });
        }
        std::thread::sleep(moment);
        server.kill();
        stop.store(true, Ordering::Relaxed);
    });
}

fn check(server: &Server, writers: &[Writer]) {
    let rows = server.query("SELECT writer, seq FROM load ORDER BY partition, \"offset\"");
    let mut stored: HashMap<u64, Vec<u64>> = HashMap::new();
    for row in &rows {
        let number = |name: &str| row[name].as_u64().expect("a number");
        stored.entry(number("writer")).or_default().push(number("seq"));
    }
    for writer in writers {
        let found = stored.remove(&writer.number).unwrap_or_default();
        let ordered = found.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(ordered, "P2: writer {}: rows are in order and there once", writer.number);
        let set: std::collections::HashSet<u64> = found.iter().copied().collect();
        let lost: Vec<u64> =
            writer.confirmed.iter().copied().filter(|s| !set.contains(s)).collect();
        assert!(lost.is_empty(), "P1: writer {}: confirmed rows are gone: {lost:?}", writer.number);
    }
    assert!(stored.is_empty(), "nobody else wrote: {:?}", stored.keys());
}

fn kills() -> u32 {
    std::env::var("WEIR_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

#[test]
fn every_confirmed_row_survives_five_hundred_kills_once_and_in_order() {
    let mut server = Server::start();
    // A tear is cut and told.
    server.expect("torn tail");
    server.expect("unclean");
    server.define(STREAM);
    let mut random = StdRng::seed_from_u64(0x77_65_69_72);
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|number| Writer { number, ..Writer::default() }).collect();
    let started = Instant::now();
    let kills = kills();
    for round in 1..=kills {
        load_and_kill(&mut server, &mut writers, &mut random);
        server.restart();
        if round % CHECK_EVERY == 0 || round == kills {
            check(&server, &writers);
        }
    }
    let confirmed: usize = writers.iter().map(|writer| writer.confirmed.len()).sum();
    assert!(confirmed > 1000, "the writers were under way: {confirmed} rows");
    eprintln!("{confirmed} rows confirmed over {kills} kills in {:?}", started.elapsed());
}
