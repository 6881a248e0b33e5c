//! Result rows: their keys and their verdicts, over a whole batch, or row by row where one fails.

use super::super::outputs::texts;
use crate::alarms::{KeyValue, Suppression, Verdict};
use crate::sabotage::{self, Fault};
use crate::sql::plan::{Key, RulePlan};
use arrow::array::{Array, BooleanArray, RecordBatch};
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use std::sync::Arc;

/// Key values of each row of an output batch; `None` where the key is the reading's topic.
pub(super) fn keys(plan: &RulePlan, batch: &RecordBatch) -> Option<Vec<Vec<KeyValue>>> {
    let Key::Columns(columns) = &plan.key else { return None };
    let values: Vec<Vec<KeyValue>> =
        columns.iter().map(|(_, index)| texts(batch.column(*index))).collect();
    let rows = 0..batch.num_rows();
    Some(rows.map(|row| values.iter().map(|column| column[row].clone()).collect()).collect())
}

/// Verdict of each row, or the error that makes it unknown.
pub(super) fn verdicts(
    plan: &RulePlan,
    batch: &RecordBatch,
) -> Vec<std::result::Result<Verdict, String>> {
    match verdicts_at_once(plan, batch) {
        Ok(verdicts) => verdicts.into_iter().map(Ok).collect(),
        Err(_) => (0..batch.num_rows())
            .map(|row| match verdicts_at_once(plan, &batch.slice(row, 1)) {
                Ok(verdict) => Ok(verdict[0]),
                Err(error) => Err(error.strip_backtrace()),
            })
            .collect(),
    }
}

fn verdicts_at_once(plan: &RulePlan, batch: &RecordBatch) -> Result<Vec<Verdict>> {
    let Some(raise) = &plan.raise else { return Ok(vec![Verdict::Band; batch.num_rows()]) };
    let raise = truth(raise, batch)?;
    let clear = plan.clear.as_ref().map(|clear| truth(clear, batch)).transpose()?;
    Ok((0..batch.num_rows())
        .map(|row| {
            if !raise.is_valid(row) && !sabotage::is(Fault::NullIsFalse) {
                return Verdict::Unknown;
            }
            if raise.value(row) {
                return Verdict::Raise;
            }
            match &clear {
                None => Verdict::Clear,
                Some(clear) if !clear.is_valid(row) => Verdict::Unknown,
                Some(clear) if clear.value(row) => Verdict::Clear,
                Some(_) => Verdict::Band,
            }
        })
        .collect())
}

/// What SUPPRESS WHEN says of each row, or the error that makes it say nothing.
pub(super) fn suppressions(
    plan: &RulePlan,
    batch: &RecordBatch,
) -> Vec<std::result::Result<Suppression, String>> {
    let Some(suppress) = &plan.suppress else { return vec![Ok(Suppression::No); batch.num_rows()] };
    let of = |truth: &BooleanArray, row| match truth.is_valid(row) && truth.value(row) {
        true => Suppression::Yes,
        false => Suppression::No,
    };
    let rows = 0..batch.num_rows();
    match truth(suppress, batch) {
        Ok(truth) => rows.map(|row| Ok(of(&truth, row))).collect(),
        Err(_) => rows
            .map(|row| match truth(suppress, &batch.slice(row, 1)) {
                Ok(truth) => Ok(of(&truth, 0)),
                Err(error) => Err(error.strip_backtrace()),
            })
            .collect(),
    }
}

fn truth(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    let value = expr.evaluate(batch)?.into_array(batch.num_rows())?;
    Ok(as_boolean_array(&value)?.clone())
}
