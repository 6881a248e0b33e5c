//! Numbers by series or by group: a row is one add into one cell.
//!
//! Promise: rows are added in the order they come and cells are folded in the order of their series, so
//! a sum has the same bits however rows were cut into batches.

use super::plan::{Measure, Number as Type, Output};
use crate::stream::window::by_series::Which;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowNativeType, ArrowPrimitiveType, Float64Type, Int64Type};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is added up.
pub(super) trait Number: ArrowNativeType + PartialOrd {
    type Arrow: ArrowPrimitiveType<Native = Self>;
    const ZERO: Self;
    fn plus(self, other: Self) -> Self;
    fn as_double(self) -> f64;
}

impl Number for f64 {
    type Arrow = Float64Type;
    const ZERO: Self = 0.0;
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn as_double(self) -> f64 {
        self
    }
}

// As the batch engine adds them: it wraps, too.
impl Number for i64 {
    type Arrow = Int64Type;
    const ZERO: Self = 0;
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    fn as_double(self) -> f64 {
        self as f64
    }
}

/// One cell.
pub(super) trait Cell: Copy + std::fmt::Debug {
    type Of: Number;
    const EMPTY: Self;
    fn add(&mut self, value: Self::Of);
    fn merge(&mut self, other: &Self);
    fn sum(&self) -> &Sum<Self::Of>;
    /// Least and greatest, where they are kept and there is any.
    fn spread(&self) -> Option<Spread<Self::Of>>;
}

/// Least and greatest.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Spread<N> {
    least: N,
    greatest: N,
}

/// Sum and count.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Sum<N> {
    sum: N,
    count: u64,
}

impl<N: Number> Cell for Sum<N> {
    type Of = N;
    const EMPTY: Self = Self { sum: N::ZERO, count: 0 };

    #[inline]
    fn add(&mut self, value: N) {
        self.sum = self.sum.plus(value);
        self.count += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.sum = self.sum.plus(other.sum);
        self.count += other.count;
    }

    fn sum(&self) -> &Self {
        self
    }

    fn spread(&self) -> Option<Spread<N>> {
        None
    }
}

/// Sum, count, least and greatest.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Full<N> {
    all: Sum<N>,
    spread: Spread<N>,
}

impl<N: Number> Cell for Full<N> {
    type Of = N;
    const EMPTY: Self =
        Self { all: Sum::EMPTY, spread: Spread { least: N::ZERO, greatest: N::ZERO } };

    #[inline]
    fn add(&mut self, value: N) {
        let Spread { least, greatest } = self.spread;
        let first = self.all.count == 0;
        self.spread.least = if first || value < least { value } else { least };
        self.spread.greatest = if first || value > greatest { value } else { greatest };
        self.all.add(value);
    }

    fn merge(&mut self, other: &Self) {
        if other.all.count == 0 {
            return;
        }
        if self.all.count == 0 {
            *self = *other;
            return;
        }
        let (ours, theirs) = (&mut self.spread, other.spread);
        ours.least = if theirs.least < ours.least { theirs.least } else { ours.least };
        ours.greatest =
            if theirs.greatest > ours.greatest { theirs.greatest } else { ours.greatest };
        self.all.merge(&other.all);
    }

    fn sum(&self) -> &Sum<N> {
        &self.all
    }

    fn spread(&self) -> Option<Spread<N>> {
        (self.all.count > 0).then_some(self.spread)
    }
}

/// The cells of one measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Lanes<C> {
    cells: Vec<C>,
    /// Rows whose value is NULL; empty while there was none.
    nulls: Vec<u64>,
}

impl<C: Cell> Lanes<C> {
    fn new() -> Self {
        Self { cells: Vec::new(), nulls: Vec::new() }
    }

    fn cover(&mut self, len: usize) {
        if self.cells.len() < len {
            self.cells.reserve_exact(len - self.cells.len());
            self.cells.resize(len, C::EMPTY);
        }
    }

    fn add(
        &mut self,
        series: &[u32],
        values: &PrimitiveArray<<C::Of as Number>::Arrow>,
        which: Which<'_>,
    ) {
        let valid = values.nulls().filter(|nulls| nulls.null_count() > 0);
        let numbers = values.values();
        match (which, valid) {
            (Which::All, None) => {
                for (series, value) in series.iter().zip(numbers) {
                    self.cells[*series as usize].add(*value);
                }
            }
            (Which::At(rows), None) => {
                for row in rows {
                    let row = *row as usize;
                    self.cells[series[row] as usize].add(numbers[row]);
                }
            }
            (Which::All, Some(valid)) => {
                (0..series.len()).for_each(|row| self.add_one(series, numbers, valid, row));
            }
            (Which::At(rows), Some(valid)) => {
                rows.iter().for_each(|row| self.add_one(series, numbers, valid, *row as usize));
            }
        }
    }

