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

/// Two streams in turn, several pieces of the file long; sensors that come up in the middle, lines that
/// are blank or broken.
fn long() -> String {
    let mut lines = String::new();
    for step in 0..20_000_i64 {
        let (time, room) = (1_767_225_600 + step - step % 3, step * 7 % (5 + step / 500));
        let kind = if step % 5 == 0 { "door" } else { "climate" };
        lines.push_str(&format!(
            "{{\"time\":{time},\"note\":\"nobody has asked for this text, it makes the file long\",\
             \"topic\":\"/building/41/floor/{}/room/{room}/{kind}\",\"temperature\":{}.25}}\n",
            room % 3,
            step % 30,
        ));
        match step % 1_000 {
            7 => lines.push('\n'),
            99 => lines.push_str("{\"broken\n"),
            _ => {}
        }
    }
    lines
}

#[test]
fn what_threads_decode_ahead_is_what_one_thread_decodes_in_turn() {
    let define = format!(
        "{DEFINE}
         CREATE STREAM door (temperature DOUBLE)
           TOPIC '/building/{{building}}/floor/{{floor}}/room/{{room}}/door';
         CREATE RULE both AS SELECT room, count(*) AS n, sum(temperature) AS t
           FROM TUMBLE((SELECT * FROM climate UNION ALL SELECT * FROM door), DESCRIPTOR(time),
             size => INTERVAL '1' HOUR)
           GROUP BY room, window_start, window_end;"
    );
    let said = |arrival: Option<&str>| {
        let options = ReplayOptions {
            arrival: arrival.map(str::to_owned),
            at_end: AtEnd::Flush,
            ..ReplayOptions::default()
        };
        let mut out = Vec::new();
        replay_file(&define, long().as_bytes(), &options, &mut out)
            .unwrap_or_else(|error| panic!("{error}"));
        let text = String::from_utf8(out).unwrap();
        text.lines().filter(|line| !line.contains("\"summary\"")).map(str::to_owned).collect()
    };
    // Arrival at the event time is the clock there is without an arrival field.
    let (ahead, in_turn): (Vec<String>, Vec<String>) = (said(None), said(Some("time")));
    assert!(ahead.iter().any(|line| line.contains("\"both\"")), "{} lines", ahead.len());
    let dead: Vec<_> = ahead.iter().filter(|line| line.contains("dead_letter")).collect();
    assert_eq!(dead.len(), 20);
    assert!(dead[19].contains("\"line\":19140"), "{}", dead[19]);
    assert!(ahead == in_turn, "{} and {} lines", ahead.len(), in_turn.len());
    assert!(said(None) == ahead, "and the same again");
}

#[test]
fn a_reading_without_a_time_gets_the_largest_before_it_whatever_the_batch() {
    let define = "
        CREATE STREAM kind (n BIGINT) TOPIC '/kind/{room}' WITH (time = 'arrival');
        CREATE RULE all_of_them AS SELECT room, n, time FROM kind;";
    let input = "{\"topic\":\"/kind/a\",\"time\":1767225600,\"n\":1}\n\
                 {\"topic\":\"/kind/b\",\"n\":2}\n\
                 {\"topic\":\"/kind/a\",\"time\":1767225660,\"n\":3}\n\
                 {\"topic\":\"/kind/b\",\"n\":4}\n";
    let times = |batch| {
        let mut out = Vec::new();
        let options = ReplayOptions { batch, ..ReplayOptions::default() };
        replay_file(define, input.as_bytes(), &options, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let rows = text.lines().filter(|line| line.contains("\"row\""));
        rows.map(|line| line.contains("2026-01-01T00:01:00")).collect::<Vec<_>>()
    };
    assert_eq!(times(1), [false, false, true, true]);
    assert_eq!(times(8192), times(1));
}
