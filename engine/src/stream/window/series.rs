//! Which group each series belongs to.
//!
//! Promise: worked out once per series; groups are numbered in the order of their keys, NULLs first, so
//! that what is folded by number comes out sorted.

use super::kept::Kept;
use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use std::collections::HashMap;
use std::sync::Arc;
use weir_ingest::model::{
    AppendTime, Offset, PartitionId, SeriesSnapshot, StreamDefinition, reading,
};

/// What of a windowed SELECT depends on the series alone.
#[derive(Debug, Clone)]
pub struct SeriesPlan {
    /// The stream.
    pub definition: Arc<StreamDefinition>,
    /// Columns of the stream's SQL form that [`Self::keys`] and [`Self::of_series`] read.
    pub level_columns: Vec<usize>,
    /// The keys of GROUP BY, over those columns.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Conditions of WHERE over those columns.
    pub of_series: Vec<Arc<dyn PhysicalExpr>>,
    /// How often a series should report, microseconds.
    pub interval_us: Option<i64>,
}

/// No group: the rows of such a series do not count.
pub(super) const NONE: u32 = u32::MAX;

/// Series taken in at once: their keys stand in memory twice meanwhile.
const AT_ONCE: usize = 65_536;

/// What a group takes beside its key: two counted pointers, what is counted, half a place in a map.
const OF_NAME: usize = 128;

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
    /// By number of appearance, the number in the order of keys.
    ranks: Vec<u32>,
    /// The same, numbered in the order of keys.
    sorted: Vec<u32>,
    counted: Vec<bool>,
    keys: Vec<ArrayRef>,
}

impl SeriesGroups {
    /// About what they take: each series has its group twice and a flag, each group its key three times
    /// and a place in a map that may be half full.
    pub(super) fn bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(|keys| keys.get_array_memory_size()).sum();
        9 * self.appeared.len() + self.names_bytes + keys
    }

    /// Number of groups.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Number of series known.
    pub(super) fn series(&self) -> usize {
        self.appeared.len()
    }

    /// The group of each series; one that is not there for series whose rows do not count.
    pub(super) fn of_series(&self) -> &[u32] {
        &self.sorted
    }

    /// Whether the rows of each series count.
    pub(super) fn counted(&self) -> &[bool] {
        &self.counted
    }

    /// The group of each series, numbered in order of appearance: such a number stays.
    pub(super) fn appeared(&self) -> &[u32] {
        &self.appeared
    }

    /// The key columns of these groups, which grow.
    pub(super) fn keys_of(&self, present: &[u32]) -> Result<Vec<ArrayRef>> {
        if present.len() == self.len() {
            return Ok(self.keys.clone());
        }
        let present = UInt32Array::from(present.to_vec());
        let keys = self.keys.iter().map(|key| take(key, &present, None));
        Ok(keys.collect::<std::result::Result<_, _>>()?)
    }

    /// Takes in the series that are new.
    pub(super) fn cover(&mut self, plan: &SeriesPlan, snapshot: &SeriesSnapshot) -> Result<()> {
        self.meet(plan, snapshot)?;
        let known = self.sorted.len();
        if self.ranks.len() < self.names.len() || self.keys.is_empty() {
            return self.sort();
        }
        let new = self.appeared[known..].iter().map(|group| self.rank(*group));
        self.sorted.extend(new.collect::<Vec<_>>());
        Ok(())
    }

    /// As [`Self::cover`], but new groups get no place in the order of keys yet.
    pub(super) fn meet(&mut self, plan: &SeriesPlan, snapshot: &SeriesSnapshot) -> Result<()> {
        while self.appeared.len() < snapshot.len() {
            let from = self.appeared.len();
            let until = snapshot.len().min(from + AT_ONCE);
            let (groups, counted) = self.intern_all(plan, snapshot, from..until)?;
            self.appeared.extend(groups);
            self.counted.extend(counted);
        }
        Ok(())
    }

    /// The group of each of these series, numbered in order of appearance, which are none of those that
    /// were taken in; see [`Self::rank`].
    pub(super) fn groups_of(
        &mut self,
        plan: &SeriesPlan,
        others: &SeriesSnapshot,
    ) -> Result<Vec<u32>> {
        let before = self.names.len();
        let (groups, _) = self.intern_all(plan, others, 0..others.len())?;
        if self.names.len() > before {
            self.sort()?;
        }
        Ok(groups)
    }

    /// The number, in the order of keys, of the group that appeared at this place.
    pub(super) fn rank(&self, appeared: u32) -> u32 {
        self.ranks.get(appeared as usize).map_or(NONE, |rank| *rank)
    }

    /// The number of the group of each row of these key columns; a group that is not known has none.
    pub(super) fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        let Some(kept) = &self.kept else { return Ok(vec![NONE; rows]) };
        let found = kept.encode(keys, rows)?;
        let of = |key: &[u8]| self.known.get(key).map_or(NONE, |group| self.rank(*group));
        Ok(found.iter().map(|key| of(key)).collect())
    }

    /// The group of each series of a range, and whether its rows count.
    fn intern_all(
        &mut self,
        plan: &SeriesPlan,
        snapshot: &SeriesSnapshot,
        series: std::ops::Range<usize>,
    ) -> Result<(Vec<u32>, Vec<bool>)> {
        let rows = series.len();
        let levels = level_columns(plan, snapshot, series)?;
        let mut counted = vec![true; rows];
        for filter in &plan.of_series {
            let keep = filter.evaluate(&levels)?.into_array(rows)?;
            let keep = as_boolean_array(&keep)?;
            counted.iter_mut().zip(keep).for_each(|(c, keep)| *c &= keep == Some(true));
        }
        let keys = plan.keys.iter().map(|key| key.evaluate(&levels)?.into_array(rows));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => Kept::new(keys.iter().map(|key| key.data_type().clone()).collect())?,
        };
        let mut groups = Vec::with_capacity(rows);
        for (bytes, counted) in kept.encode(&keys, rows)?.into_iter().zip(&counted) {
            groups.push(if *counted { self.intern(bytes.into()) } else { NONE });
        }
        self.kept = Some(kept);
        Ok((groups, counted))
    }

    fn intern(&mut self, key: Arc<[u8]>) -> u32 {
        let next = u32::try_from(self.names.len()).expect("there are fewer groups than series");
        *self.known.entry(key).or_insert_with_key(|key| {
            self.names.push(Arc::clone(key));
            self.names_bytes += OF_NAME + key.len();
            next
        })
    }

    fn order(&self) -> Vec<u32> {
        let groups = u32::try_from(self.names.len()).expect("there are fewer groups than series");
        let mut order: Vec<u32> = (0..groups).collect();
        order.sort_unstable_by(|a, b| self.names[*a as usize].cmp(&self.names[*b as usize]));
        order
    }

    fn sort(&mut self) -> Result<()> {
        let order = self.order();
        self.ranks = vec![0; order.len()];
        for (rank, group) in (0_u32..).zip(&order) {
            self.ranks[*group as usize] = rank;
        }
        if let Some(kept) = &self.kept {
            let names = order.iter().map(|group| self.names[*group as usize].as_ref());
            self.keys = kept.decode(names)?;
        }
        self.sorted = self.appeared.iter().map(|group| self.rank(*group)).collect();
        Ok(())
    }
}

