//! `CREATE [OR REPLACE] RULE`.

use crate::sql::error::{Position, SqlError};
use crate::sql::refusals;
use crate::sql::statement::{
    Condition, Existing, IntoStream, NoData, NoDataAction, RuleStatement, Severity, StartFrom,
    Statement,
};
use crate::sql::suggest::did_you_mean;
use crate::sql::tokens::Cursor;
use chrono::DateTime;
use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SetExpr, Spanned};
use std::time::Duration;
use weir_ingest::model::EventTime;

/// What the clauses before AS say.
#[derive(Default)]
struct Clauses {
    severity: Option<Severity>,
    key: Option<Vec<String>>,
    start: Option<StartFrom>,
    raise: Option<Condition>,
    clear: Option<(Condition, Position)>,
    suppress: Option<(Expr, Position)>,
    no_data: Option<(NoData, Position)>,
    coverage: Option<(u8, Position)>,
}

pub(super) fn create(cursor: &mut Cursor, existing: Existing) -> Result<Statement, SqlError> {
    cursor.expect(&["rule"])?;
    let existing = match super::if_not_exists(cursor) {
        Existing::Keep => Existing::Keep,
        _ => existing,
    };
    let name_at = cursor.here();
    let name = cursor.name("the name of the rule")?;
    check_name(&name).map_err(|error| error.at(name_at))?;
    let clauses = clauses(cursor)?;
    let query = select(cursor)?;
    if clauses.raise.is_some() {
        check_having(&query.body)?;
    }
    Ok(Statement::CreateRule(RuleStatement {
        name,
        existing,
        severity: clauses.severity.unwrap_or_default(),
        key: clauses.key,
        start: clauses.start,
        raise: clauses.raise,
        clear: clauses.clear.map(|(condition, _)| condition),
        suppress: clauses.suppress.map(|(expr, _)| expr),
        no_data: clauses.no_data.map(|(no_data, _)| no_data),
        coverage: clauses.coverage.map(|(coverage, _)| coverage),
        query,
        into: None,
        text: cursor.text(),
    }))
}

/// Takes `[START FROM ...] AS SELECT ...` of CREATE STREAM.
pub(super) fn into_stream(
    cursor: &mut Cursor,
    name: String,
    existing: Existing,
    into: IntoStream,
) -> Result<Statement, SqlError> {
    let start = if cursor.eat(&["start", "from"]) { Some(start(cursor)?) } else { None };
    cursor.expect(&["as"])?;
    let query = select(cursor)?;
    Ok(Statement::CreateRule(RuleStatement {
        name,
        existing,
        severity: Severity::default(),
        key: None,
        start,
        raise: None,
        clear: None,
        suppress: None,
        no_data: None,
        coverage: None,
        query,
        into: Some(into),
        text: cursor.text(),
    }))
}

fn select(cursor: &mut Cursor) -> Result<Box<Query>, SqlError> {
    let mut query = cursor.query()?;
    refusals::check_query(&mut query)?;
    refusals::check_volatile(&query)?;
    check_shape(&query)?;
    Ok(query)
}

fn check_name(name: &str) -> Result<(), SqlError> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(plain)
    {
        return Ok(());
    }
    Err(SqlError::new(format!(
        "'{name}' cannot name a rule: use lower-case letters, digits and '_', starting with a letter, at most 64 characters"
    )))
}

/// Takes everything up to and including AS.
fn clauses(cursor: &mut Cursor) -> Result<Clauses, SqlError> {
    let mut clauses = Clauses::default();
    while !cursor.eat(&["as"]) {
        let at = cursor.here();
        one_clause(cursor, &mut clauses, at)?;
    }
    if clauses.raise.is_none() {
        if let Some((_, at)) = &clauses.clear {
            return Err(SqlError::new(
                "CLEAR WHEN without RAISE WHEN: nothing would ever be raised",
            )
            .with_hint(
                "add RAISE WHEN, or leave CLEAR WHEN out: the rule emits each result row then",
            )
            .at(*at));
        }
        if let Some((_, at)) = &clauses.suppress {
            return Err(SqlError::new(
                "SUPPRESS WHEN without RAISE WHEN: a rule that emits rows has no alarm",
            )
            .with_hint("add RAISE WHEN, or leave SUPPRESS WHEN out and use WHERE")
            .at(*at));
        }
        if let Some((_, at)) = &clauses.no_data {
            return Err(SqlError::new(
                "ON NO DATA without RAISE WHEN: a rule that emits rows has no alarm",
            )
            .with_hint("add RAISE WHEN, or leave ON NO DATA out")
            .at(*at));
        }
        if let Some((_, at)) = &clauses.coverage {
            return Err(SqlError::new(
                "REQUIRE COVERAGE without RAISE WHEN: a rule that emits rows gives no verdict",
            )
            .with_hint("add RAISE WHEN, or write HAVING coverage() >= 0.6")
            .at(*at));
        }
    }
    Ok(clauses)
}

