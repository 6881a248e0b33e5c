//! How much state a rule may have, in a sentence.
//!
//! Promise: what is said is what is held: on the dense path a cell for each series and pane that can be
//! open at once, the keys, and a window on its way out; and for every rule the limit at which it stops
//! visibly while the others go on.

use super::super::definition::Planned;
use super::Rules;
use crate::sql::plan::{RulePlan, Shape};
use crate::stream::window::dense::DensePlan;
use crate::stream::window::{Aggregation, Path};
use weir_ingest::model::Limits;

/// The bound of a windowed rule on the dense path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Of a series in a pane.
    cell: usize,
    /// Open at once.
    panes: usize,
    /// Windows open at once.
    windows: usize,
    /// Of a key: for good, and while a window closes.
    key: usize,
}

impl Bound {
    /// Group twice and a flag; its readings while a window closes.
    const OF_SERIES: usize = 17;
    /// About what a key takes: its bytes, where they are found, and its columns.
    const OF_KEY: usize = 224;
    /// What a value of a row takes that a window gives out when it closes, its place and its sensors.
    const OF_VALUE: usize = 8;

    /// Of a rule that takes the dense path.
    pub fn of(plan: &RulePlan) -> Option<Self> {
        let Shape::Windowed(aggregation) = &plan.shape else { return None };
        if plan.nested.is_some() {
            return None;
        }
        let Path::Dense(dense) = &aggregation.path else { return None };
        let lateness = dense.of.definition.options().lateness;
        Some(Self::new(aggregation, dense, super::super::runner::micros(lateness)))
    }

    fn new(aggregation: &Aggregation, plan: &DensePlan, lateness_us: i64) -> Self {
        let grid = aggregation.grid;
        let span = grid.size_us.saturating_add(lateness_us);
        // One more that the newest rows open before the oldest window is closed.
        let panes = span / grid.pane_us() + i64::from(span % grid.pane_us() > 0) + 1;
        Self {
            cell: plan.cell_bytes(),
            panes: usize::try_from(panes).unwrap_or(usize::MAX),
            key: Self::OF_KEY + plan.cell_bytes() + Self::OF_VALUE * (plan.outputs.len() + 2),
            windows: usize::try_from(span / grid.slide_us).unwrap_or(usize::MAX).saturating_add(1),
        }
    }

    /// Windows open at once.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// For so many series and keys.
    pub fn bytes(&self, series: usize, keys: usize) -> usize {
        let of_series = self.cell.saturating_mul(self.panes).saturating_add(Self::OF_SERIES);
        of_series.saturating_mul(series).saturating_add(self.key.saturating_mul(keys))
    }
}

impl Rules {
    /// The bound of a rule's state.
    pub(super) fn state_of(&self, planned: &Planned) -> String {
        let limit = self.bounds.memory_max;
        let Some(bound) = Bound::of(&planned.plan) else {
            return format!("its state takes at most {limit} bytes, or the rule stops");
        };
        let streams = planned.plan.streams.iter();
        let streams = streams.filter_map(|stream| self.log.streams().get(stream.name()));
        let series: usize = streams.map(|stream| stream.series().snapshot().len()).sum();
        let max = Limits::default().series_max;
        format!(
            "its state takes about {} bytes a key and {} bytes for a series in a pane, with {} panes at \
             once where partitions keep step: were each series a key of its own, {} bytes for the \
             {series} there are and {} for {max}; beyond {limit} bytes the rule stops",
            bound.key,
            bound.cell,
            bound.panes,
            bound.bytes(series, series),
            bound.bytes(max, max)
        )
    }
}

#[cfg(test)]
mod tests;
