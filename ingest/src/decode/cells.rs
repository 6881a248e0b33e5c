//! What the values of a row mean: its time, the cells of its columns, and who sent it.
//!
//! Promise: a value is what its column wants, exactly, or the row is refused with what was found.

use super::columns::Cell;
use super::dedupe::dedupe_hash;
use super::envelope::Envelope;
use super::roles::Roles;
use super::scan::Value;
use super::time;
use crate::model::reading::PUBLISHER;
use crate::model::{
    AppendTime, Column, ColumnType, EventTime, FutureTimes, MissingTime, RefusalReason,
    StreamOptions,
};
use std::borrow::Cow;

pub(super) fn wrong(field: &str, expected: &'static str, found: String) -> RefusalReason {
    RefusalReason::WrongType { field: field.to_owned(), expected, found }
}

/// A `data` that is neither an object nor a column holds no fields; only null says that honestly.
#[inline]
pub(super) fn check_plain_data(
    text: &str,
    slot: Option<usize>,
    roles: &Roles,
    values: &[Value],
) -> Result<(), RefusalReason> {
    match slot {
        Some(slot) if values[slot] != Value::Null && !roles.columns.contains(&Some(slot)) => {
            Err(wrong("data", "an object with the stream's fields", values[slot].describe(text)))
        }
        _ => Ok(()),
    }
}

/// Event time and, if that was stamped, the time that was sent.
#[inline]
pub(super) fn event_time(
    text: &str,
    sent: Option<Value>,
    otherwise: Option<&str>,
    options: &StreamOptions,
    now: AppendTime,
) -> Result<(EventTime, Option<EventTime>), RefusalReason> {
    let field = options.time_field.as_str();
    let time = match (sent, otherwise, options.time) {
        (Some(value), ..) if value != Value::Null => moment(text, field, &value, options)?,
        (_, Some(attribute), _) => {
            time::rfc3339(attribute).map_err(|detail| bad_time("time", detail))?
        }
        (_, None, MissingTime::Arrival) => return Ok((EventTime(now.0), None)),
        (_, None, MissingTime::Required) => {
            return Err(RefusalReason::MissingTime(field.to_owned()));
        }
    };
    against_clock(time, options, now)
}

/// A time held against the clock: itself, stamped, or refused.
#[inline]
pub(super) fn against_clock(
    time: EventTime,
    options: &StreamOptions,
    now: AppendTime,
) -> Result<(EventTime, Option<EventTime>), RefusalReason> {
    let skew = i64::try_from(options.max_future_skew.as_micros()).unwrap_or(i64::MAX);
    if time.0 <= now.0.saturating_add(skew) {
        return Ok((time, None));
    }
    match options.future {
        FutureTimes::Stamp => Ok((EventTime(now.0), Some(time))),
        FutureTimes::DeadLetter => {
            Err(RefusalReason::Future { time: time::show(time.0), clock: time::show(now.0) })
        }
    }
}

pub(super) fn bad_time(field: &str, detail: String) -> RefusalReason {
    RefusalReason::BadTime { field: field.to_owned(), detail }
}

/// A JSON value as a moment.
#[inline]
fn moment(
    text: &str,
    field: &str,
    value: &Value,
    options: &StreamOptions,
) -> Result<EventTime, RefusalReason> {
    let read = match value {
        Value::Text(written) => time::rfc3339(&written.of(text)),
        Value::Number(number) if !number.integer => {
            Err(format!("{} has a fraction or an exponent", number.span.of(text)))
        }
        Value::Number(number) => match number.bigint() {
            Some(epoch) => time::epoch(epoch, options.time_unit),
            None => Err(format!("{} is beyond what a time can be", number.span.of(text))),
        },
        other => Err(format!("this is {}", other.describe(text))),
    };
    read.map_err(|detail| bad_time(field, detail))
}

/// A JSON value as the column wants it, written where it is wanted (see `Scanner::value_into`).
#[inline]
pub(super) fn cell_into(
    cell: &mut Cell,
    text: &str,
    column: &Column,
    value: &Value,
    options: &StreamOptions,
) -> Result<(), RefusalReason> {
    match (column.column_type, value) {
        (_, Value::Null) => *cell = Cell::Null,
        (ColumnType::Double, Value::Number(number)) => match number.double(text) {
            Some(value) => *cell = Cell::Double(value),
            None => return Err(not_finite(column, number.span.of(text))),
        },
        (ColumnType::Bigint, Value::Number(number)) if number.integer => match number.bigint() {
            Some(value) => *cell = Cell::Bigint(value),
            None => return Err(not_finite(column, number.span.of(text))),
        },
        (ColumnType::Boolean, Value::Boolean(value)) => *cell = Cell::Boolean(*value),
        (ColumnType::Text, Value::Text(value)) => *cell = Cell::Text(*value),
        (ColumnType::Timestamp, value) => {
            *cell = Cell::Timestamp(moment(text, &column.name, value, options)?);
        }
        (wanted, other) => {
            return Err(wrong(&column.name, expected(wanted), other.describe(text)));
        }
    }
    Ok(())
}

pub(super) fn expected(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Double => "a number (DOUBLE)",
        ColumnType::Bigint => "an integer (BIGINT)",
        ColumnType::Boolean => "true or false (BOOLEAN)",
        ColumnType::Text => "a text (TEXT)",
        ColumnType::Timestamp => "a time (TIMESTAMP)",
    }
}

pub(super) fn not_finite(column: &Column, found: &str) -> RefusalReason {
    RefusalReason::NotFinite {
        field: column.name.clone(),
        found: super::scan::cut(found).into_owned(),
        expected: column.column_type.sql_name(),
    }
}

pub(super) fn dedupe(
    text: &str,
    roles: &Roles,
    values: &[Value],
    envelope: Envelope<'_>,
    topic: &str,
) -> Result<Option<[u8; 16]>, RefusalReason> {
    if let Envelope::Event { source, id, .. } = envelope {
        return Ok(Some(dedupe_hash(PUBLISHER, source, id)));
    }
    let Some(id) = name_of(text, "id", roles.id, values)? else {
        return Ok(None);
    };
    let source = name_of(text, "source", roles.source, values)?;
    Ok(Some(dedupe_hash(PUBLISHER, source.as_deref().unwrap_or(topic), &id)))
}

/// An `id` or `source`: a text that is not empty, or an integer.
fn name_of<'t>(
    text: &'t str,
    field: &str,
    slot: Option<usize>,
    values: &[Value],
) -> Result<Option<Cow<'t, str>>, RefusalReason> {
    match slot.map(|slot| values[slot]) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(name)) if name.span.start < name.span.end => Ok(Some(name.of(text))),
        Some(Value::Number(number)) if number.integer => {
            Ok(Some(Cow::Borrowed(number.span.of(text))))
        }
        Some(other) => Err(wrong(field, "a text that is not empty", other.describe(text))),
    }
}
