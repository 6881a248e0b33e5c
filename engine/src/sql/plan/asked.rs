//! `coverage()` and its kind in a question over history.
//!
//! Promise: they are known where a rule knows them and refused with the same reasons; and where no table says
//! which sensors a stream has, a question does not know what a rule does: which of them reported before. The
//! topic of each row, and its place in the log where a join may make several rows of it, are carried up to the
//! aggregate under names of their own.

use super::dense::Coverage;
use super::walk::{self, WalkError};
use super::windows::column_name;
use super::{LATEST, Relations, Shape, SqlError, prepare, state};
use crate::sql::functions::coverage::Counted;
use crate::sql::functions::coverage::asked::{self, RowsOfReading};
use crate::stream::window::{Asked, ExpectedSensors, SeriesPlan};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection, Union};
use std::sync::Arc;

/// The columns of the window.
const EDGES: [&str; 2] = ["window_start", "window_end"];

/// What is carried of a reading, each under its name on the way to the aggregate; all but the topic where a
/// join may make several rows of it.
const CARRIED: [(&str, &str); 3] =
    [("topic", "__topic"), ("partition", "__partition"), ("offset", "__offset")];

type Carried<'c> = &'c [(&'static str, &'static str)];

/// Gives a stream the sensors that its table names.
pub(super) type AskedOf<'a> = &'a dyn Fn(&Arc<SeriesPlan>) -> Asked;

/// Whether a question counts sensors.
/// # Errors
/// DataFusion's, for a plan that cannot be walked.
pub fn counts_sensors(plan: &LogicalPlan) -> Result<bool> {
    let mut counts = false;
    plan.apply_with_subqueries(|node| {
        counts |= is_counting(node);
        Ok(if counts { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(counts)
}

fn is_counting(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Aggregate(a) if a.aggr_expr.iter().any(|expr| of(expr).is_some()))
}

/// The plan of a question, where it counts sensors with these aggregates worked out.
/// # Errors
/// Coverage is not known here, with the reason.
pub fn count_sensors(
    plan: LogicalPlan,
    relations: &Relations,
    asked_of: AskedOf<'_>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Aggregate(aggregate) if is_counting(&node) => {
            counted(aggregate, relations, asked_of, pool).map(Transformed::yes)
        }
        _ => Ok(Transformed::no(node)),
    })
}

/// The function, if `expr` is a call of one that is not worked out yet.
fn of(expr: &Expr) -> Option<Counted> {
    match expr {
        Expr::Alias(alias) => of(&alias.expr),
        Expr::AggregateFunction(call) if call.params.args.len() == 1 => {
            Counted::of(call.func.name())
        }
        _ => None,
    }
}

fn counted(
    aggregate: &Aggregate,
    relations: &Relations,
    asked_of: AskedOf<'_>,
    pool: &Arc<dyn MemoryPool>,
) -> Result<LogicalPlan> {
    let plans = series_plans(aggregate, relations).map_err(refused)?;
    let streams: Vec<Asked> = plans.iter().map(asked_of).collect();
    let unlisted = streams.iter().find(|stream| stream.listed.is_none());
    let needs_list = aggregate.aggr_expr.iter().filter_map(of).find(|c| *c != Counted::Reporting);
    if let (Some(stream), Some(counted)) = (unlisted, needs_list) {
        return Err(refused(unknown(counted, stream.plan.definition.name())));
    }
    let memory = MemoryConsumer::new("sensors of a question").register(pool);
    let sensors = Arc::new(ExpectedSensors::new(streams, memory)?);
    let joins = aggregate.input.exists(|node| Ok(matches!(node, LogicalPlan::Join(_))))?;
    let (rows, carried) = match joins {
        true => (RowsOfReading::Many, &CARRIED[..]),
        false => (RowsOfReading::One, &CARRIED[..1]),
    };
    let input = carry(&aggregate.input, relations, carried)?;
    let input = input.ok_or_else(|| refused(SqlError::new("coverage is known of streams")))?;
    let names = EDGES.iter().chain(carried.iter().map(|(_, name)| name));
    let mut args: Vec<Expr> = names.map(|name| column(&input, name)).collect::<Result<_>>()?;
    let is_key = |expr: &&Expr| column_name(expr).is_none_or(|name| !EDGES.contains(&name));
    let keys = aggregate.group_expr.iter().filter(is_key).map(|expr| expr.clone().unalias());
    args.extend(keys);
    let call = |expr: &Expr| match of(expr) {
        None => expr.clone(),
        Some(counted) => {
            let call = AggregateFunction::new_udf(
                asked::asked(counted, &sensors, rows, args.len()),
                args.clone(),
                false,
                None,
                Vec::new(),
                None,
            );
            Expr::AggregateFunction(call).alias(expr.schema_name().to_string())
        }
    };
    let calls = aggregate.aggr_expr.iter().map(call).collect();
    let group = aggregate.group_expr.clone();
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group, calls)?))
}

