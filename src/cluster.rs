//! `weir serve --log kafka://...`: one of several processes that share the partitions of streams.
//!
//! Promise: what the log's durability is, is said at the start; without a place for checkpoints that all
//! processes see nothing starts. The doors for readings close before the group is left.

use crate::config::{self, Config};
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_engine::runtime::cluster::{Checkpoints, Cluster, ClusterConfig};
use weir_ingest::doors::{self, IngestBudget, Metrics};
use weir_ingest::io::{Clock, RealClock};
use weir_ingest::kafka::{Connection, KafkaLog, KafkaWriter};

/// A process that takes part.
#[derive(Debug)]
pub struct Sharing {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    sharing: JoinHandle<Result<()>>,
    serving: JoinHandle<()>,
    shutdown: oneshot::Sender<()>,
}

impl Sharing {
    /// Joins the group of the cluster at `kafka://broker:9092` and opens the doors for readings.
    /// # Errors
    /// The definitions, the cluster, the place of checkpoints or the address cannot be used.
    pub async fn start(address: &str, define: &[PathBuf], config: Config) -> Result<Self> {
        if config.mqtt.is_some() {
            bail!(
                "MQTT does not write to a log in Kafka: leave --mqtt out, or run a weir of its own"
            );
        }
        if config.kafka.is_some() {
            bail!(
                "Kafka's wire is the cluster's own: leave --kafka out, and let clients talk to its brokers"
            );
        }
        let listener = doors::listen(config.http).await?;
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
        let (address, define) = (address.to_owned(), define.to_vec());
        let (settings, time) = (config.clone(), Arc::clone(&clock));
        let opened = tokio::task::spawn_blocking(move || open(&address, &define, &settings, time));
        let cluster = opened.await.context("the start ended badly")??;
        let writer = Arc::clone(cluster.writer());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sharing = tokio::task::spawn_blocking(move || Ok(cluster.run(&stopped)?));
        let address = listener.local_addr().context("the listener has no address")?;
        let (shutdown, told) = oneshot::channel();
        let serving = tokio::spawn(serve(listener, writer, clock, config, told));
        Ok(Self { address, stop, sharing, serving, shutdown })
    }

    /// Where HTTP listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves when it cannot take part any more.
    /// # Errors
    /// Why not.
    pub async fn ended(&mut self) -> Result<()> {
        (&mut self.sharing).await.context("the process ended badly")?
    }

    /// Closes the doors, leaves a checkpoint of each partition, then the group.
    /// # Errors
    /// A part ended badly.
    pub async fn stop(self) -> Result<()> {
        if self.shutdown.send(()).is_err() {
            tracing::debug!("the listener ended before");
        }
        let served = self.serving.await;
        self.stop.store(true, Ordering::SeqCst);
        self.sharing.await.context("the process ended badly")??;
        served.context("the listener ended badly")
    }
}

/// Everything that can be looked at before a row is taken.
fn open(
    address: &str,
    define: &[PathBuf],
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<Cluster> {
    let section = &config.cluster;
    if section.checkpoints.is_empty() {
        bail!(
            "a log in Kafka needs a place for checkpoints that all processes of the group see: --checkpoints file:///a/shared/directory"
        );
    }
    let mut connection = Connection::to(address)?;
    for (name, value) in &section.properties {
        connection = connection.with(name, value)?;
    }
    let config = cluster_config(section, &definitions(define)?, config.engine.rule_memory_max)?;
    let cluster = Cluster::new(KafkaLog::connect(connection)?, clock, config)?;
    for durability in cluster.durability() {
        match durability.is_enough() {
            true => tracing::info!("{durability}"),
            false => tracing::warn!("{durability}"),
        }
    }
    Ok(cluster)
}

async fn serve(
    listener: TcpListener,
    writer: Arc<KafkaWriter>,
    clock: Arc<dyn Clock>,
    config: Config,
    told: oneshot::Receiver<()>,
) {
    let limits = config.ingest.limits;
    let budget = IngestBudget::new(limits.ingest_bytes_max);
    let router = doors::cluster_router(writer, clock, budget, limits.clone(), Metrics::new());
    let end = async {
        if told.await.is_err() {
            tracing::debug!("the process was dropped without a stop");
        }
    };
    if let Err(error) = doors::serve(listener, router, &limits, end).await {
        tracing::error!(%error, "the listener ended");
    }
}

fn cluster_config(
    section: &config::Cluster,
    text: &str,
    rule_memory_max: usize,
) -> Result<ClusterConfig> {
    let new = ClusterConfig::new(&section.group, text, Checkpoints::at(&section.checkpoints)?);
    Ok(ClusterConfig {
        alarms_topic: section.alarms_topic.clone().unwrap_or_else(|| new.alarms_topic.clone()),
        keyed_by: section.keyed_by.clone(),
        checkpoint_bytes: section.checkpoint_bytes,
        rule_memory_max,
        ..new
    })
}

/// The files one behind the other.
fn definitions(files: &[PathBuf]) -> Result<String> {
    let mut text = String::new();
    for file in files {
        let read = std::fs::read_to_string(file);
        text += &read.with_context(|| format!("{} cannot be read", file.display()))?;
        text.push('\n');
    }
    Ok(text)
}
