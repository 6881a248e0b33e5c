//! The paths by series against the general one: the same outputs, receipts and late readings included,
//! whatever the SELECT, the order of arrival, the partitions and the cut of batches.

use super::*;
use crate::sql::plan::Shape;
use crate::stream::window::Path;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const TUMBLE: &str = "TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '20' SECOND)";
const HOP: &str = "HOP(climate, DESCRIPTOR(time), slide => INTERVAL '10' SECOND, \
     size => INTERVAL '30' SECOND)";
const COLD: &str = "TUMBLE((SELECT *, temperature - 20 AS over FROM climate WHERE temperature < 25), \
     DESCRIPTOR(time), size => INTERVAL '20' SECOND)";
/// (aggregates, from, where, keys)
const SELECTS: [(&str, &str, &str, &str); 7] = [
    ("avg(temperature) AS a, count(*) AS n", TUMBLE, "", "building"),
    (
        "min(temperature) AS a, max(temperature) AS b, count(temperature) AS n",
        HOP,
        "",
        "building, room",
    ),
    ("sum(temperature) AS a", HOP, "WHERE room <> 'b'", "room"),
    ("sum(-temperature) AS a, avg(temperature) AS b", TUMBLE, "", "building"),
    ("count(*) AS n", TUMBLE, "WHERE temperature > 12 AND room IN ('a', 'c')", "topic"),
    ("max(over) AS a, avg(over / 2) AS b", COLD, "WHERE room < 'd'", "building"),
    ("avg(temperature / 2) AS a", HOP, "WHERE 100 / CAST(temperature AS BIGINT) > 5", "building"),
];

/// As above, of functions that are not numbers added up.
const OF_ACCUMULATORS: [(&str, &str, &str, &str); 6] = [
    ("median(temperature) AS a, count(*) AS n", TUMBLE, "", "building"),
    ("count(DISTINCT room) AS a, max(temperature) AS b", HOP, "", "building"),
    (
        "approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY temperature) AS a, count(DISTINCT temperature) AS b",
        HOP,
        "WHERE room <> 'b'",
        "building",
    ),
    ("stddev(over) AS a, count(*) FILTER (WHERE over < 0) AS b", COLD, "WHERE room < 'd'", "room"),
    ("median(temperature) AS a", HOP, "WHERE 100 / CAST(temperature AS BIGINT) > 5", "building"),
    (
        "first_value(temperature ORDER BY temperature) AS a, median(temperature) AS b",
        TUMBLE,
        "",
        "topic",
    ),
];

fn path_of(plan: &RulePlan) -> &Path {
    match &plan.shape {
        Shape::Windowed(windows) => &windows.path,
        Shape::Sessions(_) | Shape::PerReading => panic!("it has TUMBLE or HOP"),
    }
}

/// Up to 60 readings, up to 25 s out of order, whole numbers or NULL.
fn readings(random: &mut StdRng) -> String {
    let mut time = 0_i64;
    let mut text = String::new();
    for _ in 0..random.random_range(1..60) {
        time += random.random_range(0..8);
        let at = (time - random.random_range(0..25_i64)).max(0);
        let room = ["a", "b", "c", "d", "e"][random.random_range(0..5)];
        let value = match random.random_range(0..8) {
            0 => "null".to_owned(),
            _ => random.random_range(0..30).to_string(),
        };
        let cut = if random.random_range(0..4) == 0 { "|" } else { " " };
        text.push_str(&format!("{at}:{room}={value}{cut}"));
    }
    text
}

/// Runs readings through both paths, and holds what they say against each other.
fn check(seed: u64, selects: &[(&str, &str, &str, &str)], expected: impl Fn(&Path) -> bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let (aggregates, from, conditions, keys) = selects[random.random_range(0..selects.len())];
    let partitions = [1, 1, 3][random.random_range(0..3)];
    let lateness = random.random_range(0..15);
    let stream = format!(
        "CREATE STREAM climate (temperature DOUBLE) TOPIC '/building/{{building}}/room/{{room}}/climate' \
         WITH (partitions = {partitions}, lateness = '{lateness} seconds')"
    );
    let rule = format!(
        "CREATE RULE r AS SELECT {keys}, window_end, {aggregates} FROM {from} {conditions} \
         GROUP BY {keys}, window_start, window_end"
    );
    let text = readings(&mut random);
    let mut by_series = Bench::new(&stream, &rule);
    let path = path_of(by_series.runner.plan());
    assert!(expected(path), "{rule}: {path:?}");
    let mut general = Bench::planned(&stream, &rule, RulePlan::on_the_general_path);
    assert!(matches!(path_of(general.runner.plan()), Path::General(_)));
    let (got, expected) = (by_series.feed(&text), general.feed(&text));
    let said = |out: Outputs| (out.transitions, out.late, out.errors);
    assert_eq!(said(got), said(expected), "seed {seed}: {rule}\n{stream}\n{text}");
    let (got, expected) = (by_series.runner.drain_open(), general.runner.drain_open());
    assert_eq!(got, expected, "seed {seed}: {rule}");
}

#[test]
fn the_dense_path_gives_the_outputs_of_the_general_one() {
    (0..600).for_each(|seed| check(seed, &SELECTS, |path| matches!(path, Path::Dense(_))));
}

#[test]
fn groups_told_by_series_give_the_outputs_of_the_general_path() {
    let by_series = |path: &Path| matches!(path, Path::BySeries(..));
    (0..600).for_each(|seed| check(seed, &OF_ACCUMULATORS, by_series));
}

#[test]
fn a_select_that_cannot_be_worked_out_by_series_says_why() {
    for (select, keys, reason) in [
        ("avg(temperature) FILTER (WHERE room = 'a') AS a", "building", "FILTER"),
        ("count(DISTINCT room) AS a", "building", "DISTINCT"),
        ("median(temperature) AS a", "building", "median"),
        ("avg(temperature) AS a", "temperature", "level"),
        ("avg(100 / CAST(temperature AS BIGINT)) AS a", "room", "may fail"),
    ] {
        let rule = format!(
            "CREATE RULE r AS SELECT {keys}, window_end, {select} FROM {TUMBLE} \
             GROUP BY {keys}, window_start, window_end"
        );
        let bench = Bench::new(STREAM, &rule);
        let why = match path_of(bench.runner.plan()) {
            Path::General(why) | Path::BySeries(_, why) => why,
            Path::Dense(_) => panic!("{rule} is dense"),
        };
        assert!(why.contains(reason), "{rule}: {why}");
    }
}
