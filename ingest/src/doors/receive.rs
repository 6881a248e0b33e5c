//! A request body from the socket into memory.
//!
//! Promise: a byte is read only after its permit was taken; a body that is too large, too slow or
//! too much for now is refused before it is in memory.

use super::answer::ErrorAnswer;
use super::budget::{IngestBudget, OverBudget, Permit};
use crate::model::Limits;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::time::Duration;

/// Permits are taken in steps of this many bytes while a body grows.
const STEP_BYTES: usize = 64 * 1024;

/// Bytes of a refused body that are still taken off the wire, and the time for it.
const HEAR_OUT_BYTES_MAX: usize = 256 * 1024 * 1024;
const HEAR_OUT_TIME: Duration = Duration::from_secs(2);

/// A body in memory, with the permit for its bytes.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) permit: Permit,
}

/// Reads a body within the limits.
/// # Errors
/// 413, 415 (compressed), 429, 408 or 400, as they apply.
pub(super) async fn receive(
    headers: &HeaderMap,
    mut body: Body,
    budget: &IngestBudget,
    limits: &Limits,
) -> Result<Received, ErrorAnswer> {
    let error = match receive_within(headers, &mut body, budget, limits).await {
        Ok(received) => return Ok(received),
        Err(error) => error,
    };
    Err(after_hearing_out(headers, &mut body, error).await)
}

/// An answer to a request whose body may not have been read to its end. A client that is still
/// sending would lose it in a reset, or the connection would end unannounced; one that asks first
/// (Expect) has not begun to send.
pub(super) async fn after_hearing_out(
    headers: &HeaderMap,
    body: &mut Body,
    answer: ErrorAnswer,
) -> ErrorAnswer {
    let heard_out = body.is_end_stream()
        || (answer.status() != StatusCode::REQUEST_TIMEOUT
            && !headers.contains_key(header::EXPECT)
            && tokio::time::timeout(HEAR_OUT_TIME, hear_out(body)).await.is_ok_and(|end| end));
    if heard_out { answer } else { answer.close() }
}

/// Drops what still comes; whether that was all.
async fn hear_out(body: &mut Body) -> bool {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
        if bytes > HEAR_OUT_BYTES_MAX {
            return false;
        }
    }
    true
}

async fn receive_within(
    headers: &HeaderMap,
    body: &mut Body,
    budget: &IngestBudget,
    limits: &Limits,
) -> Result<Received, ErrorAnswer> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(ErrorAnswer::new(status, "compressed bodies are not taken")
            .hint("send the body without Content-Encoding"));
    }
    let said = body.size_hint().lower();
    if said > limits.request_bytes_max as u64 {
        return Err(too_large(limits));
    }
    let said = usize::try_from(said).unwrap_or(usize::MAX);
    let permit = budget.take(said.min(STEP_BYTES)).map_err(over_budget)?;
    let bytes = Vec::with_capacity(said.min(STEP_BYTES));
    let time = Duration::from_millis(limits.body_timeout_ms);
    match tokio::time::timeout(time, read(body, Received { bytes, permit }, limits)).await {
        Ok(received) => received,
        Err(_) => Err(ErrorAnswer::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")
            .detail(format!("it has to be here within {} ms", limits.body_timeout_ms))
            .hint("send smaller requests; nothing of this one was taken")),
    }
}

async fn read(
    body: &mut Body,
    mut received: Received,
    limits: &Limits,
) -> Result<Received, ErrorAnswer> {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let message = "the body broke off; nothing of it was taken";
            return Err(ErrorAnswer::new(StatusCode::BAD_REQUEST, message));
        };
        let Some(data) = frame.data_ref() else { continue };
        let length = received.bytes.len() + data.len();
        if length > limits.request_bytes_max {
            return Err(too_large(limits));
        }
        if length > received.permit.bytes() {
            received.permit.grow_to(length.next_multiple_of(STEP_BYTES)).map_err(over_budget)?;
        }
        received.bytes.extend_from_slice(data);
    }
    Ok(received)
}

fn too_large(limits: &Limits) -> ErrorAnswer {
    let limit = limits.request_bytes_max;
    ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
        .detail(format!("at most {limit} bytes are taken in one request"))
        .hint("send several smaller requests, or raise limits.request_bytes_max")
}

pub(super) fn over_budget(error: OverBudget) -> ErrorAnswer {
    ErrorAnswer::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
        .hint("nothing of this request was taken; send it again after the time in Retry-After")
        .retry_after(1)
}
