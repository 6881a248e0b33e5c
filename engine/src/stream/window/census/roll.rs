//! The series of one stream: the group of each, and whether it is expected.

use super::super::series::{NONE, SeriesGroups, SeriesPlan};
use super::{Count, ListedSensor};
use std::collections::HashMap;
use std::sync::Arc;
use weir_ingest::model::{SeriesDirectory, SeriesId, SeriesSnapshot, partition_of};

/// See the module.
#[derive(Debug)]
pub(in super::super) struct Roll {
    plan: Arc<SeriesPlan>,
    groups: SeriesGroups,
    snapshot: Option<Arc<SeriesSnapshot>>,
    /// Series with a reading so far; where a table lists the sensors, nobody asks.
    seen: Vec<bool>,
    /// Of a stream that names a table of its sensors.
    listed: Option<Listed>,
}

/// The sensors that a table names.
#[derive(Debug, Default)]
struct Listed {
    sensors: Vec<ListedSensor>,
    /// The group of each, in order of appearance.
    groups: Vec<u32>,
    by_topic: HashMap<Arc<str>, usize>,
    /// The series of each, as far as series are known.
    series: Vec<Option<usize>>,
    known: usize,
}

impl Roll {
    pub(in super::super) fn new(plan: &Arc<SeriesPlan>) -> Self {
        let listed = plan.definition.options().expected.is_some().then(Listed::default);
        let (plan, groups) = (Arc::clone(plan), SeriesGroups::default());
        Self { plan, groups, snapshot: None, seen: Vec::new(), listed }
    }

    pub(in super::super) fn groups(&self) -> &SeriesGroups {
        &self.groups
    }

    pub(in super::super) fn snapshot(&self) -> Option<&Arc<SeriesSnapshot>> {
        self.snapshot.as_ref()
    }

    /// Rows may be of any series of `snapshot` from now on.
    pub(in super::super) fn knows(&mut self, snapshot: &Arc<SeriesSnapshot>) {
        if self.snapshot.as_ref().is_none_or(|known| known.len() < snapshot.len()) {
            self.snapshot = Some(Arc::clone(snapshot));
        }
    }

    /// The first series of the stream, this many, have had a reading.
    pub(in super::super) fn knows_series(&mut self, series: usize) {
        self.seen = vec![true; series];
    }

    /// These series have had a reading.
    pub(in super::super) fn saw(&mut self, series: &[u32]) {
        for series in series {
            let series = *series as usize;
            if self.seen.len() <= series {
                self.seen.resize(series + 1, false);
            }
            self.seen[series] = true;
        }
    }

    pub(in super::super) fn seen(&self) -> &[bool] {
        &self.seen
    }

    pub(in super::super) fn restore(&mut self, seen: Vec<bool>) {
        self.seen = seen;
    }

    /// The table's sensors are these from now on, sorted by topic.
    pub(in super::super) fn list(&mut self, sensors: Vec<ListedSensor>) {
        let directory = SeriesDirectory::new(self.plan.definition.template().clone());
        for (id, sensor) in (0_u32..).zip(&sensors) {
            directory.push(SeriesId(id), Arc::clone(&sensor.topic));
        }
        let groups = self.groups.groups_of(&self.plan, &directory.snapshot());
        self.listed = Some(Listed {
            groups: groups.expect("the planner lets nothing through that fails on a level"),
            by_topic: sensors
                .iter()
                .enumerate()
                .map(|(at, s)| (Arc::clone(&s.topic), at))
                .collect(),
            series: vec![None; sensors.len()],
            known: 0,
            sensors,
        });
    }

    /// Takes in the series that are new.
    pub(in super::super) fn cover(&mut self) {
        let Some(snapshot) = &self.snapshot else { return };
        let covered = self.groups.cover(&self.plan, snapshot);
        covered.expect("the planner lets nothing through that fails on a level");
        let Some(listed) = &mut self.listed else { return };
        for series in listed.known..snapshot.len() {
            let id = SeriesId(u32::try_from(series).expect("series ids are 32 bits"));
            if let Some(sensor) = listed.by_topic.get(snapshot.topic(id)) {
                listed.series[*sensor] = Some(series);
            }
        }
        listed.known = snapshot.len();
    }

    /// By group, where `received` readings came of each series; see [`super::OfWindow`].
    pub(in super::super) fn count(
        &self,
        received: &[u64],
        (start, end): (i64, i64),
        whole: &[f64],
    ) -> Vec<Count> {
        let readings = self.plan.interval_us.map(|us| (end - start) as f64 / us as f64);
        let mut counts = vec![Count::default(); self.groups.len()];
        let mut expect = |group: u32, series: Option<usize>| {
            let Some(count) = counts.get_mut(group as usize) else { return };
            let received = series.map_or(0, |series| received[series]);
            let share = readings.map_or(0.0, |n| (received as f64).min(n) / n);
            let most = series.filter(|_| received > 0).map_or(1.0, |s| self.whole(s, whole));
            count.expected += 1;
            count.reporting += u32::from(received > 0);
            count.share += share.min(most);
        };
        match &self.listed {
            None => {
                for (series, group) in self.groups.of_series().iter().enumerate() {
                    if self.seen.get(series) == Some(&true) {
                        expect(*group, Some(series));
                    }
                }
            }
            Some(listed) => {
                for (at, sensor) in listed.sensors.iter().enumerate() {
                    if listed.groups[at] != NONE && sensor.holds(end) {
                        expect(self.groups.rank(listed.groups[at]), listed.series[at]);
                    }
                }
            }
        }
        counts
    }

    /// The share of the window in which no rows of a series can be missing.
    fn whole(&self, series: usize, whole: &[f64]) -> f64 {
        let Some(snapshot) = self.snapshot.as_ref().filter(|_| !whole.is_empty()) else {
            return 1.0;
        };
        let id = SeriesId(u32::try_from(series).expect("series ids are 32 bits"));
        let partitions = self.plan.definition.options().partitions;
        let partition = partition_of(snapshot.topic(id), partitions);
        whole.get(partition as usize).copied().unwrap_or(1.0)
    }
}
