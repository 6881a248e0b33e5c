//! Questions: `SELECT`, `WITH`, `VALUES`, and `EXPLAIN [ANALYZE]` of one.

use crate::sql::error::{Position, SqlError};
use crate::sql::refusals;
use crate::sql::statement::Statement;
use crate::sql::tokens::{self, DIALECT, NESTING_MAX, Piece};
use datafusion::common::DataFusionError;
use datafusion::sql::parser::{
    DFParserBuilder, ExplainStatement, Statement as DataFusionStatement,
};
use datafusion::sql::sqlparser::ast::{self, SetExpr};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Whether these tokens are a question, or an EXPLAIN of what should be one.
pub(super) fn starts(tokens: &[TokenWithSpan]) -> bool {
    let word = |i: usize, words: &[&str]| {
        tokens.get(i).is_some_and(|t| words.iter().any(|word| tokens::is_word(&t.token, word)))
    };
    let parenthesis = |i: usize| tokens.get(i).is_some_and(|t| t.token == Token::LParen);
    if word(0, &["explain"]) {
        return !word(1, &["rule", "alarm", "watermark"]) && tokens.len() > 1;
    }
    word(0, &["select", "with", "values"]) || parenthesis(0)
}

/// Parses a question; everything else that DataFusion would take is refused.
pub(super) fn parse(piece: Piece) -> Result<Statement, SqlError> {
    let end = piece.end;
    let start = piece.tokens.first().map_or(end, |t| tokens::position(t.span.start));
    let mut parser = DFParserBuilder::new(piece.tokens)
        .with_dialect(&DIALECT)
        .with_recursion_limit(NESTING_MAX)
        .build()
        .map_err(|error| from_datafusion(&error, end))?;
    let mut statement = parser.parse_statement().map_err(|error| from_datafusion(&error, end))?;
    let rest = parser.parser.peek_token();
    if rest.token != Token::EOF {
        return Err(SqlError::new(format!(
            "expected the end of the statement, or ';', found {rest}"
        ))
        .at(tokens::position(rest.span.start)));
    }
    check(&mut statement, start)?;
    Ok(Statement::Query(Box::new(statement)))
}

fn check(statement: &mut DataFusionStatement, at: Position) -> Result<(), SqlError> {
    match statement {
        DataFusionStatement::Explain(ExplainStatement { statement, .. }) => {
            match statement.as_mut() {
                DataFusionStatement::Explain(_) => Err(no_question().at(at)),
                inner => check(inner, at),
            }
        }
        DataFusionStatement::Statement(statement) => match statement.as_mut() {
            ast::Statement::Query(query) => {
                check_reads_only(&query.body).map_err(|error| error.at(at))?;
                refusals::check_query(query)
            }
            _ => Err(no_question().at(at)),
        },
        _ => Err(no_question().at(at)),
    }
}

fn no_question() -> SqlError {
    SqlError::new("only questions can be explained: SELECT, WITH or VALUES")
        .with_hint("EXPLAIN RULE name shows how a rule is run")
}

/// WITH can lead an INSERT, and SELECT can write INTO.
fn check_reads_only(body: &SetExpr) -> Result<(), SqlError> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => {
            Err(SqlError::new("SELECT INTO makes no table here")
                .with_hint("CREATE TABLE name (...), then INSERT INTO name SELECT ..."))
        }
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => Ok(()),
        SetExpr::Query(query) => check_reads_only(&query.body),
        SetExpr::SetOperation { left, right, .. } => {
            check_reads_only(left)?;
            check_reads_only(right)
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(SqlError::new("a question does not change anything")
                .with_hint("write INSERT INTO table WITH ... SELECT ... to fill a table"))
        }
    }
}

fn from_datafusion(error: &DataFusionError, end: Position) -> SqlError {
    match error {
        DataFusionError::SQL(inner, _) => tokens::from_parser(inner, end),
        DataFusionError::Diagnostic(_, inner) => from_datafusion(inner, end),
        other => SqlError::from_datafusion(other, ""),
    }
}
