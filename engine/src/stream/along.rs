//! Values along a series: `lag(x)` and `rate(x)`, reading by reading.
//!
//! Promise: rows are given in the order of event time; what each gets depends on the rows of its series
//! before it alone. A row whose value is NULL is passed over: it leaves no trace for the next.
//! Elsewhere: who brings rows into that order, and which are late, is the runner's.

use super::ipc;
use super::pipeline::{Pipeline, row_column, with_rows};
use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Which function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlongFunction {
    /// The value before.
    Lag,
    /// The change since the value before, per second.
    Rate,
}

/// Columns along the series, made of the rows of one branch.
#[derive(Debug, Clone)]
pub struct AlongStage {
    /// What happens to the rows before.
    pub before: Pipeline,
    /// The functions, each of an expression over these rows.
    pub functions: Vec<(AlongFunction, Arc<dyn PhysicalExpr>)>,
    /// The rows with a column for each function.
    pub schema: SchemaRef,
}

/// The last values of each series.
#[derive(Debug, Default)]
pub struct AlongState(HashMap<u64, Lasts>);

/// The last values of one series, function by function.
pub type Lasts = Vec<Option<Last>>;

/// A value and when it was.
#[derive(Debug, Clone)]
pub struct Last {
    value: ScalarValue,
    time: i64,
}

/// What a checkpoint keeps of [`AlongState`], function by function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AlongKept(Vec<LastKept>);

/// The last values of one function: series, in order, and the time and value of each.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct LastKept {
    series: Vec<u64>,
    times: Vec<i64>,
    values: Option<Vec<u8>>,
}

impl AlongState {
    /// What is known of a series.
    pub fn of(&self, series: u64) -> Option<Lasts> {
        self.0.get(&series).cloned()
    }

    /// About what it takes.
    pub fn bytes(&self) -> usize {
        let functions = self.0.values().next().map_or(0, Vec::len);
        self.0.len() * (size_of::<(u64, Lasts)>() + size_of::<Option<Last>>() * functions)
    }

    /// For a checkpoint; of some series it is what was known `before`.
    /// # Errors
    /// A value of a type that cannot be kept.
    pub fn kept(&self, before: &HashMap<u64, Option<&Lasts>>) -> Result<AlongKept> {
        let then =
            |(series, now)| Some((series, before.get(series).copied().unwrap_or(Some(now))?));
        let mut all: Vec<(&u64, &Lasts)> = self.0.iter().filter_map(then).collect();
        all.sort_unstable_by_key(|(series, _)| **series);
        let known = |(_, lasts): &(&u64, &Lasts)| lasts.iter().rposition(Option::is_some);
        let functions = all.iter().filter_map(known).max().map_or(0, |last| last + 1);
        let mut kept = vec![LastKept::default(); functions];
        for (number, kept) in kept.iter_mut().enumerate() {
            let of_function = |last: &Lasts| last.get(number).cloned().flatten();
            let known =
                all.iter().filter_map(|(series, last)| Some((**series, of_function(last)?)));
            let mut values = Vec::new();
            for (series, Last { value, time }) in known {
                kept.series.push(series);
                kept.times.push(time);
                values.push(value);
            }
            if !values.is_empty() {
                let values = ScalarValue::iter_to_array(values)?;
                kept.values = Some(ipc::encode(&RecordBatch::try_from_iter([("last", values)])?)?);
            }
        }
        Ok(AlongKept(kept))
    }

    /// Goes on from a checkpoint.
    /// # Errors
    /// It is damaged.
    pub fn restore(kept: &AlongKept) -> Result<Self> {
        let functions = kept.0.len();
        let mut state: HashMap<u64, Lasts> = HashMap::new();
        for (number, LastKept { series, times, values }) in kept.0.iter().enumerate() {
            let Some(values) = values else { continue };
            let values = ipc::decode(values)?;
            for (row, (series, time)) in series.iter().zip(times).enumerate() {
                let value = ScalarValue::try_from_array(values.column(0), row)?;
                let last = state.entry(*series).or_insert_with(|| vec![None; functions]);
                last[number] = Some(Last { value, time: *time });
            }
        }
        Ok(Self(state))
    }
}

impl AlongStage {
    /// Adds the columns; the reading of each row, told by the row lane, has this series and time.
    /// # Errors
    /// What an expression cannot evaluate; the state is as it was then.
    pub fn run(
        &self,
        batch: &RecordBatch,
        state: &mut AlongState,
        reading_of: &dyn Fn(usize) -> (u64, i64),
    ) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let arguments = self.functions.iter().map(|(_, x)| x.evaluate(batch)?.into_array(rows));
        let arguments: Vec<ArrayRef> = arguments.collect::<Result<_>>()?;
        let lane = row_column(batch).clone();
        let readings: Vec<(u64, i64)> =
            lane.values().iter().map(|row| reading_of(*row as usize)).collect();
        let mut columns = batch.columns()[..batch.num_columns() - 1].to_vec();
        for (number, ((function, _), values)) in self.functions.iter().zip(&arguments).enumerate() {
            let mut last = |series: u64| {
                let all = state.0.entry(series).or_default();
                all.resize(self.functions.len(), None);
                std::mem::take(&mut all[number])
            };
            let mut kept = HashMap::new();
            for (series, _) in &readings {
                kept.entry(*series).or_insert_with(|| last(*series));
            }
            let column = match function {
                AlongFunction::Lag => lag(values, &readings, &mut kept),
                AlongFunction::Rate => rate(values, &readings, &mut kept),
            };
            for (series, last) in kept {
                if let Some(all) = state.0.get_mut(&series) {
                    all[number] = last;
                }
            }
            columns.push(column?);
        }
        with_rows(&self.schema, columns, lane)
    }
}

type Kept = HashMap<u64, Option<Last>>;

fn lag(values: &ArrayRef, readings: &[(u64, i64)], kept: &mut Kept) -> Result<ArrayRef> {
    let null = ScalarValue::try_from(plain(values.data_type()))?;
    let values = cast(values, &null.data_type())?;
    let mut lags = Vec::with_capacity(readings.len());
    for (row, (series, time)) in readings.iter().enumerate() {
        let last = kept.entry(*series).or_default();
        lags.push(last.as_ref().map_or_else(|| null.clone(), |last| last.value.clone()));
        let value = ScalarValue::try_from_array(&values, row)?;
        if !value.is_null() {
            *last = Some(Last { value, time: *time });
        }
    }
    ScalarValue::iter_to_array(lags)
}

fn rate(values: &ArrayRef, readings: &[(u64, i64)], kept: &mut Kept) -> Result<ArrayRef> {
    let values = cast(values, &DataType::Float64)?;
    let mut rates = Vec::with_capacity(readings.len());
    for (row, (series, time)) in readings.iter().enumerate() {
        let last = kept.entry(*series).or_default();
        let value = ScalarValue::try_from_array(&values, row)?;
        let ScalarValue::Float64(Some(now)) = value else {
            rates.push(None);
            continue;
        };
        rates.push(match last {
            Some(Last { value: ScalarValue::Float64(Some(before)), time: then }) => {
                per_second(now - *before, time - *then)
            }
            _ => None,
        });
        *last = Some(Last { value, time: *time });
    }
    Ok(Arc::new(Float64Array::from(rates)))
}

/// A change over this many microseconds as one per second; `None` where no time went by.
pub fn per_second(change: f64, us: i64) -> Option<f64> {
    (us > 0).then(|| change / (us as f64 / 1e6))
}

/// The type of `lag` of values of this type: a dictionary's values stand for themselves.
pub fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}
