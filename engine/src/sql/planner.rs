//! One way to plan SQL, for rules and for questions.
//!
//! Promise: both see the same functions, windows and defaults; only where the rows come from differs.

use super::functions;
use super::functions::coverage::Counted;
use super::windows::{WindowPlanner, expose_tables};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
use datafusion::logical_expr::expr::NullTreatment;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr};
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, SortExpr};
use datafusion::prelude::{SessionConfig, lit};
use datafusion::sql::parser::Statement as ParsedStatement;
use std::sync::Arc;

/// DataFusion's defaults plus weir's functions, window functions and `first` / `last`.
pub fn session_state(config: SessionConfig) -> SessionStateBuilder {
    let builder = SessionStateBuilder::new_with_default_features().with_config(config);
    configure(builder)
}

/// Adds weir's functions, window functions and `first` / `last` to a builder with default features.
pub fn configure(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    builder.scalar_functions().get_or_insert_with(Vec::new).extend(functions::all());
    let aggregates = builder.aggregate_functions().get_or_insert_with(Vec::new);
    aggregates.extend(functions::coverage::all());
    aggregates.extend([
        Arc::new(AggregateUDF::clone(&first_value_udaf()).with_aliases(["first"])),
        Arc::new(AggregateUDF::clone(&last_value_udaf()).with_aliases(["last"])),
    ]);
    builder.window_functions().get_or_insert_with(Vec::new).extend(functions::along::all());
    let planners = builder.expr_planners().get_or_insert_with(Vec::new);
    planners.insert(0, Arc::new(EventTimeOrder));
    builder.with_relation_planners(vec![Arc::new(WindowPlanner)])
}

/// Plans a parsed query; tables named inside a window function are found too.
/// # Errors
/// What DataFusion's planner refuses.
pub async fn plan(state: &SessionState, mut statement: ParsedStatement) -> Result<LogicalPlan> {
    expose_in(&mut statement);
    state.statement_to_plan(statement).await
}

fn expose_in(statement: &mut ParsedStatement) {
    match statement {
        ParsedStatement::Statement(statement) => expose_tables(statement),
        ParsedStatement::Explain(explain) => expose_in(&mut explain.statement),
        _ => {}
    }
}

/// `first(x)` and `last(x)` without ORDER BY are the non-NULL value with the smallest or largest
/// (time, append time, offset).
#[derive(Debug)]
struct EventTimeOrder;

impl ExprPlanner for EventTimeOrder {
    fn plan_aggregate(&self, expr: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        if Counted::of(expr.func.name()).is_some() && expr.args.is_empty() {
            // Every aggregate has an argument; this one says nothing.
            return Ok(PlannerResult::Original(RawAggregateExpr { args: vec![lit(true)], ..expr }));
        }
        let ours = matches!(expr.func.name(), "first_value" | "last_value");
        let relation = expr
            .args
            .first()
            .and_then(|arg| arg.column_refs().into_iter().next().cloned())
            .and_then(|column| column.relation);
        if !ours || !expr.order_by.is_empty() {
            return Ok(PlannerResult::Original(expr));
        }
        let order_by = ["time", "received_at", "offset"]
            .map(|name| {
                let column = datafusion::common::Column::new(relation.clone(), name);
                SortExpr::new(Expr::Column(column), true, false)
            })
            .to_vec();
        let null_treatment = expr.null_treatment.or(Some(NullTreatment::IgnoreNulls));
        Ok(PlannerResult::Original(RawAggregateExpr { order_by, null_treatment, ..expr }))
    }
}
