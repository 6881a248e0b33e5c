//! WHERE over one event: a SQL predicate, evaluated by DataFusion over a batch of one row.
//!
//! Promise: checked at CREATE against the columns that exist then; NULL is not true; an event whose
//! columns do not suit the predicate is not delivered and the attempt log says why. Columns of an
//! event shadow columns of a rule with the same name.

use super::event;
use crate::alarms::{Acknowledged, ConditionState, Transition, TransitionKind};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch,
    RecordBatchOptions, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, SchemaError};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{ColumnarValue, Expr, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Plans kept per predicate: one for each set of types its columns came with.
const PLANS_MAX: usize = 64;

/// Columns every event has, whatever its rule.
pub const EVENT_COLUMNS: [&str; 16] = [
    "id",
    "alarm_id",
    "rule",
    "severity",
    "state",
    "kind",
    "subject",
    "topic",
    "time",
    "active",
    "acknowledged",
    "annunciation",
    "historical",
    "late",
    "reason",
    "operator",
];

/// Why a WHERE cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Neither a column of events nor of a rule or stream.
    #[error("an event has no column '{column}'; it has {columns}")]
    UnknownColumn {
        /// As written.
        column: String,
        /// What there is.
        columns: String,
    },
    /// Not true or false.
    #[error("WHERE has to be true or false; this is {0}")]
    NotBoolean(String),
    /// `now()`, `random()` ...
    #[error("WHERE may not use {0}(): its answer is not a property of the event")]
    Volatile(String),
    /// What DataFusion says.
    #[error("WHERE cannot be evaluated: {0}")]
    Evaluation(String),
}

/// See the module.
pub struct Condition {
    text: String,
    state: Arc<SessionState>,
    columns: Vec<String>,
    plans: HashMap<Vec<DataType>, Arc<dyn PhysicalExpr>>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl Condition {
    /// Checks a predicate against the columns events may have: [`EVENT_COLUMNS`] and `others`.
    /// # Errors
    /// It names another column, is not a predicate, or is not a property of the event.
    pub fn new(text: &str, others: &BTreeMap<String, DataType>) -> Result<Self, ConditionError> {
        let mut condition = Self::unchecked(text);
        let mut fields: Vec<Field> = EVENT_COLUMNS
            .iter()
            .map(|name| Field::new(*name, event_column_type(name), true))
            .collect();
        fields.extend(
            others
                .iter()
                .filter(|(name, _)| !EVENT_COLUMNS.contains(&name.as_str()))
                .map(|(name, data_type)| Field::new(name, data_type.clone(), true)),
        );
        let expr = condition.logical(&Schema::new(fields.clone()))?;
        refuse_volatile(&expr)?;
        condition.columns = referenced(&expr);
        let used = fields.into_iter().filter(|field| condition.columns.contains(field.name()));
        let schema = Schema::new(used.collect::<Vec<_>>());
        let nulls = schema.fields().iter();
        let nulls = nulls.map(|f| arrow::array::new_null_array(f.data_type(), 1)).collect();
        let plan = condition.physical(&schema)?;
        let answer = evaluate(&plan, &one_row(schema, nulls))?;
        match answer.data_type() {
            DataType::Boolean | DataType::Null => Ok(condition),
            other => Err(ConditionError::NotBoolean(other.to_string())),
        }
    }

    /// A predicate that was checked when its subscription was created, with the columns it names.
    pub fn restored(text: &str, columns: Vec<String>) -> Self {
        Self { columns, ..Self::unchecked(text) }
    }

    /// The columns it names.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    fn unchecked(text: &str) -> Self {
        let state = SessionStateBuilder::new().with_default_features().build();
        Self {
            text: text.to_owned(),
            state: Arc::new(state),
            columns: Vec::new(),
            plans: HashMap::new(),
        }
    }

    /// The predicate as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is true of a transition.
    /// # Errors
    /// The event's columns do not suit it.
    pub fn holds(&mut self, transition: &Transition) -> Result<bool, ConditionError> {
        let values = event::values(transition);
        let cells: Vec<ArrayRef> =
            self.columns.iter().map(|name| cell(transition, &values, name)).collect();
        let types: Vec<DataType> = cells.iter().map(|cell| cell.data_type().clone()).collect();
        let fields: Vec<Field> =
            self.columns.iter().zip(&types).map(|(n, t)| Field::new(n, t.clone(), true)).collect();
        let schema = Schema::new(fields);
        let plan = match self.plans.get(&types) {
            Some(plan) => Arc::clone(plan),
            None => {
                let plan = self.physical(&schema)?;
                if self.plans.len() >= PLANS_MAX {
                    self.plans.clear();
                }
                self.plans.insert(types, Arc::clone(&plan));
                plan
            }
        };
        let answer = evaluate(&plan, &one_row(schema, cells))?;
        let answer = answer.as_boolean_opt();
        Ok(answer.is_some_and(|answer| answer.is_valid(0) && answer.value(0)))
    }

