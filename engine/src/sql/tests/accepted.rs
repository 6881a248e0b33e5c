//! What is taken, and what it means.

use super::one;
use crate::alarms::{Authority, Command};
use crate::sql::{
    EventMode, Existing, Handshake, Historical, Missing, NoData, NoDataAction, Severity, ShowWhat,
    StartFrom, Statement, SubscriptionOptions, Target, TestOver, TestedRule, parse_script,
    parse_statements,
};
use std::time::Duration;
use weir_ingest::model::{
    ColumnType, EventTime, FutureTimes, MissingTime, StreamOptions, TimeUnit, UnknownFields,
};

const CLIMATE: &str =
    "CREATE STREAM Climate (temperature DOUBLE UNIT '°C', humidity double precision, co2 FLOAT8)
  TOPIC '/site/{site}/room/{room}/climate'";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_stream_has_its_columns_units_levels_and_defaults() {
    let Statement::CreateStream { definition, existing } = one(CLIMATE) else { panic!("a stream") };
    assert_eq!(existing, Existing::Refuse);
    assert_eq!(definition.name(), "climate");
    assert_eq!(definition.levels(), ["site", "room"]);
    assert_eq!(definition.columns()[0].unit.as_deref(), Some("°C"));
    assert!(definition.columns().iter().all(|c| c.column_type == ColumnType::Double));
    assert_eq!(*definition.options(), StreamOptions::default());
}

#[test]
fn every_option_of_a_stream_is_taken() {
    let text = format!(
        "{CLIMATE} WITH (partitions = 2, lateness = '250 ms', idle = INTERVAL '1' MINUTE,
           max_future_skew = '1 hour', future = 'stamp', live_within = '2 minutes', dedupe = '0 seconds',
           dedupe_bytes = '1 MiB', time_field = 'ts', time_unit = 'milliseconds', time = 'arrival',
           unknown_fields = 'refuse', interval = '10 seconds', expected = 'sensors')"
    );
    let Statement::CreateStream { definition, .. } = one(&text) else { panic!("a stream") };
    let expected = StreamOptions {
        partitions: 2,
        lateness: Duration::from_millis(250),
        idle: seconds(60),
        max_future_skew: seconds(3600),
        future: FutureTimes::Stamp,
        live_within: seconds(120),
        dedupe: Duration::ZERO,
        dedupe_bytes: 1 << 20,
        time_field: "ts".to_owned(),
        time_unit: Some(TimeUnit::Milliseconds),
        time: MissingTime::Arrival,
        unknown_fields: UnknownFields::Refuse,
        interval: Some(seconds(10)),
        expected: Some("sensors".to_owned()),
        ..StreamOptions::default()
    };
    assert_eq!(*definition.options(), expected);
}

#[test]
fn every_spelling_of_a_type_is_taken() {
    for (word, expected) in [
        ("DOUBLE", ColumnType::Double),
        ("float8", ColumnType::Double),
        ("Double Precision", ColumnType::Double),
        ("BIGINT", ColumnType::Bigint),
        ("INT8", ColumnType::Bigint),
        ("BOOLEAN", ColumnType::Boolean),
        ("bool", ColumnType::Boolean),
        ("TEXT", ColumnType::Text),
        ("VARCHAR", ColumnType::Text),
        ("STRING", ColumnType::Text),
        ("TIMESTAMP", ColumnType::Timestamp),
    ] {
        let Statement::AlterStreamAddColumn { stream, column } =
            one(&format!("ALTER STREAM s ADD COLUMN C {word} UNIT 'x'"))
        else {
            panic!("{word}")
        };
        assert_eq!((stream.as_str(), column.name.as_str()), ("s", "c"));
        assert_eq!((column.column_type, column.unit.as_deref()), (expected, Some("x")), "{word}");
    }
}

