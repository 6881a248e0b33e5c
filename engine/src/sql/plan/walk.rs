//! Takes a logical plan apart: branches below the aggregate, the aggregate, what stands above it.

use super::{Branch, Relations, SqlError};
use crate::sql::functions::grid::{self, GridFunction};
use crate::stream::grid::Grid;
use crate::stream::lookup::{Lookup, Side, Unmatched};
use crate::stream::pipeline::{Pipeline, Stage};
use crate::stream::window::{Aggregate, Aggregation, GroupColumn};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, JoinType, NullEquality, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{self, Expr, LogicalPlan, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::physical_expr::create_physical_expr;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_ingest::model::StreamDefinition;

/// What came out.
pub(super) struct Walked {
    pub(super) streams: Vec<Arc<StreamDefinition>>,
    pub(super) branches: Vec<Branch>,
    pub(super) aggregation: Option<Aggregation>,
    /// GROUP BY columns other than the window's.
    pub(super) group: Option<Vec<String>>,
    pub(super) tables: Vec<String>,
}

/// Why it could not be done.
pub(super) enum WalkError {
    /// weir does not take it.
    Refused(SqlError),
    /// DataFusion does not.
    Planner(DataFusionError),
}

impl From<DataFusionError> for WalkError {
    fn from(error: DataFusionError) -> Self {
        Self::Planner(error)
    }
}

impl From<SqlError> for WalkError {
    fn from(error: SqlError) -> Self {
        Self::Refused(error)
    }
}

type Result<T> = std::result::Result<T, WalkError>;

pub(super) fn walk(
    state: &SessionState,
    relations: &Relations,
    plan: &LogicalPlan,
) -> Result<Walked> {
    refuse_volatile(plan)?;
    let mut walker = Walker { state, relations, streams: Vec::new(), tables: BTreeSet::new() };
    let mut above = Vec::new();
    let mut node = plan;
    while contains_aggregate(node) {
        match node {
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
                above.push(node);
                node = node.inputs()[0];
            }
            LogicalPlan::Aggregate(aggregate) => {
                let group = group_columns(aggregate)?;
                let branches = walker.branches(&aggregate.input)?;
                let mut aggregation = walker.aggregation(aggregate)?;
                for node in above.into_iter().rev() {
                    aggregation.after.extend(walker.stage_of(node)?);
                }
                return Ok(walker.finish(branches, Some(aggregation), Some(group)));
            }
            other => return Err(unsupported(other)),
        }
    }
    let branches = walker.branches(plan)?;
    Ok(walker.finish(branches, None, None))
}

fn contains_aggregate(plan: &LogicalPlan) -> bool {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Aggregate(_)))).unwrap_or(false)
}

struct Walker<'a> {
    state: &'a SessionState,
    relations: &'a Relations,
    streams: Vec<Arc<StreamDefinition>>,
    tables: BTreeSet<String>,
}

