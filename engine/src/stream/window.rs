//! Windowed aggregates: on the dense path by series, on the general path over DataFusion's group
//! values and accumulators.
//!
//! Promise: a partial is kept per (lane, pane) and folded in that order when a window is emitted, so a
//! result depends neither on how partitions interleave nor on batches; nothing comes in hash order.
//! Rows that came too late for the first windows of their pane stand apart, under the first window
//! that was still open to them: what a closed window has seen never changes (S4).
//! Both paths give the same answers (P7).
//! Elsewhere: which rows are late and when a window is due is the runner's; here they are only counted.

mod aggregation; // the SELECT
mod kept; // rows as bytes
mod series; // the group of each series
pub mod by_series; // what the paths by series have in common
mod census; // series that report, and that should
mod closed; // windows that are over
pub mod dense; // numbers that are added up
mod inputs; // what accumulators are fed with
mod pending; // rows that are given to them together
mod members; // which series are behind a group
mod keys; // groups told by rows, or by series
mod groups; // groups and their accumulators
mod general; // panes of these
pub mod session;

pub use aggregation::{Aggregate, Aggregation, CountedKind, GroupColumn, Grouping, Path};
pub use census::{Asked, ExpectedSensors, ListedSensor};
pub use closed::{Closed, Expectation, LaneEvidence, expectations_of, sensors_of};
pub use inputs::Inputs;
pub use series::{KeyedSeries, SeriesPlan};

use super::grid::PaneIndex;
use arrow::array::RecordBatch;
use by_series::SeriesSlice;
use census::{Census, OfWindow, Roll};
use datafusion::error::Result;
use dense::{DensePanes, DenseState};
use general::GeneralPanes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{Offset, SeriesSnapshot};

/// Where rows go: a pane of a lane, and the first window that was still open to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PaneKey {
    /// The lane.
    pub lane: usize,
    /// The pane.
    pub pane: PaneIndex,
    /// The first window they count in.
    pub first_window: PaneIndex,
}

#[derive(Debug)]
enum Panes {
    General(Box<GeneralPanes>),
    Dense(Box<DensePanes>),
}

impl Panes {
    /// The pane and first window of each that is kept.
    fn kept(&self) -> Box<dyn Iterator<Item = (PaneIndex, PaneIndex)> + '_> {
        match self {
            Self::General(panes) => Box::new(panes.kept()),
            Self::Dense(panes) => Box::new(panes.kept()),
        }
    }

    fn retain(&mut self, keep: impl Fn(PaneIndex) -> bool) {
        match self {
            Self::General(panes) => panes.retain(keep),
            Self::Dense(panes) => panes.retain(keep),
        }
    }
}

/// What a checkpoint keeps of the windows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WindowsState {
    panes: PanesState,
    closed: Option<PaneIndex>,
    late: Vec<(PaneIndex, u64)>,
    seen: Vec<Vec<bool>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum PanesState {
    Dense(DenseState),
    /// Accumulators of any function cannot be put back bit for bit: their rows are read again, from
    /// the first of each lane on.
    Refill(Vec<LaneEvidence>),
}

impl WindowsState {
    /// The first row of each lane that is read again to fill the panes.
    pub fn rows_again(&self) -> &[LaneEvidence] {
        match &self.panes {
            PanesState::Dense(_) => &[],
            PanesState::Refill(lanes) => lanes,
        }
    }
}

/// The open windows of a rule.
#[derive(Debug)]
pub struct Windows {
    aggregation: Arc<Aggregation>,
    panes: Panes,
    /// On the general path.
    census: Option<Census>,
    /// The newest window that was closed.
    closed: Option<PaneIndex>,
    late: BTreeMap<PaneIndex, u64>,
}

/// Rows of one pane on their way into it.
#[derive(Debug)]
pub struct Slice<'r> {
    /// Where they go.
    pub key: PaneKey,
    /// The rows, with the row lane.
    pub batch: RecordBatch,
    /// Series of each row, unique over the rule's streams.
    pub series: &'r [u64],
    /// Offset of the first and last row.
    pub offsets: (Offset, Offset),
    /// Watermark of the lane before the first row.
    pub watermark_before: i64,
}

