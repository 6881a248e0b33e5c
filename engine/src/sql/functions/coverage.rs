//! `coverage()`, `sensors_reporting()` and `sensors_expected()`: how much of what should have come is in
//! a window.
//!
//! Aggregates of a rule over TUMBLE or HOP whose GROUP BY names levels of the topic.
//! `sensors_expected()` counts the series of the group that are expected: those that the table named by
//! the stream's `expected` has at the window's end; without one, those whose first reading precedes the
//! window's close in the input order. `sensors_reporting()` counts those of them with a
//! reading in the window. `coverage()` is the mean over the expected series of
//! `min(received, n) / n`, where n is the window's length over the stream's `interval`: 1.0 when every
//! sensor sent as often as it should, 0.5 when half of the readings, or of the sensors, are missing. More
//! readings than expected do not make up for another sensor's silence. A group without any reading in a
//! window has no row.
//! In a question over history the table of sensors is asked as it is now; of a stream without one a question
//! knows `sensors_reporting()` alone.
//! What they are worked out from is `stream::window::census`'s.

pub(in crate::sql) mod asked;

use crate::stream::window::CountedKind;
use arrow::datatypes::DataType;
use arrow::datatypes::FieldRef;
use datafusion::common::not_impl_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sql) enum Counted {
    /// The share of the expected readings that came.
    Coverage,
    /// Expected series with a reading.
    Reporting,
    /// Expected series.
    Expected,
}

impl Counted {
    const ALL: [Self; 3] = [Self::Coverage, Self::Reporting, Self::Expected];

    /// Its name in SQL.
    pub(in crate::sql) fn name(self) -> &'static str {
        match self {
            Self::Coverage => "coverage",
            Self::Reporting => "sensors_reporting",
            Self::Expected => "sensors_expected",
        }
    }

    /// The type of its values.
    fn data_type(self) -> DataType {
        match self {
            Self::Coverage => DataType::Float64,
            Self::Reporting | Self::Expected => DataType::Int64,
        }
    }

    /// What it counts.
    pub(in crate::sql) fn kind(self) -> CountedKind {
        match self {
            Self::Coverage => CountedKind::Coverage,
            Self::Reporting => CountedKind::Reporting,
            Self::Expected => CountedKind::Expected,
        }
    }

    /// The function of that name.
    pub(in crate::sql) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|counted| counted.name() == name)
    }
}

/// All of them.
pub(in crate::sql) fn all() -> impl Iterator<Item = Arc<AggregateUDF>> {
    Counted::ALL.into_iter().map(|counted| {
        // The planner puts in the one argument, which says nothing.
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(Udaf { counted, signature }))
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Udaf {
    counted: Counted,
    signature: Signature,
}

impl AggregateUDFImpl for Udaf {
    fn name(&self) -> &str {
        self.counted.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.counted.data_type())
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        not_impl_err!(
            "{}() is not known here: it counts the sensors of a group in a window of TUMBLE or HOP",
            self.name()
        )
    }

    fn state_fields(&self, _: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(Vec::new())
    }
}
