//! What operators say to alarms and series.

use crate::sql::error::SqlError;
use crate::sql::statement::Statement;
use crate::sql::tokens::Cursor;
use weir_ingest::model::check_topic;

/// `ACKNOWLEDGE ALARM '<id>' BY '<name>' [COMMENT '...']`
pub(super) fn acknowledge(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["acknowledge"])?;
    let alarm_id = alarm(cursor)?;
    let by = by(cursor)?;
    let comment = if cursor.eat(&["comment"]) { Some(cursor.string("the comment")?) } else { None };
    Ok(Statement::Acknowledge { alarm_id, by, comment })
}

/// `SHELVE ALARM '<id>' FOR <interval> BY '<name>' REASON '...'`
pub(super) fn shelve(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["shelve"])?;
    let alarm_id = alarm(cursor)?;
    cursor.expect(&["for"])?;
    let at = cursor.here();
    let hold = cursor.duration()?;
    if hold.is_zero() {
        return Err(SqlError::new("an alarm is shelved for some time, not for none").at(at));
    }
    let by = by(cursor)?;
    let reason = reason(cursor)?;
    Ok(Statement::Shelve { alarm_id, hold, by, reason })
}

/// `UNSHELVE ALARM '<id>' BY '<name>'`
pub(super) fn unshelve(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["unshelve"])?;
    let alarm_id = alarm(cursor)?;
    Ok(Statement::Unshelve { alarm_id, by: by(cursor)? })
}

/// `TAKE SERIES '<topic>' OUT OF SERVICE BY '<name>' REASON '...'`
pub(super) fn take(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["take"])?;
    let topic = series(cursor)?;
    cursor.expect(&["out", "of", "service"])?;
    let by = by(cursor)?;
    Ok(Statement::TakeOutOfService { topic, by, reason: reason(cursor)? })
}

/// `RETURN SERIES '<topic>' TO SERVICE BY '<name>'`
pub(super) fn give_back(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["return"])?;
    let topic = series(cursor)?;
    cursor.expect(&["to", "service"])?;
    Ok(Statement::ReturnToService { topic, by: by(cursor)? })
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