    fn logical(&self, schema: &Schema) -> Result<Expr, ConditionError> {
        let schema = DFSchema::try_from(schema.clone()).map_err(evaluation)?;
        self.state.create_logical_expr(&self.text, &schema).map_err(planning)
    }

    fn physical(&self, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>, ConditionError> {
        let expr = self.logical(schema)?;
        let schema = DFSchema::try_from(schema.clone()).map_err(evaluation)?;
        self.state.create_physical_expr(expr, &schema).map_err(planning)
    }
}

fn one_row(schema: Schema, cells: Vec<ArrayRef>) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Arc::new(schema), cells, &options)
        .expect("one cell of its own type for each column")
}

fn evaluate(plan: &Arc<dyn PhysicalExpr>, row: &RecordBatch) -> Result<ArrayRef, ConditionError> {
    let value: ColumnarValue = plan.evaluate(row).map_err(evaluation)?;
    value.into_array(1).map_err(evaluation)
}

fn referenced(expr: &Expr) -> Vec<String> {
    let mut columns: Vec<String> =
        expr.column_refs().into_iter().map(|column| column.name.clone()).collect();
    columns.sort();
    columns
}

fn refuse_volatile(expr: &Expr) -> Result<(), ConditionError> {
    let mut found = None;
    expr.apply(|node| {
        if let Expr::ScalarFunction(call) = node
            && call.func.signature().volatility != Volatility::Immutable
        {
            found = Some(call.func.name().to_owned());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(evaluation)?;
    found.map_or(Ok(()), |name| Err(ConditionError::Volatile(name)))
}

fn evaluation(error: DataFusionError) -> ConditionError {
    ConditionError::Evaluation(error.strip_backtrace())
}

fn planning(error: DataFusionError) -> ConditionError {
    let DataFusionError::SchemaError(schema_error, _) = error.find_root() else {
        return evaluation(error);
    };
    let SchemaError::FieldNotFound { field, valid_fields } = schema_error.as_ref() else {
        return evaluation(error);
    };
    let mut columns: Vec<&str> = valid_fields.iter().map(|field| field.name.as_str()).collect();
    columns.sort_unstable();
    ConditionError::UnknownColumn { column: field.name.clone(), columns: columns.join(", ") }
}

fn event_column_type(name: &str) -> DataType {
    match name {
        "time" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "active" | "acknowledged" | "historical" | "late" => DataType::Boolean,
        _ => DataType::Utf8,
    }
}

/// The value of one column: the event's own, else the key's, else the rule's output.
fn cell(transition: &Transition, values: &Value, name: &str) -> ArrayRef {
    let text = |text: Option<&str>| Arc::new(StringArray::from(vec![text])) as ArrayRef;
    let flag = |flag: bool| Arc::new(BooleanArray::from(vec![flag])) as ArrayRef;
    let state = transition.state;
    match name {
        "id" => text(Some(&transition.id)),
        "alarm_id" => text(transition.alarm_id.as_deref()),
        "rule" => text(Some(&transition.rule)),
        "severity" => text(Some(transition.severity.as_str())),
        "state" => text(Some(transition.kind.as_str())),
        "kind" if transition.kind == TransitionKind::Row => text(Some("row")),
        "kind" => text(Some("transition")),
        "subject" => text(Some(&transition.subject)),
        "topic" => text(transition.topic.as_deref().or_else(|| transition.key.get("topic"))),
        "time" => Arc::new(
            TimestampMicrosecondArray::from(vec![transition.event_time.0]).with_timezone("UTC"),
        ),
        "active" => flag(state.condition == ConditionState::Active),
        "acknowledged" => flag(state.acknowledged == Acknowledged::Yes),
        "annunciation" => text(Some(state.annunciation.as_str())),
        "historical" => flag(transition.historical),
        "late" => flag(transition.late),
        "reason" => text(transition.reason.as_deref()),
        "operator" => text(transition.operator.as_deref()),
        _ => match transition.key.get(name) {
            Some(value) => text(Some(value)),
            None => value_cell(values.get(name).unwrap_or(&Value::Null)),
        },
    }
}

fn value_cell(value: &Value) -> ArrayRef {
    match value {
        Value::Null => Arc::new(NullArray::new(1)),
        Value::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Arc::new(Int64Array::from(vec![whole])),
            None => Arc::new(Float64Array::from(vec![number.as_f64()])),
        },
        Value::String(text) => Arc::new(StringArray::from(vec![text.as_str()])),
        nested @ (Value::Array(_) | Value::Object(_)) => {
            Arc::new(StringArray::from(vec![nested.to_string()]))
        }
    }
}

#[cfg(test)]
mod tests;
