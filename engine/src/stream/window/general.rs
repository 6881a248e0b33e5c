//! Panes over DataFusion's accumulators: the general path.
//!
//! Promise: a partial is kept per (lane, pane) and folded in that order when a window is emitted. One
//! that is all of its last window is not folded but evaluated.

use super::by_series::{BySeriesPlan, SeriesSlice};
use super::census::{Census, OfWindow};
use super::closed::Keyed;
use super::groups::{Groups, Partial};
use super::inputs::{Inputs, Prepared};
use super::keys::Keys;
use super::members::SEEN_BYTES;
use super::series::SeriesGroups;
use super::{Aggregation, Closed, Grouping, LaneEvidence, PaneKey, Path, Slice};
use crate::stream::grid::PaneIndex;
use crate::stream::pipeline::row_column;
use datafusion::error::Result;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use weir_ingest::model::{Offset, SeriesSnapshot};

#[derive(Debug)]
struct Pane {
    partial: Partial,
    evidence: LaneEvidence,
    /// Readings of each series, where the rule asks for coverage.
    received: BTreeMap<u64, u64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct GeneralPanes {
    panes: BTreeMap<PaneKey, Pane>,
    inputs: Arc<Inputs>,
    by_series: Option<BySeries>,
    /// Where the rule asks for coverage.
    counts: bool,
}

/// The groups of all series that rows may be of, where they tell the groups.
#[derive(Debug)]
struct BySeries {
    plan: Arc<BySeriesPlan>,
    groups: SeriesGroups,
    snapshot: Option<Arc<SeriesSnapshot>>,
}

impl BySeries {
    /// The groups of all series known; new ones have no place in the order of keys yet.
    fn met(&mut self) -> &SeriesGroups {
        if let Some(snapshot) = &self.snapshot {
            let met = self.groups.meet(&self.plan.of, snapshot);
            met.expect("the planner lets nothing through that fails on a level");
        }
        &self.groups
    }

    /// As [`Self::met`], in the order of their keys.
    fn covered(&mut self) -> Result<&SeriesGroups> {
        if let Some(snapshot) = &self.snapshot {
            self.groups.cover(&self.plan.of, snapshot)?;
        }
        Ok(&self.groups)
    }
}

impl GeneralPanes {
    pub(super) fn new(aggregation: &Aggregation) -> Self {
        let by_series = match &aggregation.path {
            Path::BySeries(plan, _) => Some(BySeries {
                plan: Arc::clone(plan),
                groups: SeriesGroups::default(),
                snapshot: None,
            }),
            Path::Dense(_) | Path::General(_) => None,
        };
        let inputs = Arc::new(Inputs::new(&aggregation.grouping));
        let counts = !aggregation.census.is_empty();
        Self { panes: BTreeMap::new(), inputs, by_series, counts }
    }

    /// About what they take.
    pub(super) fn bytes(&self) -> usize {
        let of_pane = |pane: &Pane| pane.partial.bytes() + SEEN_BYTES * pane.received.len();
        let groups = self.by_series.as_ref().map_or(0, |by_series| by_series.groups.bytes());
        groups + self.panes.values().map(of_pane).sum::<usize>()
    }

    /// Rows may be of any series of `snapshot` from now on.
    pub(super) fn knows(&mut self, snapshot: &Arc<SeriesSnapshot>) {
        if let Some(by_series) = &mut self.by_series
            && by_series.snapshot.as_ref().is_none_or(|known| known.len() < snapshot.len())
        {
            by_series.snapshot = Some(Arc::clone(snapshot));
        }
    }

    /// For each series known whether its rows count; `None` where all do.
    pub(super) fn counted(&mut self) -> Option<&[bool]> {
        let by_series = self.by_series.as_mut()?;
        let conditions = !by_series.plan.of.of_series.is_empty();
        conditions.then(|| by_series.met().counted())
    }