/// The columns of the SQL form that depend on the series alone, a row for each series.
fn level_columns(
    plan: &SeriesPlan,
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

/// The series of a stream by what they are joined on.
#[derive(Debug)]
pub struct KeyedSeries {
    plan: Arc<SeriesPlan>,
    kept: Option<Kept>,
    series: HashMap<Box<[u8]>, Vec<u32>>,
    covered: usize,
}

impl KeyedSeries {
    /// By the keys of `plan`.
    pub fn new(plan: &Arc<SeriesPlan>) -> Self {
        Self { plan: Arc::clone(plan), kept: None, series: HashMap::new(), covered: 0 }
    }

    /// Takes in the series that are new.
    pub fn cover(&mut self, snapshot: &SeriesSnapshot) {
        let range = self.covered..snapshot.len();
        if range.is_empty() {
            return;
        }
        let first = u32::try_from(range.start).expect("series ids are 32 bits");
        self.covered = range.end;
        let covered = self.keys(snapshot, range);
        let covered = covered.expect("the planner lets nothing through that fails on a level");
        for (id, key) in (first..).zip(covered) {
            if let Some(key) = key {
                self.series.entry(key).or_default().push(id);
            }
        }
    }

    fn keys(
        &mut self,
        snapshot: &SeriesSnapshot,
        series: std::ops::Range<usize>,
    ) -> Result<Vec<Option<Box<[u8]>>>> {
        let rows = series.len();
        let levels = level_columns(&self.plan, snapshot, series)?;
        let keys = self.plan.keys.iter().map(|key| key.evaluate(&levels)?.into_array(rows));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => Kept::new(keys.iter().map(|key| key.data_type().clone()).collect())?,
        };
        let encoded = encoded(&kept, &keys, rows);
        self.kept = Some(kept);
        encoded
    }

    /// The series with the key of each row of these columns; NULL equals nothing.
    pub fn find(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<&[u32]>> {
        let Some(kept) = &self.kept else { return Ok(vec![&[]; rows]) };
        let of = |key: Option<Box<[u8]>>| key.and_then(|key| self.series.get(&key));
        let found = encoded(kept, keys, rows)?.into_iter().map(of);
        Ok(found.map(|series| series.map_or(&[][..], Vec::as_slice)).collect())
    }
}

fn encoded(kept: &Kept, keys: &[ArrayRef], rows: usize) -> Result<Vec<Option<Box<[u8]>>>> {
    let encoded = kept.encode(keys, rows)?.into_iter().enumerate();
    let known =
        |row: usize| keys.iter().all(|key| key.logical_nulls().is_none_or(|n| n.is_valid(row)));
    Ok(encoded.map(|(row, key)| known(row).then_some(key)).collect())
}
