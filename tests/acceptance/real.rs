//! Real readings: none lost, none late, averages and alarms as an independent computation has them.

use crate::harness::Server;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// The readings of a set: the committed excerpt, and all of them where WEIR_REAL_DATA names a folder.
pub(crate) fn sets(name: &str) -> Vec<(&'static str, String)> {
    let excerpt = Path::new(FIXTURES).join(name).join("readings.ndjson");
    let mut sets = vec![("excerpt", std::fs::read_to_string(excerpt).expect("it is committed"))];
    if let Some(folder) = std::env::var_os("WEIR_REAL_DATA") {
        let path = PathBuf::from(folder).join(name).join("readings.ndjson.gz");
        let output = Command::new("gzip").arg("-dc").arg(&path).output().expect("gzip is there");
        assert!(output.status.success(), "{} can be unpacked", path.display());
        sets.push(("all", String::from_utf8(output.stdout).expect("UTF-8")));
    }
    sets
}

pub(crate) fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(FIXTURES).join(name)).expect("it is committed")
}

/// One reading, as the independent computation sees it.
struct Reading {
    time: chrono::DateTime<chrono::Utc>,
    room: String,
    source: String,
    data: Value,
}

fn readings(text: &str) -> impl Iterator<Item = Reading> {
    text.lines().map(|line| {
        let mut reading: Value = serde_json::from_str(line).expect("JSON");
        let levels: Vec<&str> = reading["topic"].as_str().expect("text").split('/').collect();
        let (room, source) = (levels[12].to_owned(), levels[14].to_owned());
        let time = reading["time"].as_str().expect("text");
        let time = chrono::DateTime::parse_from_rfc3339(time).expect("a time").to_utc();
        Reading { time, room, source, data: reading["data"].take() }
    })
}

fn publish_all(server: &Server, which: &str, text: &str) {
    let summary = server.publish(text);
    let rows = text.lines().count() as u64;
    let expected = format!("{} accepted, 0 duplicates, 0 refused", weir::output::thousands(rows));
    assert!(summary.contains(&expected), "{which}: {summary}");
}

fn assert_none_late(server: &Server) {
    assert_eq!(server.query("SELECT count(*) AS n FROM late_readings")[0]["n"], 0, "late: 0");
}

/// (key, state, event time in seconds) of a rule's raises and clears, in order, once `count` are
/// there. A raise that nobody acknowledged is closed as superseded by the next: not counted here.
fn transitions(server: &Server, key: &str, count: usize) -> Vec<(String, String, i64)> {
    let sql = "SELECT * FROM alarm_history WHERE kind IN ('raised', 'cleared') ORDER BY append_time, rule_uid, ordinal";
    server.wait_for_rows(sql, count, Duration::from_secs(120));
    // One more look after a while: nothing may be raised beyond what is expected.
    std::thread::sleep(Duration::from_millis(500));
    let rows = server.query(sql);
    rows.iter()
        .map(|row| {
            let keys = match &row["key"] {
                Value::String(text) => serde_json::from_str(text).expect("JSON"),
                other => other.clone(),
            };
            let part = |name: &str| keys[name].as_str().unwrap_or_default().to_owned();
            let key = key.split(',').map(part).collect::<Vec<_>>().join("/");
            let time = row["time"].as_str().expect("a time");
            let time = time.parse::<chrono::DateTime<chrono::Utc>>().expect("RFC 3339").timestamp();
            (key, row["kind"].as_str().expect("a word").to_owned(), time)
        })
        .collect()
}

#[test]
fn hourly_averages_equal_an_independent_computation() {
    for (which, text) in sets("b4b_windesheim") {
        let server = Server::start();
        server.define(fixture("b4b.sql").split("-- Stale air").next().expect("the stream"));
        publish_all(&server, which, &text);
        let mut expected: BTreeMap<(String, String, i64), (f64, u64)> = BTreeMap::new();
        for reading in readings(&text) {
            if let Some(co2) = reading.data["co2"].as_f64() {
                let hour = reading.time.timestamp() / 3600 * 3600;
                let cell = expected.entry((reading.room, reading.source, hour)).or_default();
                *cell = (cell.0 + co2, cell.1 + 1);
            }
        }
        let rows = server.query(
            "SELECT room, source, date_trunc('hour', time) AS hour, avg(co2) AS mean, count(co2) AS n
             FROM office WHERE co2 IS NOT NULL GROUP BY room, source, date_trunc('hour', time)",
        );
        assert_eq!(rows.len(), expected.len(), "{which}: one row an hour, room and source");
        for row in rows {
            let text = |name: &str| row[name].as_str().expect("text").to_owned();
            let hour = text("hour").parse::<chrono::DateTime<chrono::Utc>>().expect("RFC 3339");
            let key = (text("room"), text("source"), hour.timestamp());
            let (sum, count) = expected[&key];
            assert_eq!(row["n"].as_u64(), Some(count), "{which}: {key:?}");
            let (mean, found) = (sum / count as f64, row["mean"].as_f64().expect("a number"));
            assert!((found - mean).abs() <= 1e-9 * mean.abs(), "{which}: {key:?}: {found} {mean}");
        }
    }
}

#[test]
fn stale_air_alarms_equal_an_independent_fold() {
    for (which, text) in sets("b4b_windesheim") {
        let mut alarmed: HashMap<String, bool> = HashMap::new();
        let mut expected = Vec::new();
        for reading in readings(&text) {
            let Some(co2) = reading.data["co2"].as_f64() else { continue };
            let key = format!("{}/{}", reading.room, reading.source);
            let state = alarmed.entry(key.clone()).or_default();
            let said = match *state {
                false if co2 > 1000.0 => "raised",
                true if co2 < 800.0 => "cleared",
                _ => continue,
            };
            *state = !*state;
            expected.push((key, said.to_owned(), reading.time.timestamp()));
        }
        assert!(expected.len() >= 8, "{which}: the air was stale that day");
        let server = Server::start();
        server.define(&fixture("b4b.sql"));
        publish_all(&server, which, &text);
        let mut found = transitions(&server, "room,source", expected.len());
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{which}");
        assert_none_late(&server);
    }
}

#[test]
fn the_motes_rule_raises_within_the_labelled_events_only() {
    let labelled: HashSet<(String, i64)> = fixture("wsn_multihop_labelled/events.ndjson")
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).expect("JSON");
            let mote = event["topic"].as_str().expect("text").split('/').nth(12).expect("a mote");
            let time = event["time"].as_str().expect("text");
            let time = chrono::DateTime::parse_from_rfc3339(time).expect("a time").timestamp();
            (mote.to_owned(), time)
        })
        .collect();
    for (which, text) in sets("wsn_multihop_labelled") {
        let server = Server::start();
        server.define(&fixture("wsn_rule.sql"));
        publish_all(&server, which, &text);
        let raised: Vec<(String, i64)> = transitions(&server, "mote", 4)
            .into_iter()
            .filter(|(_, state, _)| state == "raised")
            .map(|(mote, _, time)| (mote, time))
            .collect();
        let motes: HashSet<&str> = raised.iter().map(|(mote, _)| mote.as_str()).collect();
        assert_eq!(motes, HashSet::from(["mote1", "mote3"]), "{which}");
        assert!(raised.iter().all(|raise| labelled.contains(raise)), "{which}: {raised:?}");
        assert_none_late(&server);
    }
}
