//! Rules over a log that a cluster keeps: several processes share the partitions of the streams.
//!
//! Promise: the alarms are those of one process alone, whichever process owns which partition and
//! whatever becomes of it: a partition is judged by all its rules from its own rows and ticks, from the
//! newest checkpoint on, and each transition is in the topic of alarms once for those who read committed
//! records. Elsewhere: how records become rows, and who is in the group, is `weir_ingest::kafka`'s.

mod admission; // which rules may be shared out
mod begin; // where a partition is gone on with
mod checkpoints; // where every process finds them
mod lane; // one partition
mod lane_error; // why it is let go of
mod lane_rule; // one rule over it
mod letters; // transitions as records
mod shared;

pub use checkpoints::{Checkpoints, CheckpointsError};

use super::follower::RULE_MEMORY_MAX;
use crate::sql::{Statement, parse_statements};
use lane::{Lane, Stepped};
use lane_error::LaneError;
use shared::Shared;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use weir_ingest::io::Clock;
use weir_ingest::kafka::{
    Durability, KafkaLog, KafkaLogError, KafkaTopic, KafkaWriter, KeyedBy, Member, Owned,
    Shared as Told,
};
use weir_ingest::model::StreamDefinition;

/// About so many bytes of input between two checkpoints of a partition.
const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;
/// How long the group is listened to while no partition has anything to do.
const IDLE: Duration = Duration::from_millis(5);
/// How long a partition rests that could not be taken over, or was let go of.
const RETRY_US: u64 = 1_000_000;

/// How a process takes part.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// What the processes are called together.
    pub group: String,
    /// CREATE STREAM, CREATE TABLE, INSERT and CREATE RULE: the same for all processes.
    pub definitions: String,
    /// What the topics of streams are keyed by; by the topic path where nothing is said.
    pub keyed_by: BTreeMap<String, Vec<String>>,
    /// Where alarms go.
    pub alarms_topic: String,
    /// Where checkpoints are.
    pub checkpoints: Checkpoints,
    /// About so many bytes of input between two checkpoints of a partition.
    pub checkpoint_bytes: u64,
    /// Bytes the state of one rule over one partition may take.
    pub rule_memory_max: usize,
}

impl ClusterConfig {
    /// The defaults.
    pub fn new(group: &str, definitions: &str, checkpoints: Checkpoints) -> Self {
        Self {
            group: group.to_owned(),
            definitions: definitions.to_owned(),
            keyed_by: BTreeMap::new(),
            alarms_topic: format!("{group}.weir-alarms"),
            checkpoints,
            checkpoint_bytes: CHECKPOINT_BYTES,
            rule_memory_max: RULE_MEMORY_MAX,
        }
    }
}

/// Why a process cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The definitions, or one of their rules.
    #[error("{0}")]
    Definitions(String),
    /// The cluster.
    #[error(transparent)]
    Kafka(#[from] KafkaLogError),
    /// A partition cannot be gone on with.
    #[error("partition {lane}: {reason}")]
    Partition {
        /// Which.
        lane: String,
        /// Why not.
        reason: String,
    },
}

/// A process of a group.
#[derive(Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    writer: Arc<KafkaWriter>,
    durability: Vec<Durability>,
    lanes: BTreeMap<Owned, Lane>,
    /// Owned, and not taken over yet; not before this time.
    waiting: BTreeMap<Owned, u64>,
    /// By topic.
    streams: BTreeMap<String, String>,
}

