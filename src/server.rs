//! The rooms wired together: log, doors, rules, delivery, questions, one listener.
//!
//! Promise: the same for `weir serve`, `weir demo` and the tests; only configuration and clock
//! differ. What is started here is stopped by [`Server::stop`], in the opposite order.

use crate::cli::CatalogFailed;
use crate::config::Config;
use crate::door::DoorServer;
use crate::executor::Executor;
use anyhow::{Context, Result, anyhow};
use axum::Router;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_engine::deliver::{Allow, DeliverConfig, Deliverer, LiveHub};
use weir_engine::runtime::clock::ClockAlarm;
use weir_engine::runtime::outages::Outages;
use weir_engine::runtime::rules::{RuleBounds, Rules};
use weir_engine::tables::latest::LatestTables;
use weir_engine::tables::reference::ReferenceTables;
use weir_ingest::doors::kafka::KafkaDoor;
use weir_ingest::doors::mqtt::MqttDoor;
use weir_ingest::doors::{self, IngestBudget, Metrics};
use weir_ingest::io::{Clock, Disk, RealDisk};
use weir_ingest::log::{Log, LogConfig};
use weir_ingest::model::Limits;
use weir_queries::catalog::Sources;
use weir_queries::http::Services;
use weir_queries::session::Session;

/// How often the latest values are read on while nobody asks, so that the first question after a
/// busy hour does not read all of it.
const LATEST_EVERY: Duration = Duration::from_secs(1);

/// How often the partitions are looked at; their streams' `idle` says how long one may be bad.
const OUTAGES_EVERY: Duration = Duration::from_secs(1);

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    log: Arc<Log>,
    executor: Arc<Executor>,
    live: Arc<LiveHub>,
    latest: JoinHandle<()>,
    outages: JoinHandle<()>,
    serving: JoinHandle<()>,
    shutdown: oneshot::Sender<()>,
    mqtt: Option<DoorServer>,
    kafka: Option<DoorServer>,
}