#[test]
fn a_rule_takes_its_clauses_in_any_order() {
    let clauses = [
        "SEVERITY high",
        "KEY (org, Site)",
        "START FROM EARLIEST",
        "RAISE WHEN abs(avg_temp - 20) > 2 FOR INTERVAL '3' MINUTE",
        "CLEAR WHEN abs(avg_temp - 20) < 1.5 FOR '5 minutes'",
        "ON NO DATA FOR INTERVAL '15 minutes' HOLD",
    ];
    for shift in 0..clauses.len() {
        let mut turned = clauses;
        turned.rotate_left(shift);
        let text = format!(
            "CREATE OR REPLACE RULE floor_hvac {} AS SELECT site, avg(temperature) AS avg_temp FROM climate GROUP BY site",
            turned.join("\n  ")
        );
        let Statement::CreateRule(rule) = one(&text) else { panic!("a rule") };
        assert_eq!((rule.name.as_str(), rule.existing), ("floor_hvac", Existing::Replace));
        assert_eq!(rule.severity, Severity::High);
        assert_eq!(rule.key.as_deref(), Some(["org".to_owned(), "site".to_owned()].as_slice()));
        assert_eq!(rule.start, Some(StartFrom::Earliest));
        let raise = rule.raise.expect("RAISE WHEN");
        assert_eq!(
            (raise.expr.to_string().as_str(), raise.hold),
            ("abs(avg_temp - 20) > 2", seconds(180))
        );
        assert_eq!(rule.clear.expect("CLEAR WHEN").hold, seconds(300));
        assert_eq!(rule.no_data, Some(NoData { after: seconds(900), action: NoDataAction::Hold }));
        assert_eq!(rule.text, text);
    }
}

#[test]
fn a_rule_without_clauses_is_its_select() {
    let Statement::CreateRule(rule) =
        one("create rule r as select site from climate where co2 > 1000;")
    else {
        panic!("a rule")
    };
    assert_eq!((rule.severity, rule.key, rule.start), (Severity::Medium, None, None));
    assert!(rule.raise.is_none() && rule.clear.is_none() && rule.no_data.is_none());
    assert_eq!(rule.query.to_string(), "SELECT site FROM climate WHERE co2 > 1000");
    let text = "CREATE RULE r START FROM TIMESTAMP '1970-01-01T00:00:01+00:00' AS SELECT a FROM s HAVING a > 1";
    let Statement::CreateRule(rule) = one(text) else { panic!("a rule") };
    assert_eq!(rule.start, Some(StartFrom::Timestamp(EventTime(1_000_000))));
}

#[test]
fn a_subscription_has_the_ladder_of_the_house_unless_it_says_otherwise() {
    let Statement::CreateSubscription(plain) =
        one("CREATE SUBSCRIPTION s TO 'http://localhost:9/x'")
    else {
        panic!("a subscription")
    };
    assert_eq!(plain.options, SubscriptionOptions::default());
    assert_eq!((plain.on, plain.filter, plain.condition), (None, None, None));
    let Statement::CreateSubscription(full) = one(
        "CREATE SUBSCRIPTION security TO 'https://example.com/hook'
         ON '/org/contoso/site/berlin/' FILTER '/room/*/sensors/occupancy' WHERE severity = 'critical'
         WITH (retry = '50ms, 100ms, ...', expire = '1 hour', timeout = '5 s', attempts = 11, mode = 'binary',
               handshake = 'skip', historical = true, secret = 'k')",
    ) else {
        panic!("a subscription")
    };
    assert_eq!(full.target, Target::Webhook("https://example.com/hook".to_owned()));
    assert_eq!(full.on.as_deref(), Some("/org/contoso/site/berlin"));
    assert!(full.filter.expect("FILTER").matches("/room/4/sensors/occupancy"));
    assert_eq!(full.condition.expect("WHERE").to_string(), "severity = 'critical'");
    let expected = SubscriptionOptions {
        retry: vec![Duration::from_millis(50), Duration::from_millis(100)],
        expire: seconds(3600),
        timeout: seconds(5),
        attempts: 11,
        mode: EventMode::Binary,
        handshake: Handshake::Skip,
        historical: Historical::Deliver,
        secret: Some("k".to_owned()),
    };
    assert_eq!(full.options, expected);
}

#[test]
fn a_table_keeps_its_key_and_its_rows_stay_a_query() {
    let Statement::CreateTable(table) = one(
        "CREATE TABLE IF NOT EXISTS Hours (site TEXT, opens BIGINT NOT NULL, PRIMARY KEY (site))",
    ) else {
        panic!("a table")
    };
    assert_eq!((table.name.as_str(), table.existing), ("hours", Existing::Keep));
    assert_eq!(table.primary_key, ["site"]);
    assert!(table.columns.iter().all(|column| !column.nullable));
    for (text, columns, source) in [
        ("INSERT INTO hours VALUES ('berlin', 480)", 0, "VALUES ('berlin', 480)"),
        ("INSERT INTO hours (site, opens) SELECT a, b FROM t", 2, "SELECT a, b FROM t"),
    ] {
        let Statement::Insert(insert) = one(text) else { panic!("{text}") };
        assert_eq!((insert.table.as_str(), insert.columns.len()), ("hours", columns));
        assert_eq!(insert.source.to_string(), source);
    }
}

