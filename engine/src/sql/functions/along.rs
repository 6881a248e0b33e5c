//! What `lag(x)` and `rate(x)` are planned into: window functions OVER (PARTITION BY topic ORDER BY
//! time, received_at, offset).
//!
//! Promise: over the readings of one series each gets what `stream::along` says; a rule does not
//! evaluate them, it finds its columns in them.

use crate::stream::along::{AlongFunction, per_second, plain};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, UInt64Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Expr, PartitionEvaluator, Signature, Volatility, WindowFunctionDefinition, WindowUDF,
    WindowUDFImpl,
};
use std::sync::Arc;

/// Both.
pub(in crate::sql) fn all() -> [Arc<WindowUDF>; 2] {
    [AlongFunction::Lag, AlongFunction::Rate]
        .map(|which| Arc::new(WindowUDF::new_from_impl(Udwf::new(which))))
}

/// The name it has in a plan.
pub(in crate::sql) fn name(which: AlongFunction) -> &'static str {
    match which {
        AlongFunction::Lag => "series_lag",
        AlongFunction::Rate => "series_rate",
    }
}

/// The function and what it is called with, if `expr` is a call of one.
pub(in crate::sql) fn of(expr: &Expr) -> Option<(AlongFunction, &WindowFunctionParams)> {
    let Expr::WindowFunction(call) = expr else { return None };
    let WindowFunctionDefinition::WindowUDF(udwf) = &call.fun else { return None };
    let udwf = udwf.inner().as_ref() as &dyn std::any::Any;
    Some((udwf.downcast_ref::<Udwf>()?.which, &call.params))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Udwf {
    which: AlongFunction,
    signature: Signature,
}

impl Udwf {
    fn new(which: AlongFunction) -> Self {
        Self { which, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl WindowUDFImpl for Udwf {
    fn name(&self) -> &str {
        name(self.which)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(
        &self,
        _arguments: PartitionEvaluatorArgs<'_>,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Along(self.which)))
    }

    fn field(&self, arguments: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        let of = arguments.input_fields().first().map(|field| plain(field.data_type()).clone());
        if let (AlongFunction::Rate, Some(of)) = (self.which, &of)
            && !of.is_numeric()
            && !of.is_null()
        {
            return plan_err!("rate(x) is a change per second, x is {of}; it takes a number");
        }
        let data_type = match self.which {
            AlongFunction::Lag => of.unwrap_or(DataType::Null),
            AlongFunction::Rate => DataType::Float64,
        };
        Ok(Arc::new(Field::new(arguments.name(), data_type, true)))
    }
}

/// Over the readings of one series, in order of time.
#[derive(Debug)]
struct Along(AlongFunction);

impl PartitionEvaluator for Along {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let x = cast(&values[0], plain(values[0].data_type()))?;
        let mut before = Vec::with_capacity(rows);
        let mut last: Option<u64> = None;
        for row in 0..rows {
            before.push(last);
            if x.is_valid(row) {
                last = Some(row as u64);
            }
        }
        match self.0 {
            AlongFunction::Lag if x.is_empty() => Ok(new_null_array(x.data_type(), 0)),
            AlongFunction::Lag => Ok(take(&x, &UInt64Array::from(before), None)?),
            AlongFunction::Rate => {
                let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                let times = cast(&values[1], &utc)?;
                let times = times.as_primitive::<TimestampMicrosecondType>();
                let x = cast(&x, &DataType::Float64)?;
                let x = x.as_primitive::<Float64Type>();
                let rate = |(row, before): (usize, Option<u64>)| {
                    let before = usize::try_from(before?).ok()?;
                    let us = times.value(row) - times.value(before);
                    x.is_valid(row).then(|| per_second(x.value(row) - x.value(before), us))?
                };
                let rates = before.into_iter().enumerate().map(rate);
                Ok(Arc::new(rates.collect::<Float64Array>()))
            }
        }
    }
}
