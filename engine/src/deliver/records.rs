//! What delivery writes down: every attempt, and every event given up.
//!
//! Promise: one row an attempt in internal/deliveries, one row a lost event in internal/dead_letters.

use super::event::Outgoing;
use super::ladder::Outcome;
use super::queue::{Burial, GivenUp};
use arrow::array::{
    ArrayRef, BinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt16Array,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use weir_ingest::doors::dead_letters_schema;
use weir_ingest::model::Limits;

/// One attempt, or the end of trying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// Wall clock at its end, microseconds.
    pub time_us: i64,
    /// The subscription.
    pub subscription: &'a str,
    /// The event.
    pub event_id: &'a str,
    /// Its occurrence.
    pub alarm_id: Option<&'a str>,
    /// From 1; 0 where nothing was ever sent.
    pub attempt: u32,
    /// `delivered`, `retry`, `dead_letter` or `where_failed`.
    pub outcome: &'static str,
    /// HTTP status.
    pub status: Option<u16>,
    /// What went wrong below HTTP, or why it was given up.
    pub error: Option<String>,
    /// From the first byte out to the last byte in.
    pub latency: Option<Duration>,
    /// When it is tried again, microseconds.
    pub next_attempt_us: Option<i64>,
}

static DELIVERIES: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("time", timestamp(), false),
        Field::new("subscription", DataType::Utf8, false),
        Field::new("event_id", DataType::Utf8, false),
        Field::new("alarm_id", DataType::Utf8, true),
        Field::new("attempt", DataType::UInt32, false),
        Field::new("outcome", DataType::Utf8, false),
        Field::new("status", DataType::UInt16, true),
        Field::new("error", DataType::Utf8, true),
        Field::new("latency_ms", DataType::UInt64, true),
        Field::new("next_attempt", timestamp(), true),
    ]))
});

/// The columns of internal/deliveries.
pub fn deliveries_schema() -> SchemaRef {
    Arc::clone(&DELIVERIES)
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn times(time_us: Option<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![time_us]).with_timezone("UTC"))
}

fn text(text: Option<&str>) -> ArrayRef {
    Arc::new(StringArray::from(vec![text]))
}

/// One row of internal/deliveries.
pub fn delivery_row(delivery: &Delivery<'_>) -> RecordBatch {
    let latency_ms =
        delivery.latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX));
    let columns: Vec<ArrayRef> = vec![
        times(Some(delivery.time_us)),
        text(Some(delivery.subscription)),
        text(Some(delivery.event_id)),
        text(delivery.alarm_id),
        Arc::new(UInt32Array::from(vec![delivery.attempt])),
        text(Some(delivery.outcome)),
        Arc::new(UInt16Array::from(vec![delivery.status])),
        text(delivery.error.as_deref()),
        Arc::new(UInt64Array::from(vec![latency_ms])),
        times(delivery.next_attempt_us),
    ];
    RecordBatch::try_new(deliveries_schema(), columns).expect("the columns of deliveries")
}

/// Why an event was given up, for people.
pub fn reason(subscription: &str, burial: &Burial<Arc<Outgoing>>) -> String {
    let last = burial.last.as_ref().map_or("nothing sent".to_owned(), Outcome::describe);
    let attempts = burial.attempts;
    let why = match burial.reason {
        GivenUp::Refused => "the endpoint will not take it",
        GivenUp::Expired => "it expired",
        GivenUp::Attempts => "out of attempts",
    };
    let id = &burial.event.id;
    format!(
        "event {id} of subscription {subscription}: {why}; attempts {attempts}, last outcome: {last}"
    )
}

/// The row of internal/dead_letters for an event given up at `now_us`.
pub fn dead_letter_row(
    subscription: &str,
    burial: &Burial<Arc<Outgoing>>,
    now_us: i64,
) -> RecordBatch {
    let event = &burial.event;
    let kept = event.body.len().min(Limits::DEAD_LETTER_BYTES_MAX);
    let columns: Vec<ArrayRef> = vec![
        times(Some(now_us)),
        times(Some(now_us)),
        text(Some("delivery")),
        text(Some(&event.subject)),
        text(None),
        text(Some(&reason(subscription, burial))),
        text(Some(burial.reason.as_str())),
        Arc::new(BinaryArray::from_vec(vec![&event.body[..kept]])),
        Arc::new(UInt32Array::from(vec![0])),
    ];
    RecordBatch::try_new(dead_letters_schema(), columns).expect("the columns of dead letters")
}
