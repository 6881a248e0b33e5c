//! Old readings go, what a rule needs stays, and what is gone is answered for from the receipt.

use crate::harness::Server;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const WITHIN: Duration = Duration::from_secs(60);
const SHORT: &str = "[ingest]\nsegment_age_s_max = 1\n";
const FREEZERS: &str = "CREATE STREAM freezers (temperature DOUBLE) TOPIC '/lab/{freezer}'
     WITH (partitions = 1, lateness = '0 seconds', retention = '3 seconds');
CREATE RULE too_warm KEY (freezer) RAISE WHEN temperature > -15 CLEAR WHEN temperature < -18
     AS SELECT freezer, temperature FROM freezers;";

/// A reading of now.
fn reading(freezer: u32, temperature: f64) -> String {
    #[allow(clippy::disallowed_methods, reason = "the test sends live readings")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let mut line = String::new();
    writeln!(
        line,
        "{{\"topic\":\"/lab/{freezer}\",\"time\":{now},\"temperature\":{temperature:.1}}}"
    )
    .expect("into a string");
    line
}

#[test]
fn old_readings_go_while_a_rule_goes_on_from_its_checkpoint_and_alarms_stay_explained() {
    let mut server = Server::start_configured(SHORT);
    server.define(FREEZERS);
    server.publish(&reading(7, -10.0));
    let alarms = server.wait_for_rows("SELECT alarm_id FROM alarms", 1, WITHIN);
    let id = alarms[0]["alarm_id"].as_str().expect("an id").to_owned();
    let explained = server.ok(&["alarms", "explain", &id]);
    assert!(explained.contains("complete: every row was read again"), "{explained}");
    let partition = "SELECT log_start, retention_s, held_by, held_from FROM system.partitions \
         WHERE stream = 'freezers'";
    let held = server.query(partition);
    assert_eq!(held[0]["held_by"], "rule too_warm", "{held:?}");
    assert_eq!(held[0]["retention_s"], 3.0, "{held:?}");
    // Its first checkpoint comes after ten seconds at most, if there is something to take.
    let gone = format!("{partition} AND log_start > 0");
    let until = std::time::Instant::now() + WITHIN;
    while server.query(&gone).is_empty() {
        assert!(
            std::time::Instant::now() < until,
            "nothing was removed: {:?}",
            server.query(partition)
        );
        server.publish(&reading(8, -20.0));
        std::thread::sleep(Duration::from_millis(500));
    }
    let explained = server.ok(&["alarms", "explain", &id]);
    assert!(explained.contains("expired"), "{explained}");
    assert_eq!(server.query("SELECT count(*) AS n FROM freezers WHERE freezer = '7'")[0]["n"], 0);
    server.kill();
    server.restart();
    assert_eq!(server.query("SELECT state FROM alarms").len(), 1, "it is still open");
    server.publish(&reading(7, -20.0));
    server.wait_for_rows(
        "SELECT kind FROM alarm_history WHERE rule = 'too_warm' AND kind = 'cleared'",
        1,
        WITHIN,
    );
    let rules = server.query("SELECT status FROM system.rules");
    assert_eq!(rules[0]["status"], "running", "{rules:?}");
}

#[test]
fn a_rule_that_would_keep_too_much_stops_and_says_what_to_do() {
    let mut server = Server::start_configured(&format!("{SHORT}[engine]\nhold_bytes_max = 1\n"));
    server.expect("a hold kept too much");
    server.expect("rule failed");
    server.define(FREEZERS);
    server.publish(&reading(7, -20.0));
    let failed =
        server.wait_for_rows("SELECT reason FROM system.rules WHERE status = 'failed'", 1, WITHIN);
    let error = failed[0]["reason"].as_str().expect("a sentence").to_owned();
    assert!(error.contains("RESET RULE too_warm"), "{error}");
    server.wait_for_rows("SELECT log_start FROM system.partitions WHERE log_start > 0", 1, WITHIN);
    server.define("RESET RULE too_warm;");
    server.publish(&reading(7, -10.0));
    server.wait_for_rows("SELECT alarm_id FROM alarms WHERE rule = 'too_warm'", 1, WITHIN);
}
