//! What is refused, with which words and where.

use super::refusal;
use crate::sql::Position;

/// The message, detail and hint of the refusal contain these words, and it points there.
fn check(cases: &[(&str, &str, &str, (u64, u64))]) {
    for (text, message, help, (line, column)) in cases {
        let error = refusal(text);
        let whole = error.to_string();
        assert!(error.message.contains(message), "{text}\n{whole}");
        let more = format!(
            "{} {}",
            error.detail.as_deref().unwrap_or_default(),
            error.hint.as_deref().unwrap_or_default()
        );
        assert!(more.contains(help), "{text}\n{whole}");
        assert_eq!(
            error.position,
            Some(Position { line: *line, column: *column }),
            "{text}\n{whole}"
        );
    }
}

#[test]
fn a_stream_that_cannot_be_so_says_why() {
    check(&[
        ("CREATE STREAM s (a INT) TOPIC '/x/{y}'", "no type INT", "write BIGINT", (1, 20)),
        (
            "CREATE STREAM s (a FLOAT) TOPIC '/x/{y}'",
            "no type FLOAT",
            "DOUBLE, BIGINT, BOOLEAN, TEXT, TIMESTAMP",
            (1, 20),
        ),
        ("CREATE STREAM s (a TEXT(5)) TOPIC '/x/{y}'", "no length", "TEXT alone", (1, 24)),
        (
            "CREATE STREAM s (a TEXT NOT NULL) TOPIC '/x/{y}'",
            "may always be missing",
            "coalesce",
            (1, 25),
        ),
        ("CREATE STREAM s (a TEXT)", "ends too early", "TOPIC '/plant", (1, 25)),
        ("CREATE STREAM s (a TEXT) TOPIC '/x'", "names no level value", "", (1, 32)),
        ("CREATE STREAM s (a TEXT) TOPIC '/x/{y}/#'", "wildcard", "", (1, 32)),
        (
            "CREATE STREAM s (a TEXT,\n time TEXT) TOPIC '/x/{y}'",
            "'time' is a column every stream already has",
            "",
            (2, 2),
        ),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{offset}'",
            "'offset' is a column every stream",
            "",
            (1, 32),
        ),
        ("CREATE STREAM s (a TEXT, a TEXT) TOPIC '/x/{y}'", "declared twice", "", (1, 26)),
        ("CREATE STREAM \"S\" (a TEXT) TOPIC '/x/{y}'", "cannot name a stream", "", (1, 15)),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (latenes = '5 s')",
            "no option 'latenes'",
            "did you mean 'lateness'",
            (1, 47),
        ),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (retention = '0 days')",
            "more than '0 seconds'",
            "",
            (1, 59),
        ),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (retention_bytes = 0)",
            "more than 0 bytes, such as '10 GiB'",
            "",
            (1, 65),
        ),
        ("CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (expected = 5)", "", "", (1, 58)),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (partitions = 0)",
            "between 1 and 1024",
            "",
            (1, 60),
        ),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (idle = '0 s')",
            "more than '0 seconds'",
            "",
            (1, 54),
        ),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (idle = 5)",
            "a length of time such as",
            "",
            (1, 54),
        ),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (future = 'stmp')",
            "'dead_letter' or 'stamp'",
            "did you mean 'stamp'",
            (1, 56),
        ),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (idle = '1 s', idle = '2 s')",
            "stands twice",
            "",
            (1, 61),
        ),
        (
            "CREATE STREAM s (a TEXT) TOPIC '/x/{y}' WITH (dedupe = '1 minute') AS SELECT 1",
            "no option 'dedupe'",
            "partitions, idle, interval",
            (1, 47),
        ),
        ("CREATE STREAM s TOPIC '/x/{y}'", "columns", "AS SELECT", (1, 17)),
        (
            "CREATE OR REPLACE STREAM s (a TEXT) TOPIC '/x/{y}'",
            "only a rule can be replaced",
            "",
            (1, 1),
        ),
        ("ALTER STREAM s DROP COLUMN a", "expected ADD COLUMN", "only grows", (1, 16)),
        ("ALTER TABLE t ADD COLUMN a TEXT", "expected STREAM", "CREATE OR REPLACE RULE", (1, 7)),
        ("CREATE STRAEM s (a TEXT)", "expected STREAM, RULE", "did you mean STREAM", (1, 8)),
    ]);
}