impl Cluster {
    /// Checks everything that can be checked before a row is read.
    /// # Errors
    /// A definition, a rule that may not be shared out, or a topic that is not as it has to be.
    pub fn new(
        kafka: Arc<KafkaLog>,
        clock: Arc<dyn Clock>,
        config: ClusterConfig,
    ) -> Result<Self, ClusterError> {
        let topics = topics(&config)?;
        let wrong = ClusterError::Definitions;
        let definitions = shared::definitions(&config.definitions).map_err(wrong)?;
        for rule in &definitions.rules {
            let topic = |stream: &str| topics.get(stream).map(|topic| (**topic).clone());
            admission::check(rule, topic)
                .map_err(|error| ClusterError::Definitions(error.to_string()))?;
        }
        let read: BTreeSet<&str> =
            definitions.rules.iter().flat_map(|r| &r.plan().streams).map(|s| s.name()).collect();
        let durability: Result<_, _> = topics.values().map(|topic| kafka.check(topic)).collect();
        let streams = read.iter().map(|s| (topics[*s].name.clone(), (*s).to_owned())).collect();
        let writer = KafkaWriter::new(Arc::clone(&kafka), definitions.log, topics.clone());
        let alarms_partitions = kafka.partitions_of(&config.alarms_topic)?;
        let shared = Shared {
            fingerprint: fingerprint(&config),
            kafka,
            clock,
            group: config.group,
            text: config.definitions,
            topics,
            alarms_topic: config.alarms_topic,
            alarms_partitions,
            checkpoints: config.checkpoints,
            checkpoint_bytes: config.checkpoint_bytes,
            rule_memory_max: config.rule_memory_max,
        };
        let (lanes, waiting) = (BTreeMap::new(), BTreeMap::new());
        let (shared, durability) = (Arc::new(shared), durability?);
        Ok(Self { shared, writer, durability, lanes, waiting, streams })
    }

    /// What keeps the rows: to be said at the start.
    pub fn durability(&self) -> &[Durability] {
        &self.durability
    }

    /// Writes readings to the topics of all streams.
    pub fn writer(&self) -> &Arc<KafkaWriter> {
        &self.writer
    }

    /// Takes part until `stop` is set; then leaves a checkpoint of each partition and the group.
    /// # Errors
    /// The group cannot be joined, or a partition cannot be gone on with.
    pub fn run(mut self, stop: &AtomicBool) -> Result<(), ClusterError> {
        let topics: Vec<&str> = self.streams.keys().map(String::as_str).collect();
        let shared = Arc::clone(&self.shared);
        let fingerprint = &shared.fingerprint[..16];
        let member = Member::join(&shared.kafka, &shared.group, &topics, fingerprint)?;
        let mut wait = IDLE;
        while !stop.load(Ordering::SeqCst) {
            while let Some(told) = member.poll(wait) {
                self.hear(told, &member)?;
                wait = Duration::ZERO;
            }
            wait = if self.step()? == Stepped::Worked { Duration::ZERO } else { IDLE };
        }
        for lane in self.lanes.values_mut() {
            finish(lane);
        }
        // The group hears of it only after the checkpoints.
        drop(member);
        Ok(())
    }