#[test]
fn operators_speak_plainly() {
    let text = |s: &str| s.to_owned();
    for (sql, expected) in [
        (
            "ACKNOWLEDGE ALARM 'a1' BY 'kim' COMMENT 'on my way'",
            Command::Acknowledge {
                target: text("a1"),
                by: text("kim"),
                comment: Some(text("on my way")),
            },
        ),
        (
            "acknowledge alarm 'a1' by 'kim'",
            Command::Acknowledge { target: text("a1"), by: text("kim"), comment: None },
        ),
        (
            "SHELVE ALARM 'a1' FOR INTERVAL '1' HOUR BY 'kim' REASON 'repair'",
            Command::Shelve {
                target: text("a1"),
                for_us: 3_600_000_000,
                by: text("kim"),
                reason: text("repair"),
                authority: Authority::Admin,
            },
        ),
        ("UNSHELVE ALARM 'a1' BY 'kim'", Command::Unshelve { target: text("a1"), by: text("kim") }),
        (
            "TAKE SERIES '/a/b' OUT OF SERVICE BY 'kim' REASON 'broken'",
            Command::TakeOutOfService {
                topic: text("/a/b"),
                by: text("kim"),
                reason: text("broken"),
            },
        ),
        (
            "RETURN SERIES '/a/b' TO SERVICE BY 'kim'",
            Command::ReturnToService { topic: text("/a/b"), by: text("kim") },
        ),
    ] {
        assert_eq!(one(sql), Statement::Operate(expected), "{sql}");
    }
}

#[test]
fn lists_and_explanations_are_asked_for_by_name() {
    let text = |s: &str| s.to_owned();
    for (sql, expected) in [
        ("SHOW STREAMS", Statement::Show(ShowWhat::Streams)),
        ("show rules", Statement::Show(ShowWhat::Rules)),
        ("SHOW ALARMS", Statement::Show(ShowWhat::Alarms)),
        ("SHOW SUBSCRIPTIONS", Statement::Show(ShowWhat::Subscriptions)),
        ("SHOW PARTITIONS", Statement::Show(ShowWhat::Partitions)),
        ("SHOW TABLES", Statement::Show(ShowWhat::Tables)),
        ("EXPLAIN WATERMARK R", Statement::ExplainWatermark { rule: text("r") }),
        ("EXPLAIN RULE R", Statement::ExplainRule { name: text("r") }),
        ("FLUSH STREAM \"S\"", Statement::FlushStream { name: text("S") }),
        (
            "DROP STREAM IF EXISTS s",
            Statement::DropStream { name: text("s"), missing: Missing::Ignore },
        ),
        ("REPLAY RULE r", Statement::ReplayRule { name: text("r") }),
        ("RESET RULE r", Statement::ResetRule { name: text("r") }),
        ("DROP RULE r", Statement::DropRule { name: text("r"), missing: Missing::Refuse }),
        (
            "DROP SUBSCRIPTION s",
            Statement::DropSubscription { name: text("s"), missing: Missing::Refuse },
        ),
        ("DROP TABLE t", Statement::DropTable { name: text("t"), missing: Missing::Refuse }),
    ] {
        assert_eq!(one(sql), expected, "{sql}");
    }
}

