//! `weir log clock`: whether the wall clock is believed, and accepting it as it is.

use crate::cli::To;
use crate::client::media;
use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use weir_ingest::io::{Clock, Disk, RealClock, RealDisk};
use weir_ingest::log::{ClockState, Log, LogConfig, accept_clock};

/// What is asked of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// How it is.
    Show,
    /// It is right as it is.
    Accept,
}

/// Asks a directory that no server has open.
pub(crate) fn of_directory(directory: &Path, ask: Ask) -> Result<()> {
    let state = match ask {
        Ask::Show => crate::log::open(directory)?.clock_state(),
        Ask::Accept => {
            crate::log::check_directory(directory)?;
            let disk: Arc<dyn Disk> = Arc::new(RealDisk);
            let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
            accept_clock(&disk, &clock, &LogConfig::new(directory))
                .with_context(|| format!("{} cannot be opened", directory.display()))?
        }
    };
    print(&described(state), ask);
    Ok(())
}

/// Asks a server.
pub(crate) async fn of_server(to: &To, ask: Ask) -> Result<()> {
    let client = to.client()?;
    let response = match ask {
        Ask::Show => client.get("/v1/clock", &[], media::JSON).await?,
        Ask::Accept => client.post("/v1/clock/accept").await?,
    };
    let answer: Value = serde_json::from_str(&response.text().await?)?;
    print(&answer, ask);
    Ok(())
}

fn print(answer: &Value, ask: Ask) {
    println!("{}", answer["says"].as_str().unwrap_or_default());
    match (answer["suspect"].as_bool(), ask) {
        (Some(true), Ask::Show) => println!(
            "until it agrees again no time passes without readings and nothing is removed by age; \
             --accept says that the clock is right as it is"
        ),
        (Some(true), Ask::Accept) => println!("accepted as it is"),
        _ => {}
    }
}

fn described(state: ClockState) -> Value {
    let (word, by_us) = match state {
        ClockState::Agrees => ("agrees", 0),
        ClockState::Moved { by_us } => ("moved", by_us),
        ClockState::BeforeTheLog { by_us } => ("before_the_log", by_us),
    };
    json!({
        "state": word,
        "suspect": state.is_suspect(),
        "by_s": by_us as f64 / 1e6,
        "says": state.to_string(),
    })
}

/// `GET /v1/clock`, `POST /v1/clock/accept`.
pub(crate) fn router(log: Arc<Log>) -> Router {
    Router::new()
        .route("/v1/clock", get(show))
        .route("/v1/clock/accept", post(accept))
        .with_state(log)
}

async fn show(State(log): State<Arc<Log>>) -> Json<Value> {
    Json(described(log.clock_state()))
}

/// Answers what it was until now.
async fn accept(State(log): State<Arc<Log>>) -> Response {
    match tokio::task::spawn_blocking(move || log.accept_clock()).await {
        Ok(Ok(was)) => Json(described(was)).into_response(),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Response {
    let body = json!({ "error": { "message": error.to_string() } });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