    fn hear(&mut self, told: Told, member: &Member) -> Result<(), ClusterError> {
        match told {
            Told::Assigned(partitions) => {
                self.waiting.extend(partitions.into_iter().map(|owned| (owned, 0)));
            }
            Told::Revoked(partitions) => {
                for owned in &partitions {
                    self.waiting.remove(owned);
                    if let Some(mut lane) = self.lanes.remove(owned) {
                        finish(&mut lane);
                        tracing::info!(lane = lane.name(), "partition given back");
                    }
                }
                member.release(&partitions)?;
            }
            Told::Lost(partitions) => {
                for owned in &partitions {
                    self.waiting.remove(owned);
                    if let Some(lane) = self.lanes.remove(owned) {
                        tracing::warn!(
                            lane = lane.name(),
                            "partition lost; nothing of it is written"
                        );
                    }
                }
                member.release(&partitions)?;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Stepped, ClusterError> {
        let mut stepped = self.take_over()?;
        let mut over = Vec::new();
        for (owned, lane) in &mut self.lanes {
            match lane.step() {
                Ok(Stepped::Worked) => stepped = Stepped::Worked,
                Ok(Stepped::Waiting) => {}
                Err(error) => over.push((owned.clone(), lane.name().to_owned(), error)),
            }
        }
        for (owned, name, error) in over {
            self.lanes.remove(&owned);
            self.gone(owned, &name, error)?;
        }
        Ok(stepped)
    }

    /// Opens one of those that were assigned: that takes a second, in which the others wait.
    fn take_over(&mut self) -> Result<Stepped, ClusterError> {
        let now = self.shared.clock.monotonic_us();
        let due = self.waiting.iter().find(|(_, at)| **at <= now).map(|(owned, _)| owned.clone());
        let Some(owned) = due else { return Ok(Stepped::Waiting) };
        self.waiting.remove(&owned);
        let Some(stream) = self.streams.get(&owned.0) else { return Ok(Stepped::Waiting) };
        match Lane::open(&self.shared, stream, owned.1) {
            Ok(lane) => drop(self.lanes.insert(owned, lane)),
            Err(error) => {
                let name = letters::lane_name(stream, owned.1);
                self.gone(owned, &name, error)?;
            }
        }
        Ok(Stepped::Worked)
    }

    /// A partition that cannot be looked after now; whether it is tried again follows from why.
    fn gone(&mut self, owned: Owned, lane: &str, error: LaneError) -> Result<(), ClusterError> {
        match error {
            LaneError::Fenced => {
                // Either the group says so, too, before it is due; or nobody has it: the cluster also shuts
                // out a transaction that took too long.
                tracing::warn!(
                    lane,
                    "the partition was claimed from here on; this process lets go"
                );
                self.rest(owned);
                Ok(())
            }
            LaneError::Refused(reason) => {
                Err(ClusterError::Partition { lane: lane.to_owned(), reason })
            }
            LaneError::Read(_) | LaneError::Cluster(_) | LaneError::Checkpoints(_) => {
                tracing::error!(lane, %error, "the partition is tried again from its checkpoint");
                self.rest(owned);
                Ok(())
            }
        }
    }

    fn rest(&mut self, owned: Owned) {
        let at = self.shared.clock.monotonic_us() + RETRY_US;
        self.waiting.insert(owned, at);
    }
}

/// The last checkpoint before a partition is given back. Without it the next owner reads a little more.
fn finish(lane: &mut Lane) {
    if let Err(error) = lane.checkpoint() {
        tracing::warn!(lane = lane.name(), %error, "the last checkpoint could not be kept");
    }
}

/// The topic of each stream, named as it is and partitioned as it is declared.
fn topics(config: &ClusterConfig) -> Result<BTreeMap<String, Arc<KafkaTopic>>, ClusterError> {
    let wrong = |what: String| ClusterError::Definitions(what);
    let statements = parse_statements(&config.definitions).map_err(|e| wrong(e.to_string()))?;
    let mut topics = BTreeMap::new();
    for statement in statements {
        let Statement::CreateStream { definition, .. } = statement else { continue };
        let keyed_by = match config.keyed_by.get(definition.name()) {
            None => KeyedBy::Topic,
            Some(levels) => KeyedBy::Levels(levels_of(&definition, levels).map_err(wrong)?),
        };
        let partitions = definition.options().partitions;
        let (name, group) = (definition.name().to_owned(), config.group.clone());
        let topic = KafkaTopic { name: name.clone(), partitions, keyed_by, group };
        topics.insert(name, Arc::new(topic));
    }
    match config.keyed_by.keys().find(|stream| !topics.contains_key(*stream)) {
        None => Ok(topics),
        Some(stream) => Err(wrong(format!("there is no stream '{stream}' to be keyed"))),
    }
}

fn levels_of(stream: &StreamDefinition, levels: &[String]) -> Result<Vec<String>, String> {
    let template = stream.template().as_str();
    match levels.iter().find(|level| !stream.levels().contains(level)) {
        Some(level) => Err(format!(
            "the stream '{}' cannot be keyed by '{level}', which is no level of its template {template}",
            stream.name()
        )),
        None if levels.is_empty() => {
            Err(format!("the stream '{}' is keyed by no level; leave it out", stream.name()))
        }
        None => Ok(levels.to_vec()),
    }
}

/// Tells what the processes of a group have to agree about.
fn fingerprint(config: &ClusterConfig) -> String {
    let mut hasher = blake3::Hasher::new();
    let keyed = config.keyed_by.iter().map(|(stream, by)| format!("{stream}:{}", by.join("/")));
    let parts = [env!("CARGO_PKG_VERSION").to_owned(), config.definitions.clone()];
    for part in parts.into_iter().chain([config.alarms_topic.clone()]).chain(keyed) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
