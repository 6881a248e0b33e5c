//! Values of a row that begins as its sensor's last one did, read as what their columns want.
//!
//! Promise: a row is taken this way only if each value is written plainly and is what its column wants; it
//! then means exactly what the long way makes of it. For every other row (an escape, an exponent, a wrong
//! type, a time ahead of the clock) the answer is `None`, nothing is kept, and the long way says what it is.
//! Elsewhere: how rows begin is known in `known`, the long way is in `json` and `cells`.

use super::number;
use super::roles::Roles;
use super::scan::{Scanner, Value, plain_until};
use super::shape::{Level, Shape};
use super::time::{self, Minute};
use crate::model::{
    AppendTime, Column, ColumnType, EventTime, StreamDefinition, TimeUnit, UnknownFields,
};

/// A value as its column keeps it: a DOUBLE's bits, an integer, 0 or 1, the place of a text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bits {
    pub(super) value: u64,
    /// Otherwise it is null.
    pub(super) present: bool,
}

impl Bits {
    /// Where a text stands.
    #[inline]
    pub(super) fn span(self) -> std::ops::Range<usize> {
        (self.value >> 32) as usize..(self.value & u64::from(u32::MAX)) as usize
    }
}

/// How the values behind the topic of rows of one shape become a row of one stream.
#[derive(Debug)]
pub(super) struct Straight {
    /// One for each slot behind the topic's.
    steps: Vec<Step>,
    /// Columns that rows of this shape say nothing of.
    absent: Vec<usize>,
    /// How many columns the stream has.
    columns: usize,
    unit: Option<TimeUnit>,
    /// Microseconds that a time may be ahead of the clock.
    skew: i64,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Time,
    Double(usize),
    Bigint(usize),
    Boolean(usize),
    Text(usize),
    /// Means nothing to the stream; it has to be JSON all the same.
    Skip {
        depth: usize,
    },
}

impl Straight {
    /// The steps of rows with these roles, if they can be taken straight at all.
    pub(super) fn of(
        shape: &Shape,
        topic: usize,
        roles: &Roles,
        to: &StreamDefinition,
    ) -> Option<Self> {
        let options = to.options();
        let refuses = options.unknown_fields == UnknownFields::Refuse && !roles.unknown.is_empty();
        let named = roles.id.is_some() && !options.dedupe.is_zero();
        if refuses || named || shape.plain_data.is_some() || roles.first <= topic {
            return None;
        }
        let time = roles.time?;
        let step = |slot: usize| {
            let mut columns = to.columns().iter().zip(&roles.columns).enumerate();
            let column = columns.find(|(_, (_, of))| **of == Some(slot));
            match (slot == time, column) {
                (true, None) => Some(Step::Time),
                (false, Some((number, (column, _)))) => Step::into(column, number),
                (false, None) => Some(Step::Skip { depth: depth(shape.keys[slot].level) }),
                // A time that is a column too.
                (true, Some(_)) => None,
            }
        };
        let steps = (topic + 1..shape.keys.len()).map(step).collect::<Option<Vec<_>>>()?;
        let columns = roles.columns.len();
        let absent = (0..columns).filter(|column| roles.columns[*column].is_none()).collect();
        let skew = i64::try_from(options.max_future_skew.as_micros()).unwrap_or(i64::MAX);
        Some(Self { steps, absent, columns, unit: options.time_unit, skew })
    }

