//! The line: readings in, rows and alarms out.

use crate::harness::Server;
use std::time::Duration;

pub(crate) const FREEZERS: &str = "
CREATE STREAM freezers (temperature DOUBLE UNIT '°C') TOPIC '/shop/{shop}/freezer/{freezer}';";

pub(crate) fn reading(freezer: u32, time: u64, temperature: f64) -> String {
    format!(
        "{{\"topic\":\"/shop/1/freezer/{freezer}\",\"time\":{time},\"temperature\":{temperature}}}\n"
    )
}

#[test]
fn what_was_published_can_be_asked() {
    let server = Server::start();
    server.define(FREEZERS);
    let summary =
        server.publish(&(reading(7, 1_700_000_000, -18.5) + &reading(8, 1_700_000_001, -11.0)));
    assert!(summary.contains("2 accepted"), "{summary}");
    let rows = server.query("SELECT freezer, temperature FROM freezers ORDER BY freezer");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["freezer"], "7");
    assert_eq!(rows[1]["temperature"], -11.0);
    let latest =
        server.query("SELECT freezer, temperature, age FROM latest.freezers ORDER BY freezer");
    assert_eq!(latest.len(), 2);
}

#[test]
fn a_refused_row_is_named_with_its_line_and_the_others_are_kept() {
    let server = Server::start();
    server.define(FREEZERS);
    let file = server.scratch().join("some.ndjson");
    let lines =
        reading(7, 1_700_000_000, -18.5) + "\nnot json\n" + &reading(8, 1_700_000_001, -18.0);
    std::fs::write(&file, lines).expect("scratch");
    let output = server.run(&["publish", &file.to_string_lossy()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("2 accepted") && text.contains("1 refused"), "{text}");
    assert!(text.contains("line 3: not valid JSON"), "{text}");
    assert_eq!(server.query("SELECT * FROM freezers").len(), 2);
    server.wait_for_rows("SELECT * FROM dead_letters", 1, Duration::from_secs(10));
}

#[test]
fn what_was_confirmed_is_there_after_a_clean_stop() {
    let mut server = Server::start();
    server.define(FREEZERS);
    server.publish(&reading(7, 1_700_000_000, -18.5));
    server.stop();
    server.restart();
    assert_eq!(server.query("SELECT * FROM freezers").len(), 1);
    assert_eq!(server.query("SHOW STREAMS").len(), 1);
}
