//! How much state a rule may have, in a sentence.
//!
//! Promise: what is said is what is held: on the dense path a cell for each series and pane that can be
//! open at once, and for every rule the limit at which it stops visibly while the others go on.

use super::super::definition::Planned;
use super::Rules;
use crate::sql::plan::{RulePlan, Shape};
use crate::stream::window::dense::DensePlan;
use crate::stream::window::{Aggregation, Path};
use weir_ingest::model::Limits;

/// The bound of a windowed rule on the dense path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    /// Of a series in a pane.
    pub(super) cell: usize,
    /// Open at once.
    pub(super) panes: usize,
    /// Of a series beside its cells.
    pub(super) series: usize,
}

impl Bound {
    /// Group twice and a flag.
    const OF_SERIES: usize = 9;
    /// About what a key takes: its bytes, and its columns.
    const OF_KEY: usize = 200;

    pub(super) fn new(aggregation: &Aggregation, plan: &DensePlan, lateness_us: i64) -> Self {
        let grid = aggregation.grid;
        let span = grid.size_us.saturating_add(lateness_us);
        // One more that the newest rows open before the oldest window is closed.
        let panes = span / grid.pane_us() + i64::from(span % grid.pane_us() > 0) + 1;
        Self {
            cell: plan.cell_bytes(),
            panes: usize::try_from(panes).unwrap_or(usize::MAX),
            series: Self::OF_SERIES,
        }
    }

    pub(super) fn bytes(&self, series: usize) -> usize {
        let of_series = self.cell.saturating_mul(self.panes).saturating_add(self.series);
        of_series.saturating_mul(series)
    }
}

fn dense(plan: &RulePlan) -> Option<Bound> {
    let Shape::Windowed(aggregation) = &plan.shape else { return None };
    if plan.nested.is_some() {
        return None;
    }
    let Path::Dense(dense) = &aggregation.path else { return None };
    let lateness = dense.of.definition.options().lateness;
    Some(Bound::new(aggregation, dense, super::super::runner::micros(lateness)))
}

impl Rules {
    /// The bound of a rule's state.
    pub(super) fn state_of(&self, planned: &Planned) -> String {
        let limit = self.memory_max;
        let Some(bound) = dense(&planned.plan) else {
            return format!("its state takes at most {limit} bytes, or the rule stops");
        };
        let streams = planned.plan.streams.iter();
        let streams = streams.filter_map(|stream| self.log.streams().get(stream.name()));
        let series: usize = streams.map(|stream| stream.series().snapshot().len()).sum();
        let (most, max) = (bound.bytes(Limits::default().series_max), Limits::default().series_max);
        format!(
            "its state takes about {} bytes a key and {} bytes for a series in a pane, with {} panes at \
             once where partitions keep step: {} bytes for the {series} series there are, {most} for \
             {max}; beyond {limit} bytes the rule stops",
            Bound::OF_KEY,
            bound.cell,
            bound.panes,
            bound.bytes(series)
        )
    }
}

#[cfg(test)]
mod tests;
