//! SQL and questions over HTTP.
//!
//! Promise: an answer streams in the format asked for; whatever is wrong comes back as
//! `{"error": {message, detail, hint, line, column}}` with a status that says whose fault it is.
//! Rows of a reference table come in here too, all of a body or none.
//! Elsewhere: the listener, its timeouts and readings coming in are `ingest::doors`' business.

mod csv;
mod error;
mod format;
mod live;
mod questions;
mod sql;
mod tables;

pub use format::Format;
pub use questions::{Question, QuestionError, all as all_questions};

use crate::session::Session;
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::routing::{get, post};
use std::sync::Arc;
use weir_engine::deliver::LiveHub;
use weir_engine::tables::reference::INSERT_BYTES_MAX;

/// Bytes a text of SQL may have.
pub const SQL_BYTES_MAX: usize = 1024 * 1024;

/// What the routes need.
#[derive(Debug, Clone, FromRef)]
pub struct Services {
    /// Answers questions.
    pub session: Arc<Session>,
    /// Live tails.
    pub live: Arc<LiveHub>,
}

/// `POST /v1/sql`, `GET /v1/questions`, `GET /v1/questions/{name}`, `GET /v1/live`,
/// `POST /v1/tables/{name}/rows`.
pub fn router(services: Services) -> Router {
    let load = post(tables::load).layer(DefaultBodyLimit::max(INSERT_BYTES_MAX));
    Router::new()
        .route("/v1/sql", post(sql::post))
        .route("/v1/questions", get(questions::list))
        .route("/v1/questions/{name}", get(questions::ask))
        .route("/v1/live", get(live::tail))
        .route("/v1/tables/{name}/rows", load)
        .layer(DefaultBodyLimit::max(SQL_BYTES_MAX))
        .with_state(services)
}
