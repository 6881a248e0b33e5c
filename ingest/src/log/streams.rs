//! The registry: streams by name, and the way from a topic path to stream, series and partition.
//!
//! Promise: templates never overlap, so a topic has one stream; ids are dense, never reused, and
//! durable in the catalog before a frame that uses one is written.

use super::env::{Env, NewSeries};
use super::errors::StreamChangeError;
use super::partition::Partition;
use super::{AppendError, Receipt, TickPolicy};
use crate::model::{
    FedBy, Limits, PartitionId, RefusalReason, SchemaId, SeriesDirectory, SeriesId,
    StreamDefinition, StreamUid, partition_of,
};
use parking_lot::{Mutex, RwLock};
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// What so many decoders learned is kept: about as many as decode at once.
const LEARNED_MAX: usize = 8;
/// Names counted of each kind per stream.
const NAMES_MAX: usize = 256;

/// All streams of a log.
#[derive(Debug)]
pub struct Streams {
    series_max: usize,
    by_name: RwLock<BTreeMap<String, Arc<Stream>>>,
    routes: RwLock<HashMap<Arc<str>, Route, ahash::RandomState>>,
    kept: Mutex<Kept>,
}

/// What decoders learned and nobody uses now.
#[derive(Debug, Default)]
struct Kept {
    /// Counts the streams that came and went.
    generation: u64,
    learned: Vec<Learned>,
}

/// What a decoder learned of topics and rows, for the next one to go on with.
#[derive(Debug)]
pub struct Learned {
    generation: u64,
    /// The decoder's own; nothing while it has learned nothing.
    pub what: Option<Box<dyn Any + Send>>,
}

/// Where a topic's readings go.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its stream.
    pub stream: Arc<Stream>,
    /// Its id there.
    pub series: SeriesId,
    /// Its partition there.
    pub partition: PartitionId,
}

/// One stream as the log keeps it.
#[derive(Debug)]
pub struct Stream {
    uid: StreamUid,
    current: Arc<CurrentSchema>,
    series: Arc<SeriesDirectory>,
    series_durable: Arc<AtomicU32>,
    partitions: Vec<Arc<Partition>>,
    unknown_fields: NameCounts,
    stamped: Arc<NameCounts>,
    env: Arc<Env>,
    ticks: Arc<Mutex<TickPolicy>>,
    fed_by: FedBy,
}

/// The newest version of a stream's columns; shared with its committers.
#[derive(Debug)]
pub(super) struct CurrentSchema {
    version: RwLock<(SchemaId, Arc<StreamDefinition>)>,
}

impl CurrentSchema {
    pub(super) fn new(schema_id: SchemaId, definition: StreamDefinition) -> Self {
        Self { version: RwLock::new((schema_id, Arc::new(definition))) }
    }

    pub(super) fn get(&self) -> (SchemaId, Arc<StreamDefinition>) {
        let version = self.version.read();
        (version.0, Arc::clone(&version.1))
    }

    pub(super) fn set(&self, schema_id: SchemaId, definition: StreamDefinition) {
        *self.version.write() = (schema_id, Arc::new(definition));
    }
}

impl Stream {
    pub(super) fn new(
        uid: StreamUid,
        current: Arc<CurrentSchema>,
        series: Arc<SeriesDirectory>,
        series_durable: Arc<AtomicU32>,
        partitions: Vec<Arc<Partition>>,
        env: Arc<Env>,
        (ticks, stamped): (Arc<Mutex<TickPolicy>>, Arc<NameCounts>),
    ) -> Self {
        let fed_by = current.get().1.fed_by();
        Self {
            uid,
            current,
            series,
            series_durable,
            partitions,
            unknown_fields: NameCounts::default(),
            stamped,
            env,
            ticks,
            fed_by,
        }
    }

    /// Whether doors may take readings of `topic`, which is one of its own.
    /// # Errors
    /// Its rule writes it.
    pub fn check_door(&self, topic: &str) -> Result<(), RefusalReason> {
        match self.fed_by {
            FedBy::Doors => Ok(()),
            FedBy::Rule => Err(RefusalReason::WrittenByRule {
                topic: topic.to_owned(),
                stream: self.definition().name().to_owned(),
            }),
        }
    }

    pub(super) fn ticks(&self) -> &Mutex<TickPolicy> {
        &self.ticks
    }

    pub(super) fn current(&self) -> &CurrentSchema {
        &self.current
    }

    /// Its identity, which survives DROP and CREATE of the same name.
    pub fn uid(&self) -> StreamUid {
        self.uid
    }

    /// The newest version of its declaration.
    pub fn definition(&self) -> Arc<StreamDefinition> {
        self.current.get().1
    }

    /// The number of that version.
    pub fn schema_id(&self) -> SchemaId {
        self.current.get().0
    }

    /// Its series.
    pub fn series(&self) -> &SeriesDirectory {
        &self.series
    }

    /// Its partitions, by id.
    pub fn partitions(&self) -> &[Arc<Partition>] {
        &self.partitions
    }

    /// Fields that came and are not declared.
    pub fn unknown_fields(&self) -> &NameCounts {
        &self.unknown_fields
    }

    /// Readings that came from the future and were kept with the arrival time, by publisher.
    pub fn stamped(&self) -> &NameCounts {
        &self.stamped
    }

    /// FLUSH STREAM: every partition gets a tick with the newest event time of the stream, at which
    /// its open windows are sealed. Blocks until all are durable.
    /// # Errors
    /// The first partition that did not take it.
    pub fn flush(&self) -> Result<(), AppendError> {
        self.begin_flush().into_iter().try_for_each(|receipt| receipt.wait().map(drop))
    }

