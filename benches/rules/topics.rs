//! Q4: each reading's topic against many subscriptions, as the live hub asks it.

use crate::Figure;
use crate::race::{RUNS, median};
use crate::workload::{ROOMS, Workload};
use arrow::array::AsArray;
use arrow::datatypes::UInt32Type;
use std::time::Instant;
use weir_engine::deliver::interest::Interest;
use weir_ingest::model::{SeriesId, StreamUid, TopicPattern};

const CLIMATE: StreamUid = StreamUid(1);

/// 1,000 subscriptions as people write them: a floor, a kind of room in every building, a unit on every
/// floor, a single room, a site that has nothing here.
fn subscriptions() -> Vec<TopicPattern> {
    let site = "/org/contoso/site/berlin/building";
    let hundred = |text: &dyn Fn(usize, usize) -> String| -> Vec<String> {
        (0..100).map(|n| text(n / 10, n % 10)).collect()
    };
    let mut texts = hundred(&|b, f| format!("{site}/{b}/floor/{f}/#"));
    texts.extend(hundred(&|b, r| {
        format!("/org/+/site/+/building/{b}/floor/+/unit/+/room/{r}/sensors/climate")
    }));
    texts.extend(hundred(&|f, u| format!("{site}/+/floor/{f}/unit/{u}/#")));
    texts.extend(hundred(&|b, f| format!("/org/fabrikam/site/rome/building/{b}/floor/{f}/#")));
    texts.extend((0..600).map(|n| {
        let (b, f, u, r) = (n % 10, n / 10 % 10, n / 100, n % 7);
        format!("/org/+/site/berlin/building/{b}/floor/{f}/unit/{u}/room/{r}/sensors/+")
    }));
    texts.iter().map(|text| TopicPattern::parse(text).expect("a pattern")).collect()
}

fn interest(patterns: &[TopicPattern]) -> Interest {
    let mut interest = Interest::new();
    for (number, pattern) in (0..).zip(patterns) {
        interest.add(pattern, number);
    }
    interest
}

/// How many subscriptions each room has, one pattern after another; and the seconds that took.
fn one_by_one(patterns: &[TopicPattern], workload: &Workload) -> (Vec<usize>, f64) {
    let start = Instant::now();
    let of = |room: usize| {
        let topic = workload.series.topic(SeriesId(room as u32));
        patterns.iter().filter(|pattern| pattern.matches(topic)).count()
    };
    let counts = (0..ROOMS).map(of).collect();
    (counts, start.elapsed().as_secs_f64())
}

/// The rooms' topics met for the first time: how many subscriptions there are in all; and the seconds.
fn met(interest: &mut Interest, workload: &Workload) -> (usize, f64) {
    let start = Instant::now();
    let mut stream = interest.in_stream(CLIMATE);
    let mut found = 0;
    for room in 0..ROOMS as u32 {
        found += stream.of(SeriesId(room), || workload.series.topic(SeriesId(room))).len();
    }
    (found, start.elapsed().as_secs_f64())
}

/// All readings: how often one goes to a subscription; and the seconds.
fn readings(interest: &mut Interest, workload: &Workload) -> (usize, f64) {
    let start = Instant::now();
    let mut stream = interest.in_stream(CLIMATE);
    let mut found = 0;
    for batch in &workload.batches {
        for room in batch.column(1).as_primitive::<UInt32Type>().values() {
            let series = SeriesId(*room);
            found += stream.of(series, || workload.series.topic(series)).len();
        }
    }
    (found, start.elapsed().as_secs_f64())
}

pub(crate) fn q4(workload: &Workload) -> Vec<Figure> {
    let patterns = subscriptions();
    let (of_room, linear_s) = one_by_one(&patterns, workload);
    let of_readings: usize = workload
        .batches
        .iter()
        .flat_map(|batch| batch.column(1).as_primitive::<UInt32Type>().values())
        .map(|room| of_room[*room as usize])
        .sum();
    let (mut new_s, mut warm_s) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let mut interest = interest(&patterns);
        let (found, seconds) = met(&mut interest, workload);
        assert_eq!(found, of_room.iter().sum::<usize>(), "as one pattern after another says");
        new_s.push(seconds);
        let (found, seconds) = readings(&mut interest, workload);
        assert_eq!(found, of_readings, "as one pattern after another says");
        warm_s.push(seconds);
    }
    let (new_s, warm_s) = (median(new_s), median(warm_s));
    let rate = workload.rows as f64 / warm_s;
    println!("Q4, topics against {} subscriptions: median of {RUNS} runs", patterns.len());
    println!("  {of_readings} deliveries of {} readings", workload.rows);
    println!("  one pattern after another: {:.4} M topics/s", ROOMS as f64 / linear_s / 1e6);
    println!("  {ROOMS} new topics: {:.2} ms", new_s * 1e3);
    println!("  warm series: {:.1} M readings/s", rate / 1e6);
    vec![
        ("q4_rows_per_s", rate, "rows/s"),
        ("q4_vs_one_by_one", rate / (ROOMS as f64 / linear_s), "x"),
        ("q4_new_topics_ms", new_s * 1e3, "ms"),
        ("q4_new_topics_vs_one_by_one", linear_s / new_s, "x"),
    ]
}
