//! Reference tables: made, filled and joined by SQL, filled with CSV, and there after a restart.

use crate::building::{Building, CLIMATE, MIDNIGHT_US};
use crate::wire::Client;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use weir_engine::tables::reference::INSERT_BYTES_MAX;
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

async fn load(client: &Client, table: &str, media: &str, body: Vec<u8>) -> (StatusCode, Value) {
    let request = Request::post(format!("/v1/tables/{table}/rows"))
        .header(header::CONTENT_TYPE, media)
        .body(Body::from(body));
    let response = client.send(request.unwrap()).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_as_csv_and_replace_by_their_key() {
    let client = Client::new();
    client.building.ask("CREATE TABLE limits (room TEXT, ppm DOUBLE, PRIMARY KEY (room))").await;
    client.building.ask("INSERT INTO limits VALUES ('1', 1000), ('2', 800)").await;
    let body = b"ppm,room\n900,2\n,3\n".to_vec();
    let (status, answer) = load(&client, "limits", "text/csv; charset=utf-8", body).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"table": "limits", "rows": 2})));
    let expected = "
+------+--------+
| room | ppm    |
+------+--------+
| 1    | 1000.0 |
| 2    | 900.0  |
| 3    |        |
+------+--------+
";
    client.building.check("SELECT * FROM limits ORDER BY room", expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_row_refuses_the_load_and_the_next_one_is_fine() {
    let client = Client::new();
    client.building.ask(HOURS).await;
    let body = b"room,ppm\n7,700\n8,much\n".to_vec();
    let (status, answer) = load(&client, "limits", "text/csv", body).await;
    let said = answer["error"]["message"].as_str().unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(said, "line 3: 'much' in the column 'ppm' is not a DOUBLE");
    // A column the header leaves out is NULL, which this one may not be.
    let (status, answer) = load(&client, "limits", "text/csv", b"room\n7\n".to_vec()).await;
    let said = answer["error"]["message"].as_str().unwrap();
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(said, "the column 'limits.ppm' may not be NULL");
    let (status, _) = load(&client, "limit", "text/csv", b"room\n".to_vec()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = load(&client, "limits", "application/json", b"[]".to_vec()).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, answer) =
        load(&client, "limits", "text/csv", vec![b' '; INSERT_BYTES_MAX + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    client.building.check("SELECT * FROM limits", CONTENT).await;
    let (status, _) = load(&client, "limits", "text/csv", b"room,ppm\n2,1\n".to_vec()).await;
    assert_eq!(status, StatusCode::OK);
}