#[test]
fn a_rule_that_cannot_be_so_says_why() {
    check(&[
        (
            "CREATE RULE r RAISE WHEN a > 1 AS SELECT a FROM s GROUP BY a HAVING a > 2",
            "HAVING and RAISE WHEN",
            "put it into RAISE WHEN: a row that HAVING removes could never clear the alarm",
            (1, 69),
        ),
        (
            "CREATE RULE r CLEAR WHEN a > 1 AS SELECT a FROM s",
            "CLEAR WHEN without RAISE WHEN",
            "add RAISE WHEN",
            (1, 15),
        ),
        (
            "CREATE RULE r ON NO DATA FOR '1 m' HOLD AS SELECT a FROM s",
            "ON NO DATA without RAISE WHEN",
            "",
            (1, 15),
        ),
        (
            "CREATE RULE r RAISE WHEN a ON NO DATA HOLD AS SELECT a FROM s",
            "expected FOR",
            "how long",
            (1, 39),
        ),
        (
            "CREATE RULE r RAISE WHEN a RAISE WHEN b AS SELECT a FROM s",
            "RAISE WHEN stands twice",
            "",
            (1, 28),
        ),
        (
            "CREATE RULE r SEVERITY hihg AS SELECT a FROM s",
            "low, medium, high or critical",
            "did you mean high",
            (1, 24),
        ),
        (
            "CREATE RULE r RASE WHEN a AS SELECT a FROM s",
            "expected SEVERITY, KEY",
            "did you mean RAISE",
            (1, 15),
        ),
        ("CREATE RULE r SELECT a FROM s", "expected SEVERITY, KEY", "AS before SELECT", (1, 15)),
        (
            "CREATE RULE r REQUIRE COVERAGE 60 PERCENT AS SELECT a FROM s",
            "REQUIRE COVERAGE without RAISE WHEN",
            "HAVING coverage()",
            (1, 15),
        ),
        (
            "CREATE RULE r RAISE WHEN a REQUIRE COVERAGE 160 PERCENT AS SELECT a FROM s",
            "a whole number from 1 to 100",
            "REQUIRE COVERAGE 60 PERCENT",
            (1, 45),
        ),
        (
            "CREATE RULE r SUPPRESS WHEN b AS SELECT a FROM s",
            "SUPPRESS WHEN without RAISE WHEN",
            "WHERE",
            (1, 15),
        ),
        (
            "CREATE RULE r START FROM TIMESTAMP '2026-01-01 00:00:00' AS SELECT a FROM s",
            "with its zone",
            "RFC 3339",
            (1, 36),
        ),
        ("CREATE RULE r RAISE WHEN a FOR '5' AS SELECT a FROM s", "has no unit", "", (1, 32)),
        (
            "CREATE RULE r RAISE WHEN a FOR INTERVAL '1' MONTH AS SELECT a FROM s",
            "no fixed length",
            "",
            (1, 32),
        ),
        (
            "CREATE RULE r AS\nSELECT a FROM s WHERE time > now()",
            "now() cannot stand in a rule",
            "window_end",
            (2, 30),
        ),
        ("CREATE RULE r AS SELECT random() AS a FROM s", "random() cannot", "", (1, 25)),
        (
            "CREATE RULE r AS SELECT CURRENT_TIMESTAMP FROM s",
            "current_timestamp() cannot",
            "",
            (1, 25),
        ),
        ("CREATE RULE r RAISE WHEN uuid() = 'x' AS SELECT a FROM s", "uuid() cannot", "", (1, 26)),
        ("CREATE RULE R_1 AS SELECT a FROM s ORDER BY a LIMIT", "expected", "", (1, 52)),
        ("CREATE RULE r AS SELEC a FROM s", "expected", "", (1, 18)),
        ("CREATE RULE r KEY (a, a) AS SELECT a FROM s", "stands twice", "", (1, 23)),
    ]);
}

