//! A query cannot exceed its budget (Q2).

use crate::building::Building;
use weir_queries::session::{Parameters, QueryError, QueryLimits};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_is_stopped() {
    let building = Building::with_limits(QueryLimits { seconds_max: 1, ..QueryLimits::default() });
    let long =
        "SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b";
    assert_eq!(building.refused(long).await, QueryError::Time { seconds: 1 });
    assert!(building.ask("SELECT 1 AS one").await.contains('1'), "the next query runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_needs_too_much_memory_is_refused() {
    let limits = QueryLimits { memory_bytes_max: 1024 * 1024, ..QueryLimits::default() };
    let building = Building::with_limits(limits);
    let sort = "SELECT value FROM generate_series(1, 1000000) ORDER BY value * 7919 % 1000003";
    let error = building.refused(sort).await;
    assert!(matches!(&error, QueryError::Sql(e) if e.message.contains("memory")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sensors_that_a_question_counts_are_within_its_memory() {
    let limits = QueryLimits { memory_bytes_max: 256 * 1024, ..QueryLimits::default() };
    let building = Building::with_limits(limits);
    building.rows("CREATE TABLE sensors (topic TEXT PRIMARY KEY)").await.unwrap();
    let sensors = (0..2_000).map(|n| format!("('/gauge/{n}')")).collect::<Vec<_>>().join(", ");
    building.rows(&format!("INSERT INTO sensors VALUES {sensors}")).await.unwrap();
    building.create(
        "CREATE STREAM gauges (bar DOUBLE) TOPIC '/gauge/{gauge}' \
         WITH (interval = '1 minute', expected = 'sensors')",
    );
    let counts = "SELECT coverage() AS c \
        FROM TUMBLE(gauges, DESCRIPTOR(time), size => INTERVAL '1' HOUR) \
        GROUP BY window_start, window_end";
    let error = building.refused(counts).await;
    assert!(matches!(&error, QueryError::Sql(e) if e.message.contains("memory")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_the_number_allowed_are_turned_away_until_one_ends() {
    let building =
        Building::with_limits(QueryLimits { concurrent_max: 1, ..QueryLimits::default() });
    let running = building.session.query("SELECT 1", &Parameters::none()).await.unwrap();
    assert_eq!(building.refused("SELECT 2").await, QueryError::Busy { concurrent_max: 1 });
    drop(running);
    building.rows("SELECT 2").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_questions_reaches_the_planner() {
    let building = Building::new();
    for sql in [
        "COPY climate TO '/tmp/x.csv'",
        "SET datafusion.execution.batch_size = 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "DELETE FROM climate",
        "SELECT * FROM '/etc/passwd'",
        "INSERT INTO climate VALUES (1)",
    ] {
        let error = building.refused(sql).await;
        assert!(matches!(error, QueryError::Sql(_)), "{sql}: {error:?}");
    }
}