fn one_clause(cursor: &mut Cursor, clauses: &mut Clauses, at: Position) -> Result<(), SqlError> {
    if cursor.eat(&["severity"]) {
        once(clauses.severity.replace(severity(cursor)?), "SEVERITY", at)
    } else if cursor.eat(&["key"]) {
        once(clauses.key.replace(cursor.names_in_parentheses("a column of the key")?), "KEY", at)
    } else if cursor.eat(&["start", "from"]) {
        once(clauses.start.replace(start(cursor)?), "START FROM", at)
    } else if cursor.eat(&["raise", "when"]) {
        once(clauses.raise.replace(condition(cursor)?), "RAISE WHEN", at)
    } else if cursor.eat(&["clear", "when"]) {
        once(clauses.clear.replace((condition(cursor)?, at)), "CLEAR WHEN", at)
    } else if cursor.eat(&["suppress", "when"]) {
        once(clauses.suppress.replace((predicate(cursor)?, at)), "SUPPRESS WHEN", at)
    } else if cursor.eat(&["on", "no", "data"]) {
        once(clauses.no_data.replace((no_data(cursor)?, at)), "ON NO DATA", at)
    } else if cursor.eat(&["require", "coverage"]) {
        once(clauses.coverage.replace((coverage(cursor)?, at)), "REQUIRE COVERAGE", at)
    } else {
        Err(not_a_clause(cursor).at(at))
    }
}

/// Takes `n PERCENT`.
fn coverage(cursor: &mut Cursor) -> Result<u8, SqlError> {
    let at = cursor.here();
    let wrong = || {
        SqlError::new("REQUIRE COVERAGE takes a whole number from 1 to 100")
            .with_hint("write REQUIRE COVERAGE 60 PERCENT")
            .at(at)
    };
    let percent = cursor.number().and_then(|n| n.parse().ok()).filter(|n| (1..=100).contains(n));
    let percent = percent.ok_or_else(wrong)?;
    match cursor.eat(&["percent"]) {
        true => Ok(percent),
        false => Err(wrong()),
    }
}

fn once<T>(before: Option<T>, clause: &str, at: Position) -> Result<(), SqlError> {
    match before {
        None => Ok(()),
        Some(_) => Err(SqlError::new(format!("{clause} stands twice")).at(at)),
    }
}

fn not_a_clause(cursor: &Cursor) -> SqlError {
    let word = cursor.peek_word().unwrap_or_default();
    let expected = cursor.expected(
        "SEVERITY, KEY, START FROM, RAISE WHEN, CLEAR WHEN, SUPPRESS WHEN, ON NO DATA, REQUIRE COVERAGE or AS SELECT",
    );
    let words = ["SEVERITY", "KEY", "START", "RAISE", "CLEAR", "SUPPRESS", "ON", "AS"];
    match did_you_mean(&word, words) {
        Some(near) if !near.eq_ignore_ascii_case(&word) => {
            expected.with_hint(format!("did you mean {near}?"))
        }
        _ if word == "select" => expected.with_hint("write AS before SELECT"),
        _ => expected,
    }
}

fn severity(cursor: &mut Cursor) -> Result<Severity, SqlError> {
    const SEVERITIES: [(&str, Severity); 4] = [
        ("low", Severity::Low),
        ("medium", Severity::Medium),
        ("high", Severity::High),
        ("critical", Severity::Critical),
    ];
    for (word, severity) in SEVERITIES {
        if cursor.eat(&[word]) {
            return Ok(severity);
        }
    }
    let near =
        did_you_mean(&cursor.peek_word().unwrap_or_default(), SEVERITIES.map(|(word, _)| word));
    let error = cursor.expected("low, medium, high or critical");
    Err(match near {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error,
    })
}