impl Server {
    /// Opens the data directory, recovers it, starts what runs and listens.
    /// # Errors
    /// The directory is in use or cannot be read, or the address cannot be listened on.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::start_on(config, clock, Arc::new(RealDisk)).await
    }

    /// As [`Self::start`], on another disk than the machine's.
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on(
        config: Config,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self> {
        config.check()?;
        let listener = doors::listen(config.http).await?;
        let address = listener.local_addr().context("the listener has no address")?;
        let log = open_log(&config, clock, disk).await?;
        let failure = log.failure();
        let started = Self::over(config, log, listener, address).await;
        started.map_err(|error| match failure.borrow().clone() {
            Some(why) => CatalogFailed(why).into(),
            None => error,
        })
    }

    async fn over(
        config: Config,
        log: Arc<Log>,
        listener: TcpListener,
        address: SocketAddr,
    ) -> Result<Self> {
        let references = Arc::new(ReferenceTables::open(Arc::clone(&log))?);
        let rules = start_rules(&config, &log, &references).await?;
        let deliverer = Deliverer::start(Arc::clone(&log), delivery(&config)?)?;
        // Whoever needs old rows holds them now.
        log.begin_retention();
        let watched = Arc::clone(&rules);
        let executor = Executor::new(Arc::clone(&log), Arc::clone(&references), rules, deliverer);
        let latest = Arc::new(LatestTables::new(Arc::clone(&log)));
        let live = LiveHub::start(Arc::clone(&log));
        let session = Session::new(
            Sources {
                log: Arc::clone(&log),
                latest: Arc::clone(&latest),
                references,
                system: Arc::clone(&executor) as _,
            },
            Arc::clone(&executor) as _,
            config.queries.clone(),
        )?;
        let services = Services { session: Arc::new(session), live: Arc::clone(&live) };
        let shared = Shared::new(&config, Arc::clone(&log));
        let mut router = shared.routes(services, &executor);
        let mqtt = match config.mqtt {
            Some(address) => {
                let door = shared.mqtt(&config, &latest)?;
                router = router.merge(doors::mqtt::router(Arc::clone(&door)));
                let serve = |listener, told| doors::mqtt::serve(listener, door, heard(told));
                Some(DoorServer::start("MQTT", address, serve).await?)
            }
            None => None,
        };
        let kafka = match config.kafka {
            Some(address) => Some(shared.kafka(&config, address).await?),
            None => None,
        };
        let (shutdown, told) = oneshot::channel::<()>();
        let limits = config.ingest.limits;
        let serving = tokio::spawn(async move {
            let end = async {
                if told.await.is_err() {
                    tracing::debug!("the server was dropped without a stop");
                }
            };
            if let Err(error) = doors::serve(listener, router, &limits, end).await {
                tracing::error!(%error, "the listener ended");
            }
        });
        let latest = tokio::spawn(read_latest(latest));
        let outages = tokio::spawn(watch(Arc::clone(&log), watched));
        Ok(Self { address, log, executor, live, latest, outages, serving, shutdown, mqtt, kafka })
    }

    /// Where HTTP listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where MQTT listens, if it does.
    pub fn mqtt_address(&self) -> Option<SocketAddr> {
        self.mqtt.as_ref().map(DoorServer::address)
    }

    /// Where Kafka's wire listens, if it does.
    pub fn kafka_address(&self) -> Option<SocketAddr> {
        self.kafka.as_ref().map(DoorServer::address)
    }

    /// The log under it.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Closes the doors, lets what is under way finish, marks the stop as clean.
    /// # Errors
    /// A part ended badly; the others are stopped all the same.
    pub async fn stop(self) -> Result<()> {
        let Self { log, executor, live, latest, outages, serving, shutdown, mqtt, kafka, .. } =
            self;
        live.stop();
        if shutdown.send(()).is_err() {
            tracing::debug!("the listener ended before");
        }
        let mut told = Ok(());
        for door in [mqtt, kafka].into_iter().flatten() {
            told = told.and(door.stop().await);
        }
        let served = serving.await;
        latest.abort();
        outages.abort();
        executor.stop().await;
        tokio::task::spawn_blocking(move || log.stop()).await.context("the log did not stop")?;
        served.context("the listener ended badly").and(told)
    }
}

async fn open_log(config: &Config, clock: Arc<dyn Clock>, disk: Arc<dyn Disk>) -> Result<Arc<Log>> {
    let log_config = LogConfig {
        limits: config.ingest.limits.clone(),
        segment_bytes_max: config.ingest.segment_bytes_max,
        segment_age_max: config.segment_age_max(),
        linger: Duration::from_micros(config.ingest.linger_us),
        room: config.ingest.room,
        retention: config.engine.retention()?,
        ..LogConfig::new(&config.data)
    };
    let directory = config.data.display().to_string();
    tokio::task::spawn_blocking(move || Log::open(disk, clock, log_config))
        .await
        .context("opening the log ended badly")?
        .with_context(|| format!("the data directory {directory} cannot be opened"))
}

/// Rules read the log from where they start: not on a thread that serves.
async fn start_rules(
    config: &Config,
    log: &Arc<Log>,
    references: &Arc<ReferenceTables>,
) -> Result<Arc<Rules>> {
    let bounds = RuleBounds {
        memory_max: config.engine.rule_memory_max,
        hold_bytes_max: config.engine.hold_bytes_max,
        ..RuleBounds::default()
    };
    let (log, references) = (Arc::clone(log), Arc::clone(references));
    let rules =
        tokio::task::spawn_blocking(move || Rules::open_with(log, references, bounds)).await;
    rules.context("starting the rules ended badly")?.map_err(|error| anyhow!("{error}"))
}

