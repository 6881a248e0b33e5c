//! A server that was down says so once, and takes that time for nobody's silence.

use crate::inside::{self, Inside};
use crate::statements::wait_until;
use chrono::DateTime;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::io::{Clock, RealDisk, SimulatedClock};

const START_US: i64 = 1_800_000_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);
/// More than the stream's lateness, less than the time between two readings.
const BEHIND_US: i64 = 10_000_000;
const NO_DATA_MINUTES: usize = 15;

const DEFINITIONS: [&str; 3] = [
    "CREATE STREAM rooms (temperature DOUBLE) TOPIC '/room/{room}'",
    "CREATE RULE warm KEY (room) RAISE WHEN temperature > 30
       ON NO DATA FOR INTERVAL '15' MINUTE RAISE
     AS SELECT room, temperature FROM rooms",
    "CREATE RULE warm_on_average KEY (room) RAISE WHEN average > 30
       ON NO DATA FOR INTERVAL '15' MINUTE RAISE
     AS SELECT room, window_end, avg(temperature) AS average
        FROM TUMBLE(rooms, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
        GROUP BY room, window_start, window_end",
];

/// The server from one start to one stop, on a clock that the test moves.
struct Life {
    clock: Arc<SimulatedClock>,
    server: Inside,
}

impl Life {
    fn start(data: &Path, clock: &Arc<SimulatedClock>) -> Self {
        let at = Arc::clone(clock) as Arc<dyn Clock>;
        let server = Inside::start(inside::over(data), at, Arc::new(RealDisk));
        Self { clock: Arc::clone(clock), server }
    }

    fn stop(self) {
        self.server.stop();
    }

    fn query(&self, sql: &str) -> Vec<Value> {
        self.server.query(sql)
    }

    /// Each of the rooms had 20 °C at that time.
    fn send(&self, rooms: &[&str], at_us: i64) {
        let line = |room: &&str| {
            let time = at_us / 1000;
            format!("{{\"topic\":\"/room/{room}\",\"time\":{time},\"temperature\":20}}\n")
        };
        let lines: String = rooms.iter().map(line).collect();
        assert_eq!(self.server.post(lines).status, 200);
    }

    /// A minute goes by, each of the rooms sends, and the rules have come to it.
    fn minute(&self, rooms: &[&str]) {
        self.clock.advance(MINUTE);
        let now = self.clock.wall_us();
        self.send(rooms, now);
        let behind = format!(
            "SELECT rule FROM system.rules WHERE watermark IS NULL OR lag_rows > 0
               OR CAST(watermark AS BIGINT) < {}",
            now - BEHIND_US
        );
        wait_until("the rules have come to the readings", || self.query(&behind).is_empty());
    }

    fn alarms(&self) -> Vec<String> {
        let rows = self.query("SELECT rule, key, kind, reason FROM alarm_history ORDER BY rule");
        rows.iter().map(ToString::to_string).collect()
    }

    fn downtimes(&self) -> Vec<Value> {
        let sql = "SELECT \"values\" FROM rule_rows WHERE rule = 'weir/was_down'";
        let json = |row: &Value| {
            let values = row["values"].as_str().expect("a text");
            serde_json::from_str(values).expect("values are JSON")
        };
        self.query(sql).iter().map(json).collect()
    }
}

fn micros(time: &Value) -> i64 {
    let time = DateTime::parse_from_rfc3339(time.as_str().expect("a text"));
    time.expect("RFC 3339").timestamp_micros()
}

#[test]
fn an_hour_of_downtime_is_told_once_and_is_nobodys_silence_but_silence_after_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = Arc::new(SimulatedClock::at(START_US));
    let before = Life::start(directory.path(), &clock);
    for statement in DEFINITIONS {
        before.query(statement);
    }
    for _ in 0..3 {
        before.minute(&["a", "b", "c"]);
    }
    assert!(before.downtimes().is_empty() && before.alarms().is_empty(), "{:?}", before.alarms());
    let down_from = clock.wall_us();
    before.stop();
    clock.advance(60 * MINUTE);
    let up_at = clock.wall_us();

    let after = Life::start(directory.path(), &clock);
    wait_until("the downtime is told", || !after.downtimes().is_empty());
    // What a gateway kept while nobody listened comes first.
    after.send(&["a"], down_from + 60_000_000);
    for _ in 0..NO_DATA_MINUTES {
        after.minute(&["a", "b"]);
    }
    assert_eq!(after.alarms(), [""; 0], "c may have sent while nobody listened");
    for _ in 0..3 {
        after.minute(&["a", "b"]);
    }
    let silent = |rule: &str| {
        let key = r#"{"room":"c"}"#;
        serde_json::json!({"rule": rule, "key": key, "kind": "raised", "reason": "no_data"})
            .to_string()
    };
    assert_eq!(after.alarms(), [silent("warm"), silent("warm_on_average")], "c alone is silent");

    let downtimes = after.downtimes();
    assert_eq!(downtimes.len(), 1, "{downtimes:?}");
    let (from, to) = (micros(&downtimes[0]["from"]), micros(&downtimes[0]["to"]));
    assert!((down_from - from).abs() < 60_000_000, "from {downtimes:?}, stopped at {down_from}");
    assert!((up_at - to).abs() < 1_000_000, "to {downtimes:?}, started at {up_at}");
    after.stop();
}
