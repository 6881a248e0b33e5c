//! Takes a logical plan apart: branches below the aggregate, the aggregate, what stands above it.

use super::dense::Coverage;
use super::nested::{self, Inner, has_aggregate, is_inner};
use super::session::SessionNode;
use super::windows::{
    column_name, group_columns, lacks_window, of_hop, refuse_window_columns, window_of,
};
use super::{Branch, LATEST, LatestPlan, Relations, Shape, SqlError, along, coverage, joins};
use crate::stream::pipeline::{Pipeline, Stage};
use crate::stream::window::session::{SessionAggregation, Sessions};
use crate::stream::window::{Aggregate, Aggregation, GroupColumn, Grouping};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
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
    pub(super) shape: Shape,
    /// GROUP BY columns other than the window's.
    pub(super) group: Option<Vec<String>>,
    pub(super) tables: Vec<String>,
    /// The SELECT inside its window, which has windows, too.
    pub(super) inner: Option<Inner>,
    pub(super) latest: Vec<LatestPlan>,
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

pub(super) type Result<T> = std::result::Result<T, WalkError>;

pub(super) fn walk(
    state: &SessionState,
    relations: &Relations,
    plan: &LogicalPlan,
    coverage: Coverage,
) -> Result<Walked> {
    refuse_volatile(plan)?;
    of_a_question(state, relations, plan, coverage)
}

/// As [`walk`], for a question: it may ask what time it is.
pub(super) fn of_a_question(
    state: &SessionState,
    relations: &Relations,
    plan: &LogicalPlan,
    coverage: Coverage,
) -> Result<Walked> {
    let (streams, tables) = (Vec::new(), BTreeSet::new());
    let mut walker =
        Walker { state, relations, coverage, streams, tables, inner: None, latest: Vec::new() };
    let mut above = Vec::new();
    let mut node = plan;
    while has_aggregate(node) {
        match node {
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
                above.push(node);
                node = node.inputs()[0];
            }
            LogicalPlan::Aggregate(aggregate) => {
                let group = group_columns(aggregate)?;
                let branches = walker.branches(&aggregate.input)?;
                let mut grouping = walker.grouping(aggregate)?;
                for node in above.into_iter().rev() {
                    grouping.after.extend(walker.stage_of(node)?);
                }
                let shape = walker.shape(aggregate, grouping, &branches)?;
                return Ok(walker.finish(branches, shape, Some(group)));
            }
            other => return Err(unsupported(other)),
        }
    }
    let branches = walker.branches(plan)?;
    let many = |node: &LogicalPlan| match node {
        LogicalPlan::Unnest(_) => true,
        LogicalPlan::Window(_) => along::functions_of(node).is_none(),
        _ => false,
    };
    if plan.exists(|node| Ok(many(node)))? {
        return Err(lacks_window("a rule over HOP or SESSION needs a GROUP BY"));
    }
    Ok(walker.finish(branches, Shape::PerReading, None))
}

pub(super) struct Walker<'a> {
    state: &'a SessionState,
    pub(super) relations: &'a Relations,
    coverage: Coverage,
    pub(super) streams: Vec<Arc<StreamDefinition>>,
    pub(super) tables: BTreeSet<String>,
    inner: Option<Inner>,
    pub(super) latest: Vec<LatestPlan>,
}

