//! Other engines' spellings, what is not served yet, and what no rule may say.
//!
//! Promise: each is refused with the sentence that fixes it, at its place.
//! Elsewhere: spellings that are taken although they are not ours are rewritten in `sugar`.

use super::error::{Position, SqlError};
use super::sugar;
use super::tokens::{Cursor, is_word, position};
use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, Spanned, TableFactor, Visit, VisitMut, Visitor, visit_expressions,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use std::ops::ControlFlow;

/// Words in a row that belong to another engine: what they are, what to write.
const FOREIGN_WORDS: [(&[&str], &str, &str); 10] = [
    (
        &["timestamp", "by"],
        "TIMESTAMP BY is Azure Stream Analytics' spelling",
        "leave it out: the event time is the column 'time'; CREATE STREAM ... WITH (time_field = '...') says which field it comes from",
    ),
    (
        &["emit", "on", "window", "close"],
        "EMIT ON WINDOW CLOSE is RisingWave's spelling",
        "leave it out: a rule emits a window once, when it has closed",
    ),
    (
        &["emit", "changes"],
        "EMIT CHANGES is ksqlDB's spelling",
        "leave it out: a rule emits a window once, when it has closed; GET /v1/live follows readings as they come",
    ),
    (
        &["emit", "final"],
        "EMIT FINAL is ksqlDB's spelling",
        "leave it out: a rule emits a window once, when it has closed",
    ),
    (
        &["window", "tumbling", "("],
        "WINDOW TUMBLING is ksqlDB's spelling",
        "write FROM TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) and GROUP BY ..., window_start, window_end",
    ),
    (
        &["window", "hopping", "("],
        "WINDOW HOPPING is ksqlDB's spelling",
        "write FROM HOP(stream, DESCRIPTOR(time), slide => INTERVAL '1' MINUTE, size => INTERVAL '5' MINUTE) and GROUP BY ..., window_start, window_end",
    ),
    (
        &["window", "session", "("],
        "WINDOW SESSION is ksqlDB's spelling",
        "write FROM SESSION(stream, DESCRIPTOR(time), key => DESCRIPTOR(room), gap => INTERVAL '5' MINUTE) and GROUP BY room, window_start, window_end",
    ),
    (
        &["watermark", "for"],
        "WATERMARK FOR is Flink's and RisingWave's spelling",
        "leave it out: the event time is 'time', and CREATE STREAM ... WITH (lateness = '5 seconds') says how late a reading may come",
    ),
    (
        &["match_recognize", "("],
        "not yet: MATCH_RECOGNIZE",
        "RAISE WHEN ... FOR INTERVAL '3' MINUTE says that a condition has to hold for a while",
    ),
    (
        &["over", "tumblingwindow"],
        "windows are not written behind OVER",
        "write FROM TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)",
    ),
];

/// Refuses spellings that no parser below would understand.
pub(super) fn check_tokens(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    for start in 0..tokens.len() {
        check_session_partition(&tokens[start..])?;
        for (words, what, instead) in &FOREIGN_WORDS {
            let there = words.iter().enumerate().all(|(i, word)| {
                tokens.get(start + i).is_some_and(|t| match *word {
                    "(" => t.token == Token::LParen,
                    word => is_word(&t.token, word),
                })
            });
            if there {
                let at = position(tokens[start].span.start);
                return Err(SqlError::new(*what).with_hint(*instead).at(at));
            }
        }
    }
    Ok(())
}

/// `SESSION(TABLE s PARTITION BY room, ...)`: a parser would only find the words out of place.
fn check_session_partition(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let [session, open, arguments @ ..] = tokens else { return Ok(()) };
    if !is_word(&session.token, "session") || open.token != Token::LParen {
        return Ok(());
    }
    let data = arguments.iter().take_while(|t| {
        !matches!(t.token, Token::Comma | Token::LParen | Token::RParen | Token::SemiColon)
    });
    let Some(by) = data.into_iter().find(|t| is_word(&t.token, "partition")) else {
        return Ok(());
    };
    Err(SqlError::new("PARTITION BY is Flink's way to name a session's key")
        .with_hint("write SESSION(stream, DESCRIPTOR(time), key => DESCRIPTOR(room), gap => INTERVAL '5' MINUTE)")
        .at(position(by.span.start)))
}

