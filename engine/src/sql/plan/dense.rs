//! Whether a windowed SELECT can be worked out by series.
//!
//! Promise: taken only where the answers are those of the general path: one stream, keys that depend on
//! the series alone and cannot fail, and sums, counts, averages, least and greatest of numbers. Otherwise
//! the reason is a sentence that EXPLAIN RULE shows.

mod safe;

use super::Branch;
use crate::sql::functions::coverage::Counted;
use crate::stream::pipeline::{Pipeline, Stage};
use crate::stream::window::by_series::{BySeriesPlan, RowColumns};
use crate::stream::window::dense::{DensePlan, Measure, Number, Output};
use crate::stream::window::{Aggregate, GroupColumn, Grouping, Inputs, Path, SeriesPlan};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use safe::cannot_fail;
use std::sync::Arc;
use weir_ingest::model::{StreamDefinition, reading};

type PhysicalExprRef = Arc<dyn PhysicalExpr>;

/// Whether a rule asks for coverage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coverage {
    /// `REQUIRE COVERAGE`.
    Required,
    /// Only where the SELECT shows it.
    NotRequired,
}

/// Why it cannot.
enum No {
    Because(String),
    Failed,
}

impl No {
    fn reason(self) -> String {
        match self {
            Self::Because(reason) => reason,
            Self::Failed => "an expression cannot be moved below the window".to_owned(),
        }
    }
}

impl From<datafusion::error::DataFusionError> for No {
    fn from(_: datafusion::error::DataFusionError) -> Self {
        Self::Failed
    }
}

fn no<T>(reason: impl Into<String>) -> std::result::Result<T, No> {
    Err(No::Because(reason.into()))
}

/// The path for this grouping over these branches.
pub(super) fn path(
    streams: &[Arc<StreamDefinition>],
    branches: &[Branch],
    grouping: &Grouping,
    coverage: Coverage,
) -> Path {
    let source = match Source::of(streams, branches, grouping) {
        Ok(source) => source,
        Err(no) => return Path::General(no.reason()),
    };
    match source.dense(grouping, coverage) {
        Ok(plan) => Path::Dense(Arc::new(plan)),
        Err(no) => match source.by_series(grouping, coverage) {
            Ok(plan) => Path::BySeries(Arc::new(plan), no.reason()),
            Err(_) => Path::General(no.reason()),
        },
    }
}

/// The rows of one stream, whose keys depend on the series alone.
struct Source {
    definition: Arc<StreamDefinition>,
    table: SchemaRef,
    flat: Flat,
    keys: Vec<PhysicalExprRef>,
}

impl Source {
    fn of(
        streams: &[Arc<StreamDefinition>],
        branches: &[Branch],
        grouping: &Grouping,
    ) -> std::result::Result<Self, No> {
        let [branch] = branches else { return no("it reads more than one stream") };
        if branch.along.is_some() {
            return no("it has lag or rate");
        }
        let definition = Arc::clone(&streams[branch.stream]);
        let table = reading::table_schema(&definition);
        let flat = Flat::of(&branch.pipeline, &table)?;
        let mut keys = Vec::new();
        for column in &grouping.group {
            if let GroupColumn::Key(key) = column {
                let key = flat.inline(key)?;
                if !is_of_series(&key, &definition, &table) {
                    return no(format!("the key {key} is not a level of the topic"));
                }
                keys.push(key);
            }
        }
        Ok(Self { definition, table, flat, keys })
    }

    fn dense(&self, grouping: &Grouping, coverage: Coverage) -> std::result::Result<DensePlan, No> {
        let mut values = Values::default();
        let mut outputs = Vec::new();
        for aggregate in &grouping.aggregates {
            outputs.push(values.output(aggregate, &self.flat, &self.table)?);
        }
        let counts = |output: &Output| matches!(output, Output::Counted(_));
        let expects = coverage == Coverage::Required || outputs.iter().any(counts);
        let (of, of_row) = self.of_series()?;
        let columns = values.columns(&of_row, self)?;
        Ok(DensePlan { columns, measures: values.measures, of, expects, outputs })
    }

