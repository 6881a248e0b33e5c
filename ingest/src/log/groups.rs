//! Consumer groups: how far each has come, durable in the catalog.
//!
//! Promise: a position that was confirmed survives a crash; many that are committed at once share one
//! transaction.

use super::catalog::{Catalog, Change};
use super::errors::CatalogError;
use super::opening::point_key;
use crate::model::{AppendTime, Offset};
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Their space in the catalog.
pub(super) const GROUPS: &str = "log/group";

/// How far a group has come in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPosition {
    /// The group.
    pub group: String,
    /// The partition's identity, as `Partition::uid` gives it.
    pub partition: u64,
    /// Offset of the next row it wants.
    pub next: Offset,
    /// When it said so.
    pub at: AppendTime,
}

/// Positions that are not in the catalog yet.
#[derive(Debug, Default)]
pub(super) struct GroupLedger {
    waiting: Mutex<BTreeMap<(String, u64), (Offset, AppendTime)>>,
    committing: Mutex<()>,
}

impl GroupLedger {
    /// Makes positions durable, in one transaction with all who wait.
    pub(super) fn commit(
        &self,
        catalog: &Catalog,
        group: &str,
        positions: &[(u64, Offset)],
        at: AppendTime,
    ) -> Result<(), CatalogError> {
        let new = positions.iter().map(|(uid, next)| ((group.to_owned(), *uid), (*next, at)));
        self.waiting.lock().extend(new);
        let _one_at_a_time = self.committing.lock();
        let all = std::mem::take(&mut *self.waiting.lock());
        if all.is_empty() {
            return Ok(());
        }
        let changes: Vec<Change> = all.iter().map(|(key, value)| put(key, *value)).collect();
        catalog.change(&changes).inspect_err(|_| {
            let mut waiting = self.waiting.lock();
            for (key, value) in all {
                // A newer one that came in between counts.
                waiting.entry(key).or_insert(value);
            }
        })
    }
}

fn key(group: &str, uid: u64) -> String {
    format!("{group}/{}", point_key(uid))
}

fn put((group, uid): &(String, u64), (next, at): (Offset, AppendTime)) -> Change {
    let value = [next.0.to_le_bytes(), at.0.to_le_bytes()].concat();
    Change::Put { space: GROUPS, key: key(group, *uid), value }
}

/// The position of a group in a partition.
pub(super) fn position(
    catalog: &Catalog,
    group: &str,
    uid: u64,
) -> Result<Option<Offset>, CatalogError> {
    let key = key(group, uid);
    let Some(value) = catalog.get(GROUPS, &key)? else { return Ok(None) };
    read(&key, &value).map(|position| Some(position.next))
}

/// Every position of every group.
pub(super) fn list(catalog: &Catalog) -> Result<Vec<GroupPosition>, CatalogError> {
    catalog.list(GROUPS)?.iter().map(|(key, value)| read(key, value)).collect()
}

/// What forgets the positions that `gone` names.
pub(super) fn forget(
    catalog: &Catalog,
    gone: impl Fn(&GroupPosition) -> bool,
) -> Result<Vec<Change>, CatalogError> {
    let gone = list(catalog)?.into_iter().filter(gone);
    let key = |position: GroupPosition| key(&position.group, position.partition);
    Ok(gone.map(|position| Change::Remove { space: GROUPS, key: key(position) }).collect())
}

fn read(key: &str, value: &[u8]) -> Result<GroupPosition, CatalogError> {
    let damaged = || CatalogError::Damaged {
        entry: format!("the position of the group {key}"),
        detail: "it does not read as one".to_owned(),
    };
    let (group, uid) = key.rsplit_once('/').ok_or_else(damaged)?;
    let partition = u64::from_str_radix(uid, 16).map_err(|_| damaged())?;
    let ([next, at], []) = value.as_chunks::<8>() else { return Err(damaged()) };
    Ok(GroupPosition {
        group: group.to_owned(),
        partition,
        next: Offset(u64::from_le_bytes(*next)),
        at: AppendTime(i64::from_le_bytes(*at)),
    })
}
