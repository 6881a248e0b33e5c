//! Rules over HTTP: what raises, and what no rule can be.

use crate::harness::Server;
use crate::line::{FREEZERS, reading};
use crate::refusals::{Connection, STREAM, check_statements};
use std::time::Duration;

const TOO_WARM: &str = "
CREATE RULE too_warm SEVERITY high KEY (shop, freezer)
  RAISE WHEN temperature > -15
  CLEAR WHEN temperature < -17
AS SELECT shop, freezer, temperature FROM freezers;";

/// Rules that are refused, each with words its answer has to contain.
const RULES: [(&str, &str, &[&str]); 5] = [
    (
        "a rule with now()",
        "CREATE RULE r RAISE WHEN late AS SELECT machine, time < now() AS late FROM readings",
        &["now"],
    ),
    (
        "a GROUP BY without the window",
        "CREATE RULE r AS SELECT machine, avg(value) AS a
         FROM TUMBLE(readings, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) GROUP BY machine",
        &["window_start", "window_end"],
    ),
    (
        "an unknown window function",
        "CREATE RULE r AS SELECT machine, window_end, avg(value) AS a
         FROM TUMBEL(readings, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
         GROUP BY machine, window_start, window_end",
        &["tumbel", "tumble"],
    ),
    (
        "HAVING with RAISE WHEN",
        "CREATE RULE r RAISE WHEN a > 1 AS SELECT machine, window_end, avg(value) AS a
         FROM TUMBLE(readings, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
         GROUP BY machine, window_start, window_end HAVING avg(value) > 1",
        &["raise when", "clear"],
    ),
    (
        "Azure's sliding window",
        "CREATE RULE r AS SELECT machine, avg(value) AS a FROM readings
         GROUP BY machine, SlidingWindow(minute, 5)",
        &["slidingwindow"],
    ),
];

#[test]
fn rules_that_cannot_be_are_refused_with_the_sentence_that_fixes_them() {
    let server = Server::start();
    server.define(STREAM);
    check_statements(&server, &RULES);
    assert_eq!(server.query("SHOW RULES").len(), 0);
}

#[test]
fn an_alarm_is_raised_and_cleared_by_readings() {
    let server = Server::start();
    server.define(FREEZERS);
    server.define(TOO_WARM);
    server.publish(&(reading(7, 1_700_000_000, -18.5) + &reading(8, 1_700_000_001, -11.0)));
    let within = Duration::from_secs(20);
    let raised = server.wait_for_rows("SELECT * FROM alarms", 1, within);
    assert_eq!(raised[0]["rule"], "too_warm");
    server.publish(&reading(8, 1_700_000_010, -18.0));
    server.wait_for_rows("SELECT * FROM alarm_history", 2, within);
}

#[test]
fn a_stream_that_a_rule_reads_cannot_be_dropped() {
    let server = Server::start();
    server.define(STREAM);
    server.define("CREATE RULE warm KEY (machine) RAISE WHEN value > 3 AS SELECT machine, value FROM readings;");
    let mut connection = Connection::open(&server);
    let (status, answer) = connection.post("/v1/sql", "application/sql", b"DROP STREAM readings");
    assert!((400..500).contains(&status), "{status} {answer}");
    assert!(answer.contains("warm"), "it names what reads it: {answer}");
    server.define("DROP RULE warm; DROP STREAM readings;");
    assert_eq!(server.query("SHOW STREAMS").len(), 0);
}
