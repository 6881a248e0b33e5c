//! weir's SQL: statements, functions, plans.
//!
//! Promise: one dialect for rules and questions, DataFusion's, unforked; weir's own statements are
//! read around it, token by token, and what is not taken is refused with the sentence that fixes it.

mod duration;
mod error;
pub mod functions;
mod parse;
pub mod plan;
pub mod planner;
mod refusals;
mod statement;
mod suggest;
mod sugar;
mod tokens;
mod windows;

pub use duration::{parse_bytes, parse_duration, parse_durations};
pub use error::{Position, SqlError};
pub use statement::{
    Condition, EventMode, Existing, Handshake, Historical, InsertStatement, IntoStream, Missing,
    NoData, NoDataAction, RuleStatement, Severity, ShowWhat, StartFrom, Statement,
    SubscriptionOptions, SubscriptionStatement, TableColumn, TableStatement, Target, TestOver,
    TestStatement, TestedRule,
};
pub use suggest::did_you_mean;

/// Parses statements separated by `;`.
/// # Errors
/// The first thing in the text that is not weir's SQL, with its place and what would be right.
pub fn parse_statements(text: &str) -> Result<Vec<Statement>, SqlError> {
    let statements = parse_script(text)?;
    Ok(statements.into_iter().map(|(statement, _)| statement).collect())
}

/// As [`parse_statements`], each with its own text, without what separates it from its neighbours.
/// # Errors
/// As there.
pub fn parse_script(text: &str) -> Result<Vec<(Statement, String)>, SqlError> {
    let parsed = || -> Result<Vec<(Statement, String)>, SqlError> {
        tokens::split(text)?
            .into_iter()
            .map(|piece| {
                let own_text = piece.text.clone();
                let statement = parse::statement(piece)?;
                Ok((placed_in(statement, &own_text)?, own_text))
            })
            .collect()
    };
    parsed().map_err(|error| error.within(text))
}

/// A rule's or subscription's tree outlives the text around it, so its places are those of its own.
fn placed_in(statement: Statement, own_text: &str) -> Result<Statement, SqlError> {
    match statement {
        Statement::CreateRule(_) | Statement::CreateSubscription(_) => {
            tokens::split(own_text)?.pop().map_or(Ok(statement), parse::statement)
        }
        Statement::TestRule(TestStatement { rule: TestedRule::Written(rule), over }) => {
            let placed = tokens::split(&rule.text)?.pop().map(parse::statement).transpose()?;
            let rule = match placed {
                Some(Statement::CreateRule(placed)) => Box::new(placed),
                _ => rule,
            };
            Ok(Statement::TestRule(TestStatement { rule: TestedRule::Written(rule), over }))
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests;
