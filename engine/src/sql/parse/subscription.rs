//! `CREATE SUBSCRIPTION`.

use super::options::{Setting, settings};
use crate::sql::error::{Position, SqlError};
use crate::sql::refusals;
use crate::sql::statement::{
    EventMode, Handshake, Historical, Statement, SubscriptionOptions, SubscriptionStatement, Target,
};
use crate::sql::tokens::Cursor;
use datafusion::sql::sqlparser::ast::Expr;
use url::Url;
use weir_ingest::model::{TopicPattern, check_topic};

const OPTIONS: [&str; 8] =
    ["retry", "expire", "timeout", "attempts", "mode", "handshake", "historical", "secret"];

/// The clauses after `TO`, each at most once, in any order.
#[derive(Default)]
struct Clauses {
    on: Option<String>,
    filter: Option<TopicPattern>,
    condition: Option<Expr>,
    options: Option<SubscriptionOptions>,
}

pub(super) fn create(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["subscription"])?;
    let existing = super::if_not_exists(cursor);
    let name = cursor.name("the name of the subscription")?;
    cursor.expect(&["to"])?;
    let target = target(cursor)?;
    let clauses = clauses(cursor)?;
    Ok(Statement::CreateSubscription(SubscriptionStatement {
        name,
        existing,
        target,
        on: clauses.on,
        filter: clauses.filter,
        condition: clauses.condition,
        options: clauses.options.unwrap_or_default(),
        text: cursor.text(),
    }))
}

fn clauses(cursor: &mut Cursor) -> Result<Clauses, SqlError> {
    let mut clauses = Clauses::default();
    while !cursor.at_end() {
        let at = cursor.here();
        if cursor.eat(&["on"]) {
            once(clauses.on.replace(prefix(cursor)?), "ON", at)?;
        } else if cursor.eat(&["filter"]) {
            once(clauses.filter.replace(pattern(cursor)?), "FILTER", at)?;
        } else if cursor.eat(&["where"]) {
            let condition = cursor.expr()?;
            refusals::check_expr(&condition)?;
            once(clauses.condition.replace(condition), "WHERE", at)?;
        } else if cursor.eat(&["with"]) {
            once(clauses.options.replace(options(&settings(cursor)?)?), "WITH", at)?;
        } else {
            return Err(cursor.expected("ON, FILTER, WHERE or WITH"));
        }
    }
    Ok(clauses)
}

fn once<T>(before: Option<T>, clause: &str, at: Position) -> Result<(), SqlError> {
    match before {
        None => Ok(()),
        Some(_) => Err(SqlError::new(format!("{clause} stands twice")).at(at)),
    }
}

fn target(cursor: &mut Cursor) -> Result<Target, SqlError> {
    let at = cursor.here();
    let text = cursor.filled_string("the URL")?;
    let refuse = |sentence: String| {
        SqlError::new(sentence).with_hint("write for example 'https://example.com/alarms'").at(at)
    };
    let url =
        Url::parse(&text).map_err(|error| refuse(format!("'{text}' is not a URL: {error}")))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(Target::Webhook(text)),
        "mqtt" | "mqtts" | "kafka" | "amqp" | "amqps" => Err(SqlError::not_yet(
            &format!("delivery to {}", url.scheme()),
            "deliver to a webhook over http or https",
        )
        .at(at)),
        scheme => Err(refuse(format!("'{scheme}' is no target; events go to http and https URLs"))),
    }
}

/// The path after ON: whole levels, without wildcards, kept without a `/` at its end.
fn prefix(cursor: &mut Cursor) -> Result<String, SqlError> {
    let at = cursor.here();
    let text = cursor.string("the topic path that subjects start with")?;
    let path = text.strip_suffix('/').unwrap_or(&text);
    check_topic(path).map_err(|error| {
        SqlError::new(error.to_string())
            .with_hint(
                "ON is a plain path; put wildcards into FILTER, which matches what follows it",
            )
            .at(at)
    })?;
    Ok(path.to_owned())
}

fn pattern(cursor: &mut Cursor) -> Result<TopicPattern, SqlError> {
    let at = cursor.here();
    let text = cursor.string("the pattern of topic paths")?;
    TopicPattern::parse(&text).map_err(|error| {
        SqlError::new(error.to_string())
            .with_hint("use + or * for one level and # or ** at the end for the rest")
            .at(at)
    })
}

fn options(settings: &[Setting]) -> Result<SubscriptionOptions, SqlError> {
    let mut options = SubscriptionOptions::default();
    for setting in settings {
        apply(&mut options, setting)?;
    }
    Ok(options)
}

fn apply(options: &mut SubscriptionOptions, setting: &Setting) -> Result<(), SqlError> {
    match setting.name.as_str() {
        "retry" => options.retry = setting.durations()?,
        "expire" => options.expire = setting.some_time()?,
        "timeout" => options.timeout = setting.some_time()?,
        "attempts" => options.attempts = attempts(setting)?,
        "mode" => options.mode = setting.choice(&MODES)?,
        "handshake" => options.handshake = setting.choice(&HANDSHAKES)?,
        "historical" => options.historical = setting.choice(&HISTORICAL)?,
        "secret" => options.secret = Some(setting.text()?),
        _ => return Err(setting.unknown(&OPTIONS)),
    }
    Ok(())
}

const MODES: [(&str, EventMode); 2] =
    [("binary", EventMode::Binary), ("structured", EventMode::Structured)];
const HANDSHAKES: [(&str, Handshake); 2] =
    [("required", Handshake::Required), ("skip", Handshake::Skip)];
const HISTORICAL: [(&str, Historical); 2] =
    [("true", Historical::Deliver), ("false", Historical::Skip)];

fn attempts(setting: &Setting) -> Result<u32, SqlError> {
    match setting.whole_number()? {
        0 => Err(setting.expects("a number from 1")),
        attempts => Ok(attempts),
    }
}