/// The refusal of a statement that starts with another system's word, or one of a later version.
pub(super) fn foreign_statement(word: &str, cursor: &Cursor) -> Option<SqlError> {
    let refused = |message: &str, hint: &str| Some(SqlError::new(message).with_hint(hint));
    match word {
        "delete" if cursor.sees(&["delete", "series"]) => Some(SqlError::not_yet(
            "DELETE SERIES",
            "DROP STREAM removes a stream with all its readings",
        )),
        "delete" | "truncate" => refused(
            "readings and rows are not deleted",
            "DROP STREAM or DROP TABLE removes it whole",
        ),
        "update" | "merge" | "replace" | "upsert" => refused(
            "rows are not changed in place",
            "publish a newer reading, or INSERT INTO the table again: a row with the same PRIMARY KEY takes the old one's place",
        ),
        "copy" | "export" | "import" | "load" | "unload" => refused(
            "files are not read or written by a statement",
            "weir publish FILE sends readings; weir query '...' --format csv writes an answer",
        ),
        "set" | "reset" => refused(
            "a statement sets nothing",
            "settings stand in weir.toml and in WITH (...) of CREATE STREAM and CREATE SUBSCRIPTION",
        ),
        "begin" | "start" | "commit" | "rollback" | "savepoint" | "end" => refused(
            "there are no transactions",
            "each statement is one, and each request of readings is confirmed when durable",
        ),
        "grant" | "revoke" => {
            refused("not yet: grants", "until tokens exist every caller on loopback is admin")
        }
        "use" => {
            refused("there is one database", "name tables as stream, latest.stream or system.name")
        }
        "describe" | "desc" => refused(
            "DESCRIBE is not served",
            "SHOW STREAMS lists streams with their columns; SELECT * FROM name LIMIT 1 shows a table's",
        ),
        "from" => refused("a question starts with SELECT", "write SELECT * FROM ..."),
        "table" => refused("a question starts with SELECT", "write SELECT * FROM name"),
        "backup" => refused("not yet: BACKUP", "stop the server and copy the data directory"),
        _ => None,
    }
}

/// The refusal of `CREATE <another system's word>`.
pub(super) fn foreign_create(word: &str) -> Option<SqlError> {
    let refused = |message: &str, hint: &str| Some(SqlError::new(message).with_hint(hint));
    match word {
        "source" => refused(
            "CREATE SOURCE is RisingWave's and Materialize's spelling",
            "write CREATE STREAM name (...) TOPIC '...'; readings are published to it",
        ),
        "sink" => refused(
            "CREATE SINK is RisingWave's and Materialize's spelling",
            "write CREATE SUBSCRIPTION name TO 'https://...' to deliver events",
        ),
        "materialized" | "view" | "temp" | "temporary" => refused(
            "views are not served",
            "write CREATE RULE name AS SELECT ... for a continuous query, or keep the SELECT as a .sql file and ask it",
        ),
        "alarm" | "alert" | "trigger" => refused(
            "alarms are made by rules",
            "write CREATE RULE name RAISE WHEN ... AS SELECT ...",
        ),
        "external" | "unbounded" => refused(
            "external tables are not served",
            "write CREATE TABLE name (...) and INSERT INTO it",
        ),
        "index" => refused(
            "there are no indexes to create",
            "a query over a time span reads only the segments of that span",
        ),
        "function" => refused("functions cannot be created", "write the expression into the rule"),
        "schema" | "database" => {
            refused("there is one database", "name streams, rules and tables without a schema")
        }
        _ => None,
    }
}

/// Refuses in a query what this version does not serve, and rewrites what it takes from others.
pub(super) fn check_query(query: &mut Query) -> Result<(), SqlError> {
    flow(VisitMut::visit(query, &mut sugar::WindowCalls))?;
    flow(VisitMut::visit(query, &mut sugar::along::SeriesCalls))?;
    flow(Visit::visit(query, &mut Refusals))
}

