//! Windowed aggregates indexed by series: the dense path.
//!
//! Promise: group keys depend on the series alone, so a row costs a gather by series id and an add; keys
//! are worked out once per series and met again only when a window closes, where the series are folded
//! in id order. The answers are those of the general path (sums of DOUBLE to the last bits of their
//! rounding), and no cut of batches shows in them.
//! A series lives in one partition, so the partitions of a pane share its cells; what each of them gave
//! stands in the pane's evidence.

mod cells;
mod plan;

pub use plan::{DensePlan, Measure, Number, Output};

use super::super::grid::PaneIndex;
use super::by_series::{SeriesSlice, Which};
use super::census::{Counted, ListedSensor, OfWindow, Roll};
use super::closed::Keyed;
use super::{Aggregation, Closed, LaneEvidence, PaneKey};
use arrow::array::ArrayRef;
use cells::Cells;
use datafusion::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{Offset, SeriesSnapshot};

/// One pane.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pane {
    cells: Cells,
    /// By lane.
    evidence: Vec<LaneEvidence>,
}

/// What a checkpoint keeps of the panes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DenseState {
    panes: Vec<((PaneIndex, PaneIndex), Pane)>,
    seen: Vec<bool>,
}

/// The panes of a rule on the dense path.
#[derive(Debug)]
pub struct DensePanes {
    plan: Arc<DensePlan>,
    /// By pane and first window that counts them.
    panes: BTreeMap<(PaneIndex, PaneIndex), Pane>,
    roll: Roll,
}

impl DensePanes {
    pub(super) fn new(plan: Arc<DensePlan>) -> Self {
        let roll = Roll::new(&plan.of);
        Self { plan, panes: BTreeMap::new(), roll }
    }

    /// For a checkpoint.
    pub fn state(&self) -> DenseState {
        let kept =
            |pane: &Pane| Pane { cells: pane.cells.trimmed(), evidence: pane.evidence.clone() };
        let panes = self.panes.iter().map(|(key, pane)| (*key, kept(pane))).collect();
        DenseState { panes, seen: self.roll.seen().to_vec() }
    }

    /// Goes on from a checkpoint; `snapshot` covers every series in it.
    /// # Errors
    /// The state is of another plan, or of series that are not there.
    pub fn restore(
        &mut self,
        state: DenseState,
        snapshot: &Arc<SeriesSnapshot>,
    ) -> std::result::Result<(), String> {
        let fits = |pane: &Pane| {
            pane.cells.are_of(&self.plan.measures) && pane.cells.len() <= snapshot.len()
        };
        if !state.panes.iter().all(|(_, pane)| fits(pane)) {
            return Err("its panes are of other aggregates or series".to_owned());
        }
        self.panes = state.panes.into_iter().collect();
        self.roll.restore(state.seen);
        self.roll.knows(snapshot);
        Ok(())
    }

    /// Rows may be of any series of `snapshot` from now on.
    pub fn knows(&mut self, snapshot: &Arc<SeriesSnapshot>) {
        self.roll.knows(snapshot);
    }

    /// For each series known whether its rows count; `None` where all do.
    pub fn counted(&mut self) -> Option<&[bool]> {
        if self.plan.of.of_series.is_empty() {
            return None;
        }
        self.roll.cover();
        Some(self.roll.groups().counted())
    }

    /// The first series of the stream, this many, have had a reading.
    pub fn knows_series(&mut self, series: usize) {
        if self.plan.expects {
            self.roll.knows_series(series);
        }
    }

    /// These series have had a reading.
    pub fn saw(&mut self, series: &[u32]) {
        if self.plan.expects {
            self.roll.saw(series);
        }
    }

    /// The stream's table names these sensors now.
    pub fn list(&mut self, sensors: Vec<ListedSensor>) {
        if self.plan.expects {
            self.roll.list(sensors);
        }
    }

    /// Adds rows of one lane to a pane.
    pub fn add(&mut self, slice: &SeriesSlice<'_>) {
        let SeriesSlice { key, series, values, which, offsets, watermark_before } = *slice;
        self.add_cells((key.pane, key.first_window), series, values, which);
        self.note(key, offsets, watermark_before);
    }

