//! `weir replay --data` is the reference: what a killed server logged equals it (P6).

use crate::harness::{Server, weir};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

const ROUNDS: u64 = 20;

const DEFINE: &str = "
CREATE STREAM pumps (flow DOUBLE) TOPIC '/pump/{pump}' WITH (lateness = '1 second');
CREATE RULE slow SEVERITY high KEY (pump)
  RAISE WHEN flow < 2 CLEAR WHEN flow > 8
AS SELECT pump, flow FROM pumps;
CREATE RULE low_mean KEY (pump)
  RAISE WHEN mean < 4.5 CLEAR WHEN mean > 5.5
AS SELECT pump, window_end, avg(flow) AS mean
   FROM TUMBLE(pumps, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
   GROUP BY pump, window_start, window_end;";

/// What replaces the rules on the way, by round.
const REPLACED: [(u64, &str); 3] = [
    (
        6,
        "CREATE OR REPLACE RULE slow SEVERITY high KEY (pump)
  RAISE WHEN flow < 3 CLEAR WHEN flow > 7
AS SELECT pump, flow FROM pumps;",
    ),
    (
        10,
        "CREATE OR REPLACE RULE low_mean KEY (pump)
  RAISE WHEN mean < 5 CLEAR WHEN mean > 5.2
AS SELECT pump, window_end, avg(flow) AS mean
   FROM TUMBLE(pumps, DESCRIPTOR(time), size => INTERVAL '2' MINUTE)
   GROUP BY pump, window_start, window_end;",
    ),
    (
        15,
        "CREATE OR REPLACE RULE slow SEVERITY high RAISE WHEN flow < 1 CLEAR WHEN flow > 7
AS SELECT pump, flow FROM pumps;",
    ),
];

/// Readings of ten pumps, some seconds apart, from `from_s` on.
fn readings(random: &mut StdRng, from_s: u64, count: u64) -> String {
    (0..count)
        .map(|at| {
            let (pump, flow) = (random.random_range(0..10), random.random_range(0.0..10.0));
            let time = 1_700_000_000 + from_s + at * 3;
            format!("{{\"topic\":\"/pump/{pump}\",\"time\":{time},\"flow\":{flow:.3}}}\n")
        })
        .collect()
}

#[test]
fn the_alarm_log_of_a_server_killed_twenty_times_equals_the_replay() {
    let mut server = Server::start();
    server.expect("torn tail");
    server.expect("unclean");
    server.define(DEFINE);
    let mut random = StdRng::seed_from_u64(0x70_75_6d_70);
    let mut second = 0;
    for round in 0..ROUNDS {
        for (_, sql) in REPLACED.iter().filter(|(at, _)| *at == round) {
            server.define(sql);
        }
        for _ in 0..random.random_range(1..6) {
            server.publish(&readings(&mut random, second, 40));
            second += 120;
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..30_000)));
        server.restart();
    }
    server.publish(&readings(&mut random, second, 40));
    settle(&server);
    let sql = "SELECT rule, rule_version, key, kind, id, time, \"values\" FROM alarm_history ORDER BY append_time, rule_uid, ordinal";
    let logged = server.query(sql);
    server.stop();
    let ids: HashSet<&str> = logged.iter().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(ids.len(), logged.len(), "P6: no id twice");
    assert!(logged.len() > 50, "{} transitions", logged.len());
    let versions = versions_of(&logged);
    assert_eq!(versions, ["low_mean 1", "low_mean 2", "slow 1", "slow 2", "slow 3"]);
    let output = weir().arg("replay").arg("--data").arg(server.data()).output().expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let reference: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let reference: Vec<Value> =
        reference.into_iter().filter(|line| line["kind"] == "transition").collect();
    assert_eq!(by_key(&logged), by_key(&reference), "P6: per key the same ids in the same order");
}

/// Waits until the alarm log no longer grows.
fn settle(server: &Server) {
    let count = || server.query("SELECT count(*) AS n FROM alarm_history")[0]["n"].clone();
    let mut last = count();
    loop {
        std::thread::sleep(Duration::from_millis(1500));
        let now = count();
        if now == last {
            return;
        }
        last = now;
    }
}

fn versions_of(rows: &[Value]) -> Vec<String> {
    let version = |row: &Value| {
        format!("{} {}", row["rule"].as_str().unwrap_or_default(), row["rule_version"])
    };
    rows.iter().map(version).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn by_key(rows: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        let key = match &row["key"] {
            Value::String(text) => serde_json::from_str(text).expect("JSON"),
            other => other.clone(),
        };
        let id = row["id"].as_str().expect("an id").to_owned();
        keys.entry(format!("{} {key}", row["rule"])).or_default().push(id);
    }
    keys
}