impl Walker<'_> {
    fn finish(
        self,
        branches: Vec<Branch>,
        aggregation: Option<Aggregation>,
        group: Option<Vec<String>>,
    ) -> Walked {
        let tables = self.tables.into_iter().collect();
        Walked { streams: self.streams, branches, aggregation, group, tables }
    }

    fn branches(&mut self, plan: &LogicalPlan) -> Result<Vec<Branch>> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan.table_name.table()),
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
                let mut branches = self.branches(plan.inputs()[0])?;
                if let Some(stage) = self.stage_of(plan)? {
                    branches.iter_mut().for_each(|branch| branch.pipeline.push(stage.clone()));
                }
                Ok(branches)
            }
            LogicalPlan::Union(union) => {
                let mut branches = Vec::new();
                for input in &union.inputs {
                    branches.extend(self.branches(input)?);
                }
                Ok(branches)
            }
            LogicalPlan::Join(join) => self.join(join),
            // HOP: a rule adds a row to its pane instead, once for all windows.
            LogicalPlan::Unnest(unnest) => self.branches(&unnest.input),
            other => Err(unsupported(other)),
        }
    }

    fn scan(&mut self, name: &str) -> Result<Vec<Branch>> {
        let Some(definition) = self.relations.streams.get(name) else {
            return Err(SqlError::new(format!("'{name}' is not a stream"))
                .with_detail("a rule reads at least one stream; reference tables are joined to it")
                .with_hint("SHOW STREAMS lists the streams")
                .into());
        };
        let stream = match self.streams.iter().position(|s| s.name() == name) {
            Some(position) => position,
            None => {
                self.streams.push(Arc::clone(definition));
                self.streams.len() - 1
            }
        };
        Ok(vec![Branch { stream, pipeline: Pipeline::default() }])
    }

    fn stage_of(&self, plan: &LogicalPlan) -> Result<Option<Stage>> {
        Ok(match plan {
            LogicalPlan::Projection(projection) => {
                let input = projection.input.schema();
                let expressions = projection
                    .expr
                    .iter()
                    .map(|e| match of_hop(e) {
                        true => self.physical(&Expr::Literal(ScalarValue::Null, None), input),
                        false => self.physical(e, input),
                    })
                    .collect::<Result<Vec<_>>>()?;
                let schema = Arc::clone(projection.schema.inner());
                Some(Stage::Project { expressions, schema })
            }
            LogicalPlan::Filter(filter) => {
                Some(Stage::Filter(self.physical(&filter.predicate, filter.input.schema())?))
            }
            LogicalPlan::SubqueryAlias(_) => None,
            other => return Err(unsupported(other)),
        })
    }

    fn physical(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let context = PhysicalPlanningContext::default();
        Ok(create_physical_expr(expr, schema, self.state.execution_props(), &context)?)
    }

    fn join(&mut self, join: &logical_expr::Join) -> Result<Vec<Branch>> {
        let left_table = self.table_of(&join.left);
        let right_table = self.table_of(&join.right);
        let (side, table, readings, looked_up) = match (left_table, right_table) {
            (None, Some(table)) => (Side::Left, table, &join.left, &join.right),
            (Some(table), None) => (Side::Right, table, &join.right, &join.left),
            (Some(_), Some(_)) => {
                return Err(SqlError::new("a rule's join needs a stream on one side").into());
            }
            (None, None) => {
                return Err(SqlError::new("not yet: joins of two streams")
                    .with_hint("join a stream with a reference table, or UNION ALL the streams")
                    .into());
            }
        };
        let unmatched = match (join.join_type, side) {
            (JoinType::Inner, _) => Unmatched::Drop,
            (JoinType::Left, Side::Left) | (JoinType::Right, Side::Right) => Unmatched::Keep,
            (other, _) => {
                return Err(SqlError::new(format!("a rule cannot use a {other} JOIN here"))
                    .with_hint("write stream JOIN table or stream LEFT JOIN table")
                    .into());
            }
        };
        if join.on.is_empty() || join.null_equality != NullEquality::NullEqualsNothing {
            return Err(SqlError::new("a reference table is joined on equality")
                .with_hint("write JOIN table t ON t.column = stream.column")
                .into());
        }
        let on = join.on.iter().map(|(left, right)| {
            let (reading, looked) = if side == Side::Left { (left, right) } else { (right, left) };
            Ok((
                self.physical(reading, readings.schema())?,
                self.physical(looked, looked_up.schema())?,
            ))
        });
        let lookup = Lookup {
            on: on.collect::<Result<Vec<_>>>()?,
            filter: join.filter.as_ref().map(|f| self.physical(f, &join.schema)).transpose()?,
            table_schema: Arc::clone(looked_up.schema().inner()),
            table: table.clone(),
            unmatched,
            side,
            schema: Arc::clone(join.schema.inner()),
        };
        self.tables.insert(table);
        let mut branches = self.branches(readings)?;
        branches.iter_mut().for_each(|b| b.pipeline.push(Stage::Lookup(lookup.clone())));
        Ok(branches)
    }

    fn table_of(&self, plan: &LogicalPlan) -> Option<String> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.table_of(&alias.input),
            LogicalPlan::TableScan(scan) => {
                let name = scan.table_name.table();
                self.relations.tables.contains_key(name).then(|| name.to_owned())
            }
            _ => None,
        }
    }

    fn aggregation(&self, aggregate: &logical_expr::Aggregate) -> Result<Aggregation> {
        let input = aggregate.input.schema();
        let schema = aggregate.schema.inner();
        let grid = window_of(&aggregate.input)?;
        if grid.step() < grid.panes_per_window() {
            refuse_window_columns(aggregate)?;
        }
        let (mut group, mut keys) = (Vec::new(), Vec::new());
        for (position, expr) in aggregate.group_expr.iter().enumerate() {
            group.push(match column_name(expr) {
                Some("window_start") => GroupColumn::WindowStart,
                Some("window_end") => GroupColumn::WindowEnd,
                _ => {
                    keys.push(position);
                    GroupColumn::Key(self.physical(expr, input)?)
                }
            });
        }
        let context = PhysicalPlanningContext::default();
        let lower = |expr: &Expr| -> Result<Aggregate> {
            let lowered = LoweredAggregateBuilder::new(
                expr,
                input,
                input.as_arrow(),
                self.state.execution_props(),
                &context,
            )
            .build()?;
            Ok(Aggregate { function: lowered.aggregate, filter: lowered.filter })
        };
        Ok(Aggregation {
            grid,
            key_schema: Arc::new(schema.project(&keys).map_err(DataFusionError::from)?),
            group,
            aggregates: aggregate.aggr_expr.iter().map(lower).collect::<Result<Vec<_>>>()?,
            schema: Arc::clone(schema),
            after: Pipeline::default(),
        })
    }
}