#[test]
fn other_engines_spellings_are_answered_with_ours() {
    check(&[
        ("SELECT a FROM s TIMESTAMP BY ts", "Azure", "time_field", (1, 17)),
        (
            "SELECT a FROM s GROUP BY SlidingWindow(minute, 5)",
            "SlidingWindow",
            "FOR INTERVAL",
            (1, 26),
        ),
        (
            "SELECT a FROM s GROUP BY SessionWindow(minute, 5, 10)",
            "third argument",
            "SessionWindow(minute, 5)",
            (1, 26),
        ),
        (
            "SELECT a FROM TABLE(SESSION(TABLE s PARTITION BY room, DESCRIPTOR(time), INTERVAL '1' MINUTE))",
            "Flink's",
            "key => DESCRIPTOR(room)",
            (1, 37),
        ),
        (
            "SELECT a FROM s GROUP BY upper(a), session(time, INTERVAL '1' MINUTE)",
            "'upper(a)' is no column",
            "FROM SESSION",
            (1, 26),
        ),
        (
            "SELECT a FROM s GROUP BY a, SessionWindow(minute, 5) OVER (PARTITION BY a)",
            "OVER",
            "leave OVER out",
            (1, 29),
        ),
        ("SELECT tumble_start(time, INTERVAL '1' MINUTE) FROM s", "Flink", "window_start", (1, 8)),
        ("SELECT System.Timestamp() FROM s", "Azure", "window_end", (1, 8)),
        (
            "CREATE RULE r AS SELECT a FROM s GROUP BY a EMIT ON WINDOW CLOSE",
            "RisingWave",
            "leave it out",
            (1, 45),
        ),
        ("SELECT a FROM s EMIT CHANGES", "ksqlDB", "leave it out", (1, 17)),
        (
            "SELECT a FROM s WINDOW TUMBLING (SIZE 5 MINUTES) GROUP BY a",
            "ksqlDB",
            "FROM TUMBLE",
            (1, 17),
        ),
        (
            "CREATE TABLE t (ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)",
            "Flink",
            "lateness",
            (1, 31),
        ),
        ("CREATE SOURCE s (a INT)", "CREATE SOURCE", "CREATE STREAM", (1, 8)),
        ("CREATE SINK s FROM t", "CREATE SINK", "CREATE SUBSCRIPTION", (1, 8)),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", "views are not served", "CREATE RULE", (1, 8)),
        ("CREATE VIEW v AS SELECT 1", "views are not served", "CREATE RULE", (1, 8)),
        (
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 'x'",
            "external tables",
            "CREATE TABLE",
            (1, 8),
        ),
        (
            "SELECT a FROM s, t GROUP BY tumble(time, INTERVAL '1' MINUTE)",
            "exactly one stream",
            "FROM TUMBLE",
            (1, 29),
        ),
        (
            "SELECT a FROM s GROUP BY TumblingWindow(fortnight, 1)",
            "not how a window is written",
            "TumblingWindow(minute, 5)",
            (1, 26),
        ),
    ]);
}

#[test]
fn what_changes_data_otherwise_is_refused() {
    check(&[
        ("UPDATE t SET a = 1", "not changed in place", "INSERT INTO", (1, 1)),
        ("DELETE FROM t", "not deleted", "DROP TABLE", (1, 1)),
        ("DELETE SERIES '/a/#'", "not yet: DELETE SERIES", "DROP STREAM", (1, 1)),
        ("COPY t TO 'x.csv'", "files are not", "weir query", (1, 1)),
        ("SET x = 1", "sets nothing", "weir.toml", (1, 1)),
        ("BEGIN", "no transactions", "", (1, 1)),
        ("EXPLAIN UPDATE t SET a = 1", "only questions", "EXPLAIN RULE", (1, 1)),
        ("EXPLAIN COPY t TO 'x'", "only questions", "", (1, 1)),
        (
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
            "does not change anything",
            "INSERT INTO table WITH",
            (1, 1),
        ),
        ("SELECT 1 INTO t", "SELECT INTO", "CREATE TABLE", (1, 1)),
        ("CREATE TABLE t AS SELECT 1", "created with its columns", "INSERT INTO t SELECT", (1, 16)),
        ("CREATE TABLE t FROM CSV 'x'", "created with its columns", "INSERT INTO t", (1, 16)),
        ("CREATE TABLE t (a TEXT, PRIMARY KEY (b))", "no column", "", (1, 16)),
        ("INSERT INTO t SET a = 1", "expected VALUES or SELECT", "", (1, 15)),
        ("INSERT INTO a.t VALUES (1)", "one part", "", (1, 13)),
        ("TEST hot", "expected RULE", "TEST RULE", (1, 6)),
        ("TEST RULE (SELECT 1)", "expected CREATE RULE", "(CREATE RULE", (1, 12)),
        ("TEST RULE (CREATE STREAM s (a TEXT) TOPIC '/{a}')", "expected RULE", "", (1, 19)),
        ("TEST RULE (CREATE RULE r AS SELECT 1 FROM s", "ends too early", "", (1, 44)),
        ("TEST RULE CREATE RULE r AS SELECT 1", "in parentheses", "(CREATE RULE", (1, 11)),
        ("TEST RULE r OVER", "ends too early", "INTERVAL '7' DAY", (1, 17)),
        ("TEST RULE r OVER INTERVAL '0' DAY", "longer than nothing", "", (1, 18)),
        ("TEST RULE r OVER (INTERVAL '7' DAY)", "expected FROM", "INTERVAL '7' DAY", (1, 19)),
        ("TEST RULE r OVER (FROM TIMESTAMP '2026-01-05')", "with its zone", "RFC 3339", (1, 34)),
        (
            "TEST RULE r OVER (FROM TIMESTAMP '2026-01-05T08:00:00Z' TO TIMESTAMP '2026-01-05T08:00:00Z')",
            "ends before it begins",
            "earlier",
            (1, 57),
        ),
        ("EXPLAIN ALARM hot", "the alarm_id (SHOW ALARMS lists them)", "", (1, 15)),
        ("EXPLAIN ALARM ''", "is empty", "", (1, 15)),
        ("SHOW RULE", "expected STREAMS", "SHOW RULES", (1, 6)),
        ("SELCT 1", "expected a statement", "did you mean SELECT", (1, 1)),
        ("42", "expected a statement", "starts with", (1, 1)),
        ("SELECT 1 FROM", "ends too early", "", (1, 14)),
        ("SELECT 1 1", "end of the statement", "", (1, 10)),
        ("SHOW RULES RULES", "end of the statement", "", (1, 12)),
        ("SELECT 'abc", "Unterminated string", "", (1, 8)),
    ]);
}

