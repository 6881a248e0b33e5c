//! Recovering partitions side by side, and building them from what was found.
//!
//! Promise (P10): a partition whose files cannot be recovered is `Failed`; the others run.

use super::points::read_point;
use crate::log::PartitionState;
use crate::log::env::Env;
use crate::log::errors::CatalogError;
use crate::log::frame::EncodeRoom;
use crate::log::partition::{Core, Partition, Planning, Rows};
use crate::log::published::{Published, Recent};
use crate::log::recovery::{Known, Recovered, recover};
use crate::log::segment::Spare;
use crate::log::starts::Start;
use crate::log::writer::Writer;
use crate::model::{Offset, PartitionId};
use crate::sabotage::{self, Fault};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tracing::error;

/// Where a partition is and what it is called.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) id: PartitionId,
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pub(super) partition_uid: u64,
    /// Durable series of its stream.
    pub(super) series: u32,
}

/// How partitions are recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) enum Pace {
    /// On this thread, always in the same order.
    OneByOne,
    /// As many at once as there are cores.
    SideBySide,
}

/// What is found of each place, in their order.
/// # Errors
/// The catalog's. What is wrong with the files of one partition is that one's result.
pub(super) fn recover_all(
    env: &Env,
    places: &[Place],
    pace: Pace,
) -> Result<Vec<io::Result<Recovered>>, CatalogError> {
    let known = |place: &Place| {
        let (point, stop) = read_point(&env.catalog, place.partition_uid)?;
        let start = Start::read(&env.catalog, place.partition_uid)?;
        Ok(Known { partition_uid: place.partition_uid, series: place.series, point, stop, start })
    };
    let known = places.iter().map(known).collect::<Result<Vec<_>, CatalogError>>()?;
    let found: Vec<OnceLock<io::Result<Recovered>>> =
        places.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::SeqCst);
            let Some(place) = places.get(n) else { break };
            found[n].get_or_init(|| one(env, place, known[n]));
        }
    };
    match pace {
        Pace::OneByOne => work(),
        Pace::SideBySide => std::thread::scope(|scope| {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..threads.min(places.len()) {
                scope.spawn(work);
            }
        }),
    }
    let all = found.into_iter().map(|found| found.into_inner().expect("each place was taken"));
    Ok(all.collect())
}

fn one(env: &Env, place: &Place, known: Known) -> io::Result<Recovered> {
    env.disk.create_directories(&place.directory)?;
    recover(env, &place.directory, known)
}

/// The partition of what was found.
pub(super) fn partition(
    env: &Arc<Env>,
    place: Place,
    rows: Rows,
    found: io::Result<Recovered>,
) -> Arc<Partition> {
    let Place { id, name, directory, partition_uid, series } = place;
    let failed = found.as_ref().err().map(|error| why(&name, error));
    let recovered = found.unwrap_or_else(|_| Recovered::empty(None));
    let state = match (&recovered.corrupt, &failed) {
        (_, Some(why)) => PartitionState::Failed(why.to_string()),
        (Some(detail), None) => PartitionState::Corrupt(detail.clone()),
        (None, None) => PartitionState::Ready,
    };
    let schemas = match rows {
        // Those of the declaration, when its first rows come.
        Rows::Readings { .. } => None,
        Rows::Internal(_) => recovered.segments.last().map(|s| Arc::clone(&s.schemas)),
    };
    let published = Published {
        newest_event: recovered.newest_event(),
        segments: recovered.segments,
        durable_end: recovered.next_offset,
        in_flight: VecDeque::new(),
        state,
        recent: Recent::default(),
        start: recovered.start,
    };
    let writer = Writer {
        directory,
        partition_uid,
        epoch: recovered.active.as_ref().map_or(recovered.epoch, |active| active.id.epoch),
        active: recovered.active,
        follows: recovered.follows,
        next_offset: next_offset(recovered.next_offset),
        must_heal: false,
        failed,
        last_allocation: 0,
        prepared: None,
        spare: Spare::Unknown,
        // Which series the recovered part used is not known: the seal then names all.
        used_series: vec![u64::MAX; (series as usize).div_ceil(64)],
    };
    let (producers, room) = (recovered.producers, EncodeRoom::default());
    let planning = Planning { dedupe: None, schemas, room };
    let core = Core { writer, producers, planning, behind: None };
    Partition::new(id, name, Arc::clone(env), rows, published, core)
}

/// The offset of the next row, where `end` rows were found.
fn next_offset(end: Offset) -> Offset {
    if sabotage::is(Fault::ReuseOffsets) { Offset(end.0.saturating_sub(1)) } else { end }
}

fn why(partition: &str, error: &io::Error) -> Arc<str> {
    error!(partition, %error, "partition cannot be recovered; it stays closed until a restart");
    let advice = match error.kind() {
        io::ErrorKind::StorageFull => "make room on the disk and restart",
        _ => "look at the disk and restart",
    };
    Arc::from(format!("its files could not be recovered ({error}); {advice}"))
}