fn refuse_volatile(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::ScalarFunction(call) = e
                    && call.func.signature().volatility != Volatility::Immutable
                    && call.func.name() != "local_time"
                {
                    found = Some(call.func.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match found {
        None => Ok(()),
        Some(name) => Err(SqlError::new(format!("a rule cannot call {name}()"))
            .with_detail("the same readings must give the same alarms, today and in a replay")
            .with_hint("use the event time: time, window_start or window_end")
            .into()),
    }
}

fn group_columns(aggregate: &logical_expr::Aggregate) -> Result<Vec<String>> {
    let names: Vec<String> = aggregate
        .group_expr
        .iter()
        .map(|expr| match expr {
            Expr::Column(column) => column.name.clone(),
            Expr::Alias(alias) => alias.name.clone(),
            other => other.schema_name().to_string(),
        })
        .collect();
    for needed in ["window_start", "window_end"] {
        if !names.iter().any(|name| name == needed) {
            return Err(SqlError::new(format!("GROUP BY lacks {needed}"))
                .with_detail("a rule's state must be bounded: a group ends when its window ends")
                .with_hint(
                    "write FROM TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) ... \
                     GROUP BY ..., window_start, window_end",
                )
                .into());
        }
    }
    Ok(names.into_iter().filter(|n| n != "window_start" && n != "window_end").collect())
}

/// Finds the windows under an aggregate; all branches must have the same.
fn window_of(plan: &LogicalPlan) -> Result<Grid> {
    let mut found: Vec<Grid> = Vec::new();
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Some((GridFunction::StartOf | GridFunction::StartsOf, grid)) = grid::of(e) {
                    found.push(grid);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    found.dedup();
    match found.as_slice() {
        [window] => Ok(*window),
        [] => Err(SqlError::new("GROUP BY needs a window")
            .with_detail("a rule's state must be bounded: a group ends when its window ends")
            .with_hint(
                "write FROM TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) ... \
                 GROUP BY ..., window_start, window_end",
            )
            .into()),
        _ => Err(SqlError::new("a rule aggregates over one window")
            .with_hint("use the same lengths in every TUMBLE or HOP, or make two rules")
            .into()),
    }
}

/// Whether `expr` is an edge of HOP's windows, which a row has many of.
fn of_hop(expr: &Expr) -> bool {
    let edge = grid::of(unaliased(expr));
    matches!(edge, Some((GridFunction::StartsOf | GridFunction::EndsAt, _)))
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn column_name(expr: &Expr) -> Option<&str> {
    match unaliased(expr) {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// Below the aggregate of a HOP a row does not stand in one window yet.
fn refuse_window_columns(aggregate: &logical_expr::Aggregate) -> Result<()> {
    let mut used = None;
    let mut look = |expr: &Expr| {
        if column_name(expr).is_none() && !of_hop(expr) {
            let edges = ["window_start", "window_end"];
            let columns = expr.column_refs();
            used = used.or(columns.iter().find_map(|c| edges.into_iter().find(|e| c.name == *e)));
        }
    };
    aggregate.group_expr.iter().chain(&aggregate.aggr_expr).for_each(&mut look);
    aggregate.input.apply(|node| {
        if !matches!(node, LogicalPlan::Unnest(_)) {
            node.apply_expressions(|expr| {
                look(expr);
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    match used {
        None => Ok(()),
        Some(name) => {
            Err(SqlError::new(format!("a rule cannot use {name} of a HOP before its GROUP BY"))
                .with_detail("a reading lies in several windows, and is taken once for all of them")
                .with_hint("use it in the SELECT list, in HAVING or in RAISE WHEN")
                .into())
        }
    }
}

fn unsupported(plan: &LogicalPlan) -> WalkError {
    let what = match plan {
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Distinct(_) => "DISTINCT",
        LogicalPlan::Window(_) => "OVER (...)",
        LogicalPlan::Subquery(_) => "a subquery in an expression",
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => "a SELECT without a stream",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        LogicalPlan::Aggregate(_) => "an aggregate of an aggregate",
        LogicalPlan::Join(_) => "a JOIN after the window",
        LogicalPlan::Union(_) => "a UNION ALL after the window",
        _ => "this form of SELECT",
    };
    SqlError::new(format!("a rule cannot use {what}"))
        .with_hint("a rule filters, joins reference tables, and aggregates over one TUMBLE or HOP")
        .into()
}
