//! Recovery points: up to where a partition is known to be synced, as the catalog keeps it.

use crate::log::catalog::{Catalog, Change};
use crate::log::errors::CatalogError;
use crate::log::recovery::Stop;
use crate::log::segment::{Predecessor, SegmentId};
use crate::model::Offset;

pub(super) const POINTS: &str = "log/point";

pub(in crate::log) fn point_key(partition_uid: u64) -> String {
    format!("{partition_uid:016x}")
}

/// The entry that says up to where a partition is synced.
pub(in crate::log) fn put_point(partition_uid: u64, point: Predecessor, stop: Stop) -> Change {
    let mut value = Vec::with_capacity(21);
    value.extend_from_slice(&point.id.base.0.to_le_bytes());
    value.extend_from_slice(&point.id.epoch.to_le_bytes());
    value.extend_from_slice(&point.length.to_le_bytes());
    value.push(u8::from(stop == Stop::Clean));
    Change::Put { space: POINTS, key: point_key(partition_uid), value }
}

pub(in crate::log) fn read_point(
    catalog: &Catalog,
    uid: u64,
) -> Result<(Option<Predecessor>, Stop), CatalogError> {
    let key = point_key(uid);
    let Some(value) = catalog.get(POINTS, &key)? else { return Ok((None, Stop::Unclean)) };
    let Some((point, stop)) = point_of(&value) else {
        return Err(CatalogError::Damaged { entry: key, detail: "wrong length".to_owned() });
    };
    Ok((Some(point), stop))
}

/// A recovery point as the catalog keeps it.
pub(in crate::log) fn point_of(value: &[u8]) -> Option<(Predecessor, Stop)> {
    let value = <[u8; 21]>::try_from(value).ok()?;
    let number = |at: usize| u64::from_le_bytes(*value[at..].first_chunk().expect("21 bytes"));
    let epoch = u32::from_le_bytes(*value[8..].first_chunk().expect("21 bytes"));
    let id = SegmentId { base: Offset(number(0)), epoch };
    let stop = if value[20] == 1 { Stop::Clean } else { Stop::Unclean };
    Some((Predecessor { id, length: number(12) }, stop))
}
