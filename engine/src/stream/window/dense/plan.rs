//! What the dense path needs to know of a SELECT.
//!
//! Promise: made by the planner, which says in a sentence why a SELECT cannot be taken this way.

use crate::stream::pipeline::Pipeline;
use arrow::datatypes::DataType;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;
use weir_ingest::model::StreamDefinition;

/// A windowed SELECT whose keys depend on the series alone.
#[derive(Debug)]
pub struct DensePlan {
    /// The stream.
    pub definition: Arc<StreamDefinition>,
    /// Columns of the stream's SQL form that [`Self::keys`] and [`Self::of_series`] read.
    pub level_columns: Vec<usize>,
    /// The keys of GROUP BY, over those columns.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Conditions of WHERE over those columns.
    pub of_series: Vec<Arc<dyn PhysicalExpr>>,
    /// Where the measures come from.
    pub columns: RowColumns,
    /// What is added up.
    pub measures: Vec<Measure>,
    /// How often a series should report, microseconds; [`Output::Coverage`] needs it.
    pub interval_us: Option<i64>,
    /// Whether it matters which series are expected.
    pub expects: bool,
    /// The aggregates.
    pub outputs: Vec<Output>,
}

/// How the measures of a batch are had.
#[derive(Debug)]
pub enum RowColumns {
    /// They are stored under these names, and every row counts.
    Stored(Vec<(String, DataType)>),
    /// They come out of a pipeline over these columns of the stream's SQL form.
    Computed {
        /// Which columns.
        of: Vec<usize>,
        /// WHERE and the measures.
        pipeline: Pipeline,
    },
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
    /// `coverage()`.
    Coverage,
    /// `sensors_reporting()`.
    Reporting,
    /// `sensors_expected()`.
    Expected,
}

impl Output {
    /// The measure it reads; for the count of rows the first.
    pub fn measure(&self) -> usize {
        match self {
            Self::Rows | Self::Coverage | Self::Reporting | Self::Expected => 0,
            Self::Count(of) | Self::Sum(of) | Self::Avg(of) | Self::Min(of) | Self::Max(of) => *of,
        }
    }
}
