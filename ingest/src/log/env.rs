//! What every partition of a log shares.

use super::LogConfig;
use super::append_clock::AppendClock;
use super::catalog::{Catalog, Change};
use super::errors::CatalogError;
use super::format::{self, Feature, Features};
use super::groups::GroupLedger;
use super::holds::Holds;
use super::measured::Measured;
use super::retention::Removals;
use super::room::RoomWatch;
use crate::io::{Clock, Disk};
use crate::model::{AppendTime, SeriesId};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::watch;

/// The machine below the partitions, and what they have in common.
#[derive(Debug)]
pub(super) struct Env {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) append_clock: AppendClock,
    pub(super) catalog: Catalog,
    pub(super) ledger: SeriesLedger,
    pub(super) groups: GroupLedger,
    pub(super) holds: Arc<Holds>,
    pub(super) room: RoomWatch,
    pub(super) changes: watch::Sender<u64>,
    /// Of the streams' partitions.
    pub(super) measured: Measured,
    /// Of weir's own logs.
    pub(super) measured_internal: Measured,
    pub(super) removals: Removals,
    pub(super) config: LogConfig,
    /// The features the directory is known to use.
    pub(super) features: Mutex<Features>,
}

impl Env {
    /// Over an open catalog; the append clock is to be raised above what the partitions have.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        catalog: Catalog,
        config: LogConfig,
    ) -> Result<Arc<Self>, CatalogError> {
        Ok(Arc::new(Self {
            features: Mutex::new(Features::read(&catalog)?),
            disk,
            append_clock: AppendClock::above(Arc::clone(&clock), AppendTime(i64::MIN)),
            clock,
            catalog,
            ledger: SeriesLedger::default(),
            groups: GroupLedger::default(),
            holds: Arc::new(Holds::default()),
            room: RoomWatch::default(),
            changes: watch::Sender::new(0),
            measured: Measured::default(),
            measured_internal: Measured::default(),
            removals: Removals::default(),
            config,
        }))
    }

    /// Sees how full the disk is; readers and rules are woken where that changes what is taken.
    pub(super) fn look_at_room(&self) {
        let config = &self.config;
        if self.room.look(self.disk.as_ref(), &config.directory, &config.room) {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Where the groups of a partition are counted.
    pub(super) fn measured(&self, partition_uid: u64) -> &Measured {
        let of_stream = partition_uid >> 32 != 0;
        if of_stream { &self.measured } else { &self.measured_internal }
    }

    /// Makes it durable that `feature` is used.
    pub(super) fn need(&self, feature: Feature) -> Result<(), CatalogError> {
        format::need(&self.catalog, &self.features, feature)
    }
}

/// Series ids that were handed out and are not in the catalog yet.
#[derive(Debug, Default)]
pub(super) struct SeriesLedger {
    waiting: Mutex<Vec<NewSeries>>,
    committing: Mutex<()>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct NewSeries {
    pub(super) stream: u32,
    pub(super) series: SeriesId,
    pub(super) topic: Arc<str>,
    /// Number of durable series of the stream.
    pub(super) durable: Arc<AtomicU32>,
}

impl SeriesLedger {
    /// Adds one; ids of a stream come in order.
    pub(super) fn add(&self, new: NewSeries) {
        self.waiting.lock().push(new);
    }

    /// Forgets those of a stream that is dropped.
    pub(super) fn forget(&self, stream: u32) {
        self.waiting.lock().retain(|new| new.stream != stream);
    }

    /// Makes every id handed out so far durable, in one commit for all who wait.
    pub(super) fn make_durable(&self, catalog: &Catalog) -> Result<(), CatalogError> {
        let _one_at_a_time = self.committing.lock();
        let new = std::mem::take(&mut *self.waiting.lock());
        if new.is_empty() {
            return Ok(());
        }
        let changes: Vec<Change> = new
            .iter()
            .map(|n| Change::AddSeries {
                stream: n.stream,
                series: n.series.0,
                topic: Arc::clone(&n.topic),
            })
            .collect();
        if let Err(error) = catalog.change(&changes) {
            self.waiting.lock().splice(0..0, new);
            return Err(error);
        }
        for n in &new {
            n.durable.fetch_max(n.series.0 + 1, Ordering::SeqCst);
        }
        Ok(())
    }
}
