//! `TEST RULE`: a rule over the log, before it is armed.

use super::rule;
use crate::sql::error::SqlError;
use crate::sql::statement::{
    Existing, RuleStatement, Statement, TestOver, TestStatement, TestedRule,
};
use crate::sql::tokens::Cursor;
use datafusion::sql::sqlparser::tokenizer::Token;

const SHAPE: &str = "write TEST RULE name OVER INTERVAL '7' DAY, or TEST RULE (CREATE RULE ... AS SELECT ...) OVER INTERVAL '7' DAY for a rule that is not there yet";
const OVER: &str = "write OVER INTERVAL '7' DAY, or OVER (FROM TIMESTAMP '2026-03-01T00:00:00Z' TO TIMESTAMP '2026-03-08T00:00:00Z'); without OVER it is everything the log has";

/// `TEST RULE name | (CREATE RULE ...) [OVER ...]`
pub(super) fn test(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["test"])?;
    cursor.expect(&["rule"]).map_err(|error| error.with_hint(SHAPE))?;
    let rule = match cursor.eat_token(&Token::LParen) {
        true => TestedRule::Written(Box::new(written(cursor)?)),
        false => TestedRule::Named(name(cursor)?),
    };
    let over = if cursor.eat(&["over"]) { Some(over(cursor)?) } else { None };
    Ok(Statement::TestRule(TestStatement { rule, over }))
}

fn name(cursor: &mut Cursor) -> Result<String, SqlError> {
    if cursor.sees(&["create"]) {
        return Err(SqlError::new("a rule that is not there yet is written in parentheses")
            .with_hint(SHAPE)
            .at(cursor.here()));
    }
    cursor.name("the name of the rule").map_err(|error| error.with_hint(SHAPE))
}

/// Takes `CREATE [OR REPLACE] RULE ... )`; its text is what stands between the parentheses.
fn written(cursor: &mut Cursor) -> Result<RuleStatement, SqlError> {
    if !cursor.sees(&["create"]) {
        return Err(cursor.expected("CREATE RULE").with_hint(SHAPE));
    }
    let from = cursor.here();
    cursor.expect(&["create"])?;
    let existing = match cursor.eat(&["or", "replace"]) {
        true => Existing::Replace,
        false => Existing::Refuse,
    };
    let Statement::CreateRule(mut rule) = rule::create(cursor, existing)? else {
        return Err(cursor.expected("CREATE RULE").with_hint(SHAPE));
    };
    let to = cursor.here();
    cursor.expect_token(&Token::RParen)?;
    rule.text = cursor.text_between(from, to);
    Ok(rule)
}

fn over(cursor: &mut Cursor) -> Result<TestOver, SqlError> {
    let at = cursor.here();
    if !cursor.eat_token(&Token::LParen) {
        let last = cursor.duration().map_err(|error| error.with_hint(OVER))?;
        if last.is_zero() {
            return Err(SqlError::new("a test needs a time longer than nothing")
                .with_hint(OVER)
                .at(at));
        }
        return Ok(TestOver::Last(last));
    }
    cursor.expect(&["from"]).map_err(|error| error.with_hint(OVER))?;
    let from = rule::timestamp(cursor)?;
    let to_at = cursor.here();
    let to = if cursor.eat(&["to"]) { Some(rule::timestamp(cursor)?) } else { None };
    if to.is_some_and(|to| to <= from) {
        return Err(SqlError::new("the time of the test ends before it begins")
            .with_hint("write the earlier time behind FROM")
            .at(to_at));
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(TestOver::Between { from, to })
}
