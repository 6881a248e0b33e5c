//! What must raise does, and what must not be harmed is not.

use crate::harness::Server;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const WITHIN: Duration = Duration::from_secs(20);

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(since.as_millis()).expect("not yet that late")
}

fn shipped(name: &str) -> String {
    let path = format!("{}/queries/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).expect("it is shipped")
}

fn fire(site: &str, time_ms: u64, alert: bool) -> String {
    let topic = format!("/org/contoso/site/{site}/building/1/floor/2/unit/j/room/3/sensors/fire");
    format!("{{\"topic\":\"{topic}\",\"time\":{time_ms},\"alert\":{alert}}}\n")
}

fn evacuation() -> Server {
    let server = Server::start();
    for name in ["streams/fire.sql", "streams/gasbio.sql", "rules/evacuation.sql"] {
        server.define(&shipped(name));
    }
    server
}

#[test]
fn a_fire_alert_from_a_clock_five_years_ahead_raises() {
    let server = evacuation();
    let ahead = now_ms() + 5 * 365 * 86_400_000;
    let summary = server.publish(&fire("berlin", ahead, true));
    assert!(summary.contains("1 accepted"), "{summary}");
    let alarms = server.wait_for_rows("SELECT * FROM alarms", 1, WITHIN);
    assert_eq!(
        (&alarms[0]["rule"], &alarms[0]["severity"]),
        (&"evacuation".into(), &"critical".into())
    );
    let rows = server.query("SELECT source_time FROM fire WHERE source_time IS NOT NULL");
    assert_eq!(rows.len(), 1, "the sent time is kept");
}

#[test]
fn a_fire_alert_that_arrives_a_minute_late_raises() {
    let server = evacuation();
    let now = now_ms();
    server.publish(&fire("berlin", now, false));
    server.publish(&fire("berlin", now - 60_000, true));
    let alarms = server.wait_for_rows("SELECT * FROM alarms", 1, WITHIN);
    assert_eq!(alarms[0]["rule"], "evacuation");
}

#[test]
fn a_zero_divisor_leaves_the_other_keys_alarms_as_they_are_also_after_a_kill() {
    let mut server = Server::start();
    server.expect("rule error");
    server.expect("Degraded");
    server.define(
        "CREATE STREAM pumps (flow BIGINT) TOPIC '/pump/{pump}';
         CREATE RULE slow KEY (pump) RAISE WHEN 100 / flow > 10 CLEAR WHEN 100 / flow < 5
         AS SELECT pump, flow FROM pumps;",
    );
    let line = |pump: u32, flow: i64, at: u64| {
        format!("{{\"topic\":\"/pump/{pump}\",\"time\":{},\"flow\":{flow}}}\n", now_ms() + at)
    };
    server.publish(&(line(1, 5, 0) + &line(2, 50, 1) + &line(3, 4, 2)));
    server.wait_for_rows("SELECT * FROM alarms", 2, WITHIN);
    server.publish(&(line(1, 0, 10) + &line(2, 4, 11) + &line(3, 0, 12)));
    server.wait_for_rows("SELECT * FROM alarms", 3, WITHIN);
    let errors = "SELECT * FROM rule_errors";
    assert_eq!(server.wait_for_rows(errors, 2, WITHIN).len(), 2, "each failing row is listed");
    let history = server.query("SELECT id FROM alarm_history ORDER BY append_time, ordinal");
    server.restart();
    server.publish(&line(2, 50, 20));
    server.wait_for_rows("SELECT * FROM alarm_history", 4, WITHIN);
    let again = server.query("SELECT id FROM alarm_history ORDER BY append_time, ordinal");
    assert_eq!(again[..3], history[..], "P6: the same ids, none twice");
    assert_eq!(server.query("SELECT * FROM alarms WHERE condition = 'active'").len(), 2);
    assert_eq!(server.query(errors).len(), 2);
}
