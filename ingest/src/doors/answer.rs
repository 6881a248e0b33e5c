//! What a door answers when it does not answer 200: JSON with a sentence, a detail and a hint.

use super::receive::after_hearing_out;
use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// An error answer: `{"error": {"message", "detail"?, "hint"?}}` and what else the door has to say.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorAnswer {
    status: StatusCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    retry_after_s: Option<u32>,
    close: bool,
    rest: Map<String, Value>,
}

impl ErrorAnswer {
    /// The status and the primary sentence.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            detail: None,
            hint: None,
            retry_after_s: None,
            close: false,
            rest: Map::new(),
        }
    }

    /// What exactly.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// When to come back.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The rest of the request was not read: the connection ends with this answer.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// Members beside `error`.
    #[must_use]
    pub fn with(mut self, rest: Map<String, Value>) -> Self {
        self.rest = rest;
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body.
    pub fn body(&self) -> Value {
        let mut error = Map::new();
        error.insert("message".to_owned(), json!(self.message));
        for (key, value) in [("detail", &self.detail), ("hint", &self.hint)] {
            if let Some(value) = value {
                error.insert(key.to_owned(), json!(value));
            }
        }
        let mut body = self.rest.clone();
        body.insert("error".to_owned(), Value::Object(error));
        Value::Object(body)
    }
}

impl IntoResponse for ErrorAnswer {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.close {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

/// 404 for a path nobody serves.
pub(super) async fn not_found(request: Request) -> ErrorAnswer {
    let message = format!("there is nothing at {}", request.uri().path());
    let answer = ErrorAnswer::new(StatusCode::NOT_FOUND, message).hint(
        "readings go to POST /v1/readings, CloudEvents to POST /v1/events, SQL to POST /v1/sql",
    );
    unread(request, answer).await
}

/// 405 for a path with another method; axum adds `Allow`.
pub(super) async fn method_not_allowed(request: Request) -> ErrorAnswer {
    let message = format!("{} is not a method of {}", request.method(), request.uri().path());
    let answer = ErrorAnswer::new(StatusCode::METHOD_NOT_ALLOWED, message)
        .hint("the methods it has stand in the Allow header");
    unread(request, answer).await
}

/// An answer to a request whose body nobody wanted.
pub(super) async fn unread(request: Request, answer: ErrorAnswer) -> ErrorAnswer {
    let (head, mut body) = request.into_parts();
    after_hearing_out(&head.headers, &mut body, answer).await
}