fn delivery(config: &Config) -> Result<DeliverConfig> {
    let allow: Result<Vec<Allow>, _> =
        config.engine.webhook_allow.iter().map(|text| text.parse()).collect();
    let allow = allow.context("engine.webhook_allow")?;
    let hold_bytes_max = config.engine.hold_bytes_max;
    Ok(DeliverConfig { allow, hold_bytes_max, ..DeliverConfig::default() })
}

/// What all doors have together: one log, one budget, one recorder.
struct Shared {
    log: Arc<Log>,
    limits: Limits,
    budget: Arc<IngestBudget>,
    metrics: Arc<Metrics>,
}

impl Shared {
    fn new(config: &Config, log: Arc<Log>) -> Self {
        let limits = config.ingest.limits.clone();
        let budget = IngestBudget::new(limits.ingest_bytes_max);
        Self { log, limits, budget, metrics: Metrics::new() }
    }

    fn routes(&self, services: Services, executor: &Arc<Executor>) -> Router {
        let (log, budget) = (Arc::clone(&self.log), Arc::clone(&self.budget));
        doors::router(log, budget, self.limits.clone(), Arc::clone(&self.metrics))
            .merge(weir_queries::http::router(services))
            .merge(crate::deliveries::router(Arc::clone(executor)))
            .merge(crate::clock::router(Arc::clone(&self.log)))
            .merge(crate::backup::router(Arc::clone(&self.log)))
    }

    fn mqtt(&self, config: &Config, latest: &Arc<LatestTables>) -> Result<Arc<MqttDoor>> {
        let (log, budget) = (Arc::clone(&self.log), Arc::clone(&self.budget));
        let (limits, mqtt) = (self.limits.clone(), config.ingest.mqtt.clone());
        let metrics = Arc::clone(&self.metrics);
        let sources = crate::told::sources(Arc::clone(latest));
        Ok(MqttDoor::new(log, budget, limits, mqtt, metrics, sources)?)
    }

    async fn kafka(&self, config: &Config, address: SocketAddr) -> Result<DoorServer> {
        let (log, budget) = (Arc::clone(&self.log), Arc::clone(&self.budget));
        let (limits, kafka) = (self.limits.clone(), config.ingest.kafka.clone());
        let (metrics, alarms) = (Arc::clone(&self.metrics), crate::told::alarms());
        let door = KafkaDoor::new(log, budget, limits, kafka, metrics, Some(alarms));
        let serve = |listener, told| doors::kafka::serve(listener, door, heard(told));
        DoorServer::start("Kafka", address, serve).await
    }
}

/// Resolves when a door is told to stop, or left alone.
async fn heard(told: oneshot::Receiver<()>) {
    drop(told.await);
}

async fn read_latest(latest: Arc<LatestTables>) {
    loop {
        tokio::time::sleep(LATEST_EVERY).await;
        let tables = Arc::clone(&latest);
        match tokio::task::spawn_blocking(move || tables.catch_up()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "latest values cannot be read on"),
            Err(error) => return tracing::error!(%error, "latest values ended badly"),
        }
    }
}

/// Looks after the partitions, what is held of them, and the clock.
async fn watch(log: Arc<Log>, rules: Arc<Rules>) {
    let mut watches: Option<(Outages, ClockAlarm)> = None;
    loop {
        let (log, watched, rules) = (Arc::clone(&log), watches.take(), Arc::clone(&rules));
        let looked = tokio::task::spawn_blocking(move || {
            rules.look_after_holds()?;
            let open = || Ok::<_, String>((Outages::open(&log)?, ClockAlarm::open(&log)?));
            let (mut outages, mut clock) = watched.map_or_else(open, Ok)?;
            outages.watch()?;
            clock.watch()?;
            Ok::<_, String>((outages, clock))
        });
        match looked.await {
            Ok(Ok(watched)) => watches = Some(watched),
            Ok(Err(error)) => tracing::warn!(%error, "the partitions cannot be watched"),
            Err(error) => return tracing::error!(%error, "watching the partitions ended badly"),
        }
        tokio::time::sleep(OUTAGES_EVERY).await;
    }
}
