//! Small helpers to read a batch of an internal log by column name.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, TimeUnit, TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use std::sync::Arc;

/// Why a batch is not one of the internal log's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// A column is missing or has another type.
    #[error("the batch has no column '{column}' of the type {expected}")]
    Column {
        /// Its name.
        column: &'static str,
        /// Its type.
        expected: &'static str,
    },
    /// A value cannot be.
    #[error("row {row} of column '{column}': {detail}")]
    Value {
        /// Its name.
        column: &'static str,
        /// Position in the batch, from 0.
        row: usize,
        /// What is wrong.
        detail: String,
    },
}

/// A batch that is read by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'a>(pub(super) &'a RecordBatch);

impl<'a> Columns<'a> {
    pub(super) fn text(self, column: &'static str) -> Result<&'a StringArray, RowsError> {
        self.find(column, "text", |array| array.as_string_opt::<i32>())
    }

    pub(super) fn times(
        self,
        column: &'static str,
    ) -> Result<&'a TimestampMicrosecondArray, RowsError> {
        self.primitive::<TimestampMicrosecondType>(column, "timestamp in microseconds")
    }

    pub(super) fn u64s(
        self,
        column: &'static str,
    ) -> Result<&'a arrow::array::UInt64Array, RowsError> {
        self.primitive::<UInt64Type>(column, "unsigned 64-bit integer")
    }

    pub(super) fn u32s(
        self,
        column: &'static str,
    ) -> Result<&'a arrow::array::UInt32Array, RowsError> {
        self.primitive::<UInt32Type>(column, "unsigned 32-bit integer")
    }

    pub(super) fn flags(self, column: &'static str) -> Result<&'a BooleanArray, RowsError> {
        self.find(column, "boolean", |array| array.as_boolean_opt())
    }

    pub(super) fn lists(self, column: &'static str) -> Result<&'a ListArray, RowsError> {
        self.find(column, "list of text", |array| array.as_list_opt::<i32>())
    }

    fn primitive<T: ArrowPrimitiveType>(
        self,
        column: &'static str,
        expected: &'static str,
    ) -> Result<&'a arrow::array::PrimitiveArray<T>, RowsError> {
        self.find(column, expected, |array| array.as_primitive_opt::<T>())
    }

    fn find<T>(
        self,
        column: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a ArrayRef) -> Option<T>,
    ) -> Result<T, RowsError> {
        let array = self.0.column_by_name(column);
        array.and_then(read).ok_or(RowsError::Column { column, expected })
    }
}

/// The value of one row, if it has one.
pub(super) fn optional(array: &StringArray, row: usize) -> Option<String> {
    array.is_valid(row).then(|| array.value(row).to_owned())
}

/// Microseconds UTC.
pub(super) fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A column of times.
pub(super) fn time_array(times: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// A column of texts.
pub(super) fn text_array(texts: impl Iterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(texts.collect::<StringArray>())
}
