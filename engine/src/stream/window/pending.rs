//! Rows that wait to be given to accumulators together.
//!
//! Promise: they are given in pieces of [`TOGETHER`] rows, counted from the first of the pane, however
//! they were cut into batches: an accumulator whose state depends on the cut (a t-digest) comes to the
//! same bits. What is kept is a copy: no batch is held on to.

use super::by_series::Which;
use arrow::array::{Array, ArrayRef, AsArray, MutableArrayData, UInt32Array, make_array};
use arrow::compute::{concat, take};
use datafusion::error::Result;

/// Rows given at once. Most accumulators cost something for each group of each piece they are given:
/// a percentile merges its digest, a DISTINCT looks its dictionary through.
pub(super) const TOGETHER: usize = 65_536;
/// Pieces shorter than this are put together with the one before.
const SHORT: usize = 4_096;

/// Groups and inputs of rows.
#[derive(Debug, Default)]
pub(super) struct Pending {
    groups: Vec<u32>,
    /// For each column its pieces.
    columns: Vec<Vec<ArrayRef>>,
    bytes: usize,
}

impl Pending {
    /// How many more are taken before they are given on.
    pub(super) fn room(&self) -> usize {
        TOGETHER - self.groups.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// About what they take.
    pub(super) fn bytes(&self) -> usize {
        size_of::<u32>() * self.groups.capacity() + self.bytes
    }

    /// Adds those rows of `columns`, with the group of each.
    pub(super) fn push(
        &mut self,
        groups: &[u32],
        columns: &[ArrayRef],
        rows: Rows<'_>,
    ) -> Result<()> {
        self.groups.extend_from_slice(groups);
        self.columns.resize_with(columns.len(), Vec::new);
        for (pieces, column) in self.columns.iter_mut().zip(columns) {
            let piece = rows.copied_from(column)?;
            self.bytes += bytes_of(&piece);
            pieces.push(piece);
            put_together(pieces)?;
        }
        Ok(())
    }

    /// All of them; none is left.
    pub(super) fn take(&mut self) -> Result<(Vec<usize>, Vec<ArrayRef>)> {
        let groups = std::mem::take(&mut self.groups);
        self.bytes = 0;
        let columns = std::mem::take(&mut self.columns);
        let columns = columns.iter().map(|pieces| joined(pieces)).collect::<Result<_>>()?;
        Ok((groups.into_iter().map(|group| group as usize).collect(), columns))
    }
}

/// Rows of a batch.
#[derive(Debug, Clone)]
pub(super) enum Rows<'r> {
    /// All of them.
    All,
    /// One after another.
    Range(std::ops::Range<usize>),
    /// At these places.
    At(&'r [u32]),
}

impl<'r> From<Which<'r>> for Rows<'r> {
    fn from(which: Which<'r>) -> Self {
        match which {
            Which::All => Self::All,
            Which::At(rows) => Self::At(rows),
        }
    }
}

impl<'r> Rows<'r> {
    /// Those at these places among them.
    pub(super) fn part(&self, places: std::ops::Range<usize>) -> Self {
        match self {
            Self::All => Self::Range(places),
            Self::Range(range) => Self::Range(range.start + places.start..range.start + places.end),
            Self::At(rows) => Self::At(&rows[places]),
        }
    }

    fn copied_from(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let (from, to) = match self {
            Self::All => (0, column.len()),
            Self::Range(range) => (range.start, range.end),
            Self::At(rows) => return Ok(take(column, &UInt32Array::from(rows.to_vec()), None)?),
        };
        let data = column.to_data();
        let mut copy = MutableArrayData::new(vec![&data], false, to - from);
        copy.try_extend(0, from, to)?;
        Ok(make_array(copy.freeze()))
    }
}

// However short the batches, there are few pieces, and a row is copied a few times only.
fn put_together(pieces: &mut Vec<ArrayRef>) -> Result<()> {
    while let [.., before, last] = pieces.as_slice()
        && last.len() < SHORT
        && before.len() < 2 * last.len()
    {
        let both = concat(&[before, last])?;
        pieces.truncate(pieces.len() - 2);
        pieces.push(both);
    }
    Ok(())
}

fn joined(pieces: &[ArrayRef]) -> Result<ArrayRef> {
    let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
    Ok(concat(&pieces)?)
}

/// Of a dictionary its keys: the values are the series directory's.
fn bytes_of(array: &ArrayRef) -> usize {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => dictionary.keys().get_buffer_memory_size(),
        None => array.get_buffer_memory_size(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use std::sync::Arc;

    #[test]
    fn rows_come_out_as_they_went_in_however_they_were_cut() {
        let numbers: Vec<i64> = (0..10_000).collect();
        let column: ArrayRef = Arc::new(Int64Array::from(numbers.clone()));
        let groups: Vec<u32> = (0..10_000).map(|row| row % 7).collect();
        for cut in [1, 3, 1_000, 8_192, 10_000] {
            let mut pending = Pending::default();
            for from in (0..10_000).step_by(cut) {
                let range = from..(from + cut).min(10_000);
                let columns = std::slice::from_ref(&column);
                pending.push(&groups[range.clone()], columns, Rows::Range(range)).unwrap();
                assert!(pending.columns[0].len() < 32, "cut {cut}: there are few pieces");
            }
            let (out, columns) = pending.take().unwrap();
            assert!(out.iter().map(|group| *group as u32).eq(groups.iter().copied()));
            assert_eq!(columns[0].as_primitive::<arrow::datatypes::Int64Type>().values(), &numbers);
            assert!(pending.is_empty());
        }
    }
}
