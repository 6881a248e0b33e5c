//! Where a partition starts that has lost its oldest segments to retention, and the producers that their seals
//! knew: records in the catalog.
//!
//! Promise: durable before the first file they make superfluous is removed.

use super::catalog::{Catalog, Change};
use super::errors::CatalogError;
use super::opening::point_key;
use super::producer::ProducerTable;
use super::segment::SegmentId;
use crate::model::{AppendTime, EventTime, Offset};

/// Its space in the catalog.
pub(super) const STARTS: &str = "log/start";
/// The space of the producers.
pub(super) const PRODUCERS: &str = "log/producers";
const BYTES: usize = 28;

/// The start of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// The oldest segment kept.
    pub(super) first: SegmentId,
    /// Largest event time of what is gone; the smallest there is where that had none.
    pub(super) newest_event: EventTime,
    /// Newest append time of what is gone.
    pub(super) newest_append: AppendTime,
}

impl Start {
    /// The change that makes it durable.
    pub(super) fn put(self, partition_uid: u64) -> Change {
        let mut value = Vec::with_capacity(BYTES);
        value.extend(self.first.base.0.to_le_bytes());
        value.extend(self.first.epoch.to_le_bytes());
        value.extend(self.newest_event.0.to_le_bytes());
        value.extend(self.newest_append.0.to_le_bytes());
        Change::Put { space: STARTS, key: point_key(partition_uid), value }
    }

    /// The start of a partition; `None` where nothing was removed yet.
    pub(super) fn read(catalog: &Catalog, uid: u64) -> Result<Option<Self>, CatalogError> {
        let key = point_key(uid);
        let Some(value) = catalog.get(STARTS, &key)? else { return Ok(None) };
        let Ok(value) = <[u8; BYTES]>::try_from(value) else {
            return Err(CatalogError::Damaged { entry: key, detail: "wrong length".to_owned() });
        };
        let number = |at: usize| u64::from_le_bytes(*value[at..].first_chunk().expect("28 bytes"));
        let epoch = u32::from_le_bytes(*value[8..].first_chunk().expect("28 bytes"));
        Ok(Some(Self {
            first: SegmentId { base: Offset(number(0)), epoch },
            newest_event: EventTime(number(12).cast_signed()),
            newest_append: AppendTime(number(20).cast_signed()),
        }))
    }
}

/// The change that keeps the producers of a partition whose oldest segments go: with the seals goes what they
/// know, and the segments that stay may have none. Of a file that stays they may know more than was in it by its
/// end; what is noted twice is there once.
pub(super) fn put_producers(partition_uid: u64, producers: &ProducerTable) -> Change {
    let (space, key) = (PRODUCERS, point_key(partition_uid));
    match producers.is_empty() {
        true => Change::Remove { space, key },
        false => Change::Put { space, key, value: producers.snapshot() },
    }
}

/// The producers of a partition when its oldest segments went.
pub(super) fn producers(catalog: &Catalog, uid: u64) -> Result<ProducerTable, CatalogError> {
    let key = point_key(uid);
    let Some(value) = catalog.get(PRODUCERS, &key)? else { return Ok(ProducerTable::default()) };
    let damaged = || CatalogError::Damaged { entry: key, detail: "no producers".to_owned() };
    ProducerTable::restore(&value).ok_or_else(damaged)
}
