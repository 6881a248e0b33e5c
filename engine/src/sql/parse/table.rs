//! `CREATE TABLE` and `INSERT INTO`: reference tables.

use super::options::column_type;
use crate::sql::error::SqlError;
use crate::sql::refusals;
use crate::sql::statement::{InsertStatement, Statement, TableColumn, TableStatement};
use crate::sql::tokens::Cursor;
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn create(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["table"])?;
    let existing = super::if_not_exists(cursor);
    let name = cursor.name("the name of the table")?;
    if cursor.sees(&["as"]) || cursor.sees(&["from"]) {
        return Err(SqlError::new("a table is created with its columns")
            .with_hint(
                "CREATE TABLE t (column TYPE, ...), then INSERT INTO t SELECT ... or VALUES ...",
            )
            .at(cursor.here()));
    }
    let at = cursor.here();
    let (mut columns, primary_key) = columns(cursor)?;
    for key in &primary_key {
        match columns.iter_mut().find(|column| column.name == *key) {
            Some(column) => column.nullable = false,
            None => {
                return Err(SqlError::new(format!(
                    "PRIMARY KEY names '{key}', which is no column"
                ))
                .at(at));
            }
        }
    }
    Ok(Statement::CreateTable(TableStatement {
        name,
        existing,
        columns,
        primary_key,
        text: cursor.text(),
    }))
}

/// Takes `(column TYPE [NOT NULL] [PRIMARY KEY], ..., [PRIMARY KEY (...)])`.
fn columns(cursor: &mut Cursor) -> Result<(Vec<TableColumn>, Vec<String>), SqlError> {
    cursor.expect_token(&Token::LParen)?;
    let mut columns: Vec<TableColumn> = Vec::new();
    let mut primary_key: Vec<String> = Vec::new();
    loop {
        let at = cursor.here();
        if cursor.sees(&["primary", "key"]) {
            let key = table_key(cursor)?;
            set_key(&mut primary_key, key).map_err(|error| error.at(at))?;
        } else {
            let (column, key) = column(cursor)?;
            if columns.iter().any(|c| c.name == column.name) {
                return Err(SqlError::new(format!(
                    "the column '{}' is declared twice",
                    column.name
                ))
                .at(at));
            }
            if key {
                set_key(&mut primary_key, vec![column.name.clone()])
                    .map_err(|error| error.at(at))?;
            }
            columns.push(column);
        }
        if !cursor.eat_token(&Token::Comma) {
            cursor.expect_token(&Token::RParen)?;
            break;
        }
    }
    if columns.is_empty() {
        return Err(SqlError::new("a table needs at least one column").at(cursor.here()));
    }
    Ok((columns, primary_key))
}

fn table_key(cursor: &mut Cursor) -> Result<Vec<String>, SqlError> {
    cursor.expect(&["primary", "key"])?;
    cursor.names_in_parentheses("a column of the key")
}

fn set_key(key: &mut Vec<String>, found: Vec<String>) -> Result<(), SqlError> {
    if !key.is_empty() {
        return Err(SqlError::new("a table has one PRIMARY KEY")
            .with_hint("for a key of several columns write PRIMARY KEY (a, b) after them"));
    }
    *key = found;
    Ok(())
}

fn column(cursor: &mut Cursor) -> Result<(TableColumn, bool), SqlError> {
    let at = cursor.here();
    let name = cursor.name("the name of a column")?;
    if name == "valid_from" {
        return Err(SqlError::new("every row of a table has a valid_from; it is not declared")
            .with_hint(
                "leave it out; INSERT INTO t (column, ..., valid_from) VALUES (..., TIMESTAMP \
                 '2026-01-01T00:00:00Z') says from which event time a row holds",
            )
            .at(at));
    }
    let column_type = column_type(cursor)?;
    let (mut nullable, mut key) = (true, false);
    loop {
        if cursor.eat(&["not", "null"]) {
            nullable = false;
        } else if cursor.eat(&["primary", "key"]) {
            key = true;
        } else if !cursor.eat(&["null"]) {
            return Ok((TableColumn { name, column_type, nullable }, key));
        }
    }
}

pub(super) fn insert(cursor: &mut Cursor) -> Result<Statement, SqlError> {
    cursor.expect(&["insert", "into"])?;
    let table = cursor.name("the name of the table")?;
    let columns = if cursor.sees_token(&Token::LParen) {
        cursor.names_in_parentheses("the name of a column")?
    } else {
        Vec::new()
    };
    if !["values", "select", "with"].iter().any(|word| cursor.sees(&[word])) {
        return Err(cursor.expected("VALUES or SELECT"));
    }
    let mut source = cursor.query()?;
    refusals::check_query(&mut source)?;
    Ok(Statement::Insert(InsertStatement { table, columns, source, text: cursor.text() }))
}
