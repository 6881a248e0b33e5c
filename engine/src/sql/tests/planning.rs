//! What DataFusion finds wrong while planning, in weir's words.

use crate::sql::plan::{Relations, plan_rule};
use crate::sql::{Position, SqlError, Statement, parse_statements};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// A session with one table `climate`.
fn session() -> SessionContext {
    let schema = Arc::new(Schema::new(vec![
        Field::new("room", DataType::Utf8, true),
        Field::new("temperature", DataType::Float64, true),
    ]));
    let table = MemTable::try_new(schema, vec![vec![]]).expect("an empty table");
    let session = SessionContext::new();
    session.register_table("climate", Arc::new(table)).expect("a free name");
    session
}

#[test]
fn a_slip_in_a_question_is_named_with_its_place_and_what_is_near() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let session = session();
    for (text, message, help, place) in [
        (
            "SELECT temprature FROM climate",
            "there is no column 'temprature'",
            "did you mean 'temperature'?",
            Some((1, 8)),
        ),
        (
            "SELECT room,\n c.temprature FROM climate c",
            "there is no column 'temprature'",
            "did you mean 'temperature'?",
            Some((2, 4)),
        ),
        (
            "SELECT room FROM climat",
            "there is no stream or table 'climat'",
            "SHOW STREAMS",
            Some((1, 18)),
        ),
        (
            "SELECT abss(temperature) FROM climate",
            "there is no function 'abss'",
            "did you mean 'abs'?",
            Some((1, 8)),
        ),
        (
            "SELECT room FROM TUMBEL(climate)",
            "there is no table function 'TUMBEL'",
            "did you mean TUMBLE?",
            Some((1, 18)),
        ),
    ] {
        let error = runtime.block_on(session.sql(text)).expect_err(text);
        let error = SqlError::from_datafusion(&error, text);
        assert_eq!(error.message, message);
        let more = format!("{:?} {:?}", error.detail, error.hint);
        assert!(more.contains(help), "{text}: {error}");
        let place = place.map(|(line, column)| Position { line, column });
        assert_eq!(error.position, place, "{text}: {error}");
    }
}

#[test]
fn places_of_a_rule_are_those_of_its_own_text() {
    let text = "SHOW RULES;\n-- the rule\nCREATE RULE r AS\n  SELECT room FROM nowhere;";
    let statements = parse_statements(text).expect("statements");
    let Some(Statement::CreateRule(rule)) = statements.last() else { panic!("a rule") };
    let error = plan_rule(rule, &Relations::default()).expect_err("no such stream");
    assert_eq!(error.position, Some(Position { line: 2, column: 20 }), "{error}");
    assert_eq!(error.line.as_deref(), Some("  SELECT room FROM nowhere"));
}
