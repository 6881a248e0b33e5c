//! `POST /v1/sql`.

use super::error::ApiError;
use super::format::Format;
use crate::session::{Parameters, Session};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;

/// `{"sql": "...", "params": {...}}`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    sql: String,
    #[serde(default)]
    params: serde_json::Value,
}

pub(super) async fn post(
    State(session): State<Arc<Session>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let format = accepted(&headers)?;
    let (sql, params) = request(&headers, &body)?;
    let reply = session.run(&sql, &params).await?;
    Ok(format.respond(reply.into_answer(), session.limits().rows_max).await?)
}

/// The format asked for.
pub(super) fn accepted(headers: &HeaderMap) -> Result<Format, ApiError> {
    Format::of_accept(headers).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_ACCEPTABLE, "no type in Accept is served here").hint(
            "ask for application/json, application/x-ndjson, text/csv or \
             application/vnd.apache.arrow.stream",
        )
    })
}

fn request(headers: &HeaderMap, body: &[u8]) -> Result<(String, Parameters), ApiError> {
    let refused = |message: String| ApiError::new(StatusCode::BAD_REQUEST, message);
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or("text/plain");
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" => {
            let request: Request = serde_json::from_slice(body).map_err(|error| {
                refused(format!("the body is not a request: {error}")).hint(SHAPE)
            })?;
            let params = Parameters::from_json(request.params)
                .map_err(|error| refused(error.to_string()).hint(SHAPE))?;
            Ok((request.sql, params))
        }
        // What curl sends unless told otherwise is SQL too.
        "text/plain" | "application/sql" | "application/x-www-form-urlencoded" => {
            let sql = std::str::from_utf8(body)
                .map_err(|error| refused(format!("the text is not UTF-8: {error}")))?;
            Ok((sql.to_owned(), Parameters::none()))
        }
        other => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("a body of type '{other}' is not taken"),
        )
        .hint("send SQL as text/plain, or application/json {\"sql\": \"...\", \"params\": {...}}")),
    }
}

const SHAPE: &str = "write {\"sql\": \"SELECT ... WHERE building = $building\", \"params\": {\"building\": \"41\"}}";