fn start(cursor: &mut Cursor) -> Result<StartFrom, SqlError> {
    if cursor.eat(&["now"]) {
        return Ok(StartFrom::Now);
    }
    if cursor.eat(&["earliest"]) {
        return Ok(StartFrom::Earliest);
    }
    if !cursor.sees(&["timestamp"]) {
        return Err(cursor.expected("NOW, EARLIEST or TIMESTAMP '...'"));
    }
    timestamp(cursor).map(StartFrom::Timestamp)
}

/// Takes `TIMESTAMP '...'`.
pub(super) fn timestamp(cursor: &mut Cursor) -> Result<EventTime, SqlError> {
    cursor.expect(&["timestamp"])?;
    let at = cursor.here();
    let text = cursor.string("the time")?;
    let time = DateTime::parse_from_rfc3339(&text).map_err(|_| {
        SqlError::new(format!("'{text}' is not a time with its zone"))
            .with_hint("write it as RFC 3339, for example '2026-03-01T08:00:00Z'")
            .at(at)
    })?;
    Ok(EventTime(time.timestamp_micros()))
}

/// Takes `<predicate> [FOR <interval>]`.
fn condition(cursor: &mut Cursor) -> Result<Condition, SqlError> {
    let expr = predicate(cursor)?;
    let hold = if cursor.eat(&["for"]) { cursor.duration()? } else { Duration::ZERO };
    Ok(Condition { expr, hold })
}

fn predicate(cursor: &mut Cursor) -> Result<Expr, SqlError> {
    let expr = cursor.expr()?;
    refusals::check_expr(&expr)?;
    refusals::check_volatile(&expr)?;
    Ok(expr)
}

/// Takes `FOR <interval> HOLD | RAISE`.
fn no_data(cursor: &mut Cursor) -> Result<NoData, SqlError> {
    if !cursor.eat(&["for"]) {
        return Err(cursor.expected("FOR and a length of time").with_hint(
            "say how long a silence is meant: ON NO DATA FOR INTERVAL '15' MINUTE HOLD",
        ));
    }
    let at = cursor.here();
    let after = cursor.duration()?;
    if after.is_zero() {
        return Err(SqlError::new("ON NO DATA needs a silence longer than nothing").at(at));
    }
    let action = if cursor.eat(&["hold"]) {
        NoDataAction::Hold
    } else if cursor.eat(&["raise"]) {
        NoDataAction::Raise
    } else {
        return Err(cursor.expected("HOLD or RAISE"));
    };
    Ok(NoData { after, action })
}

/// A rule never ends, so what needs an end has no meaning in it.
fn check_shape(query: &Query) -> Result<(), SqlError> {
    let ends = [
        (query.order_by.is_some(), "ORDER BY"),
        (query.limit_clause.is_some() || query.fetch.is_some(), "LIMIT"),
    ];
    for (there, clause) in ends {
        if there {
            return Err(SqlError::new(format!(
                "a rule never ends, so {clause} has no meaning in it"
            ))
            .with_hint(format!(
                "leave {clause} out of the rule and use it in the questions you ask"
            )));
        }
    }
    Ok(())
}

fn check_having(body: &SetExpr) -> Result<(), SqlError> {
    match body {
        SetExpr::Select(select) => no_having(select),
        SetExpr::Query(query) => check_having(&query.body),
        SetExpr::SetOperation { left, right, .. } => {
            check_having(left)?;
            check_having(right)
        }
        _ => Ok(()),
    }
}

fn no_having(select: &Select) -> Result<(), SqlError> {
    let Some(having) = &select.having else { return Ok(()) };
    let error = SqlError::new("HAVING and RAISE WHEN do not go together")
        .with_hint("put it into RAISE WHEN: a row that HAVING removes could never clear the alarm");
    let start = having.span().start;
    Err(if start.line > 0 { error.at(crate::sql::tokens::position(start)) } else { error })
}