    /// Adds rows of any lanes to a pane; what each lane gave has to be noted, too.
    pub fn add_cells(
        &mut self,
        pane: (PaneIndex, PaneIndex),
        series: &[u32],
        values: &[ArrayRef],
        which: Which<'_>,
    ) {
        let known = self.roll.snapshot().map_or(0, |snapshot| snapshot.len());
        let pane = self.pane(pane);
        pane.cells.cover(known);
        pane.cells.add(series, values, which);
    }

    /// Notes that rows of a lane, from the first to the last of these offsets, are in a pane.
    pub fn note(&mut self, key: PaneKey, offsets: (Offset, Offset), watermark_before: i64) {
        let lane = key.lane;
        let pane = self.pane((key.pane, key.first_window));
        let (first, last) = offsets;
        match pane.evidence.binary_search_by_key(&lane, |evidence| evidence.lane) {
            Ok(found) => {
                let evidence = &mut pane.evidence[found];
                evidence.first = evidence.first.min(first);
                evidence.last = evidence.last.max(last);
            }
            Err(place) => {
                pane.evidence.insert(place, LaneEvidence { lane, first, last, watermark_before });
            }
        }
    }

    fn pane(&mut self, key: (PaneIndex, PaneIndex)) -> &mut Pane {
        let measures = &self.plan.measures;
        let new = || Pane { cells: Cells::new(measures), evidence: Vec::new() };
        self.panes.entry(key).or_insert_with(new)
    }

    /// What `window`, made of `panes`, comes to.
    pub(super) fn finish(
        &mut self,
        aggregation: &Aggregation,
        window: PaneIndex,
        panes: std::ops::Range<PaneIndex>,
        asked: &OfWindow<'_>,
    ) -> Result<Closed> {
        let plan = Arc::clone(&self.plan);
        self.roll.cover();
        let groups = self.roll.groups();
        let keys = (panes.start, PaneIndex::MIN)..(panes.end, PaneIndex::MIN);
        let of_window = self.panes.range(keys).filter(|((_, first), _)| *first <= window);
        let mut totals = Cells::new(&plan.measures);
        totals.cover(groups.len());
        let mut received = vec![0_u64; groups.series()];
        let mut evidence = BTreeMap::new();
        for (_, pane) in of_window {
            totals.merge(&pane.cells, groups.of_series(), &mut received);
            for of_lane in &pane.evidence {
                evidence.entry(of_lane.lane).or_insert(*of_lane).absorb(of_lane);
            }
        }
        let present = totals.present();
        let (start, end) = asked.edges;
        let counted = plan.expects.then(|| {
            let counts = self.roll.count(&received, asked.edges, &(asked.whole)(0));
            Counted(present.iter().map(|group| counts[*group as usize]).collect())
        });
        let none = Counted(Vec::new());
        let values = plan.outputs.iter().map(|output| match output {
            Output::Counted(kind) => counted.as_ref().unwrap_or(&none).column(*kind),
            _ => totals.output(output, &present),
        });
        let keyed = Keyed {
            values: values.collect(),
            keys: groups.keys_of(&present)?,
            rows: present.len(),
        };
        let rows = keyed.rows(aggregation, start, end)?;
        let evidence = evidence.into_values().collect();
        let sensors = self.sensors(&received, &present);
        let expects = counted.as_ref().map(Counted::expectation);
        Ok(Closed { start, end, rows, sensors, expects, evidence, late: 0 })
    }

    /// Distinct series behind each of these groups.
    fn sensors(&self, received: &[u64], present: &[u32]) -> Vec<u32> {
        let groups = self.roll.groups();
        let mut sensors = vec![0_u32; groups.len()];
        for (group, received) in groups.of_series().iter().zip(received) {
            if let Some(sensors) = sensors.get_mut(*group as usize) {
                *sensors += u32::from(*received > 0);
            }
        }
        present.iter().map(|group| sensors[*group as usize]).collect()
    }

    /// About what they take: a cell for each series and pane, and the groups.
    pub fn bytes(&self) -> usize {
        let cells: usize = self.panes.values().map(|pane| pane.cells.len()).sum();
        cells * self.plan.cell_bytes() + self.roll.groups().bytes()
    }

    /// The pane and first window of each pane kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = (PaneIndex, PaneIndex)> {
        self.panes.keys().copied()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(PaneIndex) -> bool) {
        self.panes.retain(|(pane, _), _| keep(*pane));
    }
}
