//! `coverage()` and its kind in a question: aggregates of the topic of each row, the edges of its window and the
//! keys of its group; where a join may make several rows of a reading, also of the reading's place in the log,
//! so that each counts once.

use super::Counted;
use crate::stream::window::ExpectedSensors;
use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Int64Type, UInt64Type};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What rows there are of a reading in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sql) enum RowsOfReading {
    /// One.
    One,
    /// As many as a join makes of it.
    Many,
}

impl RowsOfReading {
    /// Where the keys begin.
    fn before_keys(self) -> usize {
        match self {
            Self::One => TOPIC + 1,
            Self::Many => OFFSET + 1,
        }
    }
}

// Arguments: the edges of the window, the topic, where a reading has many rows its place, and the keys.
const START: usize = 0;
const END: usize = 1;
const TOPIC: usize = 2;
const PARTITION: usize = 3;
const OFFSET: usize = 4;

/// The function over (window_start, window_end, topic), partition and offset where a reading has many rows,
/// and the keys of the group: so many arguments. These sensors should report.
pub(in crate::sql) fn asked(
    counted: Counted,
    sensors: &Arc<ExpectedSensors>,
    rows: RowsOfReading,
    arguments: usize,
) -> Arc<AggregateUDF> {
    let signature = Signature::any(arguments, Volatility::Immutable);
    let sensors = Arc::clone(sensors);
    Arc::new(AggregateUDF::new_from_impl(AskedUdaf { counted, sensors, rows, signature }))
}

#[derive(Debug)]
struct AskedUdaf {
    counted: Counted,
    sensors: Arc<ExpectedSensors>,
    rows: RowsOfReading,
    signature: Signature,
}

impl PartialEq for AskedUdaf {
    fn eq(&self, other: &Self) -> bool {
        self.counted == other.counted
            && self.rows == other.rows
            && Arc::ptr_eq(&self.sensors, &other.sensors)
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
        Ok(Box::new(Asked { counted, sensors, rows: self.rows, received: Received::default() }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format!("{}[received]", args.name);
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }
}

/// The readings of one group in one window.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Received {
    place: Option<Place>,
    /// By topic.
    readings: BTreeMap<Box<str>, Readings>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    group: u32,
    edges: (i64, i64),
}

/// Of one topic.
#[derive(Debug, Serialize, Deserialize)]
enum Readings {
    /// So many.
    Counted(u64),
    /// These, by partition and offset.
    Known(BTreeSet<(i32, u64)>),
}

impl Readings {
    fn count(&self) -> u64 {
        match self {
            Self::Counted(count) => *count,
            Self::Known(known) => known.len() as u64,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Counted(_) => 0,
            Self::Known(known) => OF_READING * known.len(),
        }
    }

    fn absorb(&mut self, other: Self) {
        match (self, other) {
            (Self::Counted(count), other) => *count += other.count(),
            (Self::Known(known), Self::Known(others)) => known.extend(others),
            (known @ Self::Known(_), Self::Counted(count)) => {
                *known = Self::Counted(known.count() + count);
            }
        }
    }
}

#[derive(Debug)]
struct Asked {
    counted: Counted,
    sensors: Arc<ExpectedSensors>,
    rows: RowsOfReading,
    received: Received,
}

/// About what a topic takes beside its text.
const OF_TOPIC: usize = 64;

/// About what a reading that is known takes: its place, in a tree whose nodes are not full.
const OF_READING: usize = 32;

impl Asked {
    fn count(&mut self, topics: &StringArray) {
        for topic in topics.iter().flatten() {
            match self.received.readings.get_mut(topic) {
                Some(Readings::Counted(count)) => *count += 1,
                Some(Readings::Known(_)) | None => {
                    drop(self.received.readings.insert(topic.into(), Readings::Counted(1)));
                }
            }
        }
    }

    fn know(&mut self, topics: &StringArray, partitions: &ArrayRef, offsets: &ArrayRef) {
        let places = partitions
            .as_primitive::<Int32Type>()
            .values()
            .iter()
            .zip(offsets.as_primitive::<UInt64Type>().values());
        for (topic, (partition, offset)) in topics.iter().zip(places) {
            let Some(topic) = topic else { continue };
            let place = (*partition, *offset);
            match self.received.readings.get_mut(topic) {
                Some(Readings::Known(known)) => drop(known.insert(place)),
                Some(Readings::Counted(_)) | None => {
                    let known = Readings::Known(BTreeSet::from([place]));
                    drop(self.received.readings.insert(topic.into(), known));
                }
            }
        }
    }
}

impl Accumulator for Asked {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let topics = cast(&values[TOPIC], &DataType::Utf8)?;
        if self.received.place.is_none() && !topics.is_empty() {
            let edge = |at: usize| -> Result<i64> {
                let edge = cast(&values[at].slice(0, 1), &DataType::Int64)?;
                Ok(edge.as_primitive::<Int64Type>().value(0))
            };
            let edges = (edge(START)?, edge(END)?);
            let group = self.sensors.group(&values[self.rows.before_keys()..])?;
            self.received.place = Some(Place { group, edges });
        }
        match self.rows {
            RowsOfReading::One => self.count(topics.as_string()),
            RowsOfReading::Many => {
                self.know(topics.as_string(), &values[PARTITION], &values[OFFSET]);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Received { place, readings } = &self.received;
        let came = |topic: &str| readings.get(topic).map_or(0, Readings::count);
        let sensors =
            place.map(|place| self.sensors.of(place.group, place.edges, readings.len(), came));
        let number = |number: Option<u32>| ScalarValue::Int64(number.map(i64::from));
        Ok(match self.counted {
            Counted::Coverage => ScalarValue::Float64(sensors.and_then(|s| s.coverage)),
            Counted::Reporting => number(sensors.map(|s| s.reporting)),
            Counted::Expected => number(sensors.map(|s| s.expected)),
        })
    }

    fn size(&self) -> usize {
        let of_topics = self.received.readings.iter();
        let bytes = of_topics.map(|(topic, of)| OF_TOPIC + topic.len() + of.bytes());
        size_of_val(self) + bytes.sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let bytes = postcard::to_extend(&self.received, Vec::new()).map_err(damaged)?;
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            let other: Received = postcard::from_bytes(bytes).map_err(damaged)?;
            self.received.place = self.received.place.or(other.place);
            for (topic, readings) in other.readings {
                match self.received.readings.entry(topic) {
                    Entry::Occupied(mut known) => known.get_mut().absorb(readings),
                    Entry::Vacant(place) => drop(place.insert(readings)),
                }
            }
        }
        Ok(())
    }
}

fn damaged(error: postcard::Error) -> DataFusionError {
    DataFusionError::Internal(error.to_string())
}
