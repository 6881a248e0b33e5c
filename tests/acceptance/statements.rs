//! Statements and what they do, one sentence each.

use crate::harness::Server;
use crate::line::{FREEZERS, reading};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(20);
const START: u64 = 1_700_000_000;
/// A full minute.
const MINUTE: u64 = 1_700_000_040;

const TOO_WARM: &str =
    "KEY (shop, freezer) RAISE WHEN temperature > -15 CLEAR WHEN temperature < -17
AS SELECT shop, freezer, temperature FROM freezers;";
const AVERAGES: &str = "
CREATE RULE averages AS SELECT freezer, window_end, avg(temperature) AS average
FROM TUMBLE(freezers, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
GROUP BY freezer, window_start, window_end;";

/// Asks until it is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + WITHIN;
    while !is_so() {
        assert!(Instant::now() < until, "not within {WITHIN:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A server with the freezers.
fn freezers() -> Server {
    let server = Server::start();
    server.define(FREEZERS);
    server
}

/// Waits until all rules have taken all rows.
fn rules_have_taken_all(server: &Server) {
    let behind = "SELECT * FROM system.rules WHERE lag_rows > 0 OR status = 'starting'";
    wait_until("the rules have taken all rows", || server.query(behind).is_empty());
}

#[test]
fn show_rules_says_how_each_is_and_explain_rule_how_it_is_evaluated() {
    let server = freezers();
    server.define(&format!("CREATE RULE too_warm {TOO_WARM}"));
    server.define(AVERAGES);
    server.publish(&reading(7, START, -11.0));
    rules_have_taken_all(&server);
    let rules = server.query("SHOW RULES");
    let names: Vec<&Value> = rules.iter().map(|rule| &rule["rule"]).collect();
    assert_eq!(names, ["averages", "too_warm"]);
    for rule in &rules {
        assert_eq!((&rule["status"], &rule["lag_rows"]), (&json!("running"), &json!(0)), "{rule}");
        assert!(rule["lag_seconds"].is_number() && rule["streams"] == "freezers", "{rule}");
    }
    let explained = |name: &str| {
        let rows = server.query(&format!("EXPLAIN RULE {name}"));
        rows.iter().map(ToString::to_string).collect::<String>()
    };
    let text = explained("too_warm");
    assert!(text.contains("per reading, on arrival") && text.contains("shop, freezer"), "{text}");
    let text = explained("averages");
    assert!(text.contains("once a window of 60 s is closed"), "{text}");
    let refused = server.run(&["query", "EXPLAIN RULE too_wram"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("too_warm"), "{said}");
}

#[test]
fn flush_stream_emits_the_open_windows_and_a_reading_for_one_of_them_is_then_late() {
    let server = freezers();
    server.define(AVERAGES);
    server.publish(&(reading(7, MINUTE, -18.0) + &reading(7, MINUTE + 9, -16.0)));
    server.publish(&reading(8, MINUTE + 20, -20.0));
    rules_have_taken_all(&server);
    let rows = "SELECT key, \"values\" FROM rule_rows ORDER BY key";
    assert_eq!(server.query(rows).len(), 0, "no window is closed by readings of one minute");
    server.define("FLUSH STREAM freezers;");
    let emitted = server.wait_for_rows(rows, 2, WITHIN);
    let averages: Vec<Value> = emitted
        .iter()
        .map(|row| serde_json::from_str(row["values"].as_str().expect("a text")).expect("JSON"))
        .map(|values: Value| values["average"].clone())
        .collect();
    assert_eq!(averages, [json!(-17.0), json!(-20.0)], "{emitted:?}");

    server.publish(&reading(7, MINUTE + 30, 40.0));
    let late = server.wait_for_rows("SELECT rule, topic, window_end FROM late_readings", 1, WITHIN);
    assert_eq!(
        (&late[0]["rule"], &late[0]["topic"]),
        (&json!("averages"), &json!("/shop/1/freezer/7"))
    );
    assert_eq!(server.query("SELECT * FROM freezers").len(), 4, "it is in history");
    assert_eq!(server.query(rows), emitted, "and changes no result");
}

#[test]
fn a_reading_behind_lateness_is_listed_for_the_window_it_missed() {
    let server = freezers();
    server.define(AVERAGES);
    server.publish(&(reading(7, MINUTE, -18.0) + &reading(7, MINUTE + 66, -18.0)));
    server.publish(&(reading(7, MINUTE + 58, 0.0) + &reading(7, MINUTE + 62, -18.0)));
    let late = server.wait_for_rows("SELECT * FROM late_readings", 1, WITHIN);
    rules_have_taken_all(&server);
    assert_eq!(server.query("SELECT * FROM late_readings"), late, "62 s is within lateness");
    assert!(late[0]["time"].as_str().expect("a text").contains("22:14:58"), "{late:?}");
}

#[test]
fn a_column_added_later_is_null_in_older_rows_also_after_a_restart() {
    let mut server = freezers();
    server.publish(&reading(7, START, -18.5));
    server.define("ALTER STREAM freezers ADD COLUMN humidity DOUBLE;");
    let more = reading(7, START + 1, -18.0).replace("}\n", ",\"humidity\":55.5}\n");
    server.publish(&more);
    let sql = "SELECT temperature, humidity FROM freezers ORDER BY time";
    let check = |server: &Server| {
        let rows = server.query(sql);
        assert_eq!(
            (&rows[0]["temperature"], &rows[1]["temperature"]),
            (&json!(-18.5), &json!(-18.0))
        );
        assert_eq!((&rows[0]["humidity"], &rows[1]["humidity"]), (&Value::Null, &json!(55.5)));
        let latest = server.query("SELECT humidity FROM latest.freezers");
        assert_eq!(latest, [json!({"humidity": 55.5})]);
    };
    check(&server);
    server.restart();
    check(&server);
    server.define(
        "CREATE RULE damp KEY (freezer) RAISE WHEN humidity > 60 AS SELECT freezer, humidity FROM freezers;",
    );
    server.publish(
        &more.replace("55.5", "66").replace(&(START + 1).to_string(), &(START + 2).to_string()),
    );
    server.wait_for_rows("SELECT * FROM alarms", 1, WITHIN);
}

#[test]
fn a_rule_from_earliest_judges_history_and_one_from_now_does_not() {
    let server = freezers();
    let warm_and_cold: String =
        (0..6).map(|at| reading(7, START + at, if at % 2 == 0 { -10.0 } else { -20.0 })).collect();
    server.publish(&warm_and_cold);
    server.define(&format!("CREATE RULE from_now {TOO_WARM}"));
    server.define(&format!("CREATE RULE from_earliest START FROM EARLIEST {TOO_WARM}"));
    let transitions = "SELECT rule, kind, historical FROM alarm_history
      WHERE kind IN ('raised', 'cleared') ORDER BY ordinal";
    let history = server.wait_for_rows(transitions, 6, WITHIN);
    rules_have_taken_all(&server);
    assert_eq!(server.query(transitions), history);
    assert!(history.iter().all(|row| row["rule"] == "from_earliest"), "{history:?}");
    assert!(history.iter().all(|row| row["historical"] == true), "nobody is woken for it");
    server.publish(&reading(7, START + 6, -10.0));
    let both =
        server.wait_for_rows("SELECT rule FROM alarms WHERE condition = 'active'", 2, WITHIN);
    assert_eq!(both.len(), 2);
}

#[test]
fn explain_watermark_names_the_partition_that_a_rule_waits_for_and_what_would_move_it() {
    let server = Server::start();
    server.define(
        "CREATE STREAM pumps (flow DOUBLE) TOPIC '/pump/{pump}' WITH (partitions = 2);
         CREATE RULE slow RAISE WHEN mean < 2 AS SELECT pump, avg(flow) AS mean
         FROM TUMBLE(pumps, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
         GROUP BY pump, window_start, window_end;",
    );
    let explain = || server.query("EXPLAIN WATERMARK slow");
    let rows = explain();
    assert_eq!(rows.len(), 2);
    let why = |row: &serde_json::Value| row["why"].as_str().unwrap_or_default().to_owned();
    assert!(rows.iter().all(|row| why(row).contains("no reading yet")), "{rows:?}");
    // Long past: a backfill, whose other partition learns of it once.
    server.publish("{\"topic\":\"/pump/1\",\"time\":1700000000,\"flow\":1.0}\n");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let rows = loop {
        let rows = explain();
        if rows.iter().any(|row| row["set_by"] == "/pump/1") {
            break rows;
        }
        assert!(std::time::Instant::now() < until, "{rows:?}");
    };
    let (ahead, behind): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["set_by"] == "/pump/1");
    assert_eq!(ahead[0]["newest_event_time"], "2023-11-14T22:13:20Z", "{ahead:?}");
    assert_eq!(ahead[0]["watermark"], "2023-11-14T22:13:15Z", "5 s of lateness: {ahead:?}");
    assert_eq!((&ahead[0]["holds_back"], &ahead[0]["ticks"]), (&false.into(), &"none".into()));
    assert_eq!(behind[0]["holds_back"], true, "{behind:?}");
    assert!(why(behind[0]).contains("a tick with the stream's newest event time"), "{behind:?}");
    let refused = server.run(&["query", "EXPLAIN WATERMARK slwo"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("slow"), "{said}");
}
