//! Columns through expressions: what a rule does to a batch before its window, and after it.
//!
//! Promise: a batch goes in, a batch comes out; no state, and nothing held back (unlike an endless
//! plan). Every batch carries a last column [`ROW`], the index of the input row each row came from, so
//! that time, series and offset need not travel through the expressions.

use super::lookup::{Lookup, Tables, TimeOf};
use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, lit};
use std::sync::Arc;

/// Name of the last column of every batch inside a pipeline.
pub const ROW: &str = "__row";

/// One step of a pipeline.
#[derive(Debug, Clone)]
pub enum Stage {
    /// New columns from expressions.
    Project {
        /// One for each output column.
        expressions: Vec<Arc<dyn PhysicalExpr>>,
        /// The output columns, without [`ROW`].
        schema: SchemaRef,
    },
    /// Rows for which the expression is true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Columns of a reference table, joined on equality.
    Lookup(Lookup),
}

/// Steps in order.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    stages: Vec<Stage>,
}

impl Pipeline {
    /// These steps.
    pub fn new(stages: Vec<Stage>) -> Self {
        Self { stages }
    }

    /// Its steps, in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Adds a step at the end.
    pub fn push(&mut self, stage: Stage) {
        self.stages.push(stage);
    }

    /// Adds a step at the end, if there is one.
    pub fn extend(&mut self, stage: Option<Stage>) {
        self.stages.extend(stage);
    }

    /// These steps, where a filter drops what it says no to, and NULL passes: for rows of which only
    /// the levels are known.
    #[must_use]
    pub fn where_not_false(&self) -> Self {
        let stages = self.stages.iter().map(|stage| match stage {
            Stage::Filter(predicate) => {
                let no = Operator::IsDistinctFrom;
                Stage::Filter(Arc::new(BinaryExpr::new(Arc::clone(predicate), no, lit(false))))
            }
            Stage::Project { .. } | Stage::Lookup(_) => stage.clone(),
        });
        Self { stages: stages.collect() }
    }

    /// The reference tables it reads.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Lookup(lookup) => lookup.table(),
            Stage::Project { .. } | Stage::Filter(_) => None,
        })
    }

    /// Runs all steps over `batch`, whose last column is [`ROW`]. Joins, which stand before a window
    /// only, would see the newest version of a table.
    /// # Errors
    /// What an expression cannot evaluate, such as a division by zero.
    pub fn run(&self, batch: RecordBatch, tables: &Tables) -> Result<RecordBatch> {
        self.run_at(batch, tables, &|_| i64::MAX - 1)
    }

    /// As [`Self::run`]; the input rows have these event times.
    /// # Errors
    /// As there.
    pub fn run_at(
        &self,
        batch: RecordBatch,
        tables: &Tables,
        time_of: TimeOf<'_>,
    ) -> Result<RecordBatch> {
        self.stages.iter().try_fold(batch, |batch, stage| stage.run(batch, tables, time_of))
    }
}

impl Stage {
    fn run(&self, batch: RecordBatch, tables: &Tables, time_of: TimeOf<'_>) -> Result<RecordBatch> {
        match self {
            Self::Project { expressions, schema } => project(&batch, expressions, schema),
            Self::Filter(predicate) => {
                let keep = predicate.evaluate(&batch)?.into_array(batch.num_rows())?;
                Ok(filter_record_batch(&batch, as_boolean_array(&keep)?)?)
            }
            Self::Lookup(lookup) => lookup.run(&batch, tables, time_of),
        }
    }
}

fn project(
    batch: &RecordBatch,
    expressions: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let columns = expressions
        .iter()
        .map(|e| e.evaluate(batch)?.into_array(batch.num_rows()))
        .collect::<Result<Vec<_>>>()?;
    with_rows(schema, columns, row_column(batch).clone())
}

/// `columns` and the row lane as one batch.
/// # Errors
/// When they do not fit `schema`: a bug of the planner.
pub fn with_rows(
    schema: &SchemaRef,
    mut columns: Vec<ArrayRef>,
    rows: UInt32Array,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let schema = schema_with_row(schema, &columns);
    columns.push(Arc::new(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// Adds the row lane `0, 1, 2, ...` to a batch that has none.
/// # Errors
/// As [`with_rows`].
pub fn number_rows(batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = u32::try_from(batch.num_rows()).expect("batches hold less than 2^32 rows");
    with_rows(batch.schema_ref(), batch.columns().to_vec(), UInt32Array::from_iter_values(0..rows))
}

// Expressions may give a type or nullability a shade different from the planned one (a dictionary
// for a string); the batch says what really came, under the planned names.
fn schema_with_row(schema: &SchemaRef, columns: &[ArrayRef]) -> SchemaRef {
    let mut fields: Vec<Field> = schema
        .fields()
        .iter()
        .zip(columns)
        .map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true))
        .collect();
    fields.push(Field::new(ROW, DataType::UInt32, false));
    Arc::new(Schema::new(fields))
}

/// The row lane of a batch inside a pipeline.
/// # Panics
/// If the batch has none: a bug of ours.
pub fn row_column(batch: &RecordBatch) -> &UInt32Array {
    batch.column(batch.num_columns() - 1).as_primitive::<UInt32Type>()
}
