//! Which group each series belongs to.
//!
//! Promise: worked out once per series; groups are numbered in the order of their keys, NULLs first, so
//! that what is folded by number comes out sorted.

use super::super::kept::Kept;
use super::plan::DensePlan;
use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use std::collections::HashMap;
use std::sync::Arc;
use weir_ingest::model::{AppendTime, Offset, PartitionId, SeriesSnapshot, reading};

/// No group: the rows of such a series do not count.
const NONE: u32 = u32::MAX;

/// Groups of a stream's series.
#[derive(Debug, Default)]
pub(super) struct SeriesGroups {
    kept: Option<Kept>,
    /// The group of a key, numbered in order of appearance.
    known: HashMap<Arc<[u8]>, u32>,
    names: Vec<Arc<[u8]>>,
    /// About what they take, in both.
    names_bytes: usize,
    /// The group of each series, so numbered.
    appeared: Vec<u32>,
    /// The same, numbered in the order of keys.
    sorted: Vec<u32>,
    counted: Vec<bool>,
    keys: Vec<ArrayRef>,
}

impl SeriesGroups {
    /// About what they take: each series has its group twice and a flag, each group its key three times.
    pub(super) fn bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(|keys| keys.get_array_memory_size()).sum();
        9 * self.sorted.len() + self.names_bytes + keys
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Number of series known.
    pub(super) fn series(&self) -> usize {
        self.sorted.len()
    }

    /// The group of each series; one that is not there for series whose rows do not count.
    pub(super) fn of_series(&self) -> &[u32] {
        &self.sorted
    }

    /// Whether the rows of each series count.
    pub(super) fn counted(&self) -> &[bool] {
        &self.counted
    }

    /// The key columns, a row for each group.
    pub(super) fn keys(&self) -> &[ArrayRef] {
        &self.keys
    }

    /// Takes in the series that are new.
    pub(super) fn cover(&mut self, plan: &DensePlan, snapshot: &SeriesSnapshot) -> Result<()> {
        let (from, to) = (self.sorted.len(), snapshot.len());
        if from >= to {
            return Ok(());
        }
        let levels = level_columns(plan, snapshot, from..to)?;
        let mut counted = vec![true; to - from];
        for filter in &plan.of_series {
            let keep = filter.evaluate(&levels)?.into_array(to - from)?;
            let keep = as_boolean_array(&keep)?;
            counted.iter_mut().zip(keep).for_each(|(c, keep)| *c &= keep == Some(true));
        }
        let keys = plan.keys.iter().map(|key| key.evaluate(&levels)?.into_array(to - from));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => Kept::new(keys.iter().map(|key| key.data_type().clone()).collect())?,
        };
        let before = self.names.len();
        for (bytes, counted) in kept.encode(&keys, to - from)?.into_iter().zip(&counted) {
            let group = if *counted { self.intern(bytes.into()) } else { NONE };
            self.appeared.push(group);
        }
        self.counted.extend(counted);
        if self.names.len() > before || self.keys.is_empty() {
            self.sort(&kept)?;
        } else {
            let rank = self.ranks();
            let new =
                self.appeared[from..].iter().map(|g| rank.get(*g as usize).map_or(NONE, |r| *r));
            self.sorted.extend(new);
        }
        self.kept = Some(kept);
        Ok(())
    }

    fn intern(&mut self, key: Arc<[u8]>) -> u32 {
        let next = u32::try_from(self.names.len()).expect("there are fewer groups than series");
        *self.known.entry(key).or_insert_with_key(|key| {
            self.names.push(Arc::clone(key));
            self.names_bytes += 64 + key.len();
            next
        })
    }

    fn order(&self) -> Vec<u32> {
        let groups = u32::try_from(self.names.len()).expect("there are fewer groups than series");
        let mut order: Vec<u32> = (0..groups).collect();
        order.sort_unstable_by(|a, b| self.names[*a as usize].cmp(&self.names[*b as usize]));
        order
    }

    fn ranks(&self) -> Vec<u32> {
        let mut ranks = vec![0; self.names.len()];
        for (rank, group) in (0_u32..).zip(self.order()) {
            ranks[group as usize] = rank;
        }
        ranks
    }

    fn sort(&mut self, kept: &Kept) -> Result<()> {
        let order = self.order();
        self.keys = kept.decode(order.iter().map(|group| self.names[*group as usize].as_ref()))?;
        let ranks = self.ranks();
        let of = |group: &u32| ranks.get(*group as usize).copied().unwrap_or(NONE);
        self.sorted = self.appeared.iter().map(of).collect();
        Ok(())
    }
}

impl super::DensePanes {
    /// About what they take: a cell for each series and pane, and the groups.
    pub fn bytes(&self) -> usize {
        let cells: usize = self.panes.values().map(|pane| pane.cells.len()).sum();
        cells * self.plan.cell_bytes() + self.groups.bytes()
    }
}

impl super::DensePlan {
    /// What a series takes in a pane: sum and count, least and greatest; at least its rows.
    pub fn cell_bytes(&self) -> usize {
        let of = |measure: &super::Measure| if measure.spread { 32 } else { 16 };
        self.measures.iter().map(of).sum::<usize>().max(8)
    }
}

/// The columns of the SQL form that depend on the series alone, a row for each series.
fn level_columns(
    plan: &DensePlan,
    snapshot: &SeriesSnapshot,
    series: std::ops::Range<usize>,
) -> Result<RecordBatch> {
    let id = |series: usize| u32::try_from(series).expect("series ids are 32 bits");
    let ids = UInt32Array::from_iter_values(series.clone().map(id));
    let times = TimestampMicrosecondArray::from(vec![0; series.len()]).with_timezone("UTC");
    let stored = RecordBatch::try_from_iter([
        (reading::TIME, Arc::new(times) as ArrayRef),
        (reading::SERIES, Arc::new(ids) as ArrayRef),
    ])?;
    let nowhere = reading::Position {
        partition: PartitionId(0),
        base_offset: Offset(0),
        append_time: AppendTime(0),
    };
    Ok(reading::table_batch(
        &plan.definition,
        &stored,
        nowhere,
        snapshot,
        Some(&plan.level_columns),
    ))
}