    /// Where all that accumulators are fed with has a value for every row.
    fn by_series(
        &self,
        grouping: &Grouping,
        coverage: Coverage,
    ) -> std::result::Result<BySeriesPlan, No> {
        let counted = |a: &Aggregate| Counted::of(a.function.fun().name()).is_some();
        if coverage == Coverage::Required || grouping.aggregates.iter().any(counted) {
            return no("its series are counted one by one");
        }
        let mut values = Values::default();
        for input in Inputs::new(grouping).expressions() {
            let input = self.flat.inline(input)?;
            if !cannot_fail(&input, &self.table) {
                return no(format!("{input} may fail"));
            }
            values.expressions.push(input);
        }
        let (of, of_row) = self.of_series()?;
        Ok(BySeriesPlan { columns: values.columns(&of_row, self)?, of })
    }

    /// What depends on the series alone, and the conditions that do not.
    fn of_series(&self) -> std::result::Result<(Arc<SeriesPlan>, Vec<PhysicalExprRef>), No> {
        let (definition, table) = (&self.definition, &self.table);
        let of_series = |expr: &PhysicalExprRef| is_of_series(expr, definition, table);
        let filters = self.flat.filters.iter().cloned();
        let (of_series, of_row): (Vec<_>, Vec<_>) = filters.partition(of_series);
        let plan = series_plan(Arc::clone(definition), table, self.keys.clone(), of_series)?;
        Ok((Arc::new(plan), of_row))
    }

    /// The name and type of a field that is stored as it is.
    fn stored(&self, expr: &PhysicalExprRef) -> Option<(String, DataType)> {
        let name = expr.downcast_ref::<Column>()?.name();
        let column = self.definition.columns().iter().find(|column| column.name == name)?;
        Some((name.to_owned(), column.column_type.data_type()))
    }
}

/// These keys and conditions, which depend on the series alone.
pub(super) fn series_plan(
    definition: Arc<StreamDefinition>,
    table: &SchemaRef,
    keys: Vec<PhysicalExprRef>,
    of_series: Vec<PhysicalExprRef>,
) -> Result<SeriesPlan> {
    let level_columns = columns_of(keys.iter().chain(&of_series));
    let levels = Arc::new(table.project(&level_columns)?);
    let over_levels = |exprs: Vec<PhysicalExprRef>| -> Result<Vec<PhysicalExprRef>> {
        exprs.into_iter().map(|expr| reassign_expr_columns(expr, &levels)).collect()
    };
    let interval = definition.options().interval;
    Ok(SeriesPlan {
        keys: over_levels(keys)?,
        of_series: over_levels(of_series)?,
        level_columns,
        interval_us: interval.and_then(|interval| i64::try_from(interval.as_micros()).ok()),
        definition,
    })
}

/// A pipeline as expressions over the columns it starts with.
struct Flat {
    columns: Vec<PhysicalExprRef>,
    filters: Vec<PhysicalExprRef>,
}

impl Flat {
    fn of(pipeline: &Pipeline, table: &SchemaRef) -> std::result::Result<Self, No> {
        let column = |(index, field): (usize, &Arc<Field>)| -> PhysicalExprRef {
            Arc::new(Column::new(field.name(), index))
        };
        let columns = table.fields().iter().enumerate().map(column).collect();
        let mut flat = Self { columns, filters: Vec::new() };
        for stage in pipeline.stages() {
            match stage {
                Stage::Project { expressions, .. } => {
                    let columns = expressions.iter().map(|e| flat.inline(e));
                    flat.columns = columns.collect::<std::result::Result<_, _>>()?;
                    if let Some(may) = flat.columns.iter().find(|e| !cannot_fail(e, table)) {
                        return no(format!("{may} may fail"));
                    }
                }
                Stage::Filter(predicate) => {
                    let predicate = flat.inline(predicate)?;
                    flat.filters.push(predicate);
                }
                Stage::Lookup(_) => return no("it joins a table"),
            }
        }
        Ok(flat)
    }

    fn inline(&self, expr: &PhysicalExprRef) -> std::result::Result<PhysicalExprRef, No> {
        let replace = |node: PhysicalExprRef| {
            let Some(column) = node.downcast_ref::<Column>() else {
                return Ok(Transformed::no(node));
            };
            Ok(Transformed::yes(Arc::clone(&self.columns[column.index()])))
        };
        Ok(Arc::clone(expr).transform_up(replace).data()?)
    }
}

