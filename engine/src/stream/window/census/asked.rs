//! Which sensors should have reported, for a question over history.
//!
//! Promise: of the sensors that the tables name the same are expected as in a rule: those of the group whose
//! rows hold at the window's end. Elsewhere: what a rule expects of a stream without such a table depends on
//! its place in the input; a question has none.

use super::super::series::{NONE, SeriesGroups, SeriesPlan};
use super::{Count, ListedSensor};
use datafusion::error::Result;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weir_ingest::model::{SeriesDirectory, SeriesId, SeriesSnapshot};

/// A stream that is asked about.
#[derive(Debug)]
pub struct Asked {
    /// What of the SELECT depends on its series alone.
    pub plan: Arc<SeriesPlan>,
    /// All its series.
    pub series: Arc<SeriesSnapshot>,
    /// The sensors that its table names, sorted by topic; `None`: it names no table.
    pub listed: Option<Vec<ListedSensor>>,
}

/// See the module.
#[derive(Debug)]
pub struct ExpectedSensors {
    /// The group of each topic.
    groups: HashMap<Arc<str>, u32>,
    /// The sensors of each, with the interval at which they should report.
    sensors: HashMap<u32, Vec<(ListedSensor, Option<i64>)>>,
    /// Every stream names a table.
    all_listed: bool,
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

impl ExpectedSensors {
    /// Of these streams.
    /// # Errors
    /// A key of the SELECT that cannot be evaluated.
    pub fn new(streams: &[Asked]) -> Result<Self> {
        let mut index = SeriesGroups::default();
        let (mut groups, mut sensors) = (HashMap::new(), HashMap::<u32, Vec<_>>::new());
        for Asked { plan, series, listed } in streams {
            let of_series = index.groups_of(plan, series)?;
            for (id, group) in (0_u32..).zip(of_series) {
                groups.insert(Arc::from(series.topic(SeriesId(id))), group);
            }
            let listed = listed.as_deref().unwrap_or_default();
            let directory = SeriesDirectory::new(plan.definition.template().clone());
            for (id, sensor) in (0_u32..).zip(listed) {
                directory.push(SeriesId(id), Arc::clone(&sensor.topic));
            }
            let of_listed = index.groups_of(plan, &directory.snapshot())?;
            for (sensor, group) in listed.iter().zip(of_listed).filter(|(_, group)| *group != NONE)
            {
                sensors.entry(group).or_default().push((sensor.clone(), plan.interval_us));
            }
        }
        let all_listed = streams.iter().all(|stream| stream.listed.is_some());
        Ok(Self { groups, sensors, all_listed })
    }

    /// Of the group that these topics are of, in the window `[start, end)`, where so many readings came of
    /// each.
    pub fn of(&self, received: &BTreeMap<Box<str>, u64>, (start, end): (i64, i64)) -> Sensors {
        if !self.all_listed {
            // Every series that reports is one of those that had a reading.
            let reporting = u32::try_from(received.len()).unwrap_or(u32::MAX);
            return Sensors { reporting, expected: reporting, coverage: None };
        }
        let group = received.keys().find_map(|topic| self.groups.get(&**topic));
        let sensors = group.and_then(|group| self.sensors.get(group));
        let mut count = Count::default();
        for (sensor, interval_us) in sensors.into_iter().flatten().filter(|(s, _)| s.holds(end)) {
            let came = received.get(&*sensor.topic).copied().unwrap_or(0);
            let readings = interval_us.map(|us| (end - start) as f64 / us as f64);
            count.expected += 1;
            count.reporting += u32::from(came > 0);
            count.share += readings.map_or(0.0, |n| (came as f64).min(n) / n);
        }
        let Count { reporting, expected, .. } = count;
        Sensors { reporting, expected, coverage: count.coverage() }
    }
}