    /// As [`Self::flush`], for a log that is pumped by its caller: the receipts to wait for.
    pub fn begin_flush(&self) -> Vec<Receipt> {
        let newest = self.partitions.iter().filter_map(|p| p.newest_event_time()).max();
        let Some(newest) = newest else { return Vec::new() };
        self.partitions.iter().map(|p| p.append_tick(newest, super::TickKind::Flush)).collect()
    }
}

/// How often which name came; a bounded number of names.
#[derive(Debug, Default)]
pub struct NameCounts {
    counts: Mutex<BTreeMap<String, u64>>,
}

impl NameCounts {
    /// Counts `n` more of `name`; names beyond the bound are counted as `(others)`.
    pub fn add(&self, name: &str, n: u64) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(name) {
            *count += n;
            return;
        }
        let name = if counts.len() < NAMES_MAX { name } else { "(others)" };
        *counts.entry(name.to_owned()).or_default() += n;
    }

    /// All counts, by name.
    pub fn list(&self) -> Vec<(String, u64)> {
        self.counts.lock().iter().map(|(name, count)| (name.clone(), *count)).collect()
    }
}

impl Streams {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            series_max: limits.series_max,
            by_name: RwLock::default(),
            routes: RwLock::default(),
            kept: Mutex::default(),
        }
    }

    /// What an earlier decoder learned while the streams were the same; to be given back with
    /// [`Self::keep`].
    pub fn learned(&self) -> Learned {
        let mut kept = self.kept.lock();
        let generation = kept.generation;
        kept.learned.pop().unwrap_or(Learned { generation, what: None })
    }

    /// Keeps it for the next decoder, unless a stream came or went meanwhile.
    pub fn keep(&self, learned: Learned) {
        let mut kept = self.kept.lock();
        if learned.generation == kept.generation && kept.learned.len() < LEARNED_MAX {
            kept.learned.push(learned);
        }
    }

    /// Nothing that was learned before holds any more.
    pub(crate) fn forget_learned(&self) {
        let mut kept = self.kept.lock();
        kept.generation += 1;
        kept.learned.clear();
    }

    /// All streams, by name.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.by_name.read().values().map(Arc::clone).collect()
    }

    /// The stream of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Stream>> {
        self.by_name.read().get(name).map(Arc::clone)
    }

    /// Where the readings of `topic` go that come in at a door; a topic not seen before gets an id.
    /// # Errors
    /// It is no topic, no stream takes it, a rule writes it, or the server has too many series.
    pub fn route(&self, topic: &str) -> Result<Route, RefusalReason> {
        let route = self.place(topic)?;
        route.stream.check_door(topic)?;
        Ok(route)
    }

    /// As [`Self::route`], also for the rule that writes a stream.
    /// # Errors
    /// It is no topic, no stream has it, or the server has too many series.
    pub fn place(&self, topic: &str) -> Result<Route, RefusalReason> {
        if let Some(route) = self.find(topic) {
            return Ok(route);
        }
        crate::model::check_topic(topic)?;
        let streams = self.by_name.read();
        let stream = streams
            .values()
            .find(|s| s.definition().template().match_path(topic).is_some())
            .ok_or_else(|| RefusalReason::NoStream(topic.to_owned()))?;
        let mut routes = self.routes.write();
        if let Some(route) = routes.get(topic) {
            return Ok(route.clone());
        }
        if routes.len() >= self.series_max {
            return Err(RefusalReason::TooManySeries(self.series_max));
        }
        let topic: Arc<str> = Arc::from(topic);
        let series = SeriesId(u32::try_from(stream.series.len()).expect("series_max is below u32"));
        stream.series.push(series, Arc::clone(&topic));
        stream.env.ledger.add(NewSeries {
            stream: stream.uid.0,
            series,
            topic: Arc::clone(&topic),
            durable: Arc::clone(&stream.series_durable),
        });
        let route = route_of(stream, series, &topic);
        routes.insert(topic, route.clone());
        Ok(route)
    }

    /// As [`Self::route`], but gives no id: `None` for a topic not seen before.
    pub fn find(&self, topic: &str) -> Option<Route> {
        self.routes.read().get(topic).cloned()
    }

    /// Whether `definition` may stand beside the streams that are there.
    pub(super) fn check_new(&self, definition: &StreamDefinition) -> Result<(), StreamChangeError> {
        let streams = self.by_name.read();
        if streams.contains_key(definition.name()) {
            return Err(StreamChangeError::Exists(definition.name().to_owned()));
        }
        for stream in streams.values() {
            let other = stream.definition();
            if other.template().overlaps(definition.template()) {
                return Err(StreamChangeError::Overlaps {
                    other: other.name().to_owned(),
                    template: other.template().as_str().to_owned(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn insert(&self, stream: Arc<Stream>) {
        let mut routes = self.routes.write();
        let snapshot = stream.series.snapshot();
        for id in 0..u32::try_from(snapshot.len()).expect("series ids are u32") {
            let topic = snapshot.topic(SeriesId(id));
            routes.insert(Arc::from(topic), route_of(&stream, SeriesId(id), topic));
        }
        self.by_name.write().insert(stream.definition().name().to_owned(), stream);
        drop(routes);
        self.forget_learned();
    }

    pub(super) fn remove(&self, name: &str) -> Option<Arc<Stream>> {
        let stream = self.by_name.write().remove(name)?;
        self.routes.write().retain(|_, route| route.stream.uid != stream.uid);
        self.forget_learned();
        stream.env.ledger.forget(stream.uid.0);
        Some(stream)
    }
}

fn route_of(stream: &Arc<Stream>, series: SeriesId, topic: &str) -> Route {
    let n = u32::try_from(stream.partitions.len()).expect("at most 1024 partitions");
    let partition = PartitionId(partition_of(topic, n));
    Route { stream: Arc::clone(stream), series, partition }
}