#[derive(Default)]
struct Values {
    expressions: Vec<PhysicalExprRef>,
    measures: Vec<Measure>,
}

impl Values {
    fn output(
        &mut self,
        aggregate: &Aggregate,
        flat: &Flat,
        table: &Schema,
    ) -> std::result::Result<Output, No> {
        let function = &aggregate.function;
        let name = function.fun().name();
        if aggregate.filter.is_some() || function.is_distinct() || !function.order_bys().is_empty()
        {
            return no(format!("{name} has FILTER, DISTINCT or ORDER BY"));
        }
        if let Some(counted) = Counted::of(name) {
            return Ok(Output::Counted(counted.kind()));
        }
        let arguments = function.expressions();
        let [argument] = arguments.as_slice() else {
            return no(format!("{name} has no one argument"));
        };
        if name == "count"
            && argument.downcast_ref::<Literal>().is_some_and(|l| !l.value().is_null())
        {
            return Ok(Output::Rows);
        }
        let argument = flat.inline(argument)?;
        if !cannot_fail(&argument, table) {
            return no(format!("{argument} may fail"));
        }
        let number = match argument.data_type(table)? {
            DataType::Float64 => Number::Double,
            DataType::Int64 => Number::Long,
            other => return no(format!("{name} is over {other}, not DOUBLE or BIGINT")),
        };
        let mut measure = |spread: bool| self.measure(&argument, Measure { number, spread });
        Ok(match name {
            "count" => Output::Count(measure(false)),
            "sum" => Output::Sum(measure(false)),
            "avg" if number == Number::Double => Output::Avg(measure(false)),
            "min" => Output::Min(measure(true)),
            "max" => Output::Max(measure(true)),
            other => return no(format!("{other} is not count, sum, avg, min or max")),
        })
    }

    fn measure(&mut self, argument: &PhysicalExprRef, measure: Measure) -> usize {
        let known = self.expressions.iter().position(|known| known == argument);
        let Some(known) = known else {
            self.expressions.push(Arc::clone(argument));
            self.measures.push(measure);
            return self.measures.len() - 1;
        };
        self.measures[known].spread |= measure.spread;
        known
    }

    fn columns(
        &self,
        of_row: &[PhysicalExprRef],
        source: &Source,
    ) -> std::result::Result<RowColumns, No> {
        let table = &source.table;
        if of_row.is_empty()
            && let Some(names) = self.expressions.iter().map(|e| source.stored(e)).collect()
        {
            return Ok(RowColumns::Stored(names));
        }
        let of = columns_of(self.expressions.iter().chain(of_row));
        let read = table.project(&of).map_err(|_| No::Failed)?;
        let over = |expr: &PhysicalExprRef| reassign_expr_columns(Arc::clone(expr), &read);
        let mut pipeline = Pipeline::default();
        for filter in of_row {
            pipeline.push(Stage::Filter(over(filter)?));
        }
        let fields = self.expressions.iter().enumerate().map(|(at, expr)| {
            Ok(Field::new(format!("measure_{at}"), expr.data_type(table)?, true))
        });
        pipeline.push(Stage::Project {
            schema: Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)),
            expressions: self.expressions.iter().map(over).collect::<Result<_>>()?,
        });
        Ok(RowColumns::Computed { of, pipeline })
    }
}

fn columns_of<'e>(exprs: impl Iterator<Item = &'e PhysicalExprRef>) -> Vec<usize> {
    let mut columns: Vec<usize> =
        exprs.flat_map(collect_columns).map(|column| column.index()).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Whether `expr`, over the stream's table, depends on the series alone and cannot fail.
pub(super) fn is_of_series(
    expr: &PhysicalExprRef,
    stream: &StreamDefinition,
    table: &SchemaRef,
) -> bool {
    let of_series =
        |name: &str| name == "topic" || stream.levels().iter().any(|level| level == name);
    collect_columns(expr).iter().all(|column| of_series(column.name())) && cannot_fail(expr, table)
}
