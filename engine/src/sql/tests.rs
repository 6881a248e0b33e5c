//! What is taken and what is refused; cases are data.

mod accepted;
mod planning;
mod refused;
mod soup;

use super::{SqlError, Statement, parse_statements};

/// The one statement of a text.
fn one(text: &str) -> Statement {
    let mut statements = parse_statements(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0)
}

/// What is wrong with a text.
fn refusal(text: &str) -> SqlError {
    match parse_statements(text) {
        Err(error) => error,
        Ok(statements) => panic!("taken: {text}\n{statements:?}"),
    }
}
