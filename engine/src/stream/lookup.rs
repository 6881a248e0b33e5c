//! A reading joined on equality with a reference table, or with the latest values of a stream.
//!
//! Promise: every match of a row is given, in the table's order; NULL equals nothing. Of the table as it
//! precedes the reading in the input order, a reading sees the version at its event time. Elsewhere: how
//! tables change is `tables`, what the latest values are is `latest`.

use super::dated::DatedRows;
use super::latest::LatestValues;
use super::pipeline::{row_column, with_rows};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Contents of reference tables, by name.
pub type Dated = Arc<BTreeMap<String, Arc<DatedRows>>>;

/// What is looked up.
#[derive(Debug, Default)]
pub struct Tables {
    /// Contents of the reference tables.
    pub dated: Dated,
    /// Latest values, in the plan's order.
    pub latest: Vec<LatestValues>,
}

/// Where the other side of a join comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// A reference table of this name.
    Table(String),
    /// The latest values of a stream.
    Latest {
        /// Position in [`Tables::latest`].
        place: usize,
        /// Which of its joins.
        join: usize,
    },
}

/// The event time of an input row, told by its index.
pub type TimeOf<'t> = &'t dyn Fn(usize) -> i64;

/// What happens to a reading without a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmatched {
    /// It is dropped (JOIN).
    Drop,
    /// It goes on with NULLs (LEFT JOIN).
    Keep,
}

/// Which side of the join the readings are on: their columns stand on that side of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `FROM stream JOIN table`.
    Left,
    /// `FROM table JOIN stream`.
    Right,
}

/// A join of the batch with one table.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// What is looked up.
    pub from: From,
    /// Its columns.
    pub table_schema: SchemaRef,
    /// The equated expressions: over the readings, over the table.
    pub on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    /// What else must hold, over the joined columns.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
    /// Readings without a match.
    pub unmatched: Unmatched,
    /// Where the readings' columns stand.
    pub side: Side,
    /// The joined columns, without the row lane.
    pub schema: SchemaRef,
}

impl Lookup {
    /// The reference table's name, if it is one.
    pub fn table(&self) -> Option<&str> {
        match &self.from {
            From::Table(name) => Some(name),
            From::Latest { .. } => None,
        }
    }

    /// Joins `batch`, whose input rows have these event times.
    /// # Errors
    /// What an expression cannot evaluate.
    pub fn run(
        &self,
        batch: &RecordBatch,
        tables: &Tables,
        time_of: TimeOf<'_>,
    ) -> Result<RecordBatch> {
        let (table, left, right) = match &self.from {
            From::Table(name) => {
                let empty = Arc::new(DatedRows::empty(Arc::clone(&self.table_schema)));
                let dated = tables.dated.get(name).unwrap_or(&empty);
                let (left, right) = self.pairs(batch, dated, time_of)?;
                (dated.rows().clone(), left, right)
            }
            From::Latest { place, join } => {
                self.latest_pairs(batch, tables.latest.get(*place), *join, time_of)?
            }
        };
        let joined = self.joined(batch, &table, &left, &right)?;
        let Some(filter) = &self.filter else { return Ok(joined) };
        let keep = filter.evaluate(&joined)?.into_array(joined.num_rows())?;
        let keep = as_boolean_array(&keep)?.clone();
        let kept = filter_record_batch(&joined, &keep)?;
        match self.unmatched {
            Unmatched::Drop => Ok(kept),
            Unmatched::Keep => self.keep_unmatched(batch, &table, &left, &right, &keep),
        }
    }

    // LEFT JOIN ... ON a = b AND filter: a reading none of whose matches passes goes on with NULLs.
    fn keep_unmatched(
        &self,
        batch: &RecordBatch,
        table: &RecordBatch,
        left: &[u32],
        right: &[Option<u32>],
        keep: &BooleanArray,
    ) -> Result<RecordBatch> {
        let (mut kept_left, mut kept_right) = (Vec::new(), Vec::new());
        let mut pair = 0;
        while pair < left.len() {
            let row = left[pair];
            let before = kept_left.len();
            while pair < left.len() && left[pair] == row {
                if keep.is_valid(pair) && keep.value(pair) {
                    kept_left.push(row);
                    kept_right.push(right[pair]);
                }
                pair += 1;
            }
            if kept_left.len() == before {
                kept_left.push(row);
                kept_right.push(None);
            }
        }
        self.joined(batch, table, &kept_left, &kept_right)
    }

