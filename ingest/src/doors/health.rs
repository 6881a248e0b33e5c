//! `GET /healthz`, `/readyz`, `/metrics`.

use super::answer::ErrorAnswer;
use super::{Door, log_metrics};
use crate::log::PartitionState;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::Label;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The process answers.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Rows can be taken: 200 while any partition takes them (P10), with those that do not.
pub(super) async fn readyz(State(door): State<Arc<Door>>) -> Response {
    let (mut all, mut degraded) = (0_usize, Vec::new());
    for stream in door.log.streams().all() {
        for partition in stream.partitions() {
            all += 1;
            let state = partition.state();
            if state != PartitionState::Ready {
                let name = stream.definition().name().to_owned();
                let id = partition.id().0;
                degraded
                    .push(json!({"stream": name, "partition": id, "state": format!("{state:?}")}));
            }
        }
    }
    if all > 0 && degraded.len() == all {
        let mut rest = Map::new();
        rest.insert("degraded".to_owned(), Value::Array(degraded));
        return ErrorAnswer::new(StatusCode::SERVICE_UNAVAILABLE, "no partition takes rows")
            .retry_after(5)
            .with(rest)
            .into_response();
    }
    Json(json!({"status": "ready", "degraded": degraded})).into_response()
}

/// Prometheus' text format.
pub(super) async fn metrics(State(door): State<Arc<Door>>) -> Response {
    let metrics = &door.metrics;
    set_budget(&door);
    for stream in door.log.streams().all() {
        let name = stream.definition().name().to_owned();
        let series = stream.series().len() as u64;
        metrics.set("weir_series", vec![Label::new("stream", name.clone())], series);
        for partition in stream.partitions() {
            let labels = || {
                let id = partition.id().0.to_string();
                vec![Label::new("stream", name.clone()), Label::new("partition", id)]
            };
            let ends = partition.ends();
            metrics.set("weir_partition_log_start", labels(), ends.log_start.0);
            metrics.set("weir_partition_durable_end", labels(), ends.durable_end.0);
            let ready = partition.state() == PartitionState::Ready;
            metrics.set("weir_partition_ready", labels(), u64::from(ready));
            let waiting = partition.waiting_bytes() as u64;
            metrics.set("weir_partition_waiting_bytes", labels(), waiting);
        }
        for (field, n) in stream.unknown_fields().list() {
            let labels = vec![Label::new("stream", name.clone()), Label::new("field", field)];
            metrics.set("weir_unknown_fields", labels, n);
        }
        for (publisher, n) in stream.stamped().list() {
            let labels =
                vec![Label::new("stream", name.clone()), Label::new("publisher", publisher)];
            metrics.set("weir_readings_stamped", labels, n);
        }
    }
    text(metrics.render() + &log_metrics::text(&door.log))
}

/// The same of the doors alone, where this process keeps no partitions.
#[cfg(feature = "kafka")]
pub(super) async fn door_metrics(State(door): State<Arc<Door>>) -> Response {
    set_budget(&door);
    text(door.metrics.render())
}

fn set_budget(door: &Door) {
    let (metrics, budget) = (&door.metrics, &door.budget);
    metrics.set("weir_ingest_bytes_in_flight", Vec::new(), budget.in_flight() as u64);
    metrics.set("weir_ingest_bytes_max", Vec::new(), budget.bytes_max() as u64);
}

fn text(all: String) -> Response {
    let text = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, text)], all).into_response()
}
