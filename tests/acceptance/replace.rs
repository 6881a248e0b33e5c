//! CREATE OR REPLACE of a rule that runs: its alarms go on, also over a SIGKILL.

use crate::harness::Server;
use crate::line::{FREEZERS, reading};
use crate::refusals::Connection;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);

fn too_warm(limit: i32, key: &str) -> String {
    format!(
        "CREATE OR REPLACE RULE too_warm KEY ({key}) RAISE WHEN temperature > {limit} \
         CLEAR WHEN temperature < {limit} - 5 AS SELECT shop, freezer, temperature FROM freezers;"
    )
}

fn say(server: &Server, sql: &str) -> (u16, String) {
    Connection::open(server).post("/v1/sql", "application/sql", sql.as_bytes())
}

#[test]
fn a_replaced_rule_carries_its_open_alarm_also_over_a_kill() {
    let mut server = Server::start();
    server.expect("torn tail");
    server.expect("unclean");
    server.define(FREEZERS);
    server.define(&too_warm(-15, "freezer"));
    server.publish(&(reading(7, 1_700_000_000, -10.0) + &reading(8, 1_700_000_001, -16.0)));
    let raised = server.wait_for_rows("SELECT * FROM alarms", 1, WITHIN);
    let (status, answer) = say(&server, &too_warm(-18, "freezer"));
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("version 2") && answer.contains("carried"), "{answer}");
    let (_, again) = say(&server, &too_warm(-18, "freezer"));
    assert!(again.contains("as it was"), "the same statement changes nothing: {again}");
    server.publish(&reading(8, 1_700_000_010, -16.0));
    server.wait_for_rows("SELECT * FROM alarms", 2, WITHIN);
    server.restart();
    assert_eq!(server.query("SHOW RULES")[0]["version"], 2);
    server.publish(&(reading(7, 1_700_000_020, -30.0) + &reading(8, 1_700_000_020, -30.0)));
    let sql = "SELECT kind, rule_version, alarm_id, key FROM alarm_history ORDER BY key, ordinal";
    let history = server.wait_for_rows(sql, 4, WITHIN);
    let told: Vec<String> =
        history.iter().map(|row| format!("{} {}", row["kind"], row["rule_version"])).collect();
    let expected = ["\"raised\" 1", "\"cleared\" 2", "\"raised\" 2", "\"cleared\" 2"];
    assert_eq!(told, expected, "{history:?}");
    assert_eq!(history[0]["alarm_id"], history[1]["alarm_id"], "the same occurrence");
    assert_eq!(history[0]["alarm_id"], raised[0]["alarm_id"]);
}

#[test]
fn other_keys_close_open_alarms_and_the_answer_says_so() {
    let server = Server::start();
    server.define(FREEZERS);
    server.define(&too_warm(-15, "freezer"));
    server.publish(&reading(7, 1_700_000_000, -10.0));
    server.wait_for_rows("SELECT * FROM alarms", 1, WITHIN);
    let (status, answer) = say(&server, &too_warm(-15, "shop, freezer"));
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("rule_dropped") && answer.contains("KEY"), "{answer}");
    let history = server.wait_for_rows("SELECT * FROM alarm_history ORDER BY ordinal", 2, WITHIN);
    assert_eq!(
        (&history[1]["kind"], &history[1]["reason"]),
        (&"rule_dropped".into(), &"replaced".into())
    );
    assert_eq!(server.query("SELECT * FROM alarms").len(), 0);
}

#[test]
fn a_version_that_cannot_be_leaves_the_old_one_running() {
    let server = Server::start();
    server.define(FREEZERS);
    server.define(&too_warm(-15, "freezer"));
    let earliest = "CREATE OR REPLACE RULE too_warm START FROM EARLIEST RAISE WHEN temperature > 0 \
                    AS SELECT freezer, temperature FROM freezers";
    for (sql, words) in [
        (too_warm(-15, "till"), "till"),
        (earliest.to_owned(), "START FROM"),
        (too_warm(-15, "freezer").replace("OR REPLACE ", ""), "OR REPLACE"),
    ] {
        let (status, answer) = say(&server, &sql);
        assert!((400..500).contains(&status) && answer.contains(words), "{status} {answer}");
    }
    let rule = &server.query("SHOW RULES")[0];
    assert_eq!((&rule["version"], &rule["status"]), (&1.into(), &"running".into()));
    server.publish(&reading(7, 1_700_000_000, -10.0));
    server.wait_for_rows("SELECT * FROM alarms", 1, WITHIN);
}

#[test]
fn a_rule_reads_its_log_again_without_a_word_or_begins_anew_and_closes_its_alarms() {
    let mut server = Server::start();
    server.expect("torn tail");
    server.expect("unclean");
    server.define(FREEZERS);
    server.define(&too_warm(-15, "freezer"));
    server.publish(&(reading(7, 1_700_000_000, -10.0) + &reading(8, 1_700_000_001, -30.0)));
    let raised = server.wait_for_rows("SELECT * FROM alarms", 1, WITHIN);
    let (status, answer) = say(&server, "REPLAY RULE too_warm");
    assert_eq!(status, 200, "{answer}");
    server.publish(&reading(8, 1_700_000_002, -10.0));
    server.wait_for_rows("SELECT * FROM alarms", 2, WITHIN);
    let (status, answer) = say(&server, "RESET RULE too_warm");
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("version 2") && answer.contains(": 2"), "{answer}");
    assert_eq!(server.query("SELECT * FROM alarms").len(), 0);
    server.restart();
    server.publish(&reading(7, 1_700_000_010, -10.0));
    let again = server.wait_for_rows("SELECT * FROM alarms", 1, WITHIN);
    assert_ne!(again[0]["alarm_id"], raised[0]["alarm_id"], "another occurrence");
    let sql = "SELECT kind, rule_version, reason FROM alarm_history ORDER BY rule_version, ordinal";
    let history = server.wait_for_rows(sql, 5, WITHIN);
    let told: Vec<String> =
        history.iter().map(|row| format!("{} {}", row["kind"], row["rule_version"])).collect();
    let dropped = "\"rule_dropped\" 1";
    assert_eq!(told, ["\"raised\" 1", "\"raised\" 1", dropped, dropped, "\"raised\" 2"]);
    let (status, answer) = say(&server, "RESET RULE too_cold");
    assert!(status == 400 && answer.contains("no rule 'too_cold'"), "{status} {answer}");
}
