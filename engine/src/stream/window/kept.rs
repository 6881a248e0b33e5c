//! Rows as bytes, kept without the batch they came in.
//!
//! Promise: what is decoded is what was encoded, bit for bit; bytes compare as their rows do, NULLs
//! first. A dictionary's values are unpacked: a kept row holds on to nothing but itself.

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result;

/// How rows of these columns are kept.
#[derive(Debug)]
pub(super) struct Kept {
    types: Vec<DataType>,
    plain: Vec<DataType>,
    converter: RowConverter,
}

impl Kept {
    /// # Errors
    /// A type that cannot be kept.
    pub(super) fn new(types: Vec<DataType>) -> Result<Self> {
        let plain: Vec<DataType> = types.iter().map(unpacked).collect();
        let fields = plain.iter().cloned().map(SortField::new).collect();
        Ok(Self { converter: RowConverter::new(fields)?, plain, types })
    }

    /// The bytes of each of `rows` rows.
    pub(super) fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Box<[u8]>>> {
        if columns.is_empty() {
            return Ok(vec![Box::default(); rows]);
        }
        let encoded = self.converter.convert_columns(&as_types(columns, &self.plain)?)?;
        Ok(encoded.iter().map(|row| row.as_ref().into()).collect())
    }

    /// The columns of these rows.
    pub(super) fn decode<'r>(
        &self,
        rows: impl IntoIterator<Item = &'r [u8]>,
    ) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let parsed: Vec<_> = rows.into_iter().map(|row| parser.parse(row)).collect();
        if parsed.is_empty() {
            return Ok(self.types.iter().map(new_empty_array).collect());
        }
        as_types(&self.converter.convert_rows(parsed)?, &self.types)
    }
}

fn unpacked(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => unpacked(values),
        other => other.clone(),
    }
}

fn as_types(columns: &[ArrayRef], types: &[DataType]) -> Result<Vec<ArrayRef>> {
    let columns = columns.iter().zip(types).map(|(column, to)| cast(column, to));
    Ok(columns.collect::<std::result::Result<_, _>>()?)
}
