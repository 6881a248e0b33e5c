//! A stream that a rule writes: each row once however often the server is killed, and gone with its rule.

use crate::harness::Server;
use serde_json::json;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(30);
const KILLS: u64 = 5;
const START: u64 = 1_700_000_000;

const DEFINITIONS: &str = "
CREATE STREAM pumps (flow DOUBLE) TOPIC '/pump/{pump}' WITH (partitions = 2, lateness = '0 seconds');
CREATE STREAM averages TOPIC '/average/{pump}' WITH (partitions = 2)
AS SELECT pump, avg(flow) AS flow, count(*) AS readings
   FROM TUMBLE(pumps, DESCRIPTOR(time), size => INTERVAL '10' SECOND)
   GROUP BY pump, window_start, window_end;
CREATE RULE highest AS SELECT pump, max(flow) AS flow, sum(readings) AS readings
   FROM TUMBLE(averages, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
   GROUP BY pump, window_start, window_end;";

fn lines(from: u64) -> String {
    let line = |at: u64| {
        let (pump, at) = (at % 4, START + at);
        format!("{{\"topic\":\"/pump/{pump}\",\"time\":{at},\"flow\":{}}}\n", at % 7)
    };
    (from..from + 100).map(line).collect()
}

#[test]
fn a_killed_server_writes_each_row_of_a_rules_stream_once() {
    let mut server = Server::start();
    server.expect("torn tail");
    server.expect("set aside");
    server.define(DEFINITIONS);
    for round in 0..KILLS {
        server.publish(&lines(round * 100));
        std::thread::sleep(Duration::from_millis(round * round * 7));
        server.restart();
    }
    server.define("FLUSH STREAM pumps;");
    let all = "SELECT count(*) AS rows, count(DISTINCT (pump, time)) AS times, sum(readings) AS readings \
               FROM averages HAVING sum(readings) = 500";
    let counted = server.wait_for_rows(all, 1, WITHIN);
    assert_eq!(counted[0]["rows"], counted[0]["times"], "P6: no row twice: {counted:?}");
    assert_eq!(counted[0]["rows"], json!(200), "four pumps, fifty windows");
    server.define("DROP RULE highest; DROP STREAM averages;");
    assert!(server.query("SELECT rule FROM system.rules").is_empty(), "its rule is gone with it");
}