impl Walker<'_> {
    fn finish(self, branches: Vec<Branch>, shape: Shape, group: Option<Vec<String>>) -> Walked {
        let tables = self.tables.into_iter().collect();
        Walked {
            streams: self.streams,
            branches,
            shape,
            group,
            tables,
            inner: self.inner,
            latest: self.latest,
        }
    }

    pub(super) fn branches(&mut self, plan: &LogicalPlan) -> Result<Vec<Branch>> {
        if is_inner(plan) {
            return self.inner(plan);
        }
        match plan {
            LogicalPlan::TableScan(scan) if scan.table_name.schema() == Some(LATEST) => {
                Err(joins::latest_alone(scan.table_name.table()))
            }
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
            LogicalPlan::Window(window) => match SessionNode::of(plan) {
                Some(session) => self.session(&session, window),
                None => self.along(window, plan),
            },
            other => Err(unsupported(other)),
        }
    }

    /// A SELECT with windows below the windows.
    fn inner(&mut self, plan: &LogicalPlan) -> Result<Vec<Branch>> {
        let walked = walk(self.state, self.relations, plan, Coverage::NotRequired)?;
        let inner = Inner::new(walked, plan)?;
        if self.inner.is_some() || !self.streams.is_empty() {
            return Err(nested::not_alone());
        }
        self.streams.push(Arc::clone(inner.stream()));
        let branch = inner.branch();
        self.inner = Some(inner);
        Ok(vec![branch])
    }

    fn scan(&mut self, name: &str) -> Result<Vec<Branch>> {
        if self.inner.is_some() {
            return Err(nested::not_alone());
        }
        let Some(definition) = self.relations.streams.get(name) else {
            return Err(SqlError::new(format!("'{name}' is not a stream"))
                .with_detail("a rule reads at least one stream; reference tables are joined to it")
                .with_hint("SHOW STREAMS lists the streams")
                .into());
        };
        let stream = self.place_of(&Arc::clone(definition));
        let pipeline = Pipeline::default();
        Ok(vec![Branch { stream, along: None, before_session: None, pipeline }])
    }

    /// The position of a stream among those that the rule reads.
    pub(super) fn place_of(&mut self, definition: &Arc<StreamDefinition>) -> usize {
        let known = self.streams.iter().position(|s| s.name() == definition.name());
        known.unwrap_or_else(|| {
            self.streams.push(Arc::clone(definition));
            self.streams.len() - 1
        })
    }

    fn along(&mut self, window: &logical_expr::Window, plan: &LogicalPlan) -> Result<Vec<Branch>> {
        let Some(functions) = along::functions_of(plan) else { return Err(unsupported(plan)) };
        let schema = window.input.schema();
        let functions =
            functions.into_iter().map(|(which, of)| Ok((which, self.physical(of, schema)?)));
        let functions = functions.collect::<Result<Vec<_>>>()?;
        let mut branches = self.branches(&window.input)?;
        along::put(&mut branches, &functions, window.schema.inner())?;
        Ok(branches)
    }

    /// A row does not know its session's edges before that closes.
    fn session(
        &mut self,
        session: &SessionNode<'_>,
        window: &logical_expr::Window,
    ) -> Result<Vec<Branch>> {
        let input = session.input.schema();
        let columns = input.columns().into_iter().map(Expr::Column);
        let edges = window.window_expr.iter().map(|_| Expr::Literal(ScalarValue::Null, None));
        let expressions = columns.chain(edges).map(|e| self.physical(&e, input));
        let expressions = expressions.collect::<Result<Vec<_>>>()?;
        let schema = Arc::clone(window.schema.inner());
        let mut branches = self.branches(session.input)?;
        for branch in &mut branches {
            branch.before_session = Some(std::mem::take(&mut branch.pipeline));
            let (expressions, schema) = (expressions.clone(), Arc::clone(&schema));
            branch.pipeline.push(Stage::Project { expressions, schema });
        }
        Ok(branches)
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

    pub(super) fn physical(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        let context = PhysicalPlanningContext::default();
        Ok(create_physical_expr(expr, schema, self.state.execution_props(), &context)?)
    }

    fn shape(
        &mut self,
        aggregate: &logical_expr::Aggregate,
        mut grouping: Grouping,
        branches: &[Branch],
    ) -> Result<Shape> {
        let Some(session) = SessionNode::find(&aggregate.input, branches)? else {
            let grid = match &mut self.inner {
                Some(inner) if is_inner(&aggregate.input) => {
                    inner.at_window_ends();
                    nested::same_windows(&aggregate.input, inner)
                        .ok_or_else(nested::needs_a_window)?
                }
                _ => window_of(&aggregate.input)?,
            };
            if grid.step() < grid.panes_per_window() {
                refuse_window_columns(aggregate, "HOP")?;
            }
            let path = super::dense::path(&self.streams, branches, &grouping, self.coverage);
            let census = coverage::census(&self.streams, branches, &grouping, self.coverage)?;
            grouping.counted = coverage::take_counted(&mut grouping);
            return Ok(Shape::Windowed(Arc::new(Aggregation { grid, grouping, path, census })));
        };
        refuse_window_columns(aggregate, "SESSION")?;
        let source = session.input.schema();
        let key = session.key_in_group(aggregate)?;
        let aggregation = Arc::new(SessionAggregation {
            gap_us: session.gap_us,
            key: key.iter().map(|key| self.physical(key, source)).collect::<Result<_>>()?,
            source: Arc::clone(source.inner()),
            input: Arc::clone(aggregate.input.schema().inner()),
            grouping,
        });
        // Whether its columns can be kept is said here, not when it runs.
        Sessions::new(Arc::clone(&aggregation))?;
        Ok(Shape::Sessions(aggregation))
    }

    fn grouping(&self, aggregate: &logical_expr::Aggregate) -> Result<Grouping> {
        let input = aggregate.input.schema();
        let schema = aggregate.schema.inner();
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
        Ok(Grouping {
            key_schema: Arc::new(schema.project(&keys).map_err(DataFusionError::from)?),
            group,
            aggregates: aggregate.aggr_expr.iter().map(lower).collect::<Result<Vec<_>>>()?,
            counted: Vec::new(),
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
    let hint = match plan {
        LogicalPlan::Aggregate(_) => {
            "make two steps of it: CREATE STREAM x TOPIC '...' AS the inner SELECT, and the rule over x"
        }
        LogicalPlan::Window(_) => {
            "lag(x) and rate(x) without OVER go along each series; everything else stands in a question"
        }
        _ => {
            "a rule filters, joins reference tables, and aggregates over one TUMBLE, HOP or SESSION"
        }
    };
    SqlError::new(format!("a rule cannot use {what}")).with_hint(hint).into()
}
