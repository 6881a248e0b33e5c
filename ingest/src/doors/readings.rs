//! `POST /v1/readings`: JSON, NDJSON or an Arrow IPC stream.

use super::Door;
use super::answer::ErrorAnswer;
use super::asked::asked;
use super::confirm::confirm;
use super::receive::{Received, after_hearing_out, receive};
use crate::decode::{BodyError, BodyKind, Decoded, decode_body};
use crate::log::Log;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use std::sync::Arc;

/// Bodies above this are decoded on a thread of their own, so that they hold up nobody else.
const INLINE_BYTES_MAX: usize = 1024 * 1024;

pub(super) async fn post(State(door): State<Arc<Door>>, request: Request) -> Response {
    door.timed("readings", take(&door, request)).await
}

async fn take(door: &Door, request: Request) -> Result<Response, ErrorAnswer> {
    let (head, mut body) = request.into_parts();
    let content_type = content_type(&head.headers).map(str::to_owned);
    let kind = BodyKind::of(content_type.as_deref()).map_err(refuse_body);
    let asked = match kind.and_then(|_| asked(&head)) {
        Ok(asked) => asked,
        Err(error) => return Err(after_hearing_out(&head.headers, &mut body, error).await),
    };
    let received = receive(&head.headers, body, &door.budget, &door.limits).await?;
    let now = door.now();
    let decode = move |log: &Log, bytes: &[u8]| {
        decode_body(log.streams(), content_type.as_deref(), bytes, now)
    };
    let (decoded, permit) = decode_off(door, received, decode).await?;
    Ok(confirm(door, "readings", decoded, permit, asked, now).await)
}

/// Decodes here if that is quick, elsewhere if it is not.
pub(super) async fn decode_off(
    door: &Door,
    received: Received,
    decode: impl FnOnce(&Log, &[u8]) -> Result<Decoded, BodyError> + Send + 'static,
) -> Result<(Decoded, super::budget::Permit), ErrorAnswer> {
    let Received { bytes, permit } = received;
    let decoded = if bytes.len() <= INLINE_BYTES_MAX {
        decode(&door.log, &bytes)
    } else {
        let log = Arc::clone(&door.log);
        match tokio::task::spawn_blocking(move || decode(&log, &bytes)).await {
            Ok(decoded) => decoded,
            Err(error) => {
                tracing::error!(%error, "decoding ended without an answer");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return Err(ErrorAnswer::new(status, "the body could not be decoded"));
            }
        }
    };
    Ok((decoded.map_err(refuse_body)?, permit))
}

pub(super) fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// A body of which nothing can be taken.
pub(super) fn refuse_body(error: BodyError) -> ErrorAnswer {
    let message = error.to_string();
    match error {
        BodyError::ContentType(_) => {
            ErrorAnswer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message).hint(
                "/v1/readings takes application/json, application/x-ndjson and \
                 application/vnd.apache.arrow.stream; /v1/events takes \
                 application/cloudevents+json, application/cloudevents-batch+json, and JSON with ce- headers",
            )
        }
        BodyError::Expands => ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, message)
            .hint("send fewer rows in one request"),
        BodyError::Empty => ErrorAnswer::new(StatusCode::BAD_REQUEST, message)
            .hint("send a JSON object, an array of them, or one object a line"),
        BodyError::Unrecognised => ErrorAnswer::new(StatusCode::BAD_REQUEST, message)
            .hint("set Content-Type, for example application/x-ndjson"),
        BodyError::Arrow(_) => ErrorAnswer::new(StatusCode::BAD_REQUEST, message)
            .hint("send the uncompressed streaming format, from its schema to its end"),
    }
}
