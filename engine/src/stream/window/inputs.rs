//! What accumulators are fed with.
//!
//! Promise: an expression that several aggregates read stands here once, and a constant is no column.

use super::{Aggregate, GroupColumn, Grouping};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use std::sync::Arc;

impl Aggregate {
    pub(super) fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
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
}

/// Where an argument comes from.
#[derive(Debug, Clone)]
enum Source {
    Column(usize),
    Constant(ScalarValue),
}

/// What one accumulator is fed with.
#[derive(Debug, Clone)]
struct Feed {
    arguments: Vec<Source>,
    filter: Option<usize>,
}

/// What the accumulators of a SELECT are fed with.
#[derive(Debug, Clone)]
pub struct Inputs {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    feeds: Vec<Feed>,
}

impl Inputs {
    /// Of these aggregates.
    pub fn new(grouping: &Grouping) -> Self {
        let mut inputs = Self { expressions: Vec::new(), feeds: Vec::new() };
        for aggregate in &grouping.aggregates {
            let arguments = aggregate.expressions().iter().map(|e| inputs.source(e)).collect();
            let filter = aggregate.filter.as_ref().map(|filter| inputs.column(filter));
            inputs.feeds.push(Feed { arguments, filter });
        }
        inputs
    }

    /// The columns, over the rows that are aggregated.
    pub fn expressions(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.expressions
    }

    fn source(&mut self, expr: &Arc<dyn PhysicalExpr>) -> Source {
        match expr.downcast_ref::<Literal>() {
            Some(literal) => Source::Constant(literal.value().clone()),
            None => Source::Column(self.column(expr)),
        }
    }

    fn column(&mut self, expr: &Arc<dyn PhysicalExpr>) -> usize {
        let known = self.expressions.iter().position(|known| known == expr);
        known.unwrap_or_else(|| {
            self.expressions.push(Arc::clone(expr));
            self.expressions.len() - 1
        })
    }

    /// Values of [`Self::expressions`] as the arguments of aggregate number `which`, and its filter.
    pub(super) fn of(
        &self,
        which: usize,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<(Vec<ArrayRef>, Option<BooleanArray>)> {
        let Feed { arguments, filter } = &self.feeds[which];
        let argument = |source: &Source| match source {
            Source::Column(column) => Ok(Arc::clone(&columns[*column])),
            Source::Constant(value) => value.to_array_of_size(rows),
        };
        let filter = match filter {
            Some(filter) => Some(as_boolean_array(&columns[*filter])?.clone()),
            None => None,
        };
        Ok((arguments.iter().map(argument).collect::<Result<_>>()?, filter))
    }
}

/// Keys and inputs of a batch: everything that can fail, before anything changes.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) inputs: Vec<ArrayRef>,
}

impl Prepared {
    pub(super) fn new(grouping: &Grouping, inputs: &Inputs, batch: &RecordBatch) -> Result<Self> {
        let rows = batch.num_rows();
        let of = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch)?.into_array(rows);
        let keys = keys(grouping).map(of).collect::<Result<_>>()?;
        let inputs = inputs.expressions.iter().map(of).collect::<Result<_>>()?;
        Ok(Self { keys, inputs })
    }

    /// Types of [`Self::columns`] for batches of `schema`.
    pub(super) fn types(
        grouping: &Grouping,
        inputs: &Inputs,
        schema: &Schema,
    ) -> Result<Vec<DataType>> {
        keys(grouping).chain(&inputs.expressions).map(|expr| expr.data_type(schema)).collect()
    }

    /// All of it, as columns of one length.
    pub(super) fn columns(&self) -> Vec<ArrayRef> {
        self.keys.iter().chain(&self.inputs).cloned().collect()
    }

    /// Puts [`Self::columns`] together again.
    pub(super) fn of(grouping: &Grouping, mut columns: Vec<ArrayRef>) -> Self {
        let inputs = columns.split_off(grouping.key_schema.fields().len());
        Self { keys: columns, inputs }
    }
}

fn keys(grouping: &Grouping) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
    grouping.group.iter().filter_map(|column| match column {
        GroupColumn::Key(key) => Some(key),
        GroupColumn::WindowStart | GroupColumn::WindowEnd => None,
    })
}