/// Refuses in an expression what this version does not serve.
pub(super) fn check_expr(expr: &Expr) -> Result<(), SqlError> {
    flow(Visit::visit(expr, &mut Refusals))?;
    flow(visit_expressions(expr, |expr| match expr {
        Expr::Function(function) if sugar::along::call_of(function).is_some() => {
            let name = plain_name(&function.name);
            let error = SqlError::new(format!("{name}() stands in the SELECT, not here"))
                .with_detail("it goes along a series, and a condition is about one row")
                .with_hint(format!("select {name}(x) AS {name}, and write {name} here"));
            ControlFlow::Break(Box::new(match place(&function.name) {
                Some(at) => error.at(at),
                None => error,
            }))
        }
        _ => ControlFlow::Continue(()),
    }))
}

/// Refuses functions that answer differently each time, which no rule may use: a replay of the log
/// must give the same alarms.
pub(super) fn check_volatile(node: &impl Visit) -> Result<(), SqlError> {
    flow(visit_expressions(node, |expr| match expr {
        Expr::Function(function) if VOLATILE.contains(&plain_name(&function.name).as_str()) => {
            let name = plain_name(&function.name);
            ControlFlow::Break(Box::new(volatile(&name, place(&function.name))))
        }
        _ => ControlFlow::Continue(()),
    }))
}

const VOLATILE: [&str; 17] = [
    "now",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
    "today",
    "getdate",
    "sysdate",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "random",
    "rand",
    "uuid",
    "gen_random_uuid",
    "newid",
];

fn volatile(name: &str, at: Option<Position>) -> SqlError {
    let error =
        SqlError::new(format!("{name}() cannot stand in a rule: it answers differently each time"))
            .with_detail("a rule gives the same alarms whenever its log is read again")
            .with_hint("use 'time' of the reading, or window_end");
    match at {
        Some(at) => error.at(at),
        None => error,
    }
}

/// Windows and functions that are refused wherever they stand.
struct Refusals;

impl Visitor for Refusals {
    type Break = Box<SqlError>;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Box<SqlError>> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                refuse_call(name)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Box<SqlError>> {
        match expr {
            Expr::Function(function) => refuse_call(&function.name),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn refuse_call(name: &ObjectName) -> ControlFlow<Box<SqlError>> {
    match refused_call(&plain_name(name)) {
        None => ControlFlow::Continue(()),
        Some(error) => ControlFlow::Break(Box::new(match place(name) {
            Some(at) => error.at(at),
            None => error,
        })),
    }
}

fn refused_call(name: &str) -> Option<SqlError> {
    const TUMBLE: &str = "TUMBLE, HOP and SESSION work: FROM TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)";
    let what = match name {
        "slide" | "cumulate" => "SLIDE and CUMULATE windows",
        "slidingwindow" => {
            return Some(
                SqlError::new("SlidingWindow is Azure Stream Analytics' and is not taken: it also emits when an event leaves")
                    .with_hint("for a condition that has to hold for a while write RAISE WHEN ... FOR INTERVAL '3' MINUTE; TUMBLE gives one row a window"),
            );
        }
        "snapshotwindow" => {
            return Some(
                SqlError::new("SnapshotWindow is Azure Stream Analytics' and is not taken")
                    .with_hint("write GROUP BY time, or a TUMBLE window"),
            );
        }
        "tumble_start" | "tumble_end" | "hop_start" | "hop_end" | "session_start"
        | "session_end" => {
            let column = if name.ends_with("start") { "window_start" } else { "window_end" };
            return Some(
                SqlError::new(format!("{} is Flink's older spelling", name.to_uppercase()))
                    .with_hint(format!("select the column {column}")),
            );
        }
        "system.timestamp" => {
            return Some(
                SqlError::new("System.Timestamp() is Azure Stream Analytics' spelling")
                    .with_hint("select window_end, or the column 'time' where there is no window"),
            );
        }
        _ => return None,
    };
    Some(SqlError::not_yet(what, TUMBLE))
}

/// A name's parts in lower case, joined by `.`.
pub(super) fn plain_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name
        .0
        .iter()
        .map(|part| part.as_ident().map_or_else(String::new, |ident| ident.value.to_lowercase()))
        .collect();
    parts.join(".")
}

/// Where a name stands, if the parser noted it.
pub(super) fn place(name: &ObjectName) -> Option<Position> {
    let start = name.span().start;
    (start.line > 0).then(|| position(start))
}

fn flow(flow: ControlFlow<Box<SqlError>>) -> Result<(), SqlError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}
