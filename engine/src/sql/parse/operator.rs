//! What operators say to alarms and series.

use crate::alarms::{Authority, Command};
use crate::sql::error::SqlError;
use crate::sql::statement::Statement;
use crate::sql::tokens::Cursor;
use weir_ingest::model::check_topic;

/// `ACKNOWLEDGE ALARM '<id>' BY '<name>' [COMMENT '...']`
pub(super) fn acknowledge(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["acknowledge"])?;
    let target = alarm(cursor)?;
    let by = by(cursor)?;
    let comment = if cursor.eat(&["comment"]) { Some(cursor.string("the comment")?) } else { None };
    Ok(Statement::Operate(Command::Acknowledge { target, by, comment }))
}

/// `SHELVE ALARM '<id>' FOR <interval> BY '<name>' REASON '...'`; until there are tokens, everybody is
/// an admin.
pub(super) fn shelve(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["shelve"])?;
    let target = alarm(cursor)?;
    cursor.expect(&["for"])?;
    let at = cursor.here();
    let hold = cursor.duration()?;
    if hold.is_zero() {
        return Err(SqlError::new("an alarm is shelved for some time, not for none").at(at));
    }
    let for_us = i64::try_from(hold.as_micros()).unwrap_or(i64::MAX / 4);
    let by = by(cursor)?;
    let (reason, authority) = (reason(cursor)?, Authority::Admin);
    Ok(Statement::Operate(Command::Shelve { target, for_us, by, reason, authority }))
}

/// `UNSHELVE ALARM '<id>' BY '<name>'`
pub(super) fn unshelve(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["unshelve"])?;
    let target = alarm(cursor)?;
    Ok(Statement::Operate(Command::Unshelve { target, by: by(cursor)? }))
}

/// `TAKE SERIES '<topic>' OUT OF SERVICE BY '<name>' REASON '...'`
pub(super) fn take(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["take"])?;
    let topic = series(cursor)?;
    cursor.expect(&["out", "of", "service"])?;
    let by = by(cursor)?;
    Ok(Statement::Operate(Command::TakeOutOfService { topic, by, reason: reason(cursor)? }))
}

/// `RETURN SERIES '<topic>' TO SERVICE BY '<name>'`
pub(super) fn give_back(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["return"])?;
    let topic = series(cursor)?;
    cursor.expect(&["to", "service"])?;
    Ok(Statement::Operate(Command::ReturnToService { topic, by: by(cursor)? }))
}

fn alarm(cursor: &mut Cursor) -> Result<String, SqlError> {
    cursor.expect(&["alarm"])?;
    cursor.filled_string("the alarm_id (SHOW ALARMS lists them)")
}

fn series(cursor: &mut Cursor) -> Result<String, SqlError> {
    cursor.expect(&["series"])?;
    let at = cursor.here();
    let topic = cursor.string("the topic path of the series")?;
    check_topic(&topic).map_err(|error| SqlError::new(error.to_string()).at(at))?;
    Ok(topic)
}

fn by(cursor: &mut Cursor) -> Result<String, SqlError> {
    cursor.expect(&["by"])?;
    cursor.filled_string("the name of who says so")
}

fn reason(cursor: &mut Cursor) -> Result<String, SqlError> {
    cursor.expect(&["reason"])?;
    cursor.filled_string("the reason")
}