#[test]
fn questions_pass_to_datafusion_with_window_sugar_rewritten() {
    let tumbled = "SELECT avg(co2) FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '5 minutes') AS climate GROUP BY room, window_start, window_end";
    for (sql, expected) in [
        ("SELECT 1", "SELECT 1"),
        ("(SELECT 1)", "(SELECT 1)"),
        ("VALUES (1)", "VALUES (1)"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH x AS (SELECT 1) SELECT * FROM x"),
        (
            "SELECT * FROM latest.occupancy WHERE building = $building",
            "SELECT * FROM latest.occupancy WHERE building = $building",
        ),
        ("EXPLAIN SELECT 1", "EXPLAIN SELECT 1"),
        ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN ANALYZE SELECT 1"),
        ("SELECT avg(co2) FROM climate GROUP BY room, tumble(time, INTERVAL '5 minutes')", tumbled),
        (
            "SELECT avg(co2) FROM climate GROUP BY room, Tumble(climate.time, INTERVAL '5 minutes'), window_end",
            "SELECT avg(co2) FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '5 minutes') AS climate GROUP BY room, window_start, window_end",
        ),
        (
            "SELECT avg(co2) FROM climate GROUP BY room, TumblingWindow(minute, 5)",
            &tumbled.replace("minutes", "minute"),
        ),
        (
            "SELECT avg(co2) FROM climate GROUP BY room, TumblingWindow(Duration(minute, 5))",
            &tumbled.replace("minutes", "minute"),
        ),
        (
            "SELECT 1 FROM TABLE(TUMBLE(TABLE climate, DESCRIPTOR(time), INTERVAL '1' MINUTE))",
            "SELECT 1 FROM TABLE(TUMBLE(climate, DESCRIPTOR(time), INTERVAL '1' MINUTE))",
        ),
        (
            "SELECT 1 FROM TUMBLE(data => TABLE climate, timecol => DESCRIPTOR(time), size => INTERVAL '1' MINUTE) AS w",
            "SELECT 1 FROM TUMBLE(data => climate, timecol => DESCRIPTOR(time), size => INTERVAL '1' MINUTE) AS w",
        ),
        ("SELECT * FROM TUMBEL(climate)", "SELECT * FROM TUMBEL(climate)"),
    ] {
        let Statement::Query(query) = one(sql) else { panic!("{sql}") };
        assert_eq!(query.to_string(), expected, "{sql}");
    }
}

#[test]
fn a_text_holds_many_statements_and_each_keeps_its_own_text() {
    let text =
        "-- ä first\nSHOW RULES; ;\n/* second */ SELECT ';' AS \"Ünï\" -- end\n;\nDROP RULE ö;;";
    let texts: Vec<String> =
        parse_script(text).expect("a script").into_iter().map(|(_, own)| own).collect();
    assert_eq!(texts, ["SHOW RULES", "SELECT ';' AS \"Ünï\"", "DROP RULE ö"]);
    assert_eq!(parse_statements(" ; -- nothing\n").expect("nothing"), []);
}

#[test]
fn names_are_lower_case_unless_quoted() {
    let Statement::DropRule { name, .. } = one("DROP RULE Fire") else { panic!("a rule") };
    assert_eq!(name, "fire");
    let Statement::DropRule { name, .. } = one("DROP RULE \"Fire\"") else { panic!("a rule") };
    assert_eq!(name, "Fire");
}

#[test]
fn a_test_names_a_rule_or_has_its_text_and_says_over_which_time() {
    let Statement::TestRule(test) = one("test rule Hot") else { panic!("a test") };
    assert_eq!((test.rule, test.over), (TestedRule::Named("hot".to_owned()), None));
    let Statement::TestRule(test) = one("TEST RULE hot OVER INTERVAL '7' DAY") else {
        panic!("a test")
    };
    assert_eq!(test.over, Some(TestOver::Last(seconds(7 * 86_400))));
    let Statement::TestRule(test) = one(
        "TEST RULE hot OVER (FROM TIMESTAMP '1970-01-01T00:00:01Z' TO TIMESTAMP '1970-01-01T00:00:02Z')",
    ) else {
        panic!("a test")
    };
    let (from, to) = (EventTime(1_000_000), Some(EventTime(2_000_000)));
    assert_eq!(test.over, Some(TestOver::Between { from, to }));
}

#[test]
fn the_text_of_a_tested_rule_is_its_own_wherever_it_stands() {
    let rule = "CREATE OR REPLACE RULE r\n RAISE WHEN n > (1 + 1) AS SELECT n, upper('é)') FROM s";
    for before in ["", "SHOW RULES; ", "SHOW RULES;\n  "] {
        let text = format!("{before}TEST RULE ( {rule} ) OVER '1 hour'");
        let Some(Statement::TestRule(test)) = parse_statements(&text).expect(&text).pop() else {
            panic!("a test")
        };
        let TestedRule::Written(tested) = test.rule else { panic!("a written rule") };
        assert_eq!(tested.text, rule);
        assert_eq!(Statement::CreateRule(*tested), one(rule), "{text}");
        assert_eq!(test.over, Some(TestOver::Last(seconds(3600))));
    }
}
