//! weir's SQL: statements, functions, plans.

mod error;
mod statement;

pub use error::{Position, SqlError};
pub use statement::{
    Condition, EventMode, Existing, Handshake, Historical, InsertStatement, Missing, NoData,
    NoDataAction, RuleStatement, Severity, ShowWhat, StartFrom, Statement, SubscriptionOptions,
    SubscriptionStatement, TableColumn, TableStatement, Target,
};

/// Parses statements separated by `;`.
/// # Errors
/// The first thing in the text that is not weir's SQL, with its place and what would be right.
pub fn parse_statements(text: &str) -> Result<Vec<Statement>, SqlError> {
    let statements = datafusion::sql::parser::DFParser::parse_sql(text)
        .map_err(|error| SqlError::new(error.strip_backtrace()))?;
    Ok(statements.into_iter().map(|s| Statement::Query(Box::new(s))).collect())
}
