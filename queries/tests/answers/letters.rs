//! `dead_letters`: what the doors refused and what delivery gave up, side by side.

use crate::building::{Building, MIDNIGHT_US};
use arrow::datatypes::Schema;
use axum::body::Body;
use axum::http::{Request, header};
use std::sync::Arc;
use tower::ServiceExt;
use weir_engine::deliver::event::Outgoing;
use weir_engine::deliver::queue::{Burial, GivenUp, Place, Source};
use weir_engine::deliver::records::dead_letter_row;
use weir_ingest::doors::{self, IngestBudget, Metrics};
use weir_ingest::log::InternalLog;
use weir_ingest::model::{Limits, Offset};
use weir_queries::session::Parameters;

/// What a door refuses.
async fn refuse(building: &Building, body: &'static [u8]) {
    let limits = Limits::default();
    let budget = IngestBudget::new(limits.ingest_bytes_max);
    let doors = doors::router(Arc::clone(&building.log), budget, limits, Metrics::new());
    let request =
        Request::post("/v1/readings").header(header::CONTENT_TYPE, "application/x-ndjson");
    let response = doors.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    assert_eq!(response.status(), 400);
}

/// What delivery gives up.
fn give_up(building: &Building, body: &'static str) {
    let event = Arc::new(Outgoing {
        id: "e1".to_owned(),
        alarm_id: None,
        subject: "/building/41/room/1".to_owned(),
        key: "too_warm".into(),
        headers: Vec::new(),
        body: body.into(),
    });
    let place = Place { source: Source::Alarms, offset: Offset(0) };
    let burial = Burial { place, reason: GivenUp::Refused, attempts: 1, last: None, event };
    let row = dead_letter_row("pager", &burial, MIDNIGHT_US);
    let receipt = building.log.internal(InternalLog::DeadLetters).append(row);
    tokio::task::block_in_place(|| receipt.wait()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_doors_and_of_delivery_stand_in_one_table_with_their_bytes() {
    let building = Building::new();
    let lines = b"{\"topic\":\"/building/41/room/1/climate\",\"time\":1,\"temperature\":\"hot\"}\nno \xff text\n";
    refuse(&building, lines).await;
    give_up(&building, "{\"rule\":\"too_warm\"}");
    let expected = "
+----------+-------+-----------------------------+----------------------------------------------------------------------+
| door     | index | topic                       | payload                                                              |
+----------+-------+-----------------------------+----------------------------------------------------------------------+
| readings | 0     | /building/41/room/1/climate | {\"topic\":\"/building/41/room/1/climate\",\"time\":1,\"temperature\":\"hot\"} |
| readings | 1     |                             | no � text                                                            |
| delivery | 0     | /building/41/room/1         | {\"rule\":\"too_warm\"}                                                  |
+----------+-------+-----------------------------+----------------------------------------------------------------------+
";
    building.check("SELECT door, index, topic, payload FROM dead_letters", expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_readings_and_rule_errors_have_the_columns_that_rules_write() {
    use weir_engine::runtime::outputs::{errors_schema, late_schema};
    let building = Building::new();
    for (table, written) in [("late_readings", late_schema()), ("rule_errors", errors_schema())] {
        let (sql, params) = (format!("SELECT * FROM {table}"), Parameters::none());
        let shown = building.session.query(&sql, &params).await.unwrap();
        let columns = |schema: &Schema| {
            let fields = schema.fields().iter();
            fields.map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>()
        };
        assert_eq!(columns(shown.schema()), columns(&written), "{table}");
    }
}
