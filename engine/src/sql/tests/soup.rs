//! Nothing that can be written makes the parser panic.

use crate::sql::parse_statements;
use proptest::prelude::*;

/// Every word and sign the grammar knows, and some that hurt.
const WORDS: &[&str] = &[
    "CREATE",
    "OR",
    "REPLACE",
    "STREAM",
    "RULE",
    "SUBSCRIPTION",
    "TABLE",
    "DROP",
    "ALTER",
    "ADD",
    "COLUMN",
    "IF",
    "NOT",
    "EXISTS",
    "TOPIC",
    "WITH",
    "UNIT",
    "SEVERITY",
    "critical",
    "KEY",
    "START",
    "FROM",
    "NOW",
    "EARLIEST",
    "TIMESTAMP",
    "RAISE",
    "CLEAR",
    "WHEN",
    "FOR",
    "INTERVAL",
    "MINUTE",
    "ON",
    "NO",
    "DATA",
    "HOLD",
    "REQUIRE",
    "COVERAGE",
    "SUPPRESS",
    "AS",
    "SELECT",
    "GROUP",
    "BY",
    "HAVING",
    "TUMBLE",
    "TumblingWindow",
    "DESCRIPTOR",
    "time",
    "size",
    "UNION",
    "ALL",
    "TO",
    "FILTER",
    "WHERE",
    "INSERT",
    "INTO",
    "VALUES",
    "PRIMARY",
    "NULL",
    "ACKNOWLEDGE",
    "ALARM",
    "COMMENT",
    "SHELVE",
    "UNSHELVE",
    "REASON",
    "TAKE",
    "SERIES",
    "OUT",
    "OF",
    "SERVICE",
    "RETURN",
    "SHOW",
    "STREAMS",
    "EXPLAIN",
    "ANALYZE",
    "FLUSH",
    "TEST",
    "DELETE",
    "UPDATE",
    "COPY",
    "SET",
    "DOUBLE",
    "BIGINT",
    "TEXT",
    "partitions",
    "retry",
    "climate",
    "\"Q\"",
    "''",
    "'5 minutes'",
    "'/a/{b}'",
    "'http://x'",
    "'ä€😀'",
    "1",
    "1.5",
    "99999999999999999999",
    "(",
    ")",
    ",",
    ";",
    "=",
    "=>",
    ".",
    "*",
    "$p",
    "-",
    "'",
    "\"",
    "--",
    "/*",
    "*/",
    "\n",
    "\r\n",
    "\t",
    "ä",
    "\u{0}",
    "$$",
    "e'",
    "[",
    "]",
    "{",
    "}",
    ":",
    "::",
    "<",
];

fn soup() -> impl Strategy<Value = String> {
    proptest::collection::vec((proptest::sample::select(WORDS), prop::bool::weighted(0.9)), 0..40)
        .prop_map(|words| {
            let mut text = String::new();
            for (word, space) in words {
                text.push_str(word);
                if space {
                    text.push(' ');
                }
            }
            text
        })
}

/// The beginnings that lead deepest, so that the soup reaches every clause.
fn beginning() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "",
        "CREATE RULE r RAISE WHEN ",
        "CREATE RULE r AS SELECT ",
        "CREATE STREAM s (a TEXT",
        "CREATE STREAM s (a TEXT) TOPIC '/a/{b}' WITH (",
        "CREATE SUBSCRIPTION s TO 'http://x' ",
        "CREATE TABLE t (",
        "INSERT INTO t ",
        "SELECT a FROM s GROUP BY ",
        "EXPLAIN ",
        "SHELVE ALARM 'x' FOR ",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn token_soup_is_taken_or_refused_and_never_panics(start in beginning(), rest in soup()) {
        if let Err(error) = parse_statements(&format!("{start}{rest}")) {
            prop_assert!(!error.message.is_empty());
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_text_is_taken_or_refused_and_never_panics(text in "\\PC{0,60}") {
        drop(parse_statements(&text));
    }
}
