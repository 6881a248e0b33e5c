//! `lag(x)` and `rate(x)` in the plan of a rule.

use super::Branch;
use super::walk::{Result, WalkError};
use crate::sql::SqlError;
use crate::sql::functions::along;
use crate::stream::along::{AlongFunction, AlongStage};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// The functions of a plan node and what they are of, if it is one of these.
pub(super) fn functions_of(plan: &LogicalPlan) -> Option<Vec<(AlongFunction, &Expr)>> {
    let LogicalPlan::Window(window) = plan else { return None };
    let call = |expr| {
        let (which, params) = along::of(expr)?;
        let by_topic = matches!(params.partition_by.as_slice(),
            [Expr::Column(column)] if column.name == "topic");
        by_topic.then(|| Some((which, params.args.first()?))).flatten()
    };
    window.window_expr.iter().map(call).collect()
}

/// Puts the functions behind what happened to the rows so far.
pub(super) fn put(
    branches: &mut [Branch],
    functions: &[(AlongFunction, Arc<dyn PhysicalExpr>)],
    schema: &arrow::datatypes::SchemaRef,
) -> Result<()> {
    for branch in branches {
        if branch.before_session.is_some() {
            return Err(above_a_session());
        }
        if branch.along.is_some() {
            return Err(SqlError::not_yet(
                "lag or rate of a lag or rate",
                "make two steps of it: CREATE STREAM x TOPIC '...' AS SELECT ..., rate(y) AS r FROM ..., and lag(r) over x",
            )
            .into());
        }
        branch.along = Some(AlongStage {
            before: std::mem::take(&mut branch.pipeline),
            functions: functions.to_vec(),
            schema: Arc::clone(schema),
        });
    }
    Ok(())
}

/// They go along a series, whatever session a reading is in.
fn above_a_session() -> WalkError {
    SqlError::new("lag and rate stand inside SESSION, not above it")
        .with_hint(
            "write FROM SESSION((SELECT room, time, rate(x) AS r FROM stream), DESCRIPTOR(time), key => DESCRIPTOR(room), gap => ...)",
        )
        .into()
}
