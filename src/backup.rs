//! `weir backup`: a copy of a data directory that a server starts from, of one that runs or does not.
//!
//! Promise: what is told as done was read again; what was cut short is no data directory.

use crate::cli::To;
use crate::output::thousands;
use anyhow::{Context, Result, anyhow, bail};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use weir_engine::runtime::checkpoint;
use weir_ingest::io::{Disk, RealDisk};
use weir_ingest::log::{BackedUp, BackupError, BackupProgress, Log};

/// Lines of progress that may wait for a slow reader.
const LINES_MAX: usize = 64;
/// Progress is told so many times.
const PARTS: u64 = 20;

/// What `weir backup` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where the copy goes: a directory that is empty or not there yet
    directory: PathBuf,
    /// Copy this data directory, which no server has open; without it the running server copies its own,
    /// to a directory of its machine
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    to: To,
}

/// Makes a copy and reads it again.
/// # Errors
/// The directory is not empty, something is not whole, or the disk failed.
pub async fn run(arguments: Arguments) -> Result<()> {
    let directory = std::path::absolute(&arguments.directory)
        .with_context(|| format!("{} is no path", arguments.directory.display()))?;
    match &arguments.data {
        Some(data) => {
            let log = crate::log::open(data)?;
            let copied = tokio::task::spawn_blocking(move || {
                copy(&log, &directory, &mut |line| show(&line))
            });
            copied.await.context("the backup ended badly")??;
            Ok(())
        }
        None => over_server(&arguments.to, &directory).await,
    }
}

/// Lets the server copy its own directory.
async fn over_server(to: &To, directory: &Path) -> Result<()> {
    let body = json!({ "directory": directory.display().to_string() });
    let mut response = to.client()?.post_json("/v1/backup", &body).await?;
    let (mut waiting, mut done) = (Vec::new(), false);
    while let Some(bytes) = response.chunk().await.context("the connection broke")? {
        waiting.extend_from_slice(&bytes);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Value = serde_json::from_slice(&waiting[..end])?;
            waiting.drain(..=end);
            if let Some(error) = line["error"]["message"].as_str() {
                bail!("{error}");
            }
            done |= line["done"].is_object();
            show(&line);
        }
    }
    if !done {
        bail!("the server went away; what it copied is no data directory");
    }
    Ok(())
}

fn show(line: &Value) {
    let mib = |bytes: &Value| thousands(bytes.as_u64().unwrap_or(0).div_ceil(1024 * 1024));
    if line["copied_bytes"].is_u64() {
        println!("copied {} of {} MiB", mib(&line["copied_bytes"]), mib(&line["of_bytes"]));
    } else if line["verifying"].is_boolean() {
        println!("reading the copy again");
    } else if let Some(done) = line["done"].as_object() {
        println!(
            "done: {} rows in {} files, {} MiB; every frame of the copy is whole",
            thousands(done["rows"].as_u64().unwrap_or(0)),
            thousands(done["files"].as_u64().unwrap_or(0)),
            mib(&done["bytes"]),
        );
    }
}

/// Copies; each line is told as it comes.
fn copy(log: &Log, to: &Path, told: &mut dyn FnMut(Value)) -> Result<BackedUp, BackupError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut part = 0;
    let done = log.backup(&disk, to, &checkpoint::files, &mut |progress| match progress {
        BackupProgress::Copying { bytes, of_bytes } => {
            let now = bytes * PARTS / of_bytes.max(1);
            if now > part {
                part = now;
                told(json!({ "copied_bytes": bytes, "of_bytes": of_bytes }));
            }
        }
        BackupProgress::Verifying => told(json!({ "verifying": true })),
    })?;
    let BackedUp { files, bytes, rows } = done;
    told(json!({ "done": { "files": files, "bytes": bytes, "rows": rows } }));
    Ok(done)
}

/// One at a time.
#[derive(Debug)]
struct Copier {
    log: Arc<Log>,
    busy: Arc<tokio::sync::Mutex<()>>,
}

/// `POST /v1/backup {"directory": "/absolute"}`: a JSON object a line, the last with `done` or `error`.
pub(crate) fn router(log: Arc<Log>) -> Router {
    let copier = Arc::new(Copier { log, busy: Arc::default() });
    Router::new().route("/v1/backup", post(backup)).with_state(copier)
}

async fn backup(State(copier): State<Arc<Copier>>, Json(asked): Json<Value>) -> Response {
    let directory = match directory(&asked) {
        Ok(directory) => directory,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let Ok(guard) = Arc::clone(&copier.busy).try_lock_owned() else {
        return refused(
            StatusCode::CONFLICT,
            "a backup is under way; say it again when it is done",
        );
    };
    let (sender, mut lines) = mpsc::channel::<Bytes>(LINES_MAX);
    let log = Arc::clone(&copier.log);
    tokio::task::spawn_blocking(move || {
        let _one_at_a_time = guard;
        let mut told = |line: Value| {
            // Whoever asked may have gone away; the copy is made all the same.
            drop(sender.blocking_send(Bytes::from(format!("{line}\n"))));
        };
        match copy(&log, &directory, &mut told) {
            Ok(done) => {
                tracing::info!(directory = %directory.display(), rows = done.rows, "backup made")
            }
            Err(error) => {
                tracing::warn!(directory = %directory.display(), %error, "no backup");
                told(json!({ "error": { "message": error.to_string() } }));
            }
        }
    });
    let lines = futures::stream::poll_fn(move |context| lines.poll_recv(context));
    let lines = futures::StreamExt::map(lines, Ok::<_, Infallible>);
    ([(header::CONTENT_TYPE, crate::client::media::NDJSON)], Body::from_stream(lines))
        .into_response()
}

fn directory(asked: &Value) -> Result<PathBuf> {
    let directory = asked["directory"].as_str().map(PathBuf::from);
    directory.filter(|directory| directory.is_absolute()).ok_or_else(|| {
        anyhow!("name the directory of the copy: {{\"directory\": \"/absolute/path\"}}")
    })
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": { "message": message } }))).into_response()
}
