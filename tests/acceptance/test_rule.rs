//! `weir test`: what a rule would have raised, from a server and from its data directory.

use crate::harness::{Server, weir};

const RULES: &str = "
CREATE STREAM pumps (flow DOUBLE) TOPIC '/pump/{pump}';
CREATE RULE slow KEY (pump) RAISE WHEN flow < 2 CLEAR WHEN flow > 8 AS SELECT pump, flow FROM pumps;
CREATE RULE low_mean RAISE WHEN mean < 5 AS SELECT pump, avg(flow) AS mean
  FROM TUMBLE(pumps, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
  GROUP BY pump, window_start, window_end;";

fn said(arguments: &[&str]) -> (bool, String) {
    let output = weir().args(arguments).output().expect("it starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn a_rule_is_tested_over_a_server_and_over_its_data_and_nothing_is_left_of_it() {
    let mut server = Server::start();
    server.define("CREATE STREAM pumps (flow DOUBLE) TOPIC '/pump/{pump}' WITH (partitions = 1);");
    let line = |second: u32, flow: u32| {
        let time = 1_700_000_000 + second;
        format!("{{\"topic\":\"/pump/a\",\"time\":{time},\"flow\":{flow}}}\n")
    };
    server.publish(&[line(0, 1), line(30, 9), line(90, 1), line(200, 9)].concat());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("rules.sql");
    std::fs::write(&file, RULES).expect("the file can be written");
    let (file, url) = (file.to_str().expect("UTF-8"), server.address().to_owned());
    let (done, online) = said(&["test", file, "--over", "7d", "--to", &url]);
    assert!(done, "{online}");
    assert!(
        online.contains(
            "slow would have raised 2 alarms over 4 readings (1 key), active for 2 min in all"
        ),
        "{online}"
    );
    assert!(online.contains("low_mean would have raised 1 alarm"), "{online}");
    let (done, unknown) = said(&["test", "slow", "--to", &url]);
    assert!(!done && unknown.contains("TEST RULE (CREATE RULE"), "{unknown}");
    let alarms = server.query("SELECT count(*) AS n FROM alarm_history");
    assert_eq!(alarms[0]["n"], 0, "nothing is written");
    server.stop();
    let data = server.data().to_str().expect("UTF-8").to_owned();
    let (done, offline) = said(&["test", file, "--data", &data]);
    assert!(done, "{offline}");
    assert_eq!(offline, online, "a server and its data directory say the same");
}
