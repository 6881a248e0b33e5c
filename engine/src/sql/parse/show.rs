//! `SHOW`, `EXPLAIN RULE` and its relatives, `FLUSH STREAM`.

use crate::sql::error::SqlError;
use crate::sql::statement::{ShowWhat, Statement};
use crate::sql::suggest::did_you_mean;
use crate::sql::tokens::Cursor;

const LISTS: [(&str, ShowWhat); 6] = [
    ("STREAMS", ShowWhat::Streams),
    ("RULES", ShowWhat::Rules),
    ("ALARMS", ShowWhat::Alarms),
    ("SUBSCRIPTIONS", ShowWhat::Subscriptions),
    ("PARTITIONS", ShowWhat::Partitions),
    ("TABLES", ShowWhat::Tables),
];

pub(super) fn show(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["show"])?;
    let word = cursor.peek_word().unwrap_or_default();
    for (name, what) in LISTS {
        if cursor.eat(&[name]) {
            return Ok(Statement::Show(what));
        }
    }
    let error = cursor.expected("STREAMS, RULES, ALARMS, SUBSCRIPTIONS, PARTITIONS or TABLES");
    Err(match did_you_mean(&word, LISTS.map(|(name, _)| name)) {
        Some(near) => error.with_hint(format!("did you mean SHOW {near}?")),
        None => error,
    })
}

/// `EXPLAIN RULE name`; EXPLAIN of a question is DataFusion's.
pub(super) fn explain(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["explain"])?;
    if cursor.eat(&["rule"]) {
        return Ok(Statement::ExplainRule { name: cursor.name("the name of the rule")? });
    }
    if cursor.eat(&["alarm"]) {
        let id = cursor.filled_string("the alarm_id (SHOW ALARMS lists them)")?;
        return Ok(Statement::ExplainAlarm { id });
    }
    if cursor.eat(&["watermark"]) {
        return Ok(Statement::ExplainWatermark { rule: cursor.name("the name of the rule")? });
    }
    Err(cursor.expected("RULE name, ALARM '<alarm_id>', WATERMARK rule, SELECT, or ANALYZE SELECT"))
}

/// `FLUSH STREAM name`
pub(super) fn flush(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["flush", "stream"])?;
    Ok(Statement::FlushStream { name: cursor.name("the name of the stream")? })
}
