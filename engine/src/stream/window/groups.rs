//! Groups of rows and their accumulators.
//!
//! Promise: a partial that several windows share is frozen into state columns when the first of them
//! reads it; by then nothing more can be added to it.

use super::{Aggregate, GroupColumn, Grouping};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

impl Aggregate {
    fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.function.groups_accumulator_supported() {
            return self.function.create_groups_accumulator();
        }
        let function = Arc::clone(&self.function);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())))
    }

    /// What the accumulator is fed with.
    fn expressions(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let ordering = self.function.order_bys().iter().map(|sort| Arc::clone(&sort.expr));
        self.function.expressions().into_iter().chain(ordering).collect()
    }

    fn arguments(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let rows = batch.num_rows();
        self.expressions().iter().map(|e| e.evaluate(batch)?.into_array(rows)).collect()
    }

    fn filter(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(filter) = &self.filter else { return Ok(None) };
        let keep = filter.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(Some(as_boolean_array(&keep)?.clone()))
    }
}

/// Keys, arguments and filters of a batch: everything that can fail, before anything changes.
pub(super) struct Prepared {
    rows: usize,
    keys: Vec<ArrayRef>,
    arguments: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<BooleanArray>>,
}

impl Prepared {
    pub(super) fn new(aggregation: &Grouping, batch: &RecordBatch) -> Result<Self> {
        let mut keys = Vec::new();
        for column in &aggregation.group {
            if let GroupColumn::Key(key) = column {
                keys.push(key.evaluate(batch)?.into_array(batch.num_rows())?);
            }
        }
        let aggregates = &aggregation.aggregates;
        let arguments = aggregates.iter().map(|a| a.arguments(batch)).collect::<Result<_>>()?;
        let filters = aggregates.iter().map(|a| a.filter(batch)).collect::<Result<_>>()?;
        Ok(Self { rows: batch.num_rows(), keys, arguments, filters })
    }

    /// Types of [`Self::columns`] for batches of `schema`.
    pub(super) fn types(grouping: &Grouping, schema: &Schema) -> Result<Vec<DataType>> {
        let keys = grouping.group.iter().filter_map(|column| match column {
            GroupColumn::Key(key) => Some(key.data_type(schema)),
            GroupColumn::WindowStart | GroupColumn::WindowEnd => None,
        });
        let arguments = grouping.aggregates.iter().flat_map(Aggregate::expressions);
        let arguments = arguments.map(|argument| argument.data_type(schema));
        let filters = grouping.aggregates.iter().filter(|a| a.filter.is_some());
        keys.chain(arguments).chain(filters.map(|_| Ok(DataType::Boolean))).collect()
    }

    /// All of it, as columns of one length.
    pub(super) fn columns(&self) -> Vec<ArrayRef> {
        let filters = self.filters.iter().flatten();
        let filters = filters.map(|filter| Arc::new(filter.clone()) as ArrayRef);
        let arguments = self.arguments.iter().flatten();
        self.keys.iter().chain(arguments).cloned().chain(filters).collect()
    }

    /// Puts [`Self::columns`] together again.
    pub(super) fn of(grouping: &Grouping, rows: usize, columns: Vec<ArrayRef>) -> Result<Self> {
        let mut columns = columns.into_iter();
        let keys = columns.by_ref().take(grouping.key_schema.fields().len()).collect();
        let arguments = grouping.aggregates.iter().map(|a| {
            let arguments = a.expressions().len();
            columns.by_ref().take(arguments).collect()
        });
        let arguments = arguments.collect();
        let filters = grouping.aggregates.iter().map(|a| {
            let filter = a.filter.as_ref().and_then(|_| columns.next());
            filter.map(|filter| Ok(as_boolean_array(&filter)?.clone())).transpose()
        });
        Ok(Self { rows, keys, arguments, filters: filters.collect::<Result<_>>()? })
    }
}

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
    keys: Vec<ArrayRef>,
    groups: usize,
    states: Vec<Vec<ArrayRef>>,
    series: Vec<(usize, u64)>,
}

/// A group and a series, in a set.
const SEEN_BYTES: usize = 24;

impl Frozen {
    fn bytes(&self) -> usize {
        let columns = self.keys.iter().chain(self.states.iter().flatten());
        let columns: usize = columns.map(|column| column.get_array_memory_size()).sum();
        columns + SEEN_BYTES * self.series.len()
    }
}

impl Partial {
    pub(super) fn new(aggregation: &Grouping) -> Result<Self> {
        Groups::new(aggregation).map(Self::Growing)
    }

