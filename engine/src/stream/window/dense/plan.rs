//! What the dense path needs to know of a SELECT.
//!
//! Promise: made by the planner, which says in a sentence why a SELECT cannot be taken this way.

use super::super::CountedKind;
use super::super::by_series::RowColumns;
use super::super::series::SeriesPlan;
use std::sync::Arc;

/// A windowed SELECT whose keys depend on the series alone.
#[derive(Debug)]
pub struct DensePlan {
    /// The stream, its keys and what WHERE says of levels.
    pub of: Arc<SeriesPlan>,
    /// Where the measures come from.
    pub columns: RowColumns,
    /// What is added up.
    pub measures: Vec<Measure>,
    /// Whether it matters which series are expected.
    pub expects: bool,
    /// The aggregates.
    pub outputs: Vec<Output>,
}

/// Kinds of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// DOUBLE.
    Double,
    /// BIGINT.
    Long,
}

/// A column of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Its type.
    pub number: Number,
    /// Whether least and greatest are wanted.
    pub spread: bool,
}

/// An aggregate, over the measure at that place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// `count(*)`.
    Rows,
    /// `count(x)`.
    Count(usize),
    /// `sum(x)`.
    Sum(usize),
    /// `avg(x)`.
    Avg(usize),
    /// `min(x)`.
    Min(usize),
    /// `max(x)`.
    Max(usize),
    /// `coverage()` or one of its kind.
    Counted(CountedKind),
}

impl Output {
    /// The measure it reads; for the count of rows the first.
    pub fn measure(&self) -> usize {
        match self {
            Self::Rows | Self::Counted(_) => 0,
            Self::Count(of) | Self::Sum(of) | Self::Avg(of) | Self::Min(of) | Self::Max(of) => *of,
        }
    }
}

impl DensePlan {
    /// What a series takes in a pane: sum and count, least and greatest; at least its rows.
    pub fn cell_bytes(&self) -> usize {
        let of = |measure: &Measure| if measure.spread { 32 } else { 16 };
        self.measures.iter().map(of).sum::<usize>().max(8)
    }
}
