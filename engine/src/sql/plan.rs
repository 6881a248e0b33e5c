//! A rule's SELECT and clauses as pipelines over batches.
//!
//! Promise: DataFusion plans the text, unforked; what is here only takes the plan apart into the steps a
//! batch goes through, and refuses with a sentence what cannot be evaluated batch by batch.

mod asked; // by a question
mod coverage;
mod dense;
mod along;
mod derivation;
mod joins;
mod nested;
mod session;
mod walk;
mod windows;

pub use asked::{count_sensors, counts_sensors};
pub use derivation::Derivation;
pub use nested::Nested;

use super::planner;
use super::{RuleStatement, SqlError};
use crate::stream::along::AlongStage;
use crate::stream::latest::index::latest_schema;
use crate::stream::pipeline::Pipeline;
use crate::stream::window::session::SessionAggregation;
use crate::stream::window::{Aggregation, Grouping, Path, SeriesPlan};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::MemorySchemaProvider;
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{StreamDefinition, reading};

/// The schema of the latest values.
const LATEST: &str = "latest";

/// What a rule may read.
#[derive(Debug, Clone, Default)]
pub struct Relations {
    /// The streams, by name.
    pub streams: BTreeMap<String, Arc<StreamDefinition>>,
    /// The columns of the reference tables, by name.
    pub tables: BTreeMap<String, SchemaRef>,
}

/// A planned rule.
#[derive(Debug, Clone)]
pub struct RulePlan {
    /// The streams it reads; an `Input` names them by position.
    pub streams: Vec<Arc<StreamDefinition>>,
    /// What happens to the rows of each: one branch for each place in FROM.
    pub branches: Vec<Branch>,
    /// Per reading or windowed.
    pub shape: Shape,
    /// The columns of the SELECT.
    pub output: SchemaRef,
    /// Which of them are the key of an alarm.
    pub key: Key,
    /// RAISE WHEN over the output columns.
    pub raise: Option<Arc<dyn PhysicalExpr>>,
    /// CLEAR WHEN over the output columns; absent: RAISE is false.
    pub clear: Option<Arc<dyn PhysicalExpr>>,
    /// SUPPRESS WHEN over the output columns.
    pub suppress: Option<Arc<dyn PhysicalExpr>>,
    /// REQUIRE COVERAGE: rows of a window with less are unknown.
    pub coverage: Option<f64>,
    /// The reference tables it joins.
    pub tables: Vec<String>,
    /// The streams whose latest values it looks up.
    pub latest: Vec<LatestPlan>,
    /// What makes its rows into readings of a stream.
    pub into: Option<Arc<Derivation>>,
    /// The plan as text, for EXPLAIN RULE.
    pub explained: String,
    /// Of a rule over windows of windows, its two steps; its streams and branches are those of the inner
    /// one, all else is the outer one's.
    pub nested: Option<Arc<Nested>>,
    /// Tells plans apart: of the rule's text, of how it is planned, and of its streams.
    pub fingerprint: String,
}

/// A stream whose latest values are looked up.
#[derive(Debug, Clone)]
pub struct LatestPlan {
    /// Position in [`RulePlan::streams`].
    pub stream: usize,
    /// By join, what it is joined on: the keys of these.
    pub joins: Vec<Arc<SeriesPlan>>,
}

/// The rows of one stream on their way to the output, or to the window.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Position in [`RulePlan::streams`].
    pub stream: usize,
    /// `lag` and `rate`, and what happens to them before.
    pub along: Option<AlongStage>,
    /// What happens to them before SESSION reads them; `None` where there is none.
    pub before_session: Option<Pipeline>,
    /// What happens to them (after these).
    pub pipeline: Pipeline,
}

/// How a rule is evaluated.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Each row that comes out of a branch is judged.
    PerReading,
    /// Rows are aggregated; each row of a closed window is judged.
    Windowed(Arc<Aggregation>),
    /// Rows are aggregated over sessions; each row of a closed session is judged.
    Sessions(Arc<SessionAggregation>),
}

