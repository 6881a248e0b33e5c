//! The keys of groups while rows are added: told by the rows' series where they depend on nothing else,
//! worked out row by row otherwise. And which series are behind each group.

use super::closed::{order_of, taken};
use super::members::{Members, SEEN_BYTES};
use super::series::SeriesGroups;
use super::{Grouping, by_series::Which};
use arrow::array::{ArrayRef, UInt32Array};
use datafusion::error::Result;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use std::sync::Arc;

/// See the module.
pub(super) enum Keys {
    /// Worked out row by row; `None` where the whole window is one group.
    OfRows(Option<Box<dyn GroupValues>>, Members),
    /// Told by the series.
    OfSeries(Local),
}

/// Groups of series, numbered as they come to this place.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// Of each number, the group as it appeared.
    groups: Vec<u32>,
    /// The number of each group that appeared.
    numbers: Vec<u32>,
    /// The series with a row.
    seen: Vec<bool>,
}

/// Keys to which nothing is added any more.
#[derive(Debug)]
pub(super) enum FrozenKeys {
    /// The key columns, how many groups there are, and the series behind each.
    OfRows(Vec<ArrayRef>, usize, Vec<(usize, u64)>),
    OfSeries(Local),
}

/// Keys in their order.
#[derive(Debug)]
pub(super) struct Sorted {
    /// The key columns.
    pub(super) columns: Vec<ArrayRef>,
    /// Of each group, the place it had.
    pub(super) order: UInt32Array,
    /// The series behind each.
    pub(super) sensors: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Keys {
    pub(super) fn of_rows(grouping: &Grouping) -> Result<Self> {
        let schema = &grouping.key_schema;
        let values = match schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(Arc::clone(schema), &GroupOrdering::None)?),
        };
        Ok(Self::OfRows(values, Members::default()))
    }

    pub(super) fn of_series() -> Self {
        Self::OfSeries(Local::default())
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::OfRows(values, _) => values.as_ref().map_or(1, |values| values.len()),
            Self::OfSeries(local) => local.groups.len(),
        }
    }

    /// About what they take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::OfRows(values, members) => {
                values.as_ref().map_or(0, |values| values.size()) + members.bytes()
            }
            Self::OfSeries(local) => local.bytes(),
        }
    }

    /// The group of each row with these keys and of these series.
    pub(super) fn intern(&mut self, keys: &[ArrayRef], series: &[u64]) -> Result<Vec<usize>> {
        let Self::OfRows(values, members) = self else {
            unreachable!("keys are told by rows or by series, never both")
        };
        let mut groups = Vec::new();
        match values {
            Some(values) => values.intern(keys, &mut groups)?,
            None => groups.resize(series.len(), 0),
        }
        for (group, series) in groups.iter().zip(series) {
            members.add(*group, *series);
        }
        Ok(groups)
    }

    /// The group of each of these rows.
    pub(super) fn of(
        &mut self,
        index: &SeriesGroups,
        series: &[u32],
        which: Which<'_>,
    ) -> Vec<u32> {
        let Self::OfSeries(local) = self else {
            unreachable!("keys are told by rows or by series, never both")
        };
        local.cover(index);
        let appeared = index.appeared();
        let rows = which.len(series.len());
        let mut groups = Vec::with_capacity(rows);
        let mut add = |series: u32| {
            local.seen[series as usize] = true;
            groups.push(local.number(appeared[series as usize]));
        };
        match which {
            Which::All => series.iter().for_each(|series| add(*series)),
            Which::At(rows) => rows.iter().for_each(|row| add(series[*row as usize])),
        }
        groups
    }

    /// The group of each group of a frozen partial.
    pub(super) fn merge(&mut self, partial: &FrozenKeys) -> Result<Vec<usize>> {
        match (self, partial) {
            (Self::OfRows(values, members), FrozenKeys::OfRows(keys, count, series)) => {
                let mut groups = Vec::new();
                match values {
                    Some(values) => values.intern(keys, &mut groups)?,
                    None => groups.resize(*count, 0),
                }
                for (group, series) in series {
                    members.add(groups[*group], *series);
                }
                Ok(groups)
            }
            (Self::OfSeries(local), FrozenKeys::OfSeries(theirs)) => Ok(local.merge(theirs)),
            _ => unreachable!("the panes of a rule are of one kind"),
        }
    }

    /// Nothing is added any more.
    pub(super) fn freeze(&mut self) -> Result<FrozenKeys> {
        match self {
            Self::OfRows(values, members) => {
                let groups = values.as_ref().map_or(1, |values| values.len());
                let series = members.sorted();
                Ok(FrozenKeys::OfRows(emitted(values)?, groups, series))
            }
            Self::OfSeries(local) => Ok(FrozenKeys::OfSeries(std::mem::take(local))),
        }
    }

    /// In the order of their keys; `index` knows the keys of series.
    pub(super) fn sorted(self, index: &SeriesGroups) -> Result<Sorted> {
        match self {
            Self::OfRows(mut values, members) => {
                let groups = values.as_ref().map_or(1, |values| values.len());
                let keys = emitted(&mut values)?;
                let order = order_of(&keys, groups)?;
                let of = members.sensors(groups);
                let sensors = order.values().iter().map(|group| of[*group as usize]).collect();
                Ok(Sorted { columns: taken(&keys, &order)?, order, sensors })
            }
            Self::OfSeries(local) => local.sorted(index),
        }
    }
}

