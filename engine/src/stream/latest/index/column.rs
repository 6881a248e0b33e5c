//! One field of the latest readings: a growable typed column, indexed by series id.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weir_ingest::model::ColumnType;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum LatestColumn {
    Double(Vec<Option<f64>>),
    Bigint(Vec<Option<i64>>),
    Boolean(Vec<Option<bool>>),
    Text(Vec<Option<Box<str>>>),
    Timestamp(Vec<Option<i64>>),
}

/// One slot of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LatestValue {
    Double(Option<f64>),
    Bigint(Option<i64>),
    Boolean(Option<bool>),
    Text(Option<Box<str>>),
    Timestamp(Option<i64>),
}

impl LatestColumn {
    /// What a slot holds.
    pub(super) fn get(&self, slot: usize) -> LatestValue {
        match self {
            Self::Double(slots) => LatestValue::Double(slots[slot]),
            Self::Bigint(slots) => LatestValue::Bigint(slots[slot]),
            Self::Boolean(slots) => LatestValue::Boolean(slots[slot]),
            Self::Text(slots) => LatestValue::Text(slots[slot].clone()),
            Self::Timestamp(slots) => LatestValue::Timestamp(slots[slot]),
        }
    }

    /// Puts a value of this column into a slot; without one the slot is empty.
    pub(super) fn put(&mut self, slot: usize, value: Option<&LatestValue>) {
        match (self, value) {
            (Self::Double(slots), Some(LatestValue::Double(value))) => slots[slot] = *value,
            (Self::Bigint(slots), Some(LatestValue::Bigint(value)))
            | (Self::Timestamp(slots), Some(LatestValue::Timestamp(value))) => slots[slot] = *value,
            (Self::Boolean(slots), Some(LatestValue::Boolean(value))) => slots[slot] = *value,
            (Self::Text(slots), Some(LatestValue::Text(value))) => slots[slot].clone_from(value),
            (Self::Double(slots), _) => slots[slot] = None,
            (Self::Bigint(slots) | Self::Timestamp(slots), _) => slots[slot] = None,
            (Self::Boolean(slots), _) => slots[slot] = None,
            (Self::Text(slots), _) => slots[slot] = None,
        }
    }

    pub(super) fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Double => Self::Double(Vec::new()),
            ColumnType::Bigint => Self::Bigint(Vec::new()),
            ColumnType::Boolean => Self::Boolean(Vec::new()),
            ColumnType::Text => Self::Text(Vec::new()),
            ColumnType::Timestamp => Self::Timestamp(Vec::new()),
        }
    }

    pub(super) fn grow(&mut self, series: usize) {
        match self {
            Self::Double(slots) => slots.resize(series, None),
            Self::Bigint(slots) | Self::Timestamp(slots) => slots.resize(series, None),
            Self::Boolean(slots) => slots.resize(series, None),
            Self::Text(slots) => slots.resize(series, None),
        }
    }

    /// Sets slot `series` to `values[row]` for each (series, row); a later pair wins.
    pub(super) fn set(&mut self, values: &ArrayRef, winners: &[(u32, u32)]) {
        match self {
            Self::Double(slots) => {
                let values = values.as_primitive::<Float64Type>();
                put(slots, winners, |row| values.is_valid(row).then(|| values.value(row)));
            }
            Self::Bigint(slots) => {
                let values = values.as_primitive::<Int64Type>();
                put(slots, winners, |row| values.is_valid(row).then(|| values.value(row)));
            }
            Self::Timestamp(slots) => {
                let values = values.as_primitive::<TimestampMicrosecondType>();
                put(slots, winners, |row| values.is_valid(row).then(|| values.value(row)));
            }
            Self::Boolean(slots) => {
                let values = values.as_boolean();
                put(slots, winners, |row| values.is_valid(row).then(|| values.value(row)));
            }
            Self::Text(slots) => {
                let values = values.as_string::<i32>();
                put(slots, winners, |row| values.is_valid(row).then(|| values.value(row).into()));
            }
        }
    }

    /// Sets the winners' slots to null: their frame does not have the column.
    pub(super) fn clear(&mut self, winners: &[(u32, u32)]) {
        match self {
            Self::Double(slots) => put(slots, winners, |_| None),
            Self::Bigint(slots) | Self::Timestamp(slots) => put(slots, winners, |_| None),
            Self::Boolean(slots) => put(slots, winners, |_| None),
            Self::Text(slots) => put(slots, winners, |_| None),
        }
    }

    /// About what it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Double(slots) => 16 * slots.len(),
            Self::Bigint(slots) | Self::Timestamp(slots) => 16 * slots.len(),
            Self::Boolean(slots) => slots.len(),
            Self::Text(slots) => {
                slots.iter().map(|text| 16 + text.as_ref().map_or(0, |text| text.len())).sum()
            }
        }
    }

    /// The slots of `present`, as an array.
    pub(super) fn gather(&self, present: &[u32]) -> ArrayRef {
        let slots = present.iter().map(|id| *id as usize);
        match self {
            Self::Double(values) => Arc::new(slots.map(|s| values[s]).collect::<Float64Array>()),
            Self::Bigint(values) => Arc::new(slots.map(|s| values[s]).collect::<Int64Array>()),
            Self::Boolean(values) => Arc::new(slots.map(|s| values[s]).collect::<BooleanArray>()),
            Self::Text(values) => {
                Arc::new(slots.map(|s| values[s].as_deref()).collect::<StringArray>())
            }
            Self::Timestamp(values) => {
                let times = slots.map(|s| values[s]).collect::<TimestampMicrosecondArray>();
                Arc::new(times.with_timezone("UTC"))
            }
        }
    }
}

fn put<T>(slots: &mut [Option<T>], winners: &[(u32, u32)], value: impl Fn(usize) -> Option<T>) {
    for (series, row) in winners {
        slots[*series as usize] = value(*row as usize);
    }
}