impl Windows {
    /// No window open.
    pub fn new(aggregation: Arc<Aggregation>) -> Self {
        let panes = match &aggregation.path {
            Path::Dense(plan) => Panes::Dense(Box::new(DensePanes::new(Arc::clone(plan)))),
            Path::BySeries(..) | Path::General(_) => {
                Panes::General(Box::new(GeneralPanes::new(&aggregation)))
            }
        };
        let census = (matches!(panes, Panes::General(_)) && !aggregation.census.is_empty())
            .then(|| Census::new(&aggregation.census));
        Self { aggregation, panes, census, closed: None, late: BTreeMap::new() }
    }

    fn roll(&mut self, stream: usize) -> Option<&mut Roll> {
        self.census.as_mut()?.of(stream)
    }

    /// The first series of a stream, this many, had a reading before the rule began.
    pub fn knows_series(&mut self, stream: usize, series: usize) {
        match &mut self.panes {
            Panes::Dense(panes) => panes.knows_series(series),
            Panes::General(_) => {
                self.roll(stream).into_iter().for_each(|roll| roll.knows_series(series));
            }
        }
    }

    /// The table that a stream names has these sensors now, sorted by topic.
    pub fn list(&mut self, stream: usize, sensors: Vec<ListedSensor>) {
        match &mut self.panes {
            Panes::Dense(panes) => panes.list(sensors),
            Panes::General(_) => {
                if let Some(roll) = self.roll(stream) {
                    roll.list(sensors);
                }
            }
        }
    }

    /// Readings of a stream have come, on the general path.
    pub fn saw(&mut self, stream: usize, series: &[u32], snapshot: &Arc<SeriesSnapshot>) {
        if let Some(roll) = self.roll(stream) {
            roll.knows(snapshot);
            roll.saw(series);
        }
    }

    /// Rows of these series come, any of `snapshot`'s; where series tell the groups.
    pub fn meet(&mut self, snapshot: &Arc<SeriesSnapshot>, series: &[u32]) {
        match &mut self.panes {
            Panes::Dense(panes) => {
                panes.knows(snapshot);
                panes.saw(series);
            }
            Panes::General(panes) => panes.knows(snapshot),
        }
    }

    /// For each series known whether its rows count; `None` where all do.
    pub fn counted(&mut self) -> Option<&[bool]> {
        match &mut self.panes {
            Panes::Dense(panes) => panes.counted(),
            Panes::General(panes) => panes.counted(),
        }
    }

    /// The panes of the dense path, if it is taken.
    pub fn dense(&mut self) -> Option<&mut DensePanes> {
        match &mut self.panes {
            Panes::Dense(panes) => Some(panes),
            Panes::General(_) => None,
        }
    }

    /// About what the open windows take.
    pub fn bytes(&self) -> usize {
        match &self.panes {
            Panes::Dense(panes) => panes.bytes(),
            Panes::General(panes) => self.census.as_ref().map_or(0, Census::bytes) + panes.bytes(),
        }
    }

    /// For a checkpoint.
    pub fn state(&self) -> WindowsState {
        let panes = match &self.panes {
            Panes::Dense(panes) => PanesState::Dense(panes.state()),
            Panes::General(panes) => PanesState::Refill(panes.first_of_lanes()),
        };
        let late = self.late.iter().map(|(window, late)| (*window, *late)).collect();
        let seen = self.census.as_ref().map(Census::seen).unwrap_or_default();
        WindowsState { panes, closed: self.closed, late, seen }
    }

    /// Goes on from a checkpoint. On the general path the panes are to be filled again: rows from the
    /// first of each lane on; then [`Self::refilled`].
    /// # Errors
    /// The state is of another plan.
    pub fn restore(
        &mut self,
        state: WindowsState,
        series: &[Arc<SeriesSnapshot>],
    ) -> std::result::Result<Vec<LaneEvidence>, String> {
        let WindowsState { panes, closed, late, seen } = state;
        if let Some(census) = &mut self.census {
            census.restore(seen, series);
        }
        self.closed = closed;
        self.late = late.into_iter().collect();
        match (&mut self.panes, panes) {
            (Panes::Dense(ours), PanesState::Dense(state)) => {
                let series = series.first().ok_or("it was made over another stream")?;
                ours.restore(state, series).map(|()| Vec::new())
            }
            (Panes::General(_), PanesState::Refill(lanes)) => Ok(lanes),
            _ => Err("it was made on another path".to_owned()),
        }
    }

