//! Windowed aggregates indexed by series: the dense path.
//!
//! Promise: group keys depend on the series alone, so a row costs a gather by series id and an add; keys
//! are worked out once per series and met again only when a window closes, where the series are folded
//! in id order. The answers are those of the general path (sums of DOUBLE to the last bits of their
//! rounding), and no cut of batches shows in them.
//! A series lives in one partition, so the partitions of a pane share its cells; what each of them gave
//! stands in the pane's evidence.

mod cells;
mod counted;
mod groups;
mod plan;

pub use plan::{DensePlan, Measure, Number, Output, RowColumns};

use super::super::grid::PaneIndex;
use super::{Aggregation, Closed, Keyed, LaneEvidence, PaneKey};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use cells::Cells;
use counted::Counted;
use datafusion::error::Result;
use groups::SeriesGroups;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{Offset, SeriesSnapshot};

/// Which rows of a batch.
#[derive(Debug, Clone, Copy)]
pub enum Which<'r> {
    /// All of them.
    All,
    /// Those at these places, which grow.
    At(&'r [u32]),
}

/// Rows on their way into a pane, all of one lane.
#[derive(Debug)]
pub struct DenseSlice<'r> {
    /// Where they go.
    pub key: PaneKey,
    /// Series of each row of the batch.
    pub series: &'r [u32],
    /// For each measure its values, in the batch's order.
    pub values: &'r [ArrayRef],
    /// Which of them.
    pub which: Which<'r>,
    /// Offset of the first and last of them.
    pub offsets: (Offset, Offset),
    /// Watermark of the lane before the first of them.
    pub watermark_before: i64,
}

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
    groups: SeriesGroups,
    snapshot: Option<Arc<SeriesSnapshot>>,
    /// Series with a reading so far, where that matters.
    seen: Vec<bool>,
}

impl DensePanes {
    pub(super) fn new(plan: Arc<DensePlan>) -> Self {
        let groups = SeriesGroups::default();
        Self { plan, panes: BTreeMap::new(), groups, snapshot: None, seen: Vec::new() }
    }

    /// For a checkpoint.
    pub fn state(&self) -> DenseState {
        let panes = self.panes.iter().map(|(key, pane)| (*key, pane.clone())).collect();
        DenseState { panes, seen: self.seen.clone() }
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
        self.seen = state.seen;
        self.snapshot = Some(Arc::clone(snapshot));
        Ok(())
    }

    /// Its plan.
    pub fn plan(&self) -> &Arc<DensePlan> {
        &self.plan
    }

    /// Rows may be of any series of `snapshot` from now on.
    pub fn knows(&mut self, snapshot: &Arc<SeriesSnapshot>) {
        if self.snapshot.as_ref().is_none_or(|known| known.len() < snapshot.len()) {
            self.snapshot = Some(Arc::clone(snapshot));
        }
    }

    /// For each series known whether its rows count; `None` where all do.
    pub fn counted(&mut self) -> Option<&[bool]> {
        if self.plan.of_series.is_empty() {
            return None;
        }
        self.cover();
        Some(self.groups.counted())
    }

    /// The first series of the stream, this many, have had a reading.
    pub fn knows_series(&mut self, series: usize) {
        if self.plan.expects {
            self.seen = vec![true; series];
        }
    }

    /// These series have had a reading.
    pub fn saw(&mut self, series: &[u32]) {
        if !self.plan.expects {
            return;
        }
        for series in series {
            let series = *series as usize;
            if self.seen.len() <= series {
                self.seen.resize(series + 1, false);
            }
            self.seen[series] = true;
        }
    }

    /// Adds rows to a pane.
    pub fn add(&mut self, slice: &DenseSlice<'_>) {
        let PaneKey { lane, pane, first_window } = slice.key;
        let series = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.len());
        let pane = self.panes.entry((pane, first_window)).or_insert_with(|| Pane {
            cells: Cells::new(&self.plan.measures),
            evidence: Vec::new(),
        });
        pane.cells.cover(series);
        pane.cells.add(slice.series, slice.values, slice.which);
        let (first, last) = slice.offsets;
        match pane.evidence.binary_search_by_key(&lane, |evidence| evidence.lane) {
            Ok(found) => {
                let evidence = &mut pane.evidence[found];
                evidence.first = evidence.first.min(first);
                evidence.last = evidence.last.max(last);
            }
            Err(place) => {
                let watermark_before = slice.watermark_before;
                pane.evidence.insert(place, LaneEvidence { lane, first, last, watermark_before });
            }
        }
    }

    fn cover(&mut self) {
        if let Some(snapshot) = &self.snapshot {
            let covered = self.groups.cover(&self.plan, snapshot);
            covered.expect("the planner lets nothing through that fails on a level");
        }
    }

    /// What `window`, made of `panes`, comes to.
    pub(super) fn finish(
        &mut self,
        aggregation: &Aggregation,
        window: PaneIndex,
        panes: std::ops::Range<PaneIndex>,
    ) -> Result<Closed> {
        let plan = Arc::clone(&self.plan);
        self.cover();
        let keys = (panes.start, PaneIndex::MIN)..(panes.end, PaneIndex::MIN);
        let of_window = self.panes.range(keys).filter(|((_, first), _)| *first <= window);
        let mut totals = Cells::new(&plan.measures);
        totals.cover(self.groups.len());
        let mut received = vec![0_u64; self.groups.series()];
        let mut evidence = BTreeMap::new();
        for (_, pane) in of_window {
            totals.merge(&pane.cells, self.groups.of_series(), &mut received);
            for of_lane in &pane.evidence {
                evidence.entry(of_lane.lane).or_insert(*of_lane).absorb(of_lane);
            }
        }
        let present = totals.present();
        let (start, end) = (aggregation.grid.edge(window), aggregation.grid.end(window));
        let expected = plan.interval_us.map(|interval| (end - start) as f64 / interval as f64);
        let counted = Counted::new(&self.groups, &received, &self.seen, expected);
        let values = plan.outputs.iter().map(|output| match output {
            Output::Coverage => counted.coverage(&present),
            Output::Reporting => counted.reporting(&present),
            Output::Expected => counted.expected(&present),
            _ => totals.output(output, &present),
        });
        let keyed =
            Keyed { values: values.collect(), keys: self.keys_of(&present)?, rows: present.len() };
        let rows = keyed.rows(aggregation, start, end)?;
        let evidence = evidence.into_values().collect();
        let sensors = counted.sensors(&present);
        let expects = plan.expects.then(|| counted.expectation(&present));
        Ok(Closed { start, end, rows, sensors, expects, evidence, late: 0 })
    }

    /// The key columns of these groups, which grow.
    fn keys_of(&self, present: &[u32]) -> Result<Vec<ArrayRef>> {
        if present.len() == self.groups.len() {
            return Ok(self.groups.keys().to_vec());
        }
        let present = UInt32Array::from(present.to_vec());
        Ok(self
            .groups
            .keys()
            .iter()
            .map(|k| take(k, &present, None))
            .collect::<std::result::Result<_, _>>()?)
    }

    /// The pane and first window of each pane kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = (PaneIndex, PaneIndex)> {
        self.panes.keys().copied()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(PaneIndex) -> bool) {
        self.panes.retain(|(pane, _), _| keep(*pane));
    }
}
