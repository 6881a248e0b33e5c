//! Values given beside a text, bound in place of `$name`.
//!
//! Promise: a value becomes one literal of the parsed statement; it is never part of the text, so it
//! cannot become SQL.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, Expr, Value, ValueWithSpan, visit_expressions_mut};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_engine::sql::SqlError;

/// Values by name, without the `$`; positional ones are called 1, 2, 3.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parameters {
    values: BTreeMap<String, serde_json::Value>,
}

/// Why values cannot be parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Neither object nor array.
    #[error("'params' is an object of names and values, or an array of values")]
    Shape,
    /// A value that no literal is.
    #[error("the parameter '{0}' is an array or an object; give a string, number, boolean or null")]
    Nested(String),
}

impl Parameters {
    /// No parameters.
    pub fn none() -> Self {
        Self::default()
    }

    /// From `{"building": "41"}` or `["41"]`.
    /// # Errors
    /// The value has another shape.
    pub fn from_json(value: serde_json::Value) -> Result<Self, ParameterError> {
        let values: BTreeMap<_, _> = match value {
            serde_json::Value::Null => BTreeMap::new(),
            serde_json::Value::Object(values) => values.into_iter().collect(),
            serde_json::Value::Array(values) => {
                (1..).zip(values).map(|(n, value): (usize, _)| (n.to_string(), value)).collect()
            }
            _ => return Err(ParameterError::Shape),
        };
        match values.iter().find(|(_, value)| value.is_array() || value.is_object()) {
            Some((name, _)) => Err(ParameterError::Nested(name.clone())),
            None => Ok(Self { values }),
        }
    }

    /// With one more value: a string, a number, a boolean or null.
    pub fn set(&mut self, name: &str, value: serde_json::Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// `text` with these values, and with no others.
    pub(crate) fn key(&self, text: &str) -> String {
        let values = serde_json::to_string(&self.values).unwrap_or_default();
        format!("{text}\0{values}")
    }

    /// Puts the values in place of `$name` in `statement`.
    /// # Errors
    /// The statement names one that is not given.
    pub(crate) fn bind(&self, statement: &mut Statement) -> Result<(), SqlError> {
        match statement {
            Statement::Statement(statement) => self.bind_expressions(statement.as_mut()),
            Statement::Explain(explain) => self.bind(&mut explain.statement),
            _ => Ok(()),
        }
    }

    /// As [`Self::bind`], for a query.
    pub(crate) fn bind_expressions<T: ast::VisitMut>(&self, ast: &mut T) -> Result<(), SqlError> {
        let outcome = visit_expressions_mut(ast, |expr| match self.literal(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(literal)) => {
                *expr = literal;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        });
        match outcome {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn literal(&self, expr: &Expr) -> Result<Option<Expr>, SqlError> {
        let Expr::Value(ValueWithSpan { value: Value::Placeholder(placeholder), span }) = expr
        else {
            return Ok(None);
        };
        let name = placeholder.trim_start_matches(['$', ':', '@']);
        let Some(value) = self.values.get(name) else { return Err(self.missing(name)) };
        let value = match value {
            serde_json::Value::Bool(value) => Value::Boolean(*value),
            serde_json::Value::Number(number) => Value::Number(number.to_string(), false),
            serde_json::Value::String(text) => Value::SingleQuotedString(text.clone()),
            // Nested values are refused in `from_json`.
            _ => Value::Null,
        };
        Ok(Some(Expr::Value(ValueWithSpan { value, span: *span })))
    }

    fn missing(&self, name: &str) -> SqlError {
        let given: Vec<_> = self.values.keys().map(|name| format!("${name}")).collect();
        let error = SqlError::new(format!("the parameter '${name}' has no value"))
            .with_hint(format!("give it in \"params\": {{\"{name}\": ...}}"));
        match given.is_empty() {
            true => error,
            false => error.with_detail(format!("given are: {}", given.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ParameterError, Parameters};
    use datafusion::sql::parser::DFParser;
    use serde_json::json;

    fn bound(sql: &str, params: serde_json::Value) -> Result<String, String> {
        let mut statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
        let params = Parameters::from_json(params).unwrap();
        params.bind(&mut statement).map_err(|error| error.message)?;
        Ok(statement.to_string())
    }

    #[test]
    fn a_value_becomes_a_literal_and_never_sql() {
        let sql = "SELECT 1 FROM t WHERE building = $building";
        let quoted = bound(sql, json!({"building": "41' OR 'x' = 'x"})).unwrap();
        assert_eq!(quoted, "SELECT 1 FROM t WHERE building = '41'' OR ''x'' = ''x'");
    }

    #[test]
    fn numbers_booleans_and_null_keep_their_type() {
        let sql = "SELECT $a, $b, $c, $d";
        let params = json!({"a": -3, "b": 2.5, "c": true, "d": null});
        assert_eq!(bound(sql, params).unwrap(), "SELECT -3, 2.5, true, NULL");
    }

    #[test]
    fn positional_values_are_numbered_from_one() {
        assert_eq!(bound("SELECT $2, $1", json!(["x", 7])).unwrap(), "SELECT 7, 'x'");
    }

    #[test]
    fn explain_binds_what_it_explains() {
        assert_eq!(bound("EXPLAIN SELECT $x", json!({"x": 1})).unwrap(), "EXPLAIN SELECT 1");
    }

    #[test]
    fn a_parameter_without_a_value_is_named() {
        let error = bound("SELECT $building", json!({"floor": 3})).unwrap_err();
        assert_eq!(error, "the parameter '$building' has no value");
    }

    #[test]
    fn nested_values_are_refused() {
        let refused = Parameters::from_json(json!({"x": [1]})).unwrap_err();
        assert_eq!(refused, ParameterError::Nested("x".to_owned()));
        assert_eq!(Parameters::from_json(json!(3)).unwrap_err(), ParameterError::Shape);
    }
}
