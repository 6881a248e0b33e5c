//! What comes between planning a question and reading for it. What is answered stands in tests/answers.

use super::*;
use crate::session::test_room::{create_stream, session};
use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use weir_ingest::decode::Decoder;
use weir_ingest::model::AppendTime;

const CLIMATE: &str = "CREATE STREAM climate (temperature DOUBLE) TOPIC '/room/{room}' \
    WITH (partitions = 1, interval = '30 seconds', expected = 'sensors')";
const SENSORS: &str =
    "CREATE TABLE sensors (topic TEXT PRIMARY KEY); INSERT INTO sensors VALUES ('/room/a')";
const TEXT: &str = "SELECT room, coverage() AS coverage \
    FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
    GROUP BY room, window_start, window_end";

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_is_heard_first_after_a_question_was_planned_is_of_its_group() {
    let (session, values) = (session(), Parameters::none());
    session.run(SENSORS, &values).await.unwrap();
    create_stream(&session, CLIMATE);
    let Some(Statement::Query(statement)) = parse_statements(TEXT).unwrap().pop() else {
        panic!("a question")
    };
    let (state, question) = (session.state(), Asked::new(TEXT, &values));
    let (plan, _) = session.planned(&state, *statement, &question).await.unwrap();

    let mut decoder = Decoder::new(session.sources.log.streams());
    let reading = br#"{"topic": "/room/a", "time": 1030, "temperature": 20}"#;
    decoder.push_json(reading, 0, AppendTime(1_000_000_000));
    for rows in decoder.finish().rows {
        let appended = rows.stream.partitions()[0].append(rows.batch);
        tokio::task::block_in_place(|| appended.wait()).unwrap();
    }

    let plan = session.physical(&state, &plan, &question, None).await.unwrap();
    let task = Arc::clone(&session.task);
    let rows = datafusion::physical_plan::collect(plan, task).await.unwrap();
    let coverage = rows[0].column_by_name("coverage").unwrap().as_primitive::<Float64Type>();
    assert_eq!(coverage.iter().collect::<Vec<_>>(), [Some(0.5)]);
}
