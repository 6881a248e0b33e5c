//! `POST /v1/events`: CloudEvents 1.0, binary, structured or batch.

use super::Door;
use super::answer::ErrorAnswer;
use super::asked::asked;
use super::confirm::confirm;
use super::readings::{content_type, decode_off};
use super::receive::{after_hearing_out, receive};
use crate::decode::decode_events;
use axum::extract::{Request, State};
use axum::response::Response;
use std::sync::Arc;

pub(super) async fn post(State(door): State<Arc<Door>>, request: Request) -> Response {
    door.timed("events", take(&door, request)).await
}

async fn take(door: &Door, request: Request) -> Result<Response, ErrorAnswer> {
    let (head, mut body) = request.into_parts();
    let asked = match asked(&head) {
        Ok(asked) => asked,
        Err(error) => return Err(after_hearing_out(&head.headers, &mut body, error).await),
    };
    let received = receive(&head.headers, body, &door.budget, &door.limits).await?;
    let now = door.now();
    let headers = head.headers;
    let (decoded, permit) = decode_off(door, received, move |log, bytes| {
        let attribute = |name: &str| headers.get(format!("ce-{name}")).map(|v| v.as_bytes());
        decode_events(log.streams(), content_type(&headers), attribute, bytes, now)
    })
    .await?;
    Ok(confirm(door, "events", decoded, permit, asked, now).await)
}
