//! What two questions of the same text, one overtaking the other, leave behind. What is answered stands in
//! tests/answers.

use super::*;
use crate::session::Session;
use crate::session::test_room::{create_stream, session};
use weir_engine::sql::{Statement, parse_statements, planner};
use weir_ingest::model::{Column, ColumnType};

const CLIMATE: &str = "CREATE STREAM climate (temperature DOUBLE) TOPIC '/room/{room}'";
const TEXT: &str = "SELECT * FROM latest.climate";

/// The plan of the text as things stand, before and after it is optimised.
async fn planned(session: &Session) -> (LogicalPlan, LogicalPlan) {
    let Some(Statement::Query(statement)) = parse_statements(TEXT).unwrap().pop() else {
        panic!("a question")
    };
    let state = session.state();
    let said = planner::plan(&state, *statement).await.unwrap();
    let optimised = state.optimize(&said).unwrap();
    (said, optimised)
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_plan_is_run_is_kept_beside_the_plan_that_it_was_made_of_and_no_other() {
    let session = session();
    create_stream(&session, CLIMATE);
    let (log, plans, state) = (&session.sources.log, &session.plans, session.state());
    let (said, optimised) = planned(&session).await;
    let before = plans.keep(TEXT, &said, &optimised).unwrap();
    let physical = state.query_planner().create_physical_plan(&optimised, &state).await.unwrap();

    let co2 = Column { name: "co2".to_owned(), column_type: ColumnType::Double, unit: None };
    log.add_column("climate", co2).unwrap();
    let (said, optimised) = planned(&session).await;
    let after = plans.keep(TEXT, &said, &optimised).unwrap();
    plans.keep_physical(TEXT, &before, &physical);
    let (found, _) = plans.of(TEXT, log).unwrap();
    assert!(matches!(found, Kept::Logical(_)), "it lacks the column");

    let physical = state.query_planner().create_physical_plan(&optimised, &state).await.unwrap();
    plans.keep_physical(TEXT, &after, &physical);
    let Some((Kept::Physical(found), _)) = plans.of(TEXT, log) else { panic!("it runs again") };
    assert!(found.schema().field_with_name("co2").is_ok());
}