impl Shape {
    /// GROUP BY and aggregates, if it has windows.
    pub fn grouping(&self) -> Option<&Grouping> {
        match self {
            Self::PerReading => None,
            Self::Windowed(aggregation) => Some(&aggregation.grouping),
            Self::Sessions(aggregation) => Some(&aggregation.grouping),
        }
    }
}

impl RulePlan {
    /// The same rule on the general path: for a test or a measurement of one path against the other.
    #[must_use]
    pub fn on_the_general_path(mut self) -> Self {
        if let Shape::Windowed(aggregation) = &self.shape {
            let path = Path::General("it was asked for".to_owned());
            let aggregation = Aggregation { path, ..Aggregation::clone(aggregation) };
            self.shape = Shape::Windowed(Arc::new(aggregation));
        }
        self
    }
}

/// What tells alarms of one rule apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// These output columns, by name and position.
    Columns(Vec<(String, usize)>),
    /// The topic path of the reading.
    Topic,
}

/// Plans a rule.
/// # Errors
/// What is wrong with its text, with place and hint where known.
pub fn plan_rule(rule: &RuleStatement, relations: &Relations) -> Result<RulePlan, SqlError> {
    let state = state(relations);
    let located = |error: DataFusionError| SqlError::from_datafusion(&error, &rule.text);
    let query = ast::Statement::Query(rule.query.clone());
    let statement = ParsedStatement::Statement(Box::new(query));
    let logical = futures::executor::block_on(planner::plan(&state, statement)).map_err(located)?;
    let logical = prepare(&state, logical).map_err(located)?;
    let coverage = match rule.coverage {
        Some(_) => dense::Coverage::Required,
        None => dense::Coverage::NotRequired,
    };
    let mut walked =
        walk::walk(&state, relations, &logical, coverage).map_err(|error| match error {
            walk::WalkError::Refused(error) => error,
            walk::WalkError::Planner(error) => located(error),
        })?;
    coverage::check(rule, &walked.shape)?;
    let inner = walked.inner.take();
    if !walked.latest.is_empty() && walked.branches.iter().any(|branch| branch.along.is_some()) {
        return Err(SqlError::not_yet(
            "lag and rate together with latest values",
            "make two steps of it: CREATE STREAM x TOPIC '...' AS SELECT ..., rate(y) AS r FROM ..., and the rule over x",
        ));
    }
    let output: SchemaRef = Arc::clone(logical.schema().inner());
    let condition =
        |expr: &ast::Expr| boolean(&state, expr, &output).map_err(|e| e.within(&rule.text));
    let plan = RulePlan {
        key: key(rule, &walked, &output)?,
        into: derivation::of(rule, &output)?.map(Arc::new),
        raise: rule.raise.as_ref().map(|c| condition(&c.expr)).transpose()?,
        clear: rule.clear.as_ref().map(|c| condition(&c.expr)).transpose()?,
        suppress: rule.suppress.as_ref().map(condition).transpose()?,
        coverage: rule.coverage.map(|percent| f64::from(percent) / 100.0),
        fingerprint: String::new(),
        nested: None,
        streams: walked.streams,
        branches: walked.branches,
        shape: walked.shape,
        tables: walked.tables,
        latest: walked.latest,
        explained: logical.display_indent().to_string(),
        output,
    };
    let plan = match inner {
        Some(inner) => inner.over(plan),
        None => plan,
    };
    Ok(RulePlan { fingerprint: fingerprint(rule, &logical, &plan), ..plan })
}

