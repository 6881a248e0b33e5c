//! One Arrow column as the stream wants it.
//!
//! Promise: a value that does not fit is found, not changed: its row is refused.

use super::super::cells::{bad_time, expected, not_finite, wrong};
use super::super::time;
use super::texts::Texts;
use super::type_name;
use crate::model::{Column, ColumnType, Limits, RefusalReason, StreamOptions};
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use std::sync::Arc;

/// A converted column.
#[derive(Debug)]
pub(super) struct Converted {
    source: ArrayRef,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Of the stream's type; null where the source has a value means that it did not fit.
    Array(ArrayRef),
    /// Of a type that has no meaning here.
    WrongType,
    /// Texts that together are more than a request may become.
    TooMuch(usize),
}

impl Converted {
    pub(super) fn new(source: &ArrayRef, column: &Column, options: &StreamOptions) -> Self {
        Self { kind: convert(source, column, options), source: Arc::clone(source) }
    }

    /// The converted values, where the type fits.
    pub(super) fn array(&self) -> Option<&ArrayRef> {
        match &self.kind {
            Kind::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Bytes a row's text takes.
    pub(super) fn text_bytes(&self, row: usize) -> usize {
        match self.array().and_then(|a| a.as_string_opt::<i32>()) {
            Some(texts) => texts.value_length(row).unsigned_abs() as usize,
            None => 0,
        }
    }

    /// Whether the row's value may be taken.
    pub(super) fn check(&self, row: usize, column: &Column) -> Result<(), RefusalReason> {
        if self.source.is_null(row) {
            return Ok(());
        }
        match &self.kind {
            Kind::TooMuch(bytes) => Err(RefusalReason::TooLarge {
                bytes: *bytes,
                limit: super::super::DECODED_BYTES_MAX,
            }),
            Kind::WrongType if self.source.data_type() == &DataType::Null => Ok(()),
            Kind::WrongType => {
                let found = type_name(self.source.data_type());
                Err(wrong(&column.name, expected(column.column_type), found))
            }
            Kind::Array(array) => self.check_value(array, row, column),
        }
    }

    fn check_value(
        &self,
        array: &ArrayRef,
        row: usize,
        column: &Column,
    ) -> Result<(), RefusalReason> {
        if array.is_null(row) && column.column_type == ColumnType::Text {
            return Ok(()); // a dictionary whose value is null
        }
        if array.is_null(row) {
            let shown = array_value_to_string(&self.source, row).unwrap_or_default();
            return Err(match column.column_type {
                ColumnType::Timestamp => bad_time(
                    &column.name,
                    format!("{shown} is before 1970 or beyond what a time can be"),
                ),
                _ => not_finite(column, &shown),
            });
        }
        let bytes = self.text_bytes(row);
        if bytes > Limits::ROW_BYTES_MAX {
            return Err(RefusalReason::TooLarge { bytes, limit: Limits::ROW_BYTES_MAX });
        }
        Ok(())
    }
}

fn convert(source: &ArrayRef, column: &Column, options: &StreamOptions) -> Kind {
    let from = source.data_type();
    let fits = match column.column_type {
        ColumnType::Double => from.is_integer() || from.is_floating(),
        ColumnType::Bigint => from.is_integer(),
        ColumnType::Boolean => from == &DataType::Boolean,
        ColumnType::Text => return texts(source),
        ColumnType::Timestamp => {
            matches!(from, DataType::Timestamp(_, _) | DataType::Int64)
        }
    };
    if !fits {
        return Kind::WrongType;
    }
    if column.column_type == ColumnType::Timestamp && from == &DataType::Int64 {
        let read = |epoch: Option<i64>| time::epoch(epoch?, options.time_unit).ok().map(|t| t.0);
        let times: TimestampMicrosecondArray =
            source.as_primitive::<Int64Type>().iter().map(read).collect();
        return Kind::Array(Arc::new(times.with_timezone("UTC")));
    }
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    match cast_with_options(source, &column.column_type.data_type(), &safe) {
        Ok(cast) => Kind::Array(without_unfit(cast, column.column_type)),
        Err(_) => Kind::WrongType,
    }
}

/// Values that have no place in the column become null, which marks them.
fn without_unfit(cast: ArrayRef, column_type: ColumnType) -> ArrayRef {
    match column_type {
        ColumnType::Double => {
            let doubles = cast.as_primitive::<Float64Type>();
            if doubles.values().iter().all(|v| v.is_finite()) {
                return cast;
            }
            let finite = doubles.iter().map(|v| v.filter(|v| v.is_finite()));
            Arc::new(finite.collect::<Float64Array>())
        }
        ColumnType::Timestamp => {
            let times = cast.as_primitive::<TimestampMicrosecondType>();
            if times.values().iter().all(|t| *t >= 0) {
                return cast;
            }
            let later = times.iter().map(|t| t.filter(|t| *t >= 0));
            Arc::new(later.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        _ => cast,
    }
}

fn texts(source: &ArrayRef) -> Kind {
    let Some(texts) = Texts::of(source) else {
        return Kind::WrongType;
    };
    let all = || (0..source.len()).map(|row| texts.get(row));
    let bytes: usize = all().flatten().map(str::len).sum();
    if bytes > super::super::DECODED_BYTES_MAX {
        return Kind::TooMuch(bytes);
    }
    let mut builder = StringBuilder::with_capacity(source.len(), bytes);
    all().for_each(|text| builder.append_option(text));
    Kind::Array(Arc::new(builder.finish()))
}
