//! `weir deliveries`: what was delivered, and sending a dead letter again.

use crate::cli::To;
use crate::executor::Executor;
use crate::output;
use anyhow::Result;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use clap::Subcommand;
use serde_json::{Value, json};
use std::sync::Arc;

/// What `weir deliveries` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// How many of the newest
    #[arg(long, default_value_t = 20, value_name = "N")]
    last: u32,
    #[command(flatten)]
    to: To,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send an event again, under the same id
    Redeliver {
        /// The event's id, as in the table of deliveries
        id: String,
    },
}

/// Lists, or sends again.
/// # Errors
/// The server's sentence.
pub async fn run(arguments: Arguments) -> Result<()> {
    let client = arguments.to.client()?;
    match &arguments.action {
        Some(Action::Redeliver { id }) => {
            let response = client.post(&format!("/v1/deliveries/{id}/redeliver")).await?;
            let answer: Value = serde_json::from_str(&response.text().await?)?;
            for name in answer["subscriptions"].as_array().into_iter().flatten() {
                println!("sent again to {}", name.as_str().unwrap_or_default());
            }
            Ok(())
        }
        None => {
            let sql =
                format!("SELECT * FROM deliveries ORDER BY time DESC LIMIT {}", arguments.last);
            println!("{}", output::table(&client.sql(&sql).await?)?);
            Ok(())
        }
    }
}

/// `POST /v1/deliveries/{id}/redeliver`.
pub(crate) fn router(executor: Arc<Executor>) -> Router {
    Router::new().route("/v1/deliveries/{id}/redeliver", post(redeliver)).with_state(executor)
}

async fn redeliver(State(executor): State<Arc<Executor>>, Path(id): Path<String>) -> Response {
    match executor.deliverer().redeliver(&id).await {
        Ok(subscriptions) => Json(json!({ "subscriptions": subscriptions })).into_response(),
        Err(error) => {
            let body = json!({ "error": {
                "message": error.to_string(),
                "hint": "ids stand in the tables deliveries and alarm_history",
            } });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    }
}