    fn add_one(&mut self, series: &[u32], numbers: &[C::Of], valid: &NullBuffer, row: usize) {
        let series = series[row] as usize;
        match valid.is_valid(row) {
            true => self.cells[series].add(numbers[row]),
            false => *self.null_of(series) += 1,
        }
    }

    fn null_of(&mut self, at: usize) -> &mut u64 {
        if self.nulls.len() <= at {
            self.nulls.resize(self.cells.len().max(at + 1), 0);
        }
        &mut self.nulls[at]
    }

    /// How many there are up to the last one that has rows.
    fn filled(&self) -> usize {
        (0..self.cells.len()).rev().find(|at| self.rows(*at) > 0).map_or(0, |last| last + 1)
    }

    fn first(&self, len: usize) -> Self {
        let nulls = self.nulls.iter().rposition(|nulls| *nulls > 0).map_or(0, |last| last + 1);
        Self { cells: self.cells[..len].to_vec(), nulls: self.nulls[..nulls].to_vec() }
    }

    fn rows(&self, at: usize) -> u64 {
        self.cells[at].sum().count + self.nulls.get(at).copied().unwrap_or(0)
    }

    fn merge(&mut self, other: &Self, into: &[u32], received: Option<&mut [u64]>) {
        for (series, cell) in other.cells.iter().enumerate() {
            let group = into[series] as usize;
            if cell.sum().count > 0
                && let Some(total) = self.cells.get_mut(group)
            {
                total.merge(cell);
            }
        }
        for (series, nulls) in other.nulls.iter().enumerate().filter(|(_, nulls)| **nulls > 0) {
            let group = into[series] as usize;
            if group < self.cells.len() {
                *self.null_of(group) += nulls;
            }
        }
        if let Some(received) = received {
            for (at, received) in received.iter_mut().enumerate().take(other.cells.len()) {
                *received += other.rows(at);
            }
        }
    }

    fn output(&self, output: &Output, groups: &[u32]) -> ArrayRef {
        let cells = groups.iter().map(|group| self.cells[*group as usize]);
        let sum = |cell: C| Some(*cell.sum()).filter(|sum| sum.count > 0);
        match output {
            Output::Rows => Arc::new(
                groups
                    .iter()
                    .map(|g| Some(as_long(self.rows(*g as usize))))
                    .collect::<Int64Array>(),
            ),
            Output::Count(_) => {
                Arc::new(cells.map(|cell| Some(as_long(cell.sum().count))).collect::<Int64Array>())
            }
            Output::Avg(_) => Arc::new(
                cells
                    .map(|cell| sum(cell).map(|s| s.sum.as_double() / s.count as f64))
                    .collect::<Float64Array>(),
            ),
            Output::Sum(_) => Arc::new(
                cells
                    .map(|cell| sum(cell).map(|s| s.sum))
                    .collect::<PrimitiveArray<<C::Of as Number>::Arrow>>(),
            ),
            Output::Min(_) => Arc::new(
                cells
                    .map(|c| c.spread().map(|s| s.least))
                    .collect::<PrimitiveArray<<C::Of as Number>::Arrow>>(),
            ),
            Output::Max(_) => Arc::new(
                cells
                    .map(|c| c.spread().map(|s| s.greatest))
                    .collect::<PrimitiveArray<<C::Of as Number>::Arrow>>(),
            ),
            Output::Counted(_) => unreachable!("series are counted, not added up"),
        }
    }
}

fn as_long(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Column {
    Double(Lanes<Sum<f64>>),
    FullDouble(Lanes<Full<f64>>),
    Long(Lanes<Sum<i64>>),
    FullLong(Lanes<Full<i64>>),
}

/// Runs `$body` with `$lanes` bound to the lanes of whatever kind.
macro_rules! of_any {
    ($column:expr, $lanes:ident => $body:expr) => {
        match $column {
            Column::Double($lanes) => $body,
            Column::FullDouble($lanes) => $body,
            Column::Long($lanes) => $body,
            Column::FullLong($lanes) => $body,
        }
    };
}

impl Column {
    fn first(&self, len: usize) -> Self {
        match self {
            Self::Double(lanes) => Self::Double(lanes.first(len)),
            Self::FullDouble(lanes) => Self::FullDouble(lanes.first(len)),
            Self::Long(lanes) => Self::Long(lanes.first(len)),
            Self::FullLong(lanes) => Self::FullLong(lanes.first(len)),
        }
    }

    fn new(measure: &Measure) -> Self {
        match (measure.number, measure.spread) {
            (Type::Double, false) => Self::Double(Lanes::new()),
            (Type::Double, true) => Self::FullDouble(Lanes::new()),
            (Type::Long, false) => Self::Long(Lanes::new()),
            (Type::Long, true) => Self::FullLong(Lanes::new()),
        }
    }

    fn merge(&mut self, other: &Self, into: &[u32], received: Option<&mut [u64]>) {
        match (self, other) {
            (Self::Double(a), Self::Double(b)) => a.merge(b, into, received),
            (Self::FullDouble(a), Self::FullDouble(b)) => a.merge(b, into, received),
            (Self::Long(a), Self::Long(b)) => a.merge(b, into, received),
            (Self::FullLong(a), Self::FullLong(b)) => a.merge(b, into, received),
            _ => unreachable!("the cells of one plan are of one kind"),
        }
    }
}

/// The cells of all measures; rows alone where nothing is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cells {
    columns: Vec<Column>,
    /// Rows of each, where there is no measure.
    rows: Vec<u64>,
}

