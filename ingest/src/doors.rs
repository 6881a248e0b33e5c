//! Where bytes arrive.
//!
//! Promise: a byte is held only within the budget (P9); a row is confirmed only when durable (P1),
//! refused with a sentence or kept as a dead letter (P8). Every error is JSON.
//! Elsewhere: what bytes mean is `decode`'s, what is kept is `log`'s; SQL has its doors in `queries`.

mod accept;
mod answer;
mod asked;
mod budget;
mod confirm;
mod connection;
mod dead_letters;
mod events;
mod health;
pub mod kafka;
mod keeper;
mod log_metrics;
mod metrics;
pub mod mqtt;
mod producer;
mod readings;
mod receive;

pub use accept::{ListenError, listen, serve};
pub use answer::ErrorAnswer;
pub use budget::{IngestBudget, OverBudget, Permit};
pub use dead_letters::dead_letters_schema;
pub use metrics::Metrics;

pub use crate::decode::reading_json;
use crate::io::Clock;
#[cfg(feature = "kafka")]
use crate::kafka::KafkaWriter;
use crate::log::Log;
use crate::model::{AppendTime, Limits};
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use keeper::Keeper;
use std::sync::Arc;
use std::time::Duration;

/// What every request of the doors needs.
#[derive(Debug)]
struct Door {
    /// Knows the streams.
    log: Arc<Log>,
    keeper: Keeper,
    clock: Arc<dyn Clock>,
    budget: Arc<IngestBudget>,
    limits: Limits,
    metrics: Arc<Metrics>,
}

/// The doors for readings and events, and what watches over them. To be merged with other routers
/// and given to [`serve`].
pub fn router(
    log: Arc<Log>,
    budget: Arc<IngestBudget>,
    limits: Limits,
    metrics: Arc<Metrics>,
) -> Router {
    let clock = Arc::clone(log.clock());
    let door = Arc::new(Door { log, keeper: Keeper::Here, clock, budget, limits, metrics });
    taking()
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .with_state(door)
}

/// The same doors where a cluster keeps the rows.
#[cfg(feature = "kafka")]
pub fn cluster_router(
    writer: Arc<KafkaWriter>,
    clock: Arc<dyn Clock>,
    budget: Arc<IngestBudget>,
    limits: Limits,
    metrics: Arc<Metrics>,
) -> Router {
    let (log, keeper) = (Arc::clone(writer.here()), Keeper::Cluster(writer));
    let door = Arc::new(Door { log, keeper, clock, budget, limits, metrics });
    taking().route("/metrics", get(health::door_metrics)).with_state(door)
}

fn taking() -> Router<Arc<Door>> {
    Router::new()
        .route("/v1/readings", post(readings::post))
        .route("/v1/events", post(events::post))
        .route("/healthz", get(health::healthz))
}

impl Door {
    /// What the clock says: arrival time of what arrives now.
    fn now(&self) -> AppendTime {
        AppendTime(self.clock.wall_us())
    }

    /// Answers and counts.
    async fn timed(
        &self,
        name: &'static str,
        answer: impl Future<Output = Result<Response, ErrorAnswer>>,
    ) -> Response {
        let start = self.clock.monotonic_us();
        let response = answer.await.unwrap_or_else(IntoResponse::into_response);
        let took = self.clock.monotonic_us().saturating_sub(start);
        let status = response.status().as_u16();
        self.metrics.request(name, status, Duration::from_micros(took));
        response
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
