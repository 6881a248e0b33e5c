//! Text columns of any Arrow make, read in place.
//!
//! Promise: a dictionary is never unfolded, so a column cannot become larger than it came.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;

/// The texts of a column.
#[derive(Debug)]
pub(super) struct Texts {
    values: StringArray,
    /// Which value each row has, for a dictionary.
    keys: Option<Vec<Option<usize>>>,
}

impl Texts {
    /// `None` if the column holds no texts.
    pub(super) fn of(column: &ArrayRef) -> Option<Self> {
        if let Some(dictionary) = column.as_any_dictionary_opt() {
            let values = strings(dictionary.values())?;
            let keys = if values.is_empty() {
                vec![None; column.len()]
            } else {
                let keys = dictionary.normalized_keys();
                let nulls = dictionary.keys().nulls();
                let is_null = |row| nulls.is_some_and(|n| n.is_null(row));
                keys.into_iter().enumerate().map(|(i, k)| (!is_null(i)).then_some(k)).collect()
            };
            return Some(Self { values, keys: Some(keys) });
        }
        Some(Self { values: strings(column)?, keys: None })
    }

    /// The text of a row; `None` for null.
    pub(super) fn get(&self, row: usize) -> Option<&str> {
        let at = match &self.keys {
            None => row,
            Some(keys) => keys[row]?,
        };
        self.values.is_valid(at).then(|| self.values.value(at))
    }
}

fn strings(column: &ArrayRef) -> Option<StringArray> {
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().clone()),
        DataType::LargeUtf8 => Some(cast(column, &DataType::Utf8).ok()?.as_string::<i32>().clone()),
        _ => None,
    }
}
