//! `weir serve`: the server, until Ctrl-C or SIGTERM.

use crate::cli::CatalogFailed;
use crate::config::Config;
use crate::output::Style;
use crate::server::Server;
use anyhow::{Context, Result};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use weir_ingest::io::RealClock;

/// How long a server whose disk failed takes to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What `weir serve` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration
    #[arg(long, value_name = "weir.toml")]
    config: Option<PathBuf>,
    /// The data directory; created where there is none
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where HTTP listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Where MQTT listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    mqtt: Option<SocketAddr>,
    /// Where Kafka's wire listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    kafka: Option<SocketAddr>,
    /// Share the partitions of a log in a Kafka cluster with the other processes of the group; only
    /// the doors for readings and events over HTTP are open
    #[arg(long, value_name = "kafka://BROKER:PORT", requires = "define")]
    log: Option<String>,
    /// Streams, tables and rules, the same for all processes of the group
    #[arg(long, value_name = "FILE.sql", requires = "log")]
    define: Vec<PathBuf>,
    /// The group
    #[arg(long, value_name = "NAME", requires = "log")]
    group: Option<String>,
    /// Where the group keeps checkpoints
    #[arg(long, value_name = "file:///DIR", requires = "log")]
    checkpoints: Option<String>,
}

/// Serves until told to stop.
/// # Errors
/// The configuration, the data directory or the port cannot be used.
pub async fn run(arguments: Arguments) -> Result<()> {
    log_to_stderr();
    let mut config = Config::load(arguments.config.as_deref())?;
    if let Some(data) = arguments.data {
        config.data = data;
    }
    if let Some(http) = arguments.http {
        config.http = http;
    }
    config.mqtt = arguments.mqtt.or(config.mqtt);
    config.kafka = arguments.kafka.or(config.kafka);
    config.cluster.group = arguments.group.unwrap_or(config.cluster.group);
    config.cluster.checkpoints = arguments.checkpoints.unwrap_or(config.cluster.checkpoints);
    config.check()?;
    for line in config.lines() {
        tracing::info!(target: "weir::config", "{line}");
    }
    if let Some(address) = arguments.log {
        return share(&address, &arguments.define, config).await;
    }
    let server = Server::start(config, Arc::new(RealClock::new())).await?;
    let style = Style::for_stdout();
    println!("weir listens on {}", style.cyan(&format!("http://{}", server.address())));
    if let Some(address) = server.mqtt_address() {
        println!("weir listens on {}", style.cyan(&format!("mqtt://{address}")));
    }
    if let Some(address) = server.kafka_address() {
        println!("weir listens on {}", style.cyan(&format!("kafka://{address}")));
    }
    std::io::stdout().flush()?;
    let mut failure = server.log().failure();
    tokio::select! {
        told = until_told_to_stop() => told?,
        why = disk_failed(&mut failure) => {
            tracing::error!(%why, "the disk failed below the catalog; stopping");
            // Nothing can be made durable any more: nobody waits for that for ever.
            if tokio::time::timeout(STOP_WITHIN, server.stop()).await.is_err() {
                tracing::warn!("what is under way is left as a kill would leave it");
            }
            return Err(CatalogFailed(why).into());
        }
    }
    tracing::info!("stopping");
    server.stop().await
}

/// Takes part in a group until told to stop.
#[cfg(feature = "kafka")]
async fn share(address: &str, define: &[PathBuf], config: Config) -> Result<()> {
    let group = config.cluster.group.clone();
    let mut sharing = crate::cluster::Sharing::start(address, define, config).await?;
    let style = Style::for_stdout();
    println!("weir shares {address} as one of the group '{group}'");
    println!("weir listens on {}", style.cyan(&format!("http://{}", sharing.address())));
    std::io::stdout().flush()?;
    tokio::select! {
        ended = sharing.ended() => return ended,
        told = until_told_to_stop() => told?,
    }
    tracing::info!("stopping");
    sharing.stop().await
}

#[cfg(not(feature = "kafka"))]
async fn share(address: &str, _: &[PathBuf], _: Config) -> Result<()> {
    anyhow::bail!("{address} cannot be the log: this weir was built without the feature 'kafka'")
}

/// Waits until the disk fails below the catalog; why.
async fn disk_failed(failure: &mut watch::Receiver<Option<Arc<str>>>) -> Arc<str> {
    loop {
        let why = failure.borrow_and_update().clone();
        if let Some(why) = why {
            return why;
        }
        if failure.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn until_told_to_stop() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be heard")?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told.context("signals cannot be heard"),
        _ = terminate.recv() => Ok(()),
    }
}

/// Events with fields on standard error; RUST_LOG chooses which.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let plain = Style::for_stderr() == Style::plain();
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(!plain)
        .try_init();
    if let Err(error) = started {
        eprintln!("events are logged elsewhere: {error}");
    }
}