    /// # Panics
    /// If a window has read it: rows of closed windows stand apart.
    pub(super) fn update(&mut self, prepared: &Prepared, series: &[u64]) -> Result<()> {
        match self {
            Self::Growing(groups) => groups.update(prepared, series),
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

/// Which series are behind each group.
#[derive(Debug, Default)]
struct Members {
    /// By stream and series, the first group a series was seen in.
    first: BTreeMap<u64, Vec<Option<usize>>>,
    /// Series that are in further groups.
    more: HashSet<(usize, u64)>,
}

impl Members {
    fn bytes(&self) -> usize {
        let first: usize = self.first.values().map(Vec::capacity).sum();
        size_of::<Option<usize>>() * first + SEEN_BYTES * self.more.capacity()
    }

    fn add(&mut self, group: usize, series: u64) {
        let of_stream = self.first.entry(series >> 32).or_default();
        let id = (series & u64::from(u32::MAX)) as usize;
        if of_stream.len() <= id {
            of_stream.resize(id + 1, None);
        }
        match of_stream[id] {
            None => of_stream[id] = Some(group),
            Some(first) if first == group => {}
            Some(_) => {
                self.more.insert((group, series));
            }
        }
    }

    fn each(&self, mut take: impl FnMut(usize, u64)) {
        for (stream, of_stream) in &self.first {
            for (id, group) in of_stream.iter().enumerate() {
                if let Some(group) = group {
                    take(*group, stream << 32 | id as u64);
                }
            }
        }
        self.more.iter().for_each(|(group, series)| take(*group, *series));
    }

    fn sorted(&self) -> Vec<(usize, u64)> {
        let mut all = Vec::new();
        self.each(|group, series| all.push((group, series)));
        all.sort_unstable();
        all
    }
}

impl super::Windows {
    /// About what the open windows take.
    pub fn bytes(&self) -> usize {
        let of_pane = |pane: &super::Pane| pane.partial.bytes() + SEEN_BYTES * pane.received.len();
        match &self.panes {
            super::Panes::Dense(panes) => panes.bytes(),
            super::Panes::General(panes) => {
                let census = self.census.as_ref().map_or(0, super::Census::bytes);
                census + panes.values().map(of_pane).sum::<usize>()
            }
        }
    }
}

/// Groups while rows or partials are added to them.
pub(super) struct Groups {
    /// `None` where the whole window is one group.
    values: Option<Box<dyn GroupValues>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    members: Members,
    indices: Vec<usize>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Groups {
    pub(super) fn new(aggregation: &Grouping) -> Result<Self> {
        let schema = &aggregation.key_schema;
        let values = match schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(Arc::clone(schema), &GroupOrdering::None)?),
        };
        let accumulators = aggregation.aggregates.iter().map(Aggregate::accumulator);
        Ok(Self {
            values,
            accumulators: accumulators.collect::<Result<_>>()?,
            members: Members::default(),
            indices: Vec::new(),
        })
    }

    fn len(&self) -> usize {
        self.values.as_ref().map_or(1, |values| values.len())
    }

    fn bytes(&self) -> usize {
        let values = self.values.as_ref().map_or(0, |values| values.size());
        let accumulators: usize = self.accumulators.iter().map(|a| a.size()).sum();
        values + accumulators + self.members.bytes()
    }

    /// The group of each row, left in `self.indices`; the number of groups.
    fn intern(&mut self, keys: &[ArrayRef], rows: usize) -> Result<usize> {
        match &mut self.values {
            Some(values) => values.intern(keys, &mut self.indices)?,
            None => {
                self.indices.clear();
                self.indices.resize(rows, 0);
            }
        }
        Ok(self.len())
    }

    pub(super) fn update(&mut self, prepared: &Prepared, series: &[u64]) -> Result<()> {
        let total = self.intern(&prepared.keys, prepared.rows)?;
        for ((accumulator, arguments), filter) in
            self.accumulators.iter_mut().zip(&prepared.arguments).zip(&prepared.filters)
        {
            accumulator.update_batch(arguments, &self.indices, filter.as_ref(), total)?;
        }
        for (group, series) in self.indices.iter().zip(series) {
            self.members.add(*group, *series);
        }
        Ok(())
    }

    fn freeze(&mut self) -> Result<Frozen> {
        let groups = self.len();
        let series = self.members.sorted();
        let states = self.accumulators.iter_mut().map(|a| a.state(EmitTo::All));
        let states = states.collect::<Result<_>>()?;
        Ok(Frozen { keys: self.keys()?, groups, states, series })
    }

    pub(super) fn merge(&mut self, partial: &Frozen) -> Result<()> {
        let total = self.intern(&partial.keys, partial.groups)?;
        for (accumulator, state) in self.accumulators.iter_mut().zip(&partial.states) {
            accumulator.merge_batch(state, &self.indices, total)?;
        }
        for (group, series) in &partial.series {
            self.members.add(self.indices[*group], *series);
        }
        Ok(())
    }

    /// Distinct series of each group.
    pub(super) fn sensors(&self) -> Vec<u32> {
        let mut sensors = vec![0_u32; self.len()];
        self.members.each(|group, _| sensors[group] += 1);
        sensors
    }

    /// The key columns and the values of the aggregates.
    pub(super) fn evaluate(mut self) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        let values = self.accumulators.iter_mut().map(|a| a.evaluate(EmitTo::All));
        let values = values.collect::<Result<_>>()?;
        Ok((self.keys()?, values))
    }

    fn keys(&mut self) -> Result<Vec<ArrayRef>> {
        self.values.as_mut().map_or_else(|| Ok(Vec::new()), |values| values.emit(EmitTo::All))
    }
}
