//! A file's replay is the same however it is cut.

use super::*;

const DEFINE: &str = "
CREATE STREAM climate (temperature DOUBLE)
  TOPIC '/building/{building}/floor/{floor}/room/{room}/climate' WITH (lateness = '5 seconds');
CREATE RULE floor_hvac KEY (building, floor)
  RAISE WHEN abs(t - 20) > 2 FOR INTERVAL '1' MINUTE
  ON NO DATA FOR INTERVAL '3' MINUTE RAISE
AS SELECT building, floor, window_end, avg(temperature) AS t
   FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
   GROUP BY building, floor, window_start, window_end;
CREATE RULE hot RAISE WHEN temperature > 24.5 AS SELECT topic, temperature FROM climate;
CREATE RULE averages AS SELECT floor, count(*) AS n, avg(temperature) AS t
   FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
   GROUP BY floor, window_start, window_end;
";

/// Rooms report every 10 s, up to 2 s out of order; floor 2 drifts off; a silence of 20 minutes.
fn readings() -> String {
    let mut lines = String::new();
    for step in 0..120_i64 {
        let silence = if step >= 80 { 1200 } else { 0 };
        for room in 0..6_i64 {
            let floor = room % 3;
            let jitter = (step * 7 + room * 5) % 3;
            let seconds = 1_767_225_600 + step * 10 + silence + room - jitter;
            let drift = if floor == 2 && step > 20 { 4 } else { 0 };
            let value = 20 + drift + (step + room) % 2;
            lines.push_str(&format!(
                "{{\"time\":{seconds},\"id\":\"{step}-{room}\",\
                 \"topic\":\"/building/41/floor/{floor}/room/{room}/climate\",\
                 \"temperature\":{value}}}\n"
            ));
        }
        if step % 50 == 3 {
            lines.push_str("{\"broken\n");
        }
    }
    lines
}

fn run(options: &ReplayOptions) -> Vec<String> {
    let mut out = Vec::new();
    replay_file(DEFINE, readings().as_bytes(), options, &mut out)
        .unwrap_or_else(|error| panic!("{error}"));
    let text = String::from_utf8(out).unwrap();
    text.lines().filter(|line| !line.contains("\"summary\"")).map(str::to_owned).collect()
}

#[test]
fn batches_and_restarts_show_nowhere() {
    let whole = run(&ReplayOptions::default());
    for kind in ["\"raised\"", "\"cleared\"", "\"kind\":\"row\"", "\"dead_letter\"", "\"open\""] {
        assert!(whole.iter().any(|line| line.contains(kind)), "no {kind} in {whole:#?}");
    }
    assert!(whole.iter().any(|line| line.contains("no_data")), "{whole:#?}");
    for batch in [1, 7] {
        assert_eq!(run(&ReplayOptions { batch, ..ReplayOptions::default() }), whole, "{batch}");
    }
    let restarted = ReplayOptions { restart_every: Some(100), ..ReplayOptions::default() };
    assert_eq!(run(&restarted), whole);
}

#[test]
fn the_number_of_partitions_does_not_change_what_is_said() {
    let said = |partitions| {
        let options = ReplayOptions {
            partitions: Some(partitions),
            at_end: AtEnd::Flush,
            ..ReplayOptions::default()
        };
        let mut lines = run(&options);
        lines.sort();
        lines
    };
    assert_eq!(said(1), said(4));
}

#[test]
fn with_an_arrival_field_the_clock_is_that_of_arrival() {
    let reading = |time: i64, arrived: &str, value: i64| {
        format!(
            "{{\"time\":{time},\"arrived\":{arrived},\
             \"topic\":\"/building/41/floor/1/room/1/climate\",\"temperature\":{value}}}\n"
        )
    };
    let base = 1_767_225_600;
    // The second reading is an hour ahead of its arrival; the third is fine.
    let input = [
        reading(base, &format!("\"{}\"", "2026-01-01T00:00:01Z"), 20),
        reading(base + 3600, &(base + 2).to_string(), 20),
        reading(base + 3, &(base + 4).to_string(), 30),
    ]
    .concat();
    let mut out = Vec::new();
    let options = ReplayOptions { arrival: Some("arrived".to_owned()), ..ReplayOptions::default() };
    replay_file(DEFINE, input.as_bytes(), &options, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let dead: Vec<&str> = text.lines().filter(|l| l.contains("\"dead_letter\"")).collect();
    assert_eq!(dead.len(), 1, "{text}");
    assert!(dead[0].contains("\"line\":2") && dead[0].contains("max_future_skew"), "{text}");
    assert!(text.contains("\"state\":\"raised\""), "{text}");
}