fn fingerprint(rule: &RuleStatement, logical: &LogicalPlan, plan: &RulePlan) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(rule.text.as_bytes());
    hasher.update(format!("{}{:?}", logical.display_indent(), logical.schema()).as_bytes());
    if matches!(plan.shape, Shape::Sessions(_)) {
        // What a checkpoint keeps of a reading in a session: what aggregates read, each once.
        hasher.update(b"inputs once");
    }
    for stream in &plan.streams {
        let options = stream.options();
        let what = (stream.name(), stream.template(), options.partitions, options.lateness);
        hasher.update(format!("{what:?}").as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn state(relations: &Relations) -> SessionState {
    let schema = MemorySchemaProvider::new();
    let tables = relations
        .streams
        .iter()
        .map(|(name, stream)| (name, reading::table_schema(stream)))
        .chain(relations.tables.iter().map(|(name, schema)| (name, Arc::clone(schema))));
    for (name, columns) in tables {
        let table = Arc::new(EmptyTable::new(columns));
        schema.register_table(name.clone(), table).expect("memory takes any table");
    }
    let latest = MemorySchemaProvider::new();
    for (name, stream) in &relations.streams {
        let table = Arc::new(EmptyTable::new(latest_schema(stream)));
        latest.register_table(name.clone(), table).expect("memory takes any table");
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema("public", Arc::new(schema)).expect("memory takes any schema");
    catalog.register_schema(LATEST, Arc::new(latest)).expect("memory takes any schema");
    let catalogs = MemoryCatalogProviderList::new();
    datafusion::catalog::CatalogProviderList::register_catalog(
        &catalogs,
        "datafusion".to_owned(),
        Arc::new(catalog),
    );
    // Otherwise the session would put an empty catalog in place of this one.
    let config = session_config().with_create_default_catalog_and_schema(false);
    planner::session_state(config).with_catalog_list(Arc::new(catalogs)).build()
}

/// The settings every plan of weir is made under.
pub fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new();
    config.options_mut().execution.time_zone = Some("UTC".to_owned());
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    config
}

// Types are coerced, constants folded and equalities found; nothing is moved, so that the plan keeps
// the shape of the text.
fn prepare(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let config = state.config_options();
    let plan = state.analyzer().execute_and_check(plan, config, |_, _| {})?;
    let optimizer = Optimizer::with_rules(vec![
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
    ]);
    optimizer.optimize(plan, &OptimizerContext::new(), |_, _| {})
}

fn boolean(
    state: &SessionState,
    expr: &ast::Expr,
    output: &SchemaRef,
) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    let text = expr.to_string();
    let failed = |error: DataFusionError| SqlError::from_datafusion(&error, &text);
    let schema = DFSchema::try_from(output.as_ref().clone()).map_err(failed)?;
    let parsed = ast::ExprWithAlias { expr: expr.clone(), alias: None };
    let logical = state.create_logical_expr_from_sql_expr(parsed, &schema).map_err(failed)?;
    let physical = state.create_physical_expr(logical, &schema).map_err(failed)?;
    match physical.data_type(output).map_err(failed)? {
        DataType::Boolean => Ok(physical),
        other => Err(SqlError::new(format!("'{text}' is {other}, not a condition"))
            .with_hint("write a comparison, for example abs(avg_temp - 20) > 2")),
    }
}

fn key(rule: &RuleStatement, walked: &walk::Walked, output: &SchemaRef) -> Result<Key, SqlError> {
    let names: Vec<String> = match (&rule.key, &walked.group) {
        (Some(named), Some(group)) => {
            check_key_is_group(named, group)?;
            named.clone()
        }
        (Some(named), None) => named.clone(),
        (None, Some(group)) => group.clone(),
        (None, None) => return Ok(Key::Topic),
    };
    if rule.into.is_some() || (rule.key.is_none() && names.is_empty()) {
        return Ok(Key::Columns(Vec::new()));
    }
    let columns = names.into_iter().map(|name| match output.column_with_name(&name) {
        Some((index, _)) => Ok((name, index)),
        None => Err(SqlError::new(format!("the SELECT does not return the key column '{name}'"))
            .with_detail("an alarm's key is made of columns of the SELECT")
            .with_hint(format!("add {name} to the SELECT list"))),
    });
    columns.collect::<Result<Vec<_>, _>>().map(Key::Columns)
}

fn check_key_is_group(named: &[String], group: &[String]) -> Result<(), SqlError> {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    if sorted(named) == sorted(group) {
        return Ok(());
    }
    Err(SqlError::new(format!(
        "KEY ({}) differs from the GROUP BY columns ({})",
        named.join(", "),
        group.join(", ")
    ))
    .with_detail("a window gives one row for each group, so the group is the key")
    .with_hint(
        "leave KEY out, or name all GROUP BY columns other than window_start and window_end",
    ))
}
