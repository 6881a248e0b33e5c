mod straight;

use super::super::testing::{NOW, Registry, options, refusals, sensors, shown, stream, streams};
use super::*;
use crate::decode::dedupe_hash;
use crate::model::{
    Column, ColumnType, FutureTimes, MissingTime, StreamOptions, TimeUnit, UnknownFields,
};
use proptest::prelude::*;
use std::sync::LazyLock;

fn decode(definitions: Vec<StreamDefinition>, rows: &[&str]) -> (Vec<String>, Vec<String>) {
    decode_into(&streams(definitions), rows)
}

fn decode_into(streams: &Registry, rows: &[&str]) -> (Vec<String>, Vec<String>) {
    let mut decoder = Decoder::new(streams);
    for (index, row) in (0..).zip(rows) {
        decoder.push_json(row.as_bytes(), index, NOW);
    }
    let decoded = decoder.finish();
    (shown(&decoded), refusals(&decoded))
}

/// As [`decode_into`], by a decoder that goes on from nothing.
fn decode_anew(streams: &Registry, rows: &[&str]) -> (Vec<String>, Vec<String>) {
    let held = streams.learned();
    let decoded = decode_into(streams, rows);
    drop(streams.learned());
    streams.keep(held);
    decoded
}

/// One log for the many cases of a property.
static SHARED: LazyLock<Registry> = LazyLock::new(|| streams(vec![sensors(options())]));

/// One row into `sensors` is stored so.
#[track_caller]
fn taken(row: &str, expected: &str) {
    let (rows, refused) = decode_into(&SHARED, &[row]);
    assert_eq!(refused, Vec::<String>::new(), "{row}");
    assert_eq!(rows, [format!("0: time={expected}")], "{row}");
}

/// One row into `sensors` is refused so.
#[track_caller]
fn refused(row: &str, expected: &str) {
    check_refused(decode_into(&SHARED, &[row]), row, expected);
}

#[track_caller]
fn refused_by(definition: StreamDefinition, row: &str, expected: &str) {
    check_refused(decode(vec![definition], &[row]), row, expected);
}

#[track_caller]
fn check_refused((rows, refused): (Vec<String>, Vec<String>), row: &str, expected: &str) {
    assert_eq!(rows, Vec::<String>::new(), "{row}");
    assert_eq!(refused.len(), 1, "{row}");
    assert!(refused[0].contains(expected), "{row}\n  {}", refused[0]);
}

