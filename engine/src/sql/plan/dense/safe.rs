//! Expressions that have a value, or NULL, for every row.
//!
//! Promise: what is said to be safe never fails; what is not said to be so may be safe all the same.

use crate::sql::functions::grid::is_grid_function;
use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NegativeExpr,
    NotExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::sync::Arc;

/// Whether `expr` over rows of `schema` cannot fail.
pub(super) fn cannot_fail(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    this_cannot(expr, schema) && expr.children().into_iter().all(|child| cannot_fail(child, schema))
}

fn this_cannot(expr: &Arc<dyn PhysicalExpr>, schema: &Schema) -> bool {
    let is_double = || matches!(expr.data_type(schema), Ok(DataType::Float64));
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return compares(*binary.op()) || (calculates(*binary.op()) && is_double());
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        let from = cast.expr().data_type(schema);
        return is_double() && from.is_ok_and(|from| from.is_numeric() && !from.is_decimal());
    }
    if let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() {
        return is_grid_function(call.fun());
    }
    expr.downcast_ref::<NegativeExpr>().is_some_and(|_| is_double())
        || expr.downcast_ref::<Column>().is_some()
        || expr.downcast_ref::<Literal>().is_some()
        || expr.downcast_ref::<NotExpr>().is_some()
        || expr.downcast_ref::<IsNullExpr>().is_some()
        || expr.downcast_ref::<IsNotNullExpr>().is_some()
        || expr.downcast_ref::<InListExpr>().is_some()
}

fn compares(op: Operator) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    matches!(op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// On DOUBLE these give infinity or NaN where a whole number would fail.
fn calculates(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide)
}
