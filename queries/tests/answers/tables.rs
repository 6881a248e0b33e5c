//! Reference tables: made, filled and joined by SQL, and there after a restart.

use crate::building::{Building, CLIMATE, MIDNIGHT_US};
use weir_queries::session::QueryLimits;

const HOURS: &str = "CREATE TABLE limits (room TEXT, ppm DOUBLE NOT NULL, PRIMARY KEY (room));\n\
    INSERT INTO limits VALUES ('1', 1000), ('2', 800);\n\
    INSERT INTO limits VALUES ('2', 900)";

const CONTENT: &str = "
+------+--------+
| room | ppm    |
+------+--------+
| 1    | 1000.0 |
| 2    | 900.0  |
+------+--------+
";

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_with_the_same_key_replaces_and_a_restart_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let building = Building::open(directory.path(), QueryLimits::default());
    let done = building.ask(HOURS).await;
    assert!(
        done.contains("2 rows into 'limits'") && done.contains("1 row into 'limits'"),
        "{done}"
    );
    building.check("SELECT * FROM limits", CONTENT).await;
    building.log.stop();
    drop(building);
    let building = Building::open(directory.path(), QueryLimits::default());
    building.check("SELECT * FROM limits", CONTENT).await;
    assert!(building.ask("SHOW TABLES").await.contains("limits"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_joins_with_a_stream_and_takes_rows_from_one() {
    let building = Building::new();
    building.ask(HOURS).await;
    building.publish(&[
        Building::reading("1", MIDNIGHT_US, 20.0, Some(950.0)),
        Building::reading("2", MIDNIGHT_US, 20.0, Some(950.0)),
    ]);
    building
        .check(
            "SELECT climate.room, co2 > ppm AS over FROM climate JOIN limits USING (room) ORDER BY 1",
            "
+------+-------+
| room | over  |
+------+-------+
| 1    | false |
| 2    | true  |
+------+-------+
",
        )
        .await;
    building.ask("INSERT INTO limits (ppm, room) SELECT co2, room FROM latest.climate").await;
    building
        .check(
            "SELECT DISTINCT ppm FROM limits",
            "
+-------+
| ppm   |
+-------+
| 950.0 |
+-------+
",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_and_what_was_done_before_is_said() {
    let building = Building::new();
    let error = building.refused("CREATE TABLE climate (a TEXT)").await.to_string();
    assert!(error.contains("already exists"), "{error}");
    let error = building.refused("CREATE TABLE t (a TEXT); INSERT INTO t VALUES (1, 2)").await;
    let error = error.to_string();
    assert!(error.contains("2 values for 1 columns"), "{error}");
    assert!(error.contains("table 't' is there"), "{error}");
    let error = building.refused("SELECT 1; SELECT 2").await.to_string();
    assert!(error.contains("has to be the last one"), "{error}");
    assert!(building.refused(CLIMATE).await.to_string().contains("climate"));
}
