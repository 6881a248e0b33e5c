//! What windowed SELECTs whose keys are levels of the topic have in common, whatever they aggregate.
//!
//! Promise: made by the planner, only of expressions that have a value for every row; so a row costs a
//! gather by series id, and its keys are not looked at.

use super::{PaneKey, SeriesPlan};
use crate::stream::pipeline::Pipeline;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_ingest::model::Offset;

/// How the values of a batch are had.
#[derive(Debug)]
pub enum RowColumns {
    /// They are stored under these names, and every row counts.
    Stored(Vec<(String, DataType)>),
    /// They come out of a pipeline over these columns of the stream's SQL form.
    Computed {
        /// Which columns.
        of: Vec<usize>,
        /// WHERE and the values.
        pipeline: Pipeline,
    },
}

/// A windowed SELECT whose keys depend on the series alone, over DataFusion's accumulators.
#[derive(Debug)]
pub struct BySeriesPlan {
    /// The stream, its keys and what WHERE says of levels.
    pub of: Arc<SeriesPlan>,
    /// What the accumulators are fed with, as [`super::Inputs::expressions`].
    pub columns: RowColumns,
}

/// Which rows of a batch.
#[derive(Debug, Clone, Copy)]
pub enum Which<'r> {
    /// All of them.
    All,
    /// Those at these places, which grow.
    At(&'r [u32]),
}

impl Which<'_> {
    /// How many, where all are `all`.
    pub(super) fn len(&self, all: usize) -> usize {
        match self {
            Self::All => all,
            Self::At(rows) => rows.len(),
        }
    }
}

/// Rows on their way into a pane, all of one lane.
#[derive(Debug)]
pub struct SeriesSlice<'r> {
    /// Where they go.
    pub key: PaneKey,
    /// Series of each row of the batch.
    pub series: &'r [u32],
    /// The columns of the plan's [`RowColumns`], in the batch's order.
    pub values: &'r [ArrayRef],
    /// Which of them.
    pub which: Which<'r>,
    /// Offset of the first and last of them.
    pub offsets: (Offset, Offset),
    /// Watermark of the lane before the first of them.
    pub watermark_before: i64,
}