fn emitted(values: &mut Option<Box<dyn GroupValues>>) -> Result<Vec<ArrayRef>> {
    values.as_mut().map_or_else(|| Ok(Vec::new()), |values| values.emit(EmitTo::All))
}

impl Local {
    fn bytes(&self) -> usize {
        size_of::<u32>() * (self.groups.capacity() + self.numbers.capacity()) + self.seen.capacity()
    }

    fn cover(&mut self, index: &SeriesGroups) {
        self.seen.resize(self.seen.len().max(index.series()), false);
        self.numbers.resize(self.numbers.len().max(index.len()), NONE);
    }

    fn number(&mut self, group: u32) -> u32 {
        let number = &mut self.numbers[group as usize];
        if *number == NONE {
            *number = u32::try_from(self.groups.len()).expect("groups are fewer than series");
            self.groups.push(group);
        }
        *number
    }

    fn merge(&mut self, other: &Self) -> Vec<usize> {
        self.seen.resize(self.seen.len().max(other.seen.len()), false);
        self.numbers.resize(self.numbers.len().max(other.numbers.len()), NONE);
        self.seen.iter_mut().zip(&other.seen).for_each(|(ours, theirs)| *ours |= theirs);
        other.groups.iter().map(|group| self.number(*group) as usize).collect()
    }

    fn sorted(self, index: &SeriesGroups) -> Result<Sorted> {
        let mut by_rank: Vec<(u32, u32)> = (0_u32..)
            .zip(&self.groups)
            .map(|(number, group)| (index.rank(*group), number))
            .collect();
        by_rank.sort_unstable();
        let ranks: Vec<u32> = by_rank.iter().map(|(rank, _)| *rank).collect();
        let mut of = vec![0_u32; self.groups.len()];
        for (group, seen) in index.appeared().iter().zip(&self.seen) {
            if *seen {
                of[self.numbers[*group as usize] as usize] += 1;
            }
        }
        Ok(Sorted {
            columns: index.keys_of(&ranks)?,
            sensors: by_rank.iter().map(|(_, number)| of[*number as usize]).collect(),
            order: by_rank.into_iter().map(|(_, number)| number).collect::<Vec<u32>>().into(),
        })
    }
}

impl FrozenKeys {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::OfRows(keys, _, series) => {
                let keys: usize = keys.iter().map(|column| column.get_array_memory_size()).sum();
                keys + SEEN_BYTES * series.len()
            }
            Self::OfSeries(local) => local.bytes(),
        }
    }
}
