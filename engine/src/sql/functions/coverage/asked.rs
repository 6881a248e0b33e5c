//! `coverage()` and its kind in a question: aggregates of the topic of each row and the edges of its window.

use super::Counted;
use crate::stream::window::ExpectedSensors;
use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The function over (topic, window_start, window_end), where these sensors should report.
pub(in crate::sql) fn asked(counted: Counted, sensors: &Arc<ExpectedSensors>) -> Arc<AggregateUDF> {
    let signature = Signature::any(3, Volatility::Immutable);
    let sensors = Arc::clone(sensors);
    Arc::new(AggregateUDF::new_from_impl(AskedUdaf { counted, sensors, signature }))
}

#[derive(Debug)]
struct AskedUdaf {
    counted: Counted,
    sensors: Arc<ExpectedSensors>,
    signature: Signature,
}

impl PartialEq for AskedUdaf {
    fn eq(&self, other: &Self) -> bool {
        self.counted == other.counted && Arc::ptr_eq(&self.sensors, &other.sensors)
    }
}

impl Eq for AskedUdaf {}

impl Hash for AskedUdaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.counted.hash(state);
    }
}

impl AggregateUDFImpl for AskedUdaf {
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
        let (counted, sensors) = (self.counted, Arc::clone(&self.sensors));
        Ok(Box::new(Asked { counted, sensors, received: Received::default() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format!("{}[received]", args.name);
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }
}

/// The readings of one group in one window.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Received {
    edges: Option<(i64, i64)>,
    /// By topic.
    readings: BTreeMap<Box<str>, u64>,
}

#[derive(Debug)]
struct Asked {
    counted: Counted,
    sensors: Arc<ExpectedSensors>,
    received: Received,
}

/// About what a topic takes beside its text.
const OF_TOPIC: usize = 48;

impl Accumulator for Asked {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Received { edges, readings } = &mut self.received;
        let topics = cast(&values[0], &DataType::Utf8)?;
        for topic in topics.as_string::<i32>().iter().flatten() {
            match readings.get_mut(topic) {
                Some(readings) => *readings += 1,
                None => drop(readings.insert(topic.into(), 1)),
            }
        }
        if edges.is_none() && !topics.is_empty() {
            let edge = |at: usize| -> Result<i64> {
                let edge = cast(&values[at].slice(0, 1), &DataType::Int64)?;
                Ok(edge.as_primitive::<Int64Type>().value(0))
            };
            *edges = Some((edge(1)?, edge(2)?));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sensors =
            self.received.edges.map(|edges| self.sensors.of(&self.received.readings, edges));
        let number = |number: Option<u32>| ScalarValue::Int64(number.map(i64::from));
        Ok(match self.counted {
            Counted::Coverage => ScalarValue::Float64(sensors.and_then(|s| s.coverage)),
            Counted::Reporting => number(sensors.map(|s| s.reporting)),
            Counted::Expected => number(sensors.map(|s| s.expected)),
        })
    }

    fn size(&self) -> usize {
        let topics = self.received.readings.keys().map(|topic| OF_TOPIC + topic.len());
        size_of_val(self) + topics.sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let bytes = postcard::to_extend(&self.received, Vec::new()).map_err(damaged)?;
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            let other: Received = postcard::from_bytes(bytes).map_err(damaged)?;
            self.received.edges = self.received.edges.or(other.edges);
            for (topic, readings) in other.readings {
                *self.received.readings.entry(topic).or_default() += readings;
            }
        }
        Ok(())
    }
}

fn damaged(error: postcard::Error) -> DataFusionError {
    DataFusionError::Internal(error.to_string())
}