fn with(rest: &str) -> String {
    format!(r#"{{"topic":"/room/1/s","time":"2026-01-31T11:00:00Z"{rest}}}"#)
}

#[test]
fn fields_stand_inline_or_under_data() {
    let all = "2026-01-31T11:00:00Z value=1.5 n=-7 ok=true label=x at=2026-01-01T00:00:00Z";
    let fields = r#""value":1.5,"n":-7,"ok":true,"label":"x","at":"2026-01-01T00:00:00Z""#;
    taken(&with(&format!(",{fields}")), all);
    taken(&with(&format!(r#","data":{{{fields}}}"#)), all);
    taken(&with(&format!(",\n \"data\" :\t{{ {fields} }} ")), all);
    taken(&with(r#","data":{},"n":3"#), "2026-01-31T11:00:00Z n=3");
    taken(&with(r#","data":null"#), "2026-01-31T11:00:00Z");
    taken(&with(r#","value":null"#), "2026-01-31T11:00:00Z");
    taken(&with(""), "2026-01-31T11:00:00Z");
}

#[test]
fn values_are_read_exactly() {
    for (json, shown) in [
        (r#""value":7"#, "value=7.0"),
        (r#""value":-0.0"#, "value=-0.0"),
        (r#""value":1e3"#, "value=1000.0"),
        (r#""value":0.1"#, "value=0.1"),
        (r#""value":20.89999962"#, "value=20.89999962"),
        (r#""value":9007199254740993"#, "value=9007199254740992.0"),
        (r#""value":123456789012345678901234567890"#, "value=1.2345678901234568e29"),
        (r#""value":2.2250738585072011e-308"#, "value=2.225073858507201e-308"),
        (r#""value":1e-400"#, "value=0.0"),
        (r#""n":9223372036854775807"#, "n=9223372036854775807"),
        (r#""n":-9223372036854775808"#, "n=-9223372036854775808"),
        (r#""n":-0"#, "n=0"),
        (r#""label":"a\"b\\c\/\u00e9\ud83d\ude00""#, "label=a\"b\\c/é😀"),
        (r#""label":"ü°C""#, "label=ü°C"),
        (r#""la\u0062el":"escaped key""#, "label=escaped key"),
        (r#""at":1700000000"#, "at=2023-11-14T22:13:20Z"),
        (r#""other":[1,{"a":[]},"]}"],"n":1"#, "n=1"),
    ] {
        taken(&with(&format!(",{json}")), &format!("2026-01-31T11:00:00Z {shown}"));
    }
}

#[test]
fn a_time_is_rfc_3339_with_a_zone_or_an_integer_epoch() {
    let row = |time: &str| format!(r#"{{"topic":"/room/1/s","time":{time}}}"#);
    for (time, expected) in [
        (r#""2026-01-31T12:00:00+02:00""#, "2026-01-31T10:00:00Z"),
        (r#""2026-01-31T12:04:59.5Z""#, "2026-01-31T12:04:59.500Z"),
        ("1769860800", "2026-01-31T12:00:00Z"),
        ("1769860800001", "2026-01-31T12:00:00.001Z"),
        ("1769860800000001", "2026-01-31T12:00:00.000001Z"),
        ("1769860800000001999", "2026-01-31T12:00:00.000001Z"),
        ("0", "1970-01-01T00:00:00Z"),
    ] {
        taken(&row(time), expected);
    }
    for (time, expected) in [
        (
            r#""2026-01-31T12:00:00""#,
            "bad_time: 'time' is not a time: '2026-01-31T12:00:00' has no zone",
        ),
        (r#""yesterday""#, "'yesterday' is not RFC 3339"),
        (
            r#""9999-12-31T23:59:59Z""#,
            "future: the time 9999-12-31T23:59:59Z is more than max_future",
        ),
        (r#""2026-01-31T12:05:00.000001Z""#, "future"),
        (r#""1969-12-31T23:59:59Z""#, "is before 1970"),
        ("-1", "-1 is before 1970"),
        ("1769860800.5", "1769860800.5 has a fraction or an exponent"),
        ("1.7e9", "has a fraction or an exponent"),
        ("99999999999999999999", "is beyond what a time can be"),
        ("true", "this is true"),
        ("{}", "this is an object"),
        ("null", "missing_time: the reading has no 'time'"),
    ] {
        refused(&row(time), expected);
    }
}

#[test]
fn a_bad_row_is_refused_with_the_sentence_that_helps() {
    let deep = |n: usize| with(&format!(",\"x\":{}1{}", "[".repeat(n), "]".repeat(n)));
    let long = "x".repeat(600);
    let levels = "/a".repeat(40);
    let cases = [
        (
            r#"{"topic":"/room/1/s","time":"2026-01"#.to_owned(),
            "json: not valid JSON: it ends too early (byte 36)",
        ),
        ("{".to_owned(), "json: not valid JSON"),
        ("nonsense".to_owned(), "json: not valid JSON: a value is expected"),
        (with(",\"value\":NaN"), "NaN and Infinity are not JSON"),
        (with(",\"value\":-Infinity"), "json"),
        (with(",\"value\":01"), "this is not a JSON number"),
        (with(",\"value\":1."), "this is not a JSON number"),
        (with(",\"value\":.5"), "json"),
        (with(",\"value\":1e"), "this is not a JSON number"),
        (with(",\"value\":1,"), "a key in double quotes is expected"),
        (with(",\"label\":\"a\nb\""), "a control character in a string must be escaped"),
        (with(r#","label":"\x""#), "no such escape"),
        (with(r#","label":"\ud800""#), "half of a surrogate pair"),
        (with(r#","label":"\udc00""#), "half of a surrogate pair"),
        (format!("{} {}", with(""), with("")), "something follows the object"),
        (
            "[1]".to_owned(),
            "not_an_object: a reading is a JSON object with 'topic', 'time' and the stream's fields; this is an array",
        ),
        ("5".to_owned(), "this is a number"),
        (
            with(",\"value\":1e400"),
            "not_finite: 'value' is 1e400, which is not a finite number that fits DOUBLE",
        ),
        (with(",\"n\":9223372036854775808"), "not_finite: 'n' is 9223372036854775808"),
        (
            with(",\"n\":1.5"),
            "wrong_type: 'n' should be an integer (BIGINT), this is the number 1.5",
        ),
        (with(",\"n\":1.0"), "wrong_type"),
        (with(",\"value\":\"20\""), "'value' should be a number (DOUBLE), this is the text \"20\""),
        (with(",\"ok\":1"), "'ok' should be true or false (BOOLEAN), this is the number 1"),
        (with(",\"label\":5"), "'label' should be a text (TEXT)"),
        (with(",\"at\":\"soon\""), "bad_time: 'at' is not a time"),
        (with(",\"data\":5"), "'data' should be an object with the stream's fields"),
        (with(",\"n\":1,\"n\":2"), "duplicate_key: the key 'n' stands twice"),
        (with(",\"n\":1,\"\\u006e\":2"), "duplicate_key"),
        (with(",\"x\":1,\"x\":2"), "duplicate_key: the key 'x' stands twice"),
        (with(",\"n\":1,\"data\":{\"n\":2}"), "duplicate_key: the key 'n' stands twice"),
        (with(",\"data\":{\"n\":2,\"n\":2}"), "duplicate_key"),
        (with(",\"data\":{},\"data\":{}"), "duplicate_key: the key 'data' stands twice"),
        (with(",\"id\":\"\""), "'id' should be a text that is not empty"),
        (with(",\"id\":{}"), "'id' should be a text"),
        (deep(32), "too_deep: nested deeper than 32 levels"),
        (deep(10_000), "too_deep"),
        ("[".repeat(10_000), "too_deep"),
        (r#"{"time":1}"#.to_owned(), "missing_topic: the reading has no 'topic'"),
        (r#"{"topic":null}"#.to_owned(), "missing_topic"),
        (r#"{"topic":5}"#.to_owned(), "'topic' should be a text, this is the number 5"),
        (r#"{"topic":"","time":1}"#.to_owned(), "topic: the topic is empty"),
        (r#"{"topic":"/room/+/s","time":1}"#.to_owned(), "the topic contains the wildcard '+'"),
        (r#"{"topic":"/room/\u0000/s","time":1}"#.to_owned(), "the topic contains a NUL"),
        (format!(r#"{{"topic":"{long}","time":1}}"#), "the topic is 600 bytes long"),
        (format!(r#"{{"topic":"{levels}","time":1}}"#), "the topic has 41 levels"),
        (
            r#"{"topic":"/nowhere","time":1}"#.to_owned(),
            "no_stream: no stream takes the topic '/nowhere'",
        ),
        (with(&format!(",\"label\":\"{}\"", "x".repeat(1 << 20))), "too_large: the row is 10486"),
    ];
    for (row, expected) in cases {
        refused(&row, expected);
    }
    taken(&deep(31), "2026-01-31T11:00:00Z");
}

#[test]
fn invalid_utf_8_is_refused_at_its_byte() {
    let streams = streams(vec![sensors(options())]);
    let mut decoder = Decoder::new(&streams);
    decoder.push_json(b"{\"topic\":\"/room/\xff/s\"}", 3, NOW);
    let decoded = decoder.finish();
    assert_eq!(refusals(&decoded), ["3 utf8: not valid UTF-8 at byte 16"]);
    assert_eq!(decoded.refused[0].payload, b"{\"topic\":\"/room/\xff/s\"}");
}

#[test]
fn a_bad_row_is_refused_alone_and_its_neighbours_are_kept() {
    let rows = [
        with(",\"n\":1"),
        with(",\"n\":\"1\""),
        with(",\"n\":2"),
        "{".to_owned(),
        with(",\"n\":3,\"value\":0.5"),
        with(",\"n\":4"),
    ];
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let (rows, refused) = decode(vec![sensors(options())], &rows);
    let time = "time=2026-01-31T11:00:00Z";
    assert_eq!(
        rows,
        [
            format!("0: {time} n=1"),
            format!("2: {time} n=2"),
            format!("4: {time} value=0.5 n=3"),
            format!("5: {time} n=4")
        ]
    );
    assert_eq!(refused.iter().map(|r| &r[..6]).collect::<Vec<_>>(), ["1 wron", "3 json"]);
}

#[test]
fn a_reading_from_the_future_is_refused_or_stamped() {
    let row = r#"{"topic":"/room/1/s","time":"2031-01-31T12:00:00Z"}"#;
    refused(
        row,
        "future: the time 2031-01-31T12:00:00Z is more than max_future_skew ahead of the clock (2026-01-31T12:00:00Z)",
    );
    let stamping = StreamOptions { future: FutureTimes::Stamp, ..options() };
    let good = with("");
    let streams = streams(vec![sensors(stamping)]);
    let (rows, _) = decode_into(&streams, &[&good, row]);
    assert_eq!(streams.all()[0].stamped().list(), [], "nothing is kept yet");
    assert_eq!(
        rows,
        [
            "0: time=2026-01-31T11:00:00Z",
            "1: time=2026-01-31T12:00:00Z source_time=2031-01-31T12:00:00Z"
        ]
    );
}

#[test]
fn the_streams_options_decide_about_times_and_unknown_fields() {
    let arrival = StreamOptions { time: MissingTime::Arrival, ..options() };
    let (rows, _) = decode(vec![sensors(arrival)], &[r#"{"topic":"/room/1/s","n":1}"#]);
    assert_eq!(rows, ["0: time=2026-01-31T12:00:00Z n=1"]);

    let own = || StreamOptions { time_field: "ts".to_owned(), ..options() };
    for row in [
        r#"{"topic":"/room/1/s","ts":1000,"time":"ignored"}"#,
        r#"{"topic":"/room/1/s","data":{"ts":1000}}"#,
        r#"{"topic":"/room/1/s","ts":1000,"data":{"ts":"ignored"}}"#,
    ] {
        let (rows, refused) = decode(vec![sensors(own())], &[row]);
        assert_eq!(rows, ["0: time=1970-01-01T00:16:40Z"], "{row} {refused:?}");
    }
    refused_by(sensors(own()), &with(""), "missing_time: the reading has no 'ts'");

    let millis = StreamOptions { time_unit: Some(TimeUnit::Milliseconds), ..options() };
    let (rows, _) = decode(vec![sensors(millis)], &[r#"{"topic":"/room/1/s","time":1000}"#]);
    assert_eq!(rows, ["0: time=1970-01-01T00:00:01Z"]);

    let strict = || StreamOptions { unknown_fields: UnknownFields::Refuse, ..options() };
    refused_by(
        sensors(strict()),
        &with(",\"nn\":1"),
        "unknown_field: the stream 'sensors' has no field 'nn'",
    );
    refused_by(sensors(strict()), &with(",\"room\":1"), "has no field 'room'");
    let (rows, _) = decode(vec![sensors(strict())], &[&with(",\"id\":\"a\",\"source\":\"b\"")]);
    assert_eq!(rows.len(), 1);
}

#[test]
fn unknown_fields_are_counted_for_accepted_rows() {
    let streams = streams(vec![sensors(options())]);
    let mut decoder = Decoder::new(&streams);
    let good = with(",\"room\":\"levels come from the topic\",\"offset\":1,\"nn\":1,\"n\":1");
    for index in 0..3 {
        decoder.push_json(good.as_bytes(), index, NOW);
    }
    decoder.push_json(good.replace("\"n\":1", "\"n\":true").as_bytes(), 3, NOW);
    decoder.push_json(with(",\"nn\":0,\"data\":{\"topic\":1}").as_bytes(), 4, NOW);
    let decoded = decoder.finish();
    assert_eq!((decoded.accepted(), decoded.refused.len()), (4, 1));
    let counts = streams.all()[0].unknown_fields().list();
    let expected = [("nn", 4), ("offset", 3), ("room", 3), ("topic", 1)];
    assert_eq!(counts, expected.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn a_row_with_an_id_carries_the_hash_of_publisher_source_and_id() {
    let rows = [
        with(",\"id\":\"a\""),
        with(""),
        with(",\"id\":\"a\",\"source\":\"/room/1/s\""),
        with(",\"id\":\"a\",\"source\":\"gateway\""),
        with(",\"id\":7"),
    ];
    let streams = streams(vec![sensors(options())]);
    let mut decoder = Decoder::new(&streams);
    for (index, row) in (0..).zip(&rows) {
        decoder.push_json(row.as_bytes(), index, NOW);
    }
    let decoded = decoder.finish();
    let column = decoded.rows[0].batch.column_by_name("dedupe").expect("a hash column");
    let column = column.as_any().downcast_ref::<arrow::array::FixedSizeBinaryArray>();
    let hashes: Vec<_> = column.expect("hashes").iter().collect();
    let hash = |source: &str, id: &str| dedupe_hash("anonymous", source, id);
    assert_eq!(hashes[0], Some(hash("/room/1/s", "a").as_slice()));
    assert_eq!(hashes[1], None);
    assert_eq!(hashes[2], hashes[0]);
    assert_eq!(hashes[3], Some(hash("gateway", "a").as_slice()));
    assert_eq!(hashes[4], Some(hash("/room/1/s", "7").as_slice()));

    let off = StreamOptions { dedupe: std::time::Duration::ZERO, ..options() };
    let (rows, _) = decode(vec![sensors(off)], &[&rows[0]]);
    assert_eq!(rows, ["0: time=2026-01-31T11:00:00Z"]);
}

#[test]
fn an_inline_id_is_the_field_where_the_stream_has_one() {
    let devices = || stream("devices", "id TEXT", "/device/{device}", options());
    let inline = r#"{"topic":"/device/1","time":1,"id":"d1"}"#;
    let wrapped = r#"{"topic":"/device/1","time":1,"id":"m1","data":{"id":"d1"}}"#;
    let (rows, _) = decode(vec![devices()], &[inline]);
    assert_eq!(rows, ["0: time=1970-01-01T00:00:01Z id=d1"]);
    let (rows, _) = decode(vec![devices()], &[wrapped]);
    assert_eq!(rows, ["0: time=1970-01-01T00:00:01Z id=d1 dedupe=yes"]);
}

#[test]
fn a_refused_row_uses_up_no_series() {
    let streams = streams(vec![sensors(options())]);
    let mut decoder = Decoder::new(&streams);
    decoder.push_json(with(",\"n\":true").as_bytes(), 0, NOW);
    assert!(streams.find("/room/1/s").is_none());
    decoder.push_json(with(",\"n\":1").as_bytes(), 1, NOW);
    assert!(streams.find("/room/1/s").is_some());
}

#[test]
fn rows_of_several_streams_and_shapes_take_turns() {
    let fire = stream("fire", "alert BOOLEAN", "/fire/{room}", options());
    let rows: Vec<String> = (0..40)
        .map(|i| match i % 5 {
            0 => with(&format!(",\"n\":{i}")),
            1 => format!(r#"{{"topic":"/fire/1","time":{i},"alert":true}}"#),
            2 => with(&format!(",\"data\":{{\"value\":{i}}}")),
            3 => format!(r#"{{"time":{i},"topic":"/room/2/s","n":{i}}}"#),
            _ => with(&format!(",\"f{i}\":1,\"n\":{i}")),
        })
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let (shown, refused) = decode(vec![sensors(options()), fire], &rows);
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(shown.len(), 40);
    assert_eq!(shown[2], "2: time=2026-01-31T11:00:00Z value=2.0");
    assert!(
        shown
            .iter()
            .all(|row| row.contains("n=") || row.contains("alert=") || row.contains("value="))
    );
}

#[test]
fn a_column_added_between_requests_is_read_also_where_it_stands_before_the_topic() {
    let streams = streams(vec![sensors(options())]);
    let row = r#"{"extra":2.5,"topic":"/room/1/s","time":"2026-01-31T11:00:00Z","n":3}"#;
    for _ in 0..3 {
        let (rows, _) = decode_into(&streams, &[row, row]);
        assert_eq!(rows[1], "1: time=2026-01-31T11:00:00Z n=3");
    }
    let extra = Column { name: "extra".into(), column_type: ColumnType::Double, unit: None };
    streams.log().add_column("sensors", extra).expect("a new column");
    let (rows, _) = decode_into(&streams, &[row, row]);
    assert_eq!(rows[1], "1: time=2026-01-31T11:00:00Z n=3 extra=2.5");
}

#[test]
fn a_stream_dropped_and_created_again_gets_the_rows() {
    let streams = streams(vec![sensors(options())]);
    let row = r#"{"topic":"/room/1/s","time":"2026-01-31T11:00:00Z","n":3}"#;
    decode_into(&streams, &[row, row]);
    streams.log().drop_stream("sensors").expect("it is there");
    let (_, refused) = decode_into(&streams, &[row]);
    assert!(refused[0].contains("no_stream"), "{refused:?}");
    let new = streams.log().create_stream(sensors(options())).expect("a stream");
    let mut decoder = Decoder::new(&streams);
    decoder.push_json(row.as_bytes(), 0, NOW);
    assert_eq!(decoder.finish().rows[0].stream.uid(), new.uid());
}

#[test]
fn topics_at_random_are_found_and_turns_are_noticed_again() {
    let topics: Vec<String> = (0..50).map(|n| format!("/room/{n}/s")).collect();
    let place = |n: usize| Place {
        target: 0,
        series: crate::model::SeriesId(u32::try_from(n).expect("few")),
        partition: PartitionId(0),
    };
    let mut known = KnownTopics::within(40, 1_000);
    for (n, topic) in topics.iter().enumerate() {
        known.add(topic, place(n));
    }
    let mut n = 7_usize;
    let random = (0..500).map(|_| {
        n = (n * 31 + 17) % 1_009;
        n % topics.len()
    });
    let turns = (0..topics.len()).cycle().take(1_000);
    for n in random.chain(turns).collect::<Vec<_>>() {
        let found = known.find(&topics[n]).map(|place| place.series.0 as usize);
        assert_eq!(found, (n < 40).then_some(n), "beyond its room it knows nothing");
    }
}

proptest! {
    /// The strict scanner and serde_json agree on what JSON is.
    #[test]
    fn what_is_json_is_agreed(text in r#"[\[\]{}",:0-9.eE+\-ntrufalse\\ u]{0,24}"#) {
        let mut scanner = crate::decode::scan::Scanner::new(&text, 0);
        scanner.skip_space();
        let ours = scanner.value(0).is_ok() && { scanner.skip_space(); scanner.at == text.len() };
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        // serde_json's raw values let lone surrogates and huge numbers through, as we do numbers.
        prop_assert!(ours == theirs || text.contains("\\u"), "{text}: {ours} {theirs}");
    }

    /// A double comes out as the nearest one, whichever way it was parsed.
    #[test]
    fn doubles_are_the_nearest(number in r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?") {
        let scanned = crate::decode::number::scan(&number, 0).expect("JSON's grammar");
        let expected = number.parse::<f64>().ok().filter(|v| v.is_finite());
        prop_assert_eq!(scanned.double(&number).map(f64::to_bits), expected.map(f64::to_bits));
    }

    /// What one request left changes nothing for the next.
    #[test]
    fn requests_one_after_another_are_read_as_by_themselves(
        requests in proptest::collection::vec(
            proptest::collection::vec((0..8_usize, 0..5_usize, 0..6_usize), 1..8), 1..12)
    ) {
        let pool = ["1", "-2.5", "null", "{\"a\":1}", "\"\\u0041\"", "7"];
        let time = r#""time":"2026-01-31T11:00:00Z""#;
        for request in requests {
            let rows: Vec<String> = request.iter().map(|(form, room, value)| {
                let (topic, value) = (format!(r#""topic":"/room/{room}/s""#), pool[*value]);
                match form {
                    0..3 => format!(r#"{{"org":"x","unit":{room},{topic},{time},"n":{value}}}"#),
                    3 => format!(r#"{{"org":"x","unit":9,{topic},{time},"value":{value}}}"#),
                    4 => format!(r#"{{"n":{value},{topic},{time}}}"#),
                    5 => format!(r#"{{{time},{topic},"data":{value}}}"#),
                    6 => format!(r#"{{"org":"x","unit":{room},"topic":"/hall/{room}",{time}}}"#),
                    _ => format!(r#"{{"id":{value},{topic},{time}}}"#),
                }
            }).collect();
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            prop_assert_eq!(decode_into(&SHARED, &rows), decode_anew(&SHARED, &rows));
        }
    }

    /// Reading by shape gives what reading in full gives.
    #[test]
    fn a_remembered_shape_changes_nothing(
        values in proptest::collection::vec((0..6_usize, 0..9_usize, 0..9_usize), 1..40)
    ) {
        let pool = ["1", "-2.5", "\"x\"", "null", "true", "{\"a\":1}", "\"2026-01-31T11:00:00Z\"", "\"\\u0041\"", "[1]"];
        let rows: Vec<String> = values.iter().map(|(form, a, b)| {
            let (a, b) = (pool[*a], pool[*b]);
            match form {
                0 => with(&format!(",\"n\":{a},\"value\":{b}")),
                1 => with(&format!(",\"data\":{a},\"label\":{b}")),
                2 => with(&format!(",\"data\":{{\"n\":{a}}},\"label\":{b}")),
                3 => with(&format!(", \"label\" : {a} , \"n\" : {b} ")),
                4 => with(&format!(",\"at\":{a},\"x\":{b}")),
                _ => with(&format!(",\"id\":{a},\"source\":{b}")),
            }
        }).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let together = decode_into(&SHARED, &rows);
        let mut apart = (Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            let (shown, refused) = decode_into(&SHARED, &[row]);
            let renumber = |line: &String| format!("{index}{}", &line[1..]);
            apart.0.extend(shown.iter().map(renumber));
            apart.1.extend(refused.iter().map(renumber));
        }
        prop_assert_eq!(together, apart);
    }

    /// What is remembered of how a sensor's rows begin changes nothing, neither what is in a row nor whose
    /// it is.
    #[test]
    fn a_remembered_opening_changes_nothing(
        values in proptest::collection::vec((0..9_usize, 0..3_usize, 0..6_usize), 1..60)
    ) {
        let pool = ["1", "-2.5", "null", "{\"a\":1}", "\"\\u0041\"", "7"];
        let rows: Vec<String> = values.iter().enumerate().map(|(number, (form, room, value))| {
            let (room, value) = (room + number, pool[*value]);
            let room = format!(r#""topic":"/room/{}/s""#, room % 4);
            let time = r#""time":"2026-01-31T11:00:00Z""#;
            match form {
                0 => format!(r#"{{"org":"x","unit":{},{room},{time},"n":{value}}}"#, number % 4),
                1 => format!(r#"{{"org":"x","unit":1,{room},{time},"n":{value}}}"#),
                2 => format!(r#"  {{"org":"x","unit":1,{room},{time},"n":{value}}} "#),
                3 => format!(r#"{{"n":{value},{room},{time}}}"#),
                4 => format!(r#"{{{time},{room},"n":{value}}}"#),
                5 => format!(r#"{{"seq":{number},{room},{time},"n":{value}}}"#),
                6 => format!(r#"{{"data":{value},{room},{time},"n":7}}"#),
                7 => format!(r#"{{"org":"x","unit":1,{room},{time},"n":{value},"new{}":1}}"#, number % 12),
                _ => format!(r#"{{"org":"x","unit":1,"topic":"/r\u006fom/3/s",{time},"n":{value}}}"#),
            }
        }).collect();
        let mut together = Decoder::in_arrival_order(&SHARED);
        let mut apart = (Vec::new(), Vec::new(), Vec::new());
        for (index, row) in (0..).zip(&rows) {
            together.push_json(row.as_bytes(), index, NOW);
            let mut alone = Decoder::in_arrival_order(&SHARED);
            alone.push_json(row.as_bytes(), index, NOW);
            let alone = alone.finish();
            apart.0.extend(shown(&alone));
            apart.1.extend(refusals(&alone));
            apart.2.extend(whose(&alone));
        }
        let together = together.finish();
        apart.0.sort();
        let mut lines = shown(&together);
        lines.sort();
        prop_assert_eq!((lines, refusals(&together), whose(&together)), apart);
    }
}

/// The topic of each row of one stream.
fn whose(decoded: &Decoded) -> Vec<Arc<str>> {
    let of_rows = |rows: &DecodedRows| {
        let series = rows.batch.column_by_name("series").expect("all rows have one").to_data();
        series.buffer::<u32>(0)[series.offset()..][..series.len()].to_vec()
    };
    let series = decoded.rows.iter().flat_map(of_rows);
    series.map(|series| Arc::clone(&decoded.topics[series as usize])).collect()
}