    /// Adds rows whose keys are worked out.
    pub(super) fn add(&mut self, grouping: &Grouping, slice: &Slice<'_>) -> Result<()> {
        let prepared = Prepared::new(grouping, &self.inputs, &slice.batch)?;
        let pane = pane(&mut self.panes, slice.key, slice.offsets, slice.watermark_before, || {
            Groups::new(grouping, &self.inputs, Keys::of_rows(grouping)?)
        })?;
        pane.partial.growing().update(&prepared, slice.series)?;
        if self.counts {
            // What a join makes of a reading stands together, and is one reading.
            let mut before = None;
            for (series, row) in slice.series.iter().zip(row_column(&slice.batch).values()) {
                if before.replace(row) != Some(row) {
                    *pane.received.entry(*series).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    /// Adds rows whose keys their series tell.
    pub(super) fn add_by_series(
        &mut self,
        grouping: &Grouping,
        slice: &SeriesSlice<'_>,
    ) -> Result<()> {
        let Some(by_series) = &mut self.by_series else { return Ok(()) };
        let index = by_series.met();
        let pane = pane(&mut self.panes, slice.key, slice.offsets, slice.watermark_before, || {
            Groups::new(grouping, &self.inputs, Keys::of_series())
        })?;
        pane.partial.growing().update_by_series(index, slice);
        Ok(())
    }

    /// The first row of each lane that is in a pane.
    pub(super) fn first_of_lanes(&self) -> Vec<LaneEvidence> {
        let mut first: BTreeMap<usize, LaneEvidence> = BTreeMap::new();
        for evidence in self.panes.values().map(|pane| pane.evidence) {
            let known = first.entry(evidence.lane).or_insert(evidence);
            if evidence.first < known.first {
                *known = evidence;
            }
        }
        first.into_values().collect()
    }

    /// The first row of all.
    pub(super) fn first_row(&self) -> Option<Offset> {
        self.panes.values().map(|pane| pane.evidence.first).min()
    }

    /// The pane and first window of each pane kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = (PaneIndex, PaneIndex)> {
        self.panes.keys().map(|key| (key.pane, key.first_window))
    }

    pub(super) fn retain(&mut self, keep: impl Fn(PaneIndex) -> bool) {
        self.panes.retain(|key, _| keep(key.pane));
    }

    /// What `window`, made of `panes`, comes to.
    pub(super) fn finish(
        &mut self,
        aggregation: &Aggregation,
        window: PaneIndex,
        panes: std::ops::Range<PaneIndex>,
        census: Option<&mut Census>,
        asked: &OfWindow<'_>,
    ) -> Result<Closed> {
        let of_window = |key: &PaneKey| panes.contains(&key.pane) && key.first_window <= window;
        let keys: Vec<PaneKey> = self.panes.keys().copied().filter(of_window).collect();
        let mut evidence: Vec<LaneEvidence> = Vec::new();
        let mut received: BTreeMap<u64, u64> = BTreeMap::new();
        for pane in keys.iter().map(|key| &self.panes[key]) {
            match evidence.last_mut().filter(|last| last.lane == pane.evidence.lane) {
                Some(lane) => lane.absorb(&pane.evidence),
                None => evidence.push(pane.evidence),
            }
            for (series, readings) in &pane.received {
                *received.entry(*series).or_default() += readings;
            }
        }
        let (mut keyed, sensors) = self.keyed(aggregation, window, &keys)?;
        let mut expects = None;
        if let Some(census) = census {
            let counted = census.count(&keyed.keys, keyed.rows, &received, asked)?;
            for (place, kind) in &aggregation.counted {
                keyed.values.insert(*place, counted.column(*kind));
            }
            expects = Some(counted.expectation());
        }
        let (start, end) = asked.edges;
        let rows = keyed.rows(aggregation, start, end)?;
        Ok(Closed { start, end, rows, sensors, expects, evidence, late: 0 })
    }

    /// The groups of these panes, sorted, and how many sensors are behind each.
    fn keyed(
        &mut self,
        aggregation: &Aggregation,
        window: PaneIndex,
        keys: &[PaneKey],
    ) -> Result<(Keyed, Vec<u32>)> {
        let groups = self.groups_of(aggregation, window, keys)?;
        match &mut self.by_series {
            Some(by_series) => groups.finish(by_series.covered()?),
            None => groups.finish(&SeriesGroups::default()),
        }
    }

    fn groups_of(
        &mut self,
        aggregation: &Aggregation,
        window: PaneIndex,
        keys: &[PaneKey],
    ) -> Result<Groups> {
        if let [only] = keys
            && aggregation.grid.last_window(only.pane) == window
            && let Some(pane) = self.panes.remove(only)
        {
            match pane.partial {
                Partial::Growing(groups) => return Ok(groups),
                Partial::Frozen(_) => drop(self.panes.insert(*only, pane)),
            }
        }
        let of = match &self.by_series {
            Some(_) => Keys::of_series(),
            None => Keys::of_rows(aggregation)?,
        };
        let mut groups = Groups::new(aggregation, &self.inputs, of)?;
        for key in keys {
            if let Some(pane) = self.panes.get_mut(key) {
                groups.merge(pane.partial.frozen()?)?;
            }
        }
        Ok(groups)
    }
}

fn pane(
    panes: &mut BTreeMap<PaneKey, Pane>,
    key: PaneKey,
    (first, last): (Offset, Offset),
    watermark_before: i64,
    groups: impl FnOnce() -> Result<Groups>,
) -> Result<&mut Pane> {
    let pane = match panes.entry(key) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => {
            let evidence = LaneEvidence { lane: key.lane, first, last, watermark_before };
            let partial = Partial::Growing(groups()?);
            entry.insert(Pane { partial, evidence, received: BTreeMap::new() })
        }
    };
    pane.evidence.first = pane.evidence.first.min(first);
    pane.evidence.last = pane.evidence.last.max(last);
    Ok(pane)
}
