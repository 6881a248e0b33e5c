//! What operators say to alarms, by SQL and by `weir alarms`; and what becomes of the alarms of a
//! rule that is dropped.

use crate::harness::Server;
use crate::line::{FREEZERS, reading};
use serde_json::{Value, json};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);

/// Two freezers that are too warm, and the ids of their alarms.
fn two_alarms() -> (Server, String, String) {
    let server = Server::start();
    server.define(FREEZERS);
    server.define(
        "CREATE RULE too_warm KEY (freezer) RAISE WHEN temperature > -15
         AS SELECT freezer, temperature FROM freezers;",
    );
    server.publish(&(reading(7, 1_700_000_000, -10.0) + &reading(8, 1_700_000_001, -10.0)));
    let alarms = server.wait_for_rows("SELECT alarm_id FROM alarms ORDER BY key", 2, WITHIN);
    let id = |at: usize| alarms[at]["alarm_id"].as_str().expect("an id").to_owned();
    let (first, second) = (id(0), id(1));
    (server, first, second)
}

fn alarm(server: &Server, id: &str) -> Value {
    let sql = format!(
        "SELECT state, acknowledged, annunciation, operator, comment, shelved_until
         FROM alarms WHERE alarm_id = '{id}'"
    );
    server.query(&sql).pop().unwrap_or_default()
}

fn kinds(server: &Server, id: &str) -> Vec<Value> {
    let sql = format!("SELECT kind FROM alarm_history WHERE alarm_id = '{id}' ORDER BY ordinal");
    server.query(&sql).iter().map(|row| row["kind"].clone()).collect()
}

#[test]
fn an_alarm_is_acknowledged_shelved_and_unshelved_by_the_command_line_and_by_sql() {
    let (mut server, by_command, by_sql) = two_alarms();
    let listed = server.ok(&["alarms"]);
    assert!(listed.contains(&by_command) && listed.contains(&by_sql), "{listed}");
    let command = |arguments: &[&str]| {
        server.ok(&[&["alarms"], arguments].concat());
    };
    let sql = |text: &str| drop(server.query(&text.replace("ID", &by_sql)));
    let both = |name: &str, expected: Value| {
        for id in [&by_command, &by_sql] {
            let row = alarm(&server, id);
            assert_eq!(row[name], expected, "{row}");
        }
    };
    command(&["ack", &by_command, "--by", "kim", "--comment", "it's the door"]);
    sql("ACKNOWLEDGE ALARM 'ID' BY 'kim' COMMENT 'it''s the door'");
    both("acknowledged", json!(true));
    both("operator", json!("kim"));
    both("comment", json!("it's the door"));
    command(&["shelve", &by_command, "--for", "1h", "--by", "kim", "--reason", "repair"]);
    sql("SHELVE ALARM 'ID' FOR INTERVAL '1' HOUR BY 'kim' REASON 'repair'");
    both("state", json!("Shelved"));
    command(&["unshelve", &by_command, "--by", "kim"]);
    sql("UNSHELVE ALARM 'ID' BY 'kim'");
    both("state", json!("Acknowledged Active"));
    sql("ACKNOWLEDGE ALARM 'ID' BY 'mia'");
    both("operator", json!("kim"));
    let expected = ["raised", "acknowledged", "shelved", "unshelved"];
    assert_eq!(kinds(&server, &by_command), expected);
    assert_eq!(kinds(&server, &by_sql)[..4], expected);
    assert_eq!(kinds(&server, &by_sql)[4..], ["ineffective"], "who came second is told of");

    let refused = server.run(&["alarms", "ack", "nobody", "--by", "kim"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("no open alarm 'nobody'"), "{said}");

    server.restart();
    let state =
        |server: &Server| [&by_command, &by_sql].map(|id| alarm(server, id)["state"].clone());
    assert_eq!(state(&server), [json!("Acknowledged Active"), json!("Acknowledged Active")]);
}

#[test]
fn a_dropped_rule_closes_its_open_alarms_and_says_why() {
    let (mut server, first, second) = two_alarms();
    server.define("DROP RULE too_warm;");
    assert_eq!(server.query("SELECT * FROM alarms").len(), 0);
    for id in [&first, &second] {
        assert_eq!(kinds(&server, id), ["raised", "rule_dropped"]);
    }
    server.restart();
    assert_eq!(server.query("SHOW RULES").len(), 0);
    server.publish(&reading(7, 1_700_000_002, -10.0));
    assert_eq!(server.query("SELECT * FROM alarms").len(), 0, "nothing judges it any more");
}
