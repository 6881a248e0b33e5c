//! Where coverage is known: in windows whose groups are made of series.
//!
//! Promise: a sensor that said nothing has a group all the same, because its topic tells it; where it would
//! not, coverage is refused with the reason.

use super::dense::{Coverage, is_of_series, series_plan};
use super::{Branch, Shape};
use crate::sql::functions::coverage::Counted;
use crate::sql::{RuleStatement, SqlError};
use crate::stream::lookup::Side;
use crate::stream::pipeline::{Pipeline, Stage};
use crate::stream::window::{Aggregate, CountedKind, GroupColumn, Grouping, SeriesPlan};
use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use std::sync::Arc;
use weir_ingest::model::{StreamDefinition, reading};

type PhysicalExprRef = Arc<dyn PhysicalExpr>;

const HINT: &str = "coverage is known over TUMBLE and HOP of streams that say their interval, grouped by \
     levels of the topic";

/// Refuses coverage where there is no TUMBLE or HOP.
pub(super) fn check(rule: &RuleStatement, shape: &Shape) -> Result<(), SqlError> {
    let (aggregates, reason) = match shape {
        Shape::Windowed(_) => return Ok(()),
        Shape::Sessions(sessions) => {
            (sessions.grouping.aggregates.as_slice(), "a session is as long as its readings last")
        }
        Shape::PerReading => (&[][..], "it has no window"),
    };
    let required = if rule.coverage.is_some() { Coverage::Required } else { Coverage::NotRequired };
    what(required, aggregates).map_or(Ok(()), |what| Err(refused(&what, reason)))
}

fn what(required: Coverage, aggregates: &[Aggregate]) -> Option<String> {
    let mut functions = aggregates.iter().map(|a| a.function.fun().name());
    match (required, functions.find_map(Counted::of)) {
        (Coverage::Required, _) => Some("REQUIRE COVERAGE".to_owned()),
        (Coverage::NotRequired, Some(counted)) => Some(format!("{}()", counted.name())),
        (Coverage::NotRequired, None) => None,
    }
}

fn refused(what: &str, reason: &str) -> SqlError {
    SqlError::new(format!("{what} is not known here: {reason}")).with_hint(HINT)
}

/// By stream, what of the SELECT depends on its series alone; none where nobody asks for coverage.
pub(super) fn census(
    streams: &[Arc<StreamDefinition>],
    branches: &[Branch],
    grouping: &Grouping,
    required: Coverage,
) -> Result<Vec<(usize, Arc<SeriesPlan>)>, SqlError> {
    let Some(what) = what(required, &grouping.aggregates) else { return Ok(Vec::new()) };
    let shows = grouping.aggregates.iter().any(|a| a.function.fun().name() == "coverage");
    let needs_interval = shows || required == Coverage::Required;
    let mut plans: Vec<(usize, Arc<SeriesPlan>)> = Vec::new();
    for branch in branches {
        let definition = &streams[branch.stream];
        let name = definition.name();
        if plans.iter().any(|(stream, _)| *stream == branch.stream) {
            return Err(refused(&what, &format!("the stream '{name}' stands twice in FROM")));
        }
        if needs_interval && definition.options().interval.is_none() {
            let reason = format!(
                "the stream '{name}' does not say how often a sensor reports; declare it WITH (interval = '10 seconds')"
            );
            return Err(refused(&what, &reason));
        }
        let plan = of_branch(definition, branch, grouping);
        let plan = plan.map_err(|reason| refused(&what, &reason))?;
        plans.push((branch.stream, Arc::new(plan)));
    }
    Ok(plans)
}

fn of_branch(
    definition: &Arc<StreamDefinition>,
    branch: &Branch,
    grouping: &Grouping,
) -> Result<SeriesPlan, String> {
    let table = reading::table_schema(definition);
    let mut known = Known::of(&table);
    let of_series = |expr: &PhysicalExprRef| is_of_series(expr, definition, &table);
    let text = |error: DataFusionError| error.strip_backtrace();
    let before = branch.along.as_ref().map(|along| (&along.before, along.functions.len()));
    if let Some((pipeline, functions)) = before {
        known.pass(pipeline).map_err(text)?;
        known.columns.extend(std::iter::repeat_n(None, functions));
    }
    known.pass(&branch.pipeline).map_err(text)?;
    let mut keys = Vec::new();
    for column in &grouping.group {
        if let GroupColumn::Key(key) = column {
            let of_levels = known.inline(key).map_err(text)?.filter(of_series);
            let not = || format!("the key {key} is not a level of the topic");
            keys.push(of_levels.ok_or_else(not)?);
        }
    }
    let conditions = known.filters.into_iter().filter(of_series).collect();
    series_plan(Arc::clone(definition), &table, keys, conditions).map_err(text)
}

/// Columns of a pipeline as expressions over those it starts with, where they are made of these alone.
struct Known {
    columns: Vec<Option<PhysicalExprRef>>,
    filters: Vec<PhysicalExprRef>,
}

impl Known {
    fn of(table: &SchemaRef) -> Self {
        let column = |(index, field): (usize, &Arc<Field>)| -> Option<PhysicalExprRef> {
            Some(Arc::new(Column::new(field.name(), index)))
        };
        let columns = table.fields().iter().enumerate().map(column).collect();
        Self { columns, filters: Vec::new() }
    }

    fn pass(&mut self, pipeline: &Pipeline) -> Result<(), DataFusionError> {
        for stage in pipeline.stages() {
            match stage {
                Stage::Project { expressions, .. } => {
                    let columns = expressions.iter().map(|expr| self.inline(expr));
                    self.columns = columns.collect::<Result<_, _>>()?;
                }
                Stage::Filter(predicate) => self.filters.extend(self.inline(predicate)?),
                Stage::Lookup(lookup) => {
                    let looked_up = vec![None; lookup.table_schema.fields().len()];
                    match lookup.side {
                        Side::Left => self.columns.extend(looked_up),
                        Side::Right => drop(self.columns.splice(0..0, looked_up)),
                    }
                }
            }
        }
        Ok(())
    }

    fn inline(&self, expr: &PhysicalExprRef) -> Result<Option<PhysicalExprRef>, DataFusionError> {
        let mut all = true;
        let inlined = Arc::clone(expr).transform_up(|node| {
            let Some(column) = node.downcast_ref::<Column>() else {
                return Ok(Transformed::no(node));
            };
            match self.columns.get(column.index()) {
                Some(Some(known)) => Ok(Transformed::yes(Arc::clone(known))),
                Some(None) | None => {
                    all = false;
                    Ok(Transformed::no(node))
                }
            }
        });
        let inlined = inlined.data()?;
        Ok(all.then_some(inlined))
    }
}

/// Takes `coverage()` and its kind out of the aggregates, each with its place.
pub(super) fn take_counted(grouping: &mut Grouping) -> Vec<(usize, CountedKind)> {
    let mut counted = Vec::new();
    let mut place = 0;
    grouping.aggregates.retain(|aggregate| {
        let kind = Counted::of(aggregate.function.fun().name()).map(Counted::kind);
        counted.extend(kind.map(|kind| (place, kind)));
        place += 1;
        kind.is_none()
    });
    counted
}