    fn pairs(
        &self,
        batch: &RecordBatch,
        table: &DatedRows,
        time_of: TimeOf<'_>,
    ) -> Result<(Vec<u32>, Vec<Option<u32>>)> {
        let table_keys = evaluate(self.on.iter().map(|(_, right)| right), table.rows())?;
        let types: Vec<_> = table_keys.iter().map(|key| plain(key.data_type())).collect();
        let converter =
            RowConverter::new(types.iter().map(|t| SortField::new(t.clone())).collect())?;
        let index = index_rows(&converter, &table_keys, &types)?;
        let keys = evaluate(self.on.iter().map(|(left, _)| left), batch)?;
        let keys =
            keys.iter().zip(&types).map(|(k, t)| cast(k, t)).collect::<Result<Vec<_>, _>>()?;
        let rows = converter.convert_columns(&keys)?;
        let lane = row_column(batch);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for (row, number) in (0..batch.num_rows()).zip(0_u32..) {
            let null = keys.iter().any(|key| key.is_null(row));
            let matches = index.get(&rows.row(row).owned()).filter(|_| !null);
            let before = left.len();
            if let Some(matches) = matches {
                let time = time_of(lane.value(row) as usize);
                let holding = matches.iter().filter(|m| table.holds(**m as usize, time));
                right.extend(holding.map(|m| Some(*m)));
                left.resize(right.len(), number);
            }
            if left.len() == before && self.unmatched == Unmatched::Keep {
                left.push(number);
                right.push(None);
            }
        }
        Ok((left, right))
    }

    /// As [`Self::pairs`], with the latest values that are looked up: one row for each match.
    fn latest_pairs(
        &self,
        batch: &RecordBatch,
        latest: Option<&LatestValues>,
        join: usize,
        time_of: TimeOf<'_>,
    ) -> Result<(RecordBatch, Vec<u32>, Vec<Option<u32>>)> {
        let keys = evaluate(self.on.iter().map(|(left, _)| left), batch)?;
        let matches = match latest {
            Some(latest) => latest.find(join, &keys, batch.num_rows())?,
            None => vec![&[][..]; batch.num_rows()],
        };
        let lane = row_column(batch);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let (mut series, mut times) = (Vec::new(), Vec::new());
        for (number, matches) in (0_u32..).zip(matches) {
            let known = matches.iter().filter(|id| latest.is_some_and(|latest| latest.has(**id)));
            let before = left.len();
            for id in known {
                left.push(number);
                right.push(u32::try_from(series.len()).ok());
                series.push(*id);
                times.push(time_of(lane.value(number as usize) as usize));
            }
            if left.len() == before && self.unmatched == Unmatched::Keep {
                left.push(number);
                right.push(None);
            }
        }
        let table = latest.and_then(|latest| latest.rows(&series, &times));
        let none = || RecordBatch::new_empty(Arc::clone(&self.table_schema));
        Ok((table.unwrap_or_else(none), left, right))
    }

    fn joined(
        &self,
        batch: &RecordBatch,
        table: &RecordBatch,
        left: &[u32],
        right: &[Option<u32>],
    ) -> Result<RecordBatch> {
        let left = UInt32Array::from(left.to_vec());
        let right = UInt32Array::from(right.to_vec());
        let visible = batch.num_columns() - 1;
        let readings = batch.columns()[..visible].iter().map(|c| take(c, &left, None));
        let looked_up = table.columns().iter().map(|c| take(c, &right, None));
        let columns = match self.side {
            Side::Left => readings.chain(looked_up).collect::<Result<Vec<ArrayRef>, _>>()?,
            Side::Right => looked_up.chain(readings).collect::<Result<Vec<ArrayRef>, _>>()?,
        };
        let rows = row_column(batch);
        let lane = left.values().iter().map(|row| rows.value(*row as usize));
        with_rows(&self.schema, columns, UInt32Array::from_iter_values(lane))
    }
}

fn evaluate<'e>(
    expressions: impl Iterator<Item = &'e Arc<dyn PhysicalExpr>>,
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    expressions.map(|e| e.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

fn plain(data_type: &arrow::datatypes::DataType) -> arrow::datatypes::DataType {
    match data_type {
        arrow::datatypes::DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    }
}

fn index_rows(
    converter: &RowConverter,
    keys: &[ArrayRef],
    types: &[arrow::datatypes::DataType],
) -> Result<HashMap<OwnedRow, Vec<u32>>> {
    let mut index: HashMap<OwnedRow, Vec<u32>> = HashMap::new();
    let keys = keys.iter().zip(types).map(|(k, t)| cast(k, t)).collect::<Result<Vec<_>, _>>()?;
    let rows = converter.convert_columns(&keys)?;
    for (row, number) in rows.iter().zip(0_u32..) {
        index.entry(row.owned()).or_default().push(number);
    }
    Ok(index)
}
