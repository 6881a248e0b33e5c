//! Requests of 1,000 rows over HTTP, each answered when its rows are durable, beside the same requests to a
//! route that reads them and keeps nothing.
//!
//! Promise: clients and server share the cores; what is counted was confirmed, and is there. The door and the
//! log are in this process; the whole server with its rules is `end_to_end`'s.

use crate::connection::{Connection, request};
use crate::workload::{self, ROWS};
use crate::{Figure, median, millions, rounds, setting};
use axum::body::Bytes;
use axum::routing::post;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_ingest::doors::{self, IngestBudget, Metrics};
use weir_ingest::log::{Log, LogConfig, Stream};
use weir_ingest::model::Limits;

const CONNECTIONS: usize = 8;
const PARTITIONS: u32 = 4;
const READINGS: &str = "/v1/readings";
const NOTHING: &str = "/nothing";
/// Rows a second that are wanted.
const FLOOR: f64 = 1.5e6;

pub(crate) fn measure() -> Vec<Figure> {
    let time = Duration::from_millis(setting("WEIR_BENCH_HTTP_MS", 3_000) as u64);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    let (mut rates, mut ratios) = (Vec::new(), Vec::new());
    for round in 1..=rounds() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = workload::running(LogConfig::new(directory.path()));
        let stream = workload::climate(&log, PARTITIONS);
        let server = Server::start(&runtime, &log);
        // The first requests learn the shapes of the rows and start the files.
        load(server.address, READINGS, time / 10);
        let before = stored(&stream);
        let (confirmed, readings) = load(server.address, READINGS, time);
        assert_eq!(stored(&stream) - before, confirmed, "what is confirmed is there");
        let (taken, nothing) = load(server.address, NOTHING, time / 3);
        server.stop(&runtime);
        log.stop();
        let (rate, beside) = (rate(confirmed, readings), rate(taken, nothing));
        println!(
            "http, round {round}: {:.2} M rows/s; where nothing is kept {:.2}",
            millions(rate),
            millions(beside)
        );
        rates.push(rate);
        ratios.push(rate / beside);
    }
    println!(
        "http: {:.2} M rows/s, at least {:.1} wanted; {:.2} of what comes through where nothing is kept",
        millions(median(&rates)),
        millions(FLOOR),
        median(&ratios)
    );
    vec![
        ("http_rows_per_s", median(&rates), "rows/s"),
        ("http_vs_nothing_kept", median(&ratios), "of the requests alone"),
    ]
}

fn rate(rows: u64, time: Duration) -> f64 {
    rows as f64 / time.as_secs_f64()
}

fn stored(stream: &Stream) -> u64 {
    stream.partitions().iter().map(|partition| partition.ends().durable_end.0).sum()
}

/// Sends requests over each connection for so long, one after its answer; the rows that were confirmed, and
/// how long it took.
fn load(address: SocketAddr, path: &str, time: Duration) -> (u64, Duration) {
    let bodies = workload::bodies();
    let requests: Vec<Vec<u8>> = bodies
        .iter()
        .map(|body| request("POST", path, "application/x-ndjson", body.as_bytes()))
        .collect();
    let requests = &requests;
    let started = Instant::now();
    let rows = std::thread::scope(|threads| {
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                threads.spawn(move || {
                    let mut connection = Connection::open(&address.to_string());
                    let mut rows = 0;
                    for request in requests.iter().cycle().skip(number) {
                        if started.elapsed() >= time {
                            break;
                        }
                        assert_eq!(connection.send(request), 200, "confirmed");
                        rows += ROWS as u64;
                    }
                    rows
                })
            })
            .collect();
        connections.into_iter().map(|connection| connection.join().expect("it ends")).sum()
    });
    (rows, started.elapsed())
}

/// The door for readings over a log, until it is stopped.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    fn start(runtime: &Runtime, log: &Arc<Log>) -> Self {
        let limits = Limits::default();
        let budget = IngestBudget::new(limits.ingest_bytes_max);
        let routes = doors::router(Arc::clone(log), budget, limits.clone(), Metrics::new())
            .route(NOTHING, post(|_: Bytes| async {}));
        let listener = runtime.block_on(doors::listen(([127, 0, 0, 1], 0).into()));
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = runtime.spawn(async move {
            let stopped = async { drop(stopped.await) };
            doors::serve(listener, routes, &limits, stopped).await.expect("served");
        });
        Self { address, stop, serving }
    }

    fn stop(self, runtime: &Runtime) {
        drop(self.stop);
        runtime.block_on(self.serving).expect("it ends");
    }
}
