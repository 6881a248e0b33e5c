//! What every partition of a log shares.

use super::LogConfig;
use super::append_clock::AppendClock;
use super::catalog::{Catalog, Change};
use super::clock_watch::{Accepted, CLOCK_AGREES_WITHIN_US, ClockState, ClockWatch};
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
    clock_watch: ClockWatch,
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
            clock_watch: ClockWatch::default(),
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

    fn clocks(&self) -> (i64, u64) {
        (self.clock.wall_us(), self.clock.monotonic_us())
    }

    /// The log is open, with `newest` as its newest append; an old acceptance that is needed no more is
    /// forgotten.
    pub(super) fn watch_clock(&self, newest: Option<AppendTime>) -> Result<(), CatalogError> {
        let accepted = Accepted::read(&self.catalog)?;
        self.clock_watch.begin(self.clocks(), newest, accepted);
        let no_more = accepted.is_some() && newest.is_none_or(|newest| !is_before(self, newest));
        if no_more { self.catalog.change(&[Accepted::none()]) } else { Ok(()) }
    }

    /// How the wall clock is.
    pub(super) fn clock_state(&self) -> ClockState {
        self.clock_watch.look(self.clocks())
    }

    /// As [`Self::clock_state`]; a change is told.
    pub(super) fn look_at_clock(&self) -> ClockState {
        let (state, changed) = self.clock_watch.look_for_change(self.clocks());
        if changed && state.is_suspect() {
            tracing::warn!(
                %state, "the clock is suspect: no ticks of the clock, no retention by age; weir log clock"
            );
        } else if changed {
            tracing::info!("the clock is believed again");
        }
        state
    }

    /// The wall clock is right as it is, also for the next start.
    pub(super) fn accept_clock(&self) -> Result<ClockState, CatalogError> {
        let state = self.clock_state();
        self.catalog.change(&[self.accepting_clock()])?;
        self.clock_watch.accept(self.clocks());
        Ok(state)
    }

    /// What the catalog is to say of that.
    pub(super) fn accepting_clock(&self) -> Change {
        Accepted::change(self.clock.wall_us(), self.append_clock.floor())
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

/// Whether the wall clock stands too far before an append.
fn is_before(env: &Env, newest: AppendTime) -> bool {
    newest.0.saturating_sub(env.clock.wall_us()) > CLOCK_AGREES_WITHIN_US
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
