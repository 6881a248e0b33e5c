//! Q3: the unoccupied rooms of one building, asked while readings come in.
//!
//! Promise: an open loop. Questions are due by a clock, whatever became of those before, and a latency
//! counts from when its question was due; the readings are appended to the log that the answers are from.

use crate::Figure;
use crate::building::Building;
use crate::workload::ROOMS;
use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array,
};
use hdrhistogram::Histogram;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weir_engine::tables::latest::LatestTables;
use weir_engine::tables::reference::ReferenceTables;
use weir_ingest::log::{Log, Stream};
use weir_ingest::model::reading::{Hidden, stored_schema};
use weir_queries::catalog::{NoSystem, Sources};
use weir_queries::http::Question;
use weir_queries::session::{Parameters, QueryLimits, ReadOnly, Session};

const OCCUPANCY: &str = include_str!("../../queries/streams/occupancy.sql");
const ROWS_PER_S: u64 = 1_000_000;
const ROWS_AT_ONCE: usize = 1_000;
const ASKED_PER_S: u32 = 200;
const WARM_UP: Duration = Duration::from_secs(1);
const SECONDS: u64 = 10;

/// The rooms' series by the partition they live in.
fn rooms(log: &Log, stream: &Stream) -> Vec<Vec<u32>> {
    let mut rooms = vec![Vec::new(); stream.partitions().len()];
    for room in 0..ROOMS {
        let (b, f, u, r) = (room / 1000, room / 100 % 10, room / 10 % 10, room % 10);
        let topic = format!(
            "/org/contoso/site/berlin/building/{b}/floor/{f}/unit/{u}/room/{r}/sensors/occupancy"
        );
        let route = log.streams().route(&topic).expect("the stream takes it");
        rooms[route.partition.0 as usize].push(route.series.0);
    }
    rooms
}

/// Readings of these rooms now; every third room is empty.
fn batch(log: &Log, stream: &Stream, rooms: impl Iterator<Item = u32>) -> RecordBatch {
    let rooms: Vec<u32> = rooms.collect();
    let people = |room: &u32| if room.is_multiple_of(3) { 0 } else { i64::from(room % 5) + 1 };
    let people: Vec<i64> = rooms.iter().map(people).collect();
    let times = vec![log.clock().wall_us(); rooms.len()];
    let occupied: BooleanArray = people.iter().map(|people| Some(*people > 0)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
        Arc::new(UInt32Array::from(rooms)),
        Arc::new(Int64Array::from(people)),
        Arc::new(occupied),
    ];
    RecordBatch::try_new(stored_schema(&stream.definition(), Hidden::default()), columns)
        .expect("columns of the stream")
}

/// Appends [`ROWS_PER_S`] until told to stop; how many a second were confirmed.
fn append(log: &Log, stream: &Stream, rooms: &[Vec<u32>], stop: &AtomicBool) -> f64 {
    let (start, mut sent) = (Instant::now(), 0);
    let mut receipts = std::collections::VecDeque::new();
    let mut places = vec![0; rooms.len()];
    for lane in (0..rooms.len()).cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let due = start + Duration::from_nanos(sent * 1_000_000_000 / ROWS_PER_S);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let series = rooms[lane].iter().copied().cycle().skip(places[lane]).take(ROWS_AT_ONCE);
        receipts.push_back(stream.partitions()[lane].append(batch(log, stream, series)));
        places[lane] = (places[lane] + ROWS_AT_ONCE) % rooms[lane].len();
        sent += ROWS_AT_ONCE as u64;
        while receipts.len() > 256 {
            receipts.pop_front().expect("there are some").wait().expect("the log takes them");
        }
    }
    for receipt in receipts {
        receipt.wait().expect("the log takes them");
    }
    sent as f64 / start.elapsed().as_secs_f64()
}

/// Asks for a building and waits for the whole answer; how many rooms there were.
async fn ask(session: &Session, question: &Question, building: u32) -> usize {
    let parameters = Parameters::from_json(json!({"building": building.to_string(), "hold": 60.0}));
    let answer = session.query(question.sql, &parameters.expect("an object")).await;
    let batches = answer.expect("it is answered").collect(ROOMS).await.expect("it is answered");
    batches.iter().map(RecordBatch::num_rows).sum()
}

async fn open_loop(session: &Arc<Session>) -> Histogram<u64> {
    let question = Arc::new(Question::named("unoccupied_rooms").expect("it is shipped"));
    let start = tokio::time::Instant::now();
    let asked = u64::from(ASKED_PER_S) * (WARM_UP.as_secs() + SECONDS);
    let mut answers = tokio::task::JoinSet::new();
    for n in 0..asked {
        let due = start + Duration::from_secs(1) / ASKED_PER_S * u32::try_from(n).expect("few");
        tokio::time::sleep_until(due).await;
        let (session, question) = (Arc::clone(session), Arc::clone(&question));
        answers.spawn(async move {
            let building = u32::try_from(n % 10).expect("ten buildings");
            let rooms = ask(&session, &question, building).await;
            let third = (333..=334).contains(&rooms);
            assert!(third, "a third of the 1,000 rooms of a building are empty, not {rooms}");
            (due, due.elapsed())
        });
    }
    let mut latencies = Histogram::new(3).expect("three digits");
    while let Some(answer) = answers.join_next().await {
        let (due, latency) = answer.expect("it was answered");
        if due >= start + WARM_UP {
            let us = u64::try_from(latency.as_micros()).expect("it ends");
            latencies.record(us).expect("any latency fits");
        }
    }
    latencies
}

/// Says stop at its end, however that comes.
struct Stops<'s>(&'s AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn q3() -> Vec<Figure> {
    let building = Building::new();
    let log = &building.log;
    let stream = building.create_stream(OCCUPANCY);
    let rooms = rooms(log, &stream);
    for (partition, rooms) in stream.partitions().iter().zip(&rooms) {
        let all = batch(log, &stream, rooms.iter().copied());
        partition.append(all).wait().expect("the log takes them");
    }
    let sources = Sources {
        log: Arc::clone(log),
        latest: Arc::new(LatestTables::new(Arc::clone(log))),
        references: Arc::new(ReferenceTables::open(Arc::clone(log)).expect("there are none")),
        system: Arc::new(NoSystem),
    };
    let latest = Arc::clone(&sources.latest);
    // What comes too soon after others waits, and its time counts; the server would refuse it.
    let limits = QueryLimits { concurrent_max: 1_000, ..QueryLimits::default() };
    let session = Arc::new(Session::new(sources, Arc::new(ReadOnly), limits).expect("limits"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let stop = AtomicBool::new(false);
    let (latencies, rows_per_s) = std::thread::scope(|scope| {
        let appending = scope.spawn(|| append(log, &stream, &rooms, &stop));
        let pump = runtime.spawn(latest.pump());
        let latencies = {
            let _stops = Stops(&stop);
            runtime.block_on(open_loop(&session))
        };
        pump.abort();
        (latencies, appending.join().expect("it appends"))
    });
    let ms = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1e3;
    println!("Q3, unoccupied rooms of a building, {ASKED_PER_S} times a second for {SECONDS} s");
    println!("  beside {:.2} M rows/s appended to the log", rows_per_s / 1e6);
    println!("  p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", ms(0.5), ms(0.99), ms(0.999));
    vec![
        ("q3_p50_ms", ms(0.5), "ms"),
        ("q3_p99_ms", ms(0.99), "ms"),
        ("q3_p999_ms", ms(0.999), "ms"),
        ("q3_appended_per_s", rows_per_s, "rows/s"),
    ]
}