impl Cells {
    pub(super) fn new(measures: &[Measure]) -> Self {
        Self { columns: measures.iter().map(Column::new).collect(), rows: Vec::new() }
    }

    /// Whether they are of these measures.
    pub(super) fn are_of(&self, measures: &[Measure]) -> bool {
        self.columns.len() == measures.len()
            && self.columns.iter().zip(measures).all(|(column, measure)| {
                std::mem::discriminant(column) == std::mem::discriminant(&Column::new(measure))
            })
    }

    /// Number of series or groups there is room for.
    pub(super) fn len(&self) -> usize {
        match self.columns.first() {
            Some(column) => of_any!(column, lanes => lanes.cells.len()),
            None => self.rows.len(),
        }
    }

    /// Without the room behind the last that has rows: how much of it there is depends on when series came
    /// to be known, not on rows.
    pub(super) fn trimmed(&self) -> Self {
        let filled = self.columns.iter().map(|column| of_any!(column, lanes => lanes.filled()));
        let len = filled.max().unwrap_or(0);
        let rows = self.rows.iter().rposition(|rows| *rows > 0).map_or(0, |last| last + 1);
        Self {
            columns: self.columns.iter().map(|column| column.first(len)).collect(),
            rows: self.rows[..rows].to_vec(),
        }
    }

    /// Makes room for `len` series or groups.
    pub(super) fn cover(&mut self, len: usize) {
        if self.columns.is_empty() && self.rows.len() < len {
            self.rows.resize(len, 0);
        }
        for column in &mut self.columns {
            of_any!(column, lanes => lanes.cover(len));
        }
    }

    /// Adds rows to the cells of their series.
    pub(super) fn add(&mut self, series: &[u32], values: &[ArrayRef], which: Which<'_>) {
        if self.columns.is_empty() {
            match which {
                Which::All => series.iter().for_each(|s| self.rows[*s as usize] += 1),
                Which::At(rows) => {
                    rows.iter().for_each(|row| self.rows[series[*row as usize] as usize] += 1);
                }
            }
        }
        for (column, values) in self.columns.iter_mut().zip(values) {
            match column {
                Column::Double(lanes) => lanes.add(series, values.as_primitive(), which),
                Column::FullDouble(lanes) => lanes.add(series, values.as_primitive(), which),
                Column::Long(lanes) => lanes.add(series, values.as_primitive(), which),
                Column::FullLong(lanes) => lanes.add(series, values.as_primitive(), which),
            }
        }
    }

    /// Adds the cells of series to those of the groups `into` names; counts the rows of each series.
    pub(super) fn merge(&mut self, series: &Self, into: &[u32], received: &mut [u64]) {
        for (at, (group, rows)) in into.iter().zip(&series.rows).enumerate() {
            received[at] += rows;
            if let Some(total) = self.rows.get_mut(*group as usize) {
                *total += rows;
            }
        }
        let mut received = Some(received);
        for (total, column) in self.columns.iter_mut().zip(&series.columns) {
            total.merge(column, into, received.take());
        }
    }

    /// Which have rows.
    pub(super) fn present(&self) -> Vec<u32> {
        let rows = |at: usize| match self.columns.first() {
            Some(column) => of_any!(column, lanes => lanes.rows(at)),
            None => self.rows[at],
        };
        (0..self.len())
            .filter(|at| rows(*at) > 0)
            .map(|at| u32::try_from(at).expect("groups fit"))
            .collect()
    }

    /// An aggregate of these groups.
    pub(super) fn output(&self, output: &Output, groups: &[u32]) -> ArrayRef {
        match (self.columns.get(output.measure()), output) {
            (Some(column), _) => of_any!(column, lanes => lanes.output(output, groups)),
            (None, _) => Arc::new(
                groups
                    .iter()
                    .map(|g| Some(as_long(self.rows[*g as usize])))
                    .collect::<Int64Array>(),
            ),
        }
    }
}
