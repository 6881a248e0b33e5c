//! Groups of rows and their accumulators.
//!
//! Promise: rows reach the accumulators in the order they came. A partial that several windows share is
//! frozen into state columns when the first of them reads it; by then nothing more can be added to it.

use super::Grouping;
use super::by_series::SeriesSlice;
use super::closed::{Keyed, taken};
use super::inputs::{Inputs, Prepared};
use super::keys::{FrozenKeys, Keys};
use super::pending::{Pending, Rows};
use super::series::SeriesGroups;
use arrow::array::ArrayRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use std::sync::Arc;

/// What the rows of a pane come to.
#[derive(Debug)]
pub(super) enum Partial {
    /// Rows are still added.
    Growing(Groups),
    /// Nothing is added any more.
    Frozen(Frozen),
}

/// The groups of a pane and the state of their accumulators, in columns.
#[derive(Debug)]
pub(super) struct Frozen {
    keys: FrozenKeys,
    states: Vec<Vec<ArrayRef>>,
    /// An accumulator could not take its rows.
    failed: Option<Arc<DataFusionError>>,
}

impl Frozen {
    fn bytes(&self) -> usize {
        let columns = self.states.iter().flatten();
        let columns: usize = columns.map(|column| column.get_array_memory_size()).sum();
        columns + self.keys.bytes()
    }
}

impl Partial {
    /// # Panics
    /// If a window has read it: rows of closed windows stand apart.
    pub(super) fn growing(&mut self) -> &mut Groups {
        match self {
            Self::Growing(groups) => groups,
            Self::Frozen(_) => panic!("S4: nothing is added to what a closed window has seen"),
        }
    }

    /// About what it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Growing(groups) => groups.bytes(),
            Self::Frozen(frozen) => frozen.bytes(),
        }
    }

    pub(super) fn frozen(&mut self) -> Result<&Frozen> {
        if let Self::Growing(groups) = self {
            *self = Self::Frozen(groups.freeze()?);
        }
        match self {
            Self::Frozen(frozen) => Ok(frozen),
            Self::Growing(_) => unreachable!("it was frozen just now"),
        }
    }
}

/// Groups while rows or partials are added to them.
pub(super) struct Groups {
    keys: Keys,
    inputs: Arc<Inputs>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    pending: Pending,
    /// The first time an accumulator could not take its rows: nothing is known of these groups.
    failed: Option<Arc<DataFusionError>>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("len", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Groups {
    pub(super) fn new(grouping: &Grouping, inputs: &Arc<Inputs>, keys: Keys) -> Result<Self> {
        let accumulators = grouping.aggregates.iter().map(|aggregate| aggregate.accumulator());
        Ok(Self {
            keys,
            inputs: Arc::clone(inputs),
            accumulators: accumulators.collect::<Result<_>>()?,
            pending: Pending::default(),
            failed: None,
        })
    }

    /// About what they take.
    fn bytes(&self) -> usize {
        let accumulators: usize = self.accumulators.iter().map(|a| a.size()).sum();
        self.keys.bytes() + accumulators + self.pending.bytes()
    }

    /// Adds rows whose keys are worked out.
    pub(super) fn update(&mut self, prepared: &Prepared, series: &[u64]) -> Result<()> {
        let groups = self.keys.intern(&prepared.keys, series)?;
        let number = |group: usize| u32::try_from(group).expect("groups fit u32");
        let groups: Vec<u32> = groups.into_iter().map(number).collect();
        self.give(&groups, &prepared.inputs, Rows::All);
        Ok(())
    }

    /// Adds rows whose keys their series tell.
    pub(super) fn update_by_series(&mut self, index: &SeriesGroups, slice: &SeriesSlice<'_>) {
        let groups = self.keys.of(index, slice.series, slice.which);
        self.give(&groups, slice.values, slice.which.into());
    }

    fn give(&mut self, groups: &[u32], columns: &[ArrayRef], rows: Rows<'_>) {
        let mut given = 0;
        while given < groups.len() {
            let until = groups.len().min(given + self.pending.room());
            let pushed = self.pending.push(&groups[given..until], columns, rows.part(given..until));
            self.note(pushed);
            given = until;
            if self.pending.room() == 0 {
                self.flush();
            }
        }
    }

    fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.failed.get_or_insert_with(|| Arc::new(error));
        }
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let flushed = self.flushed();
            self.note(flushed);
        }
    }

    fn flushed(&mut self) -> Result<()> {
        let (groups, columns) = self.pending.take()?;
        let total = self.keys.len();
        for (which, accumulator) in self.accumulators.iter_mut().enumerate() {
            let (arguments, filter) = self.inputs.of(which, &columns, groups.len())?;
            accumulator.update_batch(&arguments, &groups, filter.as_ref(), total)?;
        }
        Ok(())
    }

    fn freeze(&mut self) -> Result<Frozen> {
        self.flush();
        let states = self.accumulators.iter_mut().map(|a| a.state(EmitTo::All));
        let states = states.collect::<Result<_>>()?;
        Ok(Frozen { keys: self.keys.freeze()?, states, failed: self.failed.take() })
    }

    pub(super) fn merge(&mut self, partial: &Frozen) -> Result<()> {
        if let Some(failed) = &partial.failed {
            return Err(DataFusionError::Shared(Arc::clone(failed)));
        }
        let groups = self.keys.merge(&partial.keys)?;
        let total = self.keys.len();
        for (accumulator, state) in self.accumulators.iter_mut().zip(&partial.states) {
            accumulator.merge_batch(state, &groups, total)?;
        }
        Ok(())
    }

    /// Sorted by key, and the distinct series of each; `index` knows the keys of series.
    pub(super) fn finish(mut self, index: &SeriesGroups) -> Result<(Keyed, Vec<u32>)> {
        self.flush();
        if let Some(failed) = self.failed {
            return Err(DataFusionError::Shared(failed));
        }
        let values = self.accumulators.iter_mut().map(|a| a.evaluate(EmitTo::All));
        let values: Vec<ArrayRef> = values.collect::<Result<_>>()?;
        let sorted = self.keys.sorted(index)?;
        let (keys, rows) = (sorted.columns, sorted.order.len());
        Ok((Keyed { keys, values: taken(&values, &sorted.order)?, rows }, sorted.sensors))
    }
}