fn unknown(counted: Counted, stream: &str) -> SqlError {
    SqlError::new(format!(
        "{}() is not known in a question: the stream '{stream}' does not say which sensors it has; declare \
         it WITH (expected = 'a_table_of_topics'), or ask for sensors_reporting(); a rule knows which \
         reported before",
        counted.name()
    ))
}

fn refused(error: SqlError) -> DataFusionError {
    DataFusionError::Plan(error.to_string())
}

/// By stream, what depends on its series alone.
fn series_plans(
    aggregate: &Aggregate,
    relations: &Relations,
) -> std::result::Result<Vec<Arc<SeriesPlan>>, SqlError> {
    let located = |error: DataFusionError| SqlError::new(error.strip_backtrace());
    let state = state(relations);
    let plan = prepare(&state, LogicalPlan::Aggregate(aggregate.clone())).map_err(located)?;
    let walked =
        walk::of_a_question(&state, relations, &plan, Coverage::NotRequired).map_err(|error| {
            match error {
                WalkError::Refused(error) => error,
                WalkError::Planner(error) => located(error),
            }
        })?;
    match (&walked.shape, &walked.inner) {
        (Shape::Windowed(aggregation), None) => {
            Ok(aggregation.census.iter().map(|(_, plan)| Arc::clone(plan)).collect())
        }
        (Shape::Windowed(_), Some(_)) => {
            Err(SqlError::new("coverage is asked for in the SELECT inside the window"))
        }
        (Shape::Sessions(_) | Shape::PerReading, _) => Err(SqlError::new(
            "coverage is known over TUMBLE and HOP: a session is as long as its readings last",
        )),
    }
}

fn column(plan: &LogicalPlan, name: &str) -> Result<Expr> {
    let found = plan.schema().columns().into_iter().find(|column| column.name == name);
    found.map(Expr::Column).ok_or_else(|| DataFusionError::Plan(format!("the window lacks {name}")))
}

/// The same rows with what is carried of their readings; `None` where they are of no stream.
fn carry(
    plan: &LogicalPlan,
    relations: &Relations,
    carried: Carried<'_>,
) -> Result<Option<LogicalPlan>> {
    let columns = |plan: &LogicalPlan| -> Vec<Expr> {
        plan.schema().columns().into_iter().map(Expr::Column).collect()
    };
    Ok(Some(match plan {
        LogicalPlan::TableScan(scan) => {
            let name = scan.table_name.table();
            let is_stream = scan.table_name.schema() != Some(LATEST);
            if !is_stream || !relations.streams.contains_key(name) {
                return Ok(None);
            }
            let mut all = columns(plan);
            for (from, name) in carried {
                all.push(column(plan, from)?.alias(*name));
            }
            LogicalPlan::Projection(Projection::try_new(all, Arc::new(plan.clone()))?)
        }
        LogicalPlan::Projection(projection) => {
            let Some(input) = carry(&projection.input, relations, carried)? else {
                return Ok(None);
            };
            let mut all = projection.expr.clone();
            for (_, name) in carried {
                all.push(column(&input, name)?);
            }
            LogicalPlan::Projection(Projection::try_new(all, Arc::new(input))?)
        }
        LogicalPlan::Union(union) => {
            let mut inputs = Vec::new();
            for input in &union.inputs {
                let Some(with) = carry(input, relations, carried)? else { return Ok(None) };
                let mut all = columns(input);
                for (_, name) in carried {
                    all.push(column(&with, name)?.alias(*name));
                }
                let all = Projection::try_new(all, Arc::new(with))?;
                inputs.push(Arc::new(LogicalPlan::Projection(all)));
            }
            LogicalPlan::Union(Union::try_new(inputs)?)
        }
        LogicalPlan::Join(join) => {
            let sides = [&join.left, &join.right].map(|side| carry(side, relations, carried));
            let [left, right] = sides;
            let inputs = match (left?, right?) {
                (Some(left), None) => vec![left, join.right.as_ref().clone()],
                (None, Some(right)) => vec![join.left.as_ref().clone(), right],
                (None, None) | (Some(_), Some(_)) => return Ok(None),
            };
            plan.with_new_exprs(plan.expressions(), inputs)?
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Window(_) => {
            let Some(input) = carry(plan.inputs()[0], relations, carried)? else {
                return Ok(None);
            };
            plan.with_new_exprs(plan.expressions(), vec![input])?
        }
        _ => return Ok(None),
    }))
}
