//! `POST /v1/tables/{name}/rows`: rows of a reference table as CSV.
//!
//! Promise: one body is one INSERT, durable when it is answered; a row that is refused refuses the
//! body, with its line. Elsewhere: what the text means is `csv`'s, what a table holds the engine's.

use super::csv::{CsvError, rows};
use super::error::ApiError;
use crate::session::Session;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;
use weir_engine::tables::reference::{INSERT_BYTES_MAX, TableError};

pub(super) async fn load(
    State(session): State<Arc<Session>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, ApiError> {
    check_type(&headers)?;
    let body = body.map_err(|rejection| unread(&rejection))?;
    let table = session.sources().references.get(&name).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, TableError::Unknown(name.clone()).to_string())
    })?;
    let read = tokio::task::spawn_blocking(move || rows(&table.definition, &body)).await;
    let read = read.map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the load ended badly: {error}"))
    })?;
    let rows = read.map_err(refused)?;
    let columns = rows.schema_ref().fields().iter().map(|field| field.name().clone()).collect();
    let count = session.insert_rows(&name, columns, rows).await?;
    Ok(Json(json!({"table": name, "rows": count})))
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match essence.eq_ignore_ascii_case("text/csv") {
        true => Ok(()),
        false => {
            let message = format!("rows of type '{essence}' are not taken");
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
                .hint("send CSV with a header line as Content-Type: text/csv"))
        }
    }
}

fn unread(rejection: &BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("one load may have at most {INSERT_BYTES_MAX} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
                .hint("load the rows in several files, each with the header line")
        }
        status => ApiError::new(status, rejection.body_text()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is the shape map_err wants")]
fn refused(error: CsvError) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, error.to_string())
        .hint("no row of the file was taken; mend it and load it again")
}