    /// Forgets the panes of windows that were closed, and late readings that were counted twice.
    pub fn refilled(&mut self, late: BTreeMap<PaneIndex, u64>) {
        let (grid, closed) = (self.aggregation.grid, self.closed);
        self.panes.retain(|pane| closed.is_none_or(|closed| grid.last_window(pane) > closed));
        self.late = late;
    }

    /// Late readings by window.
    pub fn late(&self) -> &BTreeMap<PaneIndex, u64> {
        &self.late
    }

    /// Adds rows whose keys are worked out to a pane.
    /// # Errors
    /// What an expression cannot evaluate; nothing was added then.
    pub fn add(&mut self, slice: &Slice<'_>) -> Result<()> {
        match &mut self.panes {
            Panes::General(panes) => panes.add(&self.aggregation, slice),
            Panes::Dense(_) => unreachable!("the dense path takes rows by series"),
        }
    }

    /// Adds rows whose keys their series tell to a pane.
    /// # Errors
    /// No accumulator can be made: a bug of the planner.
    pub fn add_by_series(&mut self, slice: &SeriesSlice<'_>) -> Result<()> {
        match &mut self.panes {
            Panes::Dense(panes) => panes.add(slice),
            Panes::General(panes) => panes.add_by_series(&self.aggregation, slice)?,
        }
        Ok(())
    }

    /// Counts a reading that came too late for a window, if that is not emitted yet.
    pub fn note_late(&mut self, window: PaneIndex) {
        if self.closed.is_none_or(|closed| window > closed) {
            *self.late.entry(window).or_default() += 1;
        }
    }

    /// The first open window.
    fn next(&self) -> Option<PaneIndex> {
        let grid = self.aggregation.grid;
        let first =
            |(pane, first): (PaneIndex, PaneIndex)| first.max(grid.next_window(self.closed, pane));
        self.panes.kept().map(first).min()
    }

    /// End of the first open window.
    pub fn next_end(&self) -> Option<i64> {
        self.next().map(|window| self.aggregation.grid.end(window))
    }

    /// Where the first pane begins that is kept.
    pub fn first_kept(&self) -> Option<i64> {
        let first = self.panes.kept().map(|(pane, _)| pane).min();
        first.map(|pane| self.aggregation.grid.edge(pane))
    }

    /// The first row that an open window has, on the general path.
    pub fn first_row(&self) -> Option<Offset> {
        match &self.panes {
            Panes::General(panes) => panes.first_row(),
            Panes::Dense(_) => None,
        }
    }

    /// The latest end of the open windows.
    pub fn last_end(&self) -> Option<i64> {
        let grid = self.aggregation.grid;
        let last = self.panes.kept().map(|(pane, _)| grid.last_window(pane)).max();
        last.map(|window| grid.end(window))
    }

    /// Closes the first open window if it ends by `until`. `whole`: for a stream and a window, by
    /// partition the share of the window in which no rows can be missing, or nothing where none are.
    /// # Errors
    /// What an aggregate cannot evaluate; the window is closed then, too.
    pub fn close_next(
        &mut self,
        until: i64,
        whole: &dyn Fn(usize, (i64, i64)) -> Vec<f64>,
    ) -> Option<Result<Closed>> {
        let grid = self.aggregation.grid;
        let window = self.next().filter(|window| grid.end(*window) <= until)?;
        let edges = (grid.edge(window), grid.end(window));
        let closed = self.finish(window, &OfWindow { edges, whole: &|of| whole(of, edges) });
        self.closed = Some(window);
        self.panes.retain(|pane| grid.last_window(pane) > window);
        self.late.retain(|late, _| *late > window);
        Some(closed)
    }

    fn finish(&mut self, window: PaneIndex, asked: &OfWindow<'_>) -> Result<Closed> {
        let grid = self.aggregation.grid;
        let panes = window..window + grid.panes_per_window();
        let late = self.late.get(&window).copied().unwrap_or(0);
        let closed = match &mut self.panes {
            Panes::Dense(dense) => dense.finish(&self.aggregation, window, panes, asked)?,
            Panes::General(general) => {
                let census = self.census.as_mut();
                general.finish(&self.aggregation, window, panes, census, asked)?
            }
        };
        Ok(Closed { late, ..closed })
    }
}