    /// Reads what follows the topic of a row, from `at` on: where the row ends and its time. `bits` is one
    /// for each column.
    #[inline]
    pub(super) fn read(
        &self,
        shape: &Shape,
        text: &str,
        at: usize,
        now: AppendTime,
        minute: &mut Minute,
        bits: &mut Vec<Bits>,
    ) -> Option<(usize, EventTime)> {
        bits.resize(self.columns, Bits::default());
        for column in &self.absent {
            bits[*column].present = false;
        }
        let (mut at, mut time) = (at, None);
        let (last, pieces) = shape.pieces_behind(self.steps.len())?;
        for (piece, step) in pieces.iter().zip(&self.steps) {
            at = piece.behind(text.as_bytes(), at)?;
            at = match *step {
                Step::Time => {
                    let (read, end) = self.time(text, at, minute)?;
                    time = Some(read).filter(|read| read.0 <= now.0.saturating_add(self.skew));
                    end
                }
                Step::Double(column) => double(text, at, bits.get_mut(column)?)?,
                Step::Bigint(column) => bigint(text, at, bits.get_mut(column)?)?,
                Step::Boolean(column) => boolean(text.as_bytes(), at, bits.get_mut(column)?)?,
                Step::Text(column) => plain_text(text.as_bytes(), at, bits.get_mut(column)?)?,
                Step::Skip { depth } => skip(text, at, depth)?,
            };
        }
        Some((last.behind(text.as_bytes(), at)?, time?))
    }

    #[inline]
    fn time(&self, text: &str, at: usize, minute: &mut Minute) -> Option<(EventTime, usize)> {
        if text.as_bytes().get(at) == Some(&b'"') {
            return minute.read(text, at + 1);
        }
        let number = number::scan(text, at).ok()?;
        let time = time::epoch(number.bigint()?, self.unit).ok()?;
        Some((time, number.span.end as usize))
    }
}

impl Step {
    fn into(column: &Column, number: usize) -> Option<Self> {
        match column.column_type {
            ColumnType::Double => Some(Self::Double(number)),
            ColumnType::Bigint => Some(Self::Bigint(number)),
            ColumnType::Boolean => Some(Self::Boolean(number)),
            ColumnType::Text => Some(Self::Text(number)),
            ColumnType::Timestamp => None,
        }
    }
}

fn depth(level: Level) -> usize {
    if level == Level::Data { 2 } else { 1 }
}

/// Null, where it stands.
#[inline]
fn null(bytes: &[u8], at: usize, bits: &mut Bits) -> Option<usize> {
    bits.present = false;
    bytes.get(at..at + 4).filter(|word| word == b"null").map(|_| at + 4)
}

#[inline]
fn double(text: &str, at: usize, bits: &mut Bits) -> Option<usize> {
    let Ok(number) = number::scan(text, at) else { return null(text.as_bytes(), at, bits) };
    *bits = Bits { value: number.double(text)?.to_bits(), present: true };
    Some(number.span.end as usize)
}

#[inline]
fn bigint(text: &str, at: usize, bits: &mut Bits) -> Option<usize> {
    let Ok(number) = number::scan(text, at) else { return null(text.as_bytes(), at, bits) };
    *bits = Bits { value: number.bigint()?.cast_unsigned(), present: true };
    Some(number.span.end as usize)
}

/// Which of the two it is is as good as random: no branch depends on it.
#[inline]
fn boolean(bytes: &[u8], at: usize, bits: &mut Bits) -> Option<usize> {
    let word = bytes.get(at..at + 5)?;
    let (is_true, is_false) = (word[..4] == *b"true", word == b"false");
    if is_true | is_false {
        *bits = Bits { value: u64::from(is_true), present: true };
        return Some(at + 4 + usize::from(is_false));
    }
    null(bytes, at, bits)
}

#[inline]
fn plain_text(bytes: &[u8], at: usize, bits: &mut Bits) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return null(bytes, at, bits);
    }
    let (start, end) = (at + 1, plain_until(bytes, at + 1));
    if bytes.get(end) != Some(&b'"') {
        return None;
    }
    let (from, to) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
    *bits = Bits { value: u64::from(from) << 32 | u64::from(to), present: true };
    Some(end + 1)
}

#[inline]
fn skip(text: &str, at: usize, depth: usize) -> Option<usize> {
    let (mut scanner, mut value) = (Scanner::new(text, at), Value::Null);
    scanner.value_into(&mut value, depth).ok()?;
    Some(scanner.at)
}