#[test]
fn subscriptions_and_operators_say_what_they_need() {
    check(&[
        ("CREATE SUBSCRIPTION s TO 'nowhere'", "not a URL", "https://", (1, 26)),
        ("CREATE SUBSCRIPTION s TO 'mqtt://x'", "not yet: delivery to mqtt", "webhook", (1, 26)),
        ("CREATE SUBSCRIPTION s TO 'file:///x'", "no target", "", (1, 26)),
        ("CREATE SUBSCRIPTION s TO 'http://x' ON '/a/+'", "wildcard", "FILTER", (1, 40)),
        ("CREATE SUBSCRIPTION s TO 'http://x' FILTER '/#/a'", "last level", "", (1, 44)),
        (
            "CREATE SUBSCRIPTION s TO 'http://x' WITH (retries = '1 s')",
            "no option 'retries'",
            "retry",
            (1, 43),
        ),
        ("CREATE SUBSCRIPTION s TO 'http://x' WITH (retry = '1 x')", "not a unit", "", (1, 51)),
        (
            "CREATE SUBSCRIPTION s TO 'http://x' WITH (mode = 'xml')",
            "'binary' or 'structured'",
            "",
            (1, 50),
        ),
        ("CREATE SUBSCRIPTION s TO 'http://x' WITH (attempts = 0)", "from 1", "", (1, 54)),
        ("CREATE SUBSCRIPTION s TO 'http://x' ON '/a' ON '/b'", "ON stands twice", "", (1, 45)),
        ("ACKNOWLEDGE ALARM 'a'", "ends too early: expected BY", "", (1, 22)),
        ("SHELVE ALARM 'a' FOR '1 hour' BY 'kim'", "expected REASON", "", (1, 39)),
        ("SHELVE ALARM 'a' FOR '0 s' BY 'kim' REASON 'x'", "for some time", "", (1, 22)),
        ("TAKE SERIES '/a/+' OUT OF SERVICE BY 'k' REASON 'r'", "wildcard", "", (1, 13)),
        ("ACKNOWLEDGE ALARM '' BY 'kim'", "is empty", "", (1, 19)),
    ]);
}

#[test]
fn an_error_shows_its_line_with_a_caret() {
    let error = refusal("SHOW RULES;\nCREATE STREAM s (\n\ttemp CELSIUS\n) TOPIC '/x/{y}'");
    assert_eq!(
        error.to_string(),
        "there is no type CELSIUS\n  at line 3, column 7\n  | \ttemp CELSIUS\n  | \t     ^\ndetail: there are: DOUBLE, BIGINT, BOOLEAN, TEXT, TIMESTAMP"
    );
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(refusal(&deep).message.contains("nests deeper"));
}
