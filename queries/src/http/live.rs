//! `GET /v1/live?topic=<pattern>&kind=alarms|readings`: server-sent events.
//!
//! Promise: what becomes durable while the client listens, with a comment now and then so that
//! neither end mistakes silence for a broken line.

use super::error::ApiError;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use weir_engine::deliver::{LiveEvent, LiveHub, LiveKind};
use weir_ingest::model::TopicPattern;

/// Silence after which a comment is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    topic: Option<String>,
    kind: Option<String>,
}

pub(super) async fn tail(
    State(hub): State<Arc<LiveHub>>,
    Query(asked): Query<Asked>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let refused = |message: String| ApiError::new(StatusCode::BAD_REQUEST, message);
    let pattern = TopicPattern::parse(asked.topic.as_deref().unwrap_or("#")).map_err(|error| {
        refused(format!("'topic' is not a pattern: {error}"))
            .hint("+ or * stands for one level, # or ** at the end for the rest")
    })?;
    let kind = match asked.kind.as_deref() {
        None | Some("alarms") => LiveKind::Alarms,
        Some("readings") => LiveKind::Readings,
        Some(other) => {
            return Err(refused(format!("there is no kind '{other}'"))
                .hint("kind=alarms (the default) or kind=readings"));
        }
    };
    let events = hub.subscribe(kind, pattern).map(|event| Ok(event_of(&event)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn event_of(event: &LiveEvent) -> Event {
    let sent = Event::default().event(event.event).data(&*event.data);
    if event.id.is_empty() { sent } else { sent.id(&*event.id) }
}
