//! A row that a rule cannot evaluate costs that row's verdict and nothing else, kill or no kill.

use crate::harness::Server;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);
const KILLS: u64 = 6;
const START: u64 = 1_700_000_000;

const DEFINITIONS: &str = "
CREATE STREAM pumps (flow BIGINT) TOPIC '/pump/{pump}';
CREATE RULE slow KEY (pump) RAISE WHEN 100 / flow > 10 CLEAR WHEN 100 / flow < 5
AS SELECT pump, flow FROM pumps;";

fn line(pump: u32, flow: i64, at: u64) -> String {
    format!("{{\"topic\":\"/pump/{pump}\",\"time\":{},\"flow\":{flow}}}\n", START + at)
}

#[test]
fn a_zero_divisor_is_listed_once_and_harms_no_alarm_however_often_the_server_is_killed_amidst() {
    let mut server = Server::start();
    server.expect("torn tail");
    server.expect("set aside");
    server.define(DEFINITIONS);
    server.publish(&(line(1, 5, 0) + &line(2, 50, 1) + &line(3, 4, 2)));
    let alarms = "SELECT key, alarm_id, condition FROM alarms ORDER BY key";
    let before = server.wait_for_rows(alarms, 2, WITHIN);
    server.publish(&(line(1, 0, 10) + &line(2, 50, 11)));
    for round in 0..KILLS {
        server.restart();
        std::thread::sleep(Duration::from_millis(round * round * 4));
    }
    let errors = "SELECT rule, topic, \"offset\", error FROM rule_errors";
    let listed = server.wait_for_rows(errors, 1, WITHIN);
    assert_eq!(listed[0]["topic"], "/pump/1");
    assert!(listed[0]["error"].as_str().expect("a text").contains("zero"), "{listed:?}");
    let rule = "SELECT errors FROM system.rules WHERE status = 'degraded' AND lag_rows = 0";
    assert_eq!(server.wait_for_rows(rule, 1, WITHIN)[0]["errors"], 1);
    assert_eq!(server.query(alarms), before, "all alarms are as they were");

    server.publish(&(line(3, 50, 20) + &line(2, 4, 21)));
    server.wait_for_rows("SELECT * FROM alarm_history", 4, WITHIN);
    server.restart();
    server.publish(&line(1, 50, 30));
    let history = server.wait_for_rows("SELECT id, kind FROM alarm_history", 5, WITHIN);
    let ids: std::collections::HashSet<String> =
        history.iter().map(|row| row["id"].to_string()).collect();
    assert_eq!(ids.len(), history.len(), "P6: no id twice: {history:?}");
    assert_eq!(server.query(errors), listed, "the row is listed once");
    assert_eq!(server.wait_for_rows(rule, 1, WITHIN).len(), 1, "it still says so");
}
