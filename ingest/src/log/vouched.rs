//! What recovery learned of a closed file that has no seal, so that no later start reads it again.
//!
//! Promise: says the same as a seal would; counts only for the very file and length it was made for.

use super::catalog::{Catalog, Change};
use super::errors::CatalogError;
use super::index::Summary;
use super::opening::point_key;
use super::producer::ProducerTable;
use super::seal::{SealTail, Sealed, seal_bytes};
use super::segment::SegmentId;

/// Its space in the catalog.
pub(super) const VOUCHED: &str = "log/sealed";

/// The word of recovery for a file.
#[derive(Debug)]
pub(super) struct Vouched {
    key: String,
    value: Vec<u8>,
}

impl Vouched {
    /// For the first `length` bytes of the file of `id`, which hold what `summary` says;
    /// `producers` are those at its end.
    pub(super) fn new(
        uid: u64,
        id: SegmentId,
        length: u64,
        summary: &Summary,
        producers: &ProducerTable,
    ) -> Self {
        let tail = SealTail { series: Vec::new(), producers: producers.snapshot() };
        let seal = seal_bytes(summary, &tail);
        let crc = crc32c::crc32c(&seal);
        let mut value = Vec::with_capacity(12 + seal.len());
        value.extend(length.to_le_bytes());
        value.extend(crc.to_le_bytes());
        value.extend(seal);
        Self { key: key(uid, id), value }
    }

    /// The change that makes it durable.
    pub(super) fn put(self) -> Change {
        Change::Put { space: VOUCHED, key: self.key, value: self.value }
    }

    /// What was said of the first `length` bytes of a file, if anything was.
    pub(super) fn read(
        catalog: &Catalog,
        uid: u64,
        id: SegmentId,
        length: u64,
    ) -> Result<Option<Sealed>, CatalogError> {
        let Some(value) = catalog.get(VOUCHED, &key(uid, id))? else { return Ok(None) };
        let Some((said, rest)) = value.split_first_chunk::<8>() else { return Ok(None) };
        let Some((crc, seal)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let whole =
            u64::from_le_bytes(*said) == length && u32::from_le_bytes(*crc) == crc32c::crc32c(seal);
        Ok(if whole { Sealed::of_bytes(seal.to_vec(), id) } else { None })
    }
}

/// What forgets it.
pub(super) fn forget(uid: u64, id: SegmentId) -> Change {
    Change::Remove { space: VOUCHED, key: key(uid, id) }
}

/// What forgets all that was said of the files of the partitions of `stream`.
pub(super) fn forget_stream(catalog: &Catalog, stream: u32) -> Result<Vec<Change>, CatalogError> {
    let of_stream = format!("{stream:08x}");
    let entries = catalog.list(VOUCHED)?.into_iter();
    let gone = entries.filter(|(key, _)| key.starts_with(&of_stream));
    Ok(gone.map(|(key, _)| Change::Remove { space: VOUCHED, key }).collect())
}

fn key(uid: u64, id: SegmentId) -> String {
    format!("{}/{}", point_key(uid), id.file_name())
}
