//! What goes back when a question has no answer.

use crate::session::QueryError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use weir_engine::sql::SqlError;

/// An error with its status.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ApiError {
    status: StatusCode,
    error: Box<QueryError>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, error: Box::new(QueryError::Sql(SqlError::new(message))) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let QueryError::Sql(error) = *self.error {
            self.error = Box::new(QueryError::Sql(error.with_hint(hint)));
        }
        self
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let status = match &error {
            QueryError::Sql(_) | QueryError::Rows { .. } => StatusCode::BAD_REQUEST,
            QueryError::Time { .. } => StatusCode::REQUEST_TIMEOUT,
            QueryError::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            QueryError::Internal(message) => {
                tracing::error!(%message, "a query failed inside the server");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self { status, error: Box::new(error) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(body(&self.error))).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// `{"error": {...}}`; what is not known is null.
pub(super) fn body(error: &QueryError) -> Value {
    let (detail, position) = match error {
        QueryError::Sql(error) => (error.detail.clone(), error.position),
        _ => (None, None),
    };
    json!({"error": {
        "message": error.message(),
        "detail": detail,
        "hint": error.hint(),
        "line": position.map(|p| p.line),
        "column": position.map(|p| p.column),
    }})
}
