//! Rows that go on as their sensors' last ones did.

use super::*;

/// Values as senders write them, the usual ones first.
const VALUES: [&str; 24] = [
    "20.07",
    "1",
    "true",
    "\"on\"",
    "false",
    "-0.5",
    "0",
    "null",
    "123456789012",
    "12345678.12345678",
    "1e3",
    "1.0",
    "9223372036854775808",
    "1e400",
    "007",
    "-",
    "\"\\u0041\"",
    "\"\"",
    "\"\u{e9}t\u{e9}\"",
    "{\"a\":1}",
    "[1]",
    "tru",
    "nul",
    "",
];
const TIMES: [&str; 20] = [
    "\"2026-01-31T11:00:00.940Z\"",
    "\"2026-01-31T11:00:59Z\"",
    "\"2026-01-31T11:01:00.1Z\"",
    "1769857200",
    "\"2026-01-31T11:00:00.1234567Z\"",
    "\"2026-01-31T12:00:00.5+01:00\"",
    "\"2026-01-31t11:00:00z\"",
    "\"2026-01-31T11:00:60Z\"",
    "\"2026-01-31T11:00:61Z\"",
    "\"2026-01-31T11:00:00.Z\"",
    "\"2026-01-31T11:00:0xZ\"",
    "\"2026-01-31T13:00:00Z\"",
    "\"1969-12-31T23:59:00Z\"",
    "\"1970-01-01T00:00:07Z\"",
    "null",
    "1769857200.5",
    "\"\"",
    "\"2026-01-31T11:00:00\"",
    "99999999999999999999",
    "\"2026-02-30T11:00:00Z\"",
];
const ENDS: [&str; 8] = ["", "", "", "", "\r", "  ", "}", " {}"];

#[test]
fn a_row_like_its_sensors_last_one_is_read_straight() {
    let streams = streams(vec![sensors(options())]);
    let mut decoder = Decoder::new(&streams);
    let row = |n: u32, rest: &str| {
        format!(r#"{{"topic":"/room/1/s","time":"2026-01-31T11:00:0{n}Z",{rest}}}"#)
    };
    // The first makes the topic known, the second how its rows begin.
    decoder.push_json(row(0, r#""n":0,"label":"a""#).as_bytes(), 0, NOW);
    decoder.push_json(row(0, r#""n":1,"label":"a""#).as_bytes(), 1, NOW);
    let mut straight = |row: String| decoder.take_straight(&row, 0, (2, NOW), |_, _| true);
    let as_usual = row(1, r#""n":-2,"label":"b""#);
    assert_eq!(straight(as_usual.clone()), Some(as_usual.len()));
    assert!(straight(row(2, r#""n":null,"label":null"#)).is_some());
    for other in [
        r#""n":1.5,"label":"b""#,
        r#""n":1,"label":"\n""#,
        r#""n":1"#,
        r#""n":1,"label":"b","x":1"#,
    ] {
        assert_eq!(straight(row(3, other)), None, "{other}");
    }
    let shown = shown(&decoder.finish());
    assert_eq!(shown[1], "1: time=2026-01-31T11:00:00Z n=1 label=a");
    assert_eq!(
        shown[2..],
        ["2: time=2026-01-31T11:00:01Z n=-2 label=b", "2: time=2026-01-31T11:00:02Z"]
    );
}

proptest! {
    /// A line read straight into columns gives what it gives by itself.
    #[test]
    fn lines_that_go_on_as_the_last_ones_are_what_each_is_by_itself(
        rows in proptest::collection::vec((0..3_usize, 0..40_usize, 0..40_usize, 0..40_usize, 0..30_usize), 1..40)
    ) {
        let lines: Vec<String> = rows.iter().enumerate().map(|(number, (order, time, a, b, end))| {
            let of = |pool: &[&str], n: usize| pool.get(n).unwrap_or(&pool[n % 4]).to_string();
            let (time, a, b, end) = (of(&TIMES, *time), of(&VALUES, *a), of(&VALUES, *b), of(&ENDS, *end));
            let room = number % 3;
            let fields = match order {
                0 => format!(r#""time":{time},"value":{a},"ok":{b}"#),
                1 => format!(r#""n":{a},"time":{time},"label":{b},"more":{a}"#),
                _ => format!(r#""time":{time},"value":{a},"n":{b},"ok":true,"label":"x""#),
            };
            format!(r#"{{"unit":{room},"topic":"/room/{room}/s",{fields}}}{end}"#)
        }).collect();
        let mut together = Decoder::new(&SHARED);
        together.push_lines((lines.join("\n") + "\n").as_bytes(), NOW);
        let together = together.finish();
        let mut apart = (Vec::new(), Vec::new());
        for (index, line) in (0..).zip(&lines) {
            SHARED.forget_learned();
            let mut alone = Decoder::new(&SHARED);
            alone.push_json(line.as_bytes(), index, NOW);
            let alone = alone.finish();
            apart.0.extend(shown(&alone));
            apart.1.extend(refusals(&alone));
        }
        apart.0.sort();
        let mut lines = shown(&together);
        lines.sort();
        prop_assert_eq!((lines, refusals(&together)), apart);
    }
}
