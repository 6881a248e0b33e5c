//! `POST /v1/sql`, `GET /v1/questions` and `GET /v1/live` as a client sees them.

use crate::building::{Building, MIDNIGHT_US};
use arrow::ipc::reader::StreamReader;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use futures::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;
use weir_engine::deliver::LiveHub;
use weir_queries::http::{Services, router};
use weir_queries::session::QueryLimits;

pub struct Client {
    pub building: Building,
    router: axum::Router,
}

impl Client {
    pub fn new() -> Self {
        Self::over(Building::new())
    }

    fn over(building: Building) -> Self {
        let session = Arc::clone(&building.session);
        let live = LiveHub::start(Arc::clone(&building.log));
        Self { building, router: router(Services { session, live }) }
    }

    pub async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn sql(&self, accept: &str, sql: &str) -> (StatusCode, Vec<u8>) {
        let request = Request::post("/v1/sql").header(header::ACCEPT, accept);
        let response = self.send(request.body(Body::from(sql.to_owned())).unwrap()).await;
        let status = response.status();
        (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = self.send(Request::get(path).body(Body::empty()).unwrap()).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

const QUESTION: &str = "SELECT time, room, temperature, co2 FROM climate ORDER BY room";

#[tokio::test(flavor = "multi_thread")]
async fn the_same_answer_in_every_format() {
    let client = Client::new();
    client.building.publish(&[
        Building::reading("1", MIDNIGHT_US, 20.5, Some(400.0)),
        Building::reading("2", MIDNIGHT_US + 500_000, 21.0, None),
    ]);
    let (status, json) = client.sql("application/json", QUESTION).await;
    let expected = json!([
        {"time": "2026-03-02T00:00:00Z", "room": "1", "temperature": 20.5, "co2": 400.0},
        {"time": "2026-03-02T00:00:00.500Z", "room": "2", "temperature": 21.0, "co2": null},
    ]);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), expected);
    let (_, ndjson) = client.sql("application/x-ndjson", QUESTION).await;
    let lines = String::from_utf8(ndjson).unwrap();
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(Value::from(lines), expected);
    let (_, csv) = client.sql("text/csv", QUESTION).await;
    let expected = "time,room,temperature,co2\n\
        2026-03-02T00:00:00Z,1,20.5,400.0\n2026-03-02T00:00:00.500Z,2,21.0,\n";
    assert_eq!(String::from_utf8(csv).unwrap(), expected);
    let (_, arrow) = client.sql("application/vnd.apache.arrow.stream", QUESTION).await;
    let rows: usize =
        StreamReader::try_new(arrow.as_slice(), None).unwrap().map(|b| b.unwrap().num_rows()).sum();
    assert_eq!(rows, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_bound_and_never_become_sql() {
    let client = Client::new();
    client.building.publish(&[Building::reading("1", MIDNIGHT_US, 20.5, None)]);
    let ask = async |room: &str| {
        let sql = "SELECT count(*) AS n FROM climate WHERE room = $room AND temperature > $above";
        let body = json!({"sql": sql, "params": {"room": room, "above": 20}}).to_string();
        let request = Request::post("/v1/sql").header(header::CONTENT_TYPE, "application/json");
        let response = client.send(request.body(Body::from(body)).unwrap()).await;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    assert_eq!(ask("1").await, json!([{"n": 1}]));
    assert_eq!(ask("' OR '1' = '1").await, json!([{"n": 0}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_what_where_and_what_instead() {
    let client = Client::new();
    let (status, body) = client.sql("*/*", "SELECT room,\n  temprature FROM climate").await;
    let error = &serde_json::from_slice::<Value>(&body).unwrap()["error"];
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(error["message"], "there is no column 'temprature'");
    assert_eq!(error["hint"], "did you mean 'temperature'?");
    assert_eq!((&error["line"], &error["column"]), (&json!(2), &json!(3)));
    let (status, _) = client.sql("image/png", "SELECT 1").await;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE);
    let (status, body) = client.sql("*/*", "SELECT 1 AS one").await;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, answer), (StatusCode::OK, json!([{"one": 1}])), "the next request is fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_json_array_has_a_row_limit() {
    let client =
        Client::over(Building::with_limits(QueryLimits { rows_max: 10, ..QueryLimits::default() }));
    let long = "SELECT value FROM generate_series(1, 11)";
    let (status, body) = client.sql("application/json", long).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8(body).unwrap().contains("more than 10 rows"));
    let (status, body) = client.sql("application/x-ndjson", long).await;
    assert_eq!((status, String::from_utf8(body).unwrap().lines().count()), (StatusCode::OK, 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_question_takes_its_parameters_from_the_query_string() {
    let client = Client::new();
    client.building.create(include_str!("../../streams/occupancy.sql"));
    let topic = "/org/contoso/site/berlin/building/41/floor/3/unit/j/room/4/sensors/occupancy";
    let now = client.building.log.clock().wall_us();
    let row = json!({"topic": topic, "time": now - 200_000_000, "people": 0, "occupied": false});
    client.building.publish(&[row.to_string()]);
    let room = "building=41&floor=3&unit=j&room=4";
    let (status, answer) = client.get(&format!("/v1/questions/people_in_room?{room}")).await;
    assert_eq!((status, &answer[0]["occupancy"]), (StatusCode::OK, &json!("unknown")), "{answer}");
    assert_ne!(answer[0]["unknown_since"], Value::Null);
    let (_, answer) = client.get(&format!("/v1/questions/people_in_room?{room}&hold=300")).await;
    assert_eq!(answer[0]["occupancy"], "unoccupied", "{answer}");
    let (status, answer) = client.get("/v1/questions/people_in_room?building=41").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"]["message"].as_str().unwrap().contains("needs 'floor'"), "{answer}");
    let (status, _) = client.get("/v1/questions/weather").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, list) = client.get("/v1/questions").await;
    assert_eq!(list.as_array().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_tail_sends_readings_as_they_become_durable() {
    let client = Client::new();
    let request = Request::get("/v1/live?kind=readings&topic=/building/41/room/%2B/climate");
    let response = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut events = response.into_body().into_data_stream();
    client.building.publish(&[Building::reading("1", MIDNIGHT_US, 20.5, None)]);
    let first = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
    let text = String::from_utf8(first.unwrap().unwrap().to_vec()).unwrap();
    assert!(text.contains("event: reading") && text.contains("20.5"), "{text}");
    let (status, _) = client.get("/v1/live?kind=cats").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
