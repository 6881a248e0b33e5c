//! Which sensors should have reported, for a question over history.
//!
//! Promise: of the sensors that the tables name the same are expected as in a rule: those of the group whose
//! rows hold at the window's end. A group is known by its keys, so it does not matter which series there were
//! when the question was planned. What is kept of the sensors is taken from the memory of the questions.
//! Elsewhere: what a rule expects of a stream without such a table depends on its place in the input; a
//! question has none.

use super::super::series::{NONE, SeriesGroups, SeriesPlan};
use super::{Count, ListedSensor};
use arrow::array::ArrayRef;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use std::collections::HashMap;
use std::sync::Arc;
use weir_ingest::model::{SeriesDirectory, SeriesId};

/// A stream that is asked about.
#[derive(Debug)]
pub struct Asked {
    /// What of the SELECT depends on its series alone.
    pub plan: Arc<SeriesPlan>,
    /// The sensors that its table names, sorted by topic; `None`: it names no table.
    pub listed: Option<Vec<ListedSensor>>,
}

/// See the module.
#[derive(Debug)]
pub struct ExpectedSensors {
    index: SeriesGroups,
    /// The sensors of each group, with the interval at which they should report.
    sensors: HashMap<u32, Vec<(ListedSensor, Option<i64>)>>,
    /// Every stream names a table.
    all_listed: bool,
    /// Given back with them.
    _memory: MemoryReservation,
}

/// What is known of a group in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sensors {
    /// Expected ones with a reading.
    pub reporting: u32,
    /// Those that are expected.
    pub expected: u32,
    /// The share of their readings that came.
    pub coverage: Option<f64>,
}

/// About what a sensor takes beside its topic and spans: its place in a list, and half a place to grow.
const OF_SENSOR: usize = 128;

/// While groups are made of them, topics stand in memory so many times: as they are listed, as paths and
/// as levels.
const TIMES: usize = 3;

fn bytes(listed: &[ListedSensor]) -> usize {
    let spans = |sensor: &ListedSensor| size_of_val(sensor.spans.as_slice());
    listed.iter().map(|sensor| OF_SENSOR + sensor.topic.len() + spans(sensor)).sum()
}

impl ExpectedSensors {
    /// Of these streams, within `memory`.
    /// # Errors
    /// A key of the SELECT that cannot be evaluated, or more sensors than there is memory for.
    pub fn new(streams: Vec<Asked>, memory: MemoryReservation) -> Result<Self> {
        let all_listed = streams.iter().all(|stream| stream.listed.is_some());
        let listed = |asked: &Asked| asked.listed.as_deref().map_or(0, bytes);
        let of_sensors: usize = streams.iter().map(listed).sum();
        memory.try_resize(TIMES * of_sensors)?;
        let (mut index, mut appeared) = (SeriesGroups::default(), Vec::new());
        for Asked { plan, listed } in streams {
            let listed = listed.unwrap_or_default();
            let directory = SeriesDirectory::new(plan.definition.template().clone());
            for (id, sensor) in (0_u32..).zip(&listed) {
                directory.push(SeriesId(id), Arc::clone(&sensor.topic));
            }
            let groups = index.groups_of(&plan, &directory.snapshot())?;
            let sensors = listed.into_iter().map(|sensor| (sensor, plan.interval_us));
            appeared.extend(groups.into_iter().zip(sensors).filter(|(group, _)| *group != NONE));
        }
        let mut sensors = HashMap::<u32, Vec<_>>::new();
        for (group, sensor) in appeared {
            sensors.entry(index.rank(group)).or_default().push(sensor);
        }
        memory.try_resize(of_sensors + index.bytes())?;
        Ok(Self { index, sensors, all_listed, _memory: memory })
    }

    /// The group with these keys, the first row of each column; one that nobody expects anything of has a
    /// number, too.
    /// # Errors
    /// Columns that are not those of GROUP BY.
    pub fn group(&self, keys: &[ArrayRef]) -> Result<u32> {
        let first: Vec<ArrayRef> = keys.iter().map(|key| key.slice(0, 1)).collect();
        Ok(self.index.find(&first, 1)?.first().copied().unwrap_or(NONE))
    }

    /// Of a group in the window `[start, end)`, where readings of so many topics came, and of each as many as
    /// `came` says.
    pub fn of(
        &self,
        group: u32,
        (start, end): (i64, i64),
        topics: usize,
        came: impl Fn(&str) -> u64,
    ) -> Sensors {
        if !self.all_listed {
            // Every series that reports is one of those that had a reading.
            let reporting = u32::try_from(topics).unwrap_or(u32::MAX);
            return Sensors { reporting, expected: reporting, coverage: None };
        }
        let sensors = self.sensors.get(&group).into_iter().flatten();
        let mut count = Count::default();
        for (sensor, interval_us) in sensors.filter(|(sensor, _)| sensor.holds(end)) {
            let came = came(&sensor.topic);
            let readings = interval_us.map(|us| (end - start) as f64 / us as f64);
            count.expected += 1;
            count.reporting += u32::from(came > 0);
            count.share += readings.map_or(0.0, |n| (came as f64).min(n) / n);
        }
        let Count { reporting, expected, .. } = count;
        Sensors { reporting, expected, coverage: count.coverage() }
    }
}
