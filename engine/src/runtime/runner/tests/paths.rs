//! The dense path against the general one: the same outputs, receipts and late readings included,
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

fn is_dense(plan: &RulePlan) -> bool {
    matches!(&plan.shape, Shape::Windowed(windows) if matches!(windows.path, Path::Dense(_)))
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

#[test]
fn both_paths_give_the_same_outputs() {
    for seed in 0..600_u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let (aggregates, from, conditions, keys) = SELECTS[random.random_range(0..SELECTS.len())];
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
        let mut dense = Bench::new(&stream, &rule);
        assert!(is_dense(dense.runner.plan()), "{rule}");
        let mut general = Bench::planned(&stream, &rule, RulePlan::on_the_general_path);
        assert!(!is_dense(general.runner.plan()));
        let (got, expected) = (dense.feed(&text), general.feed(&text));
        let said = |out: Outputs| (out.transitions, out.late, out.errors);
        assert_eq!(said(got), said(expected), "seed {seed}: {rule}\n{stream}\n{text}");
        assert_eq!(dense.runner.drain_open(), general.runner.drain_open(), "seed {seed}: {rule}");
    }
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
        let Shape::Windowed(windows) = &bench.runner.plan().shape else { panic!("{rule}") };
        let Path::General(why) = &windows.path else { panic!("{rule} is dense") };
        assert!(why.contains(reason), "{rule}: {why}");
    }
}
