//! What proofs and fuzz targets see of the log's insides. No part of the interface.
//!
//! Promise: each function takes bytes that may say anything. None panics, and none allocates by a
//! length that was not held against the bytes that are there.

use super::catalog::{Catalog, Change};
use super::env::Env;
use super::errors::OpenError;
use super::frame::{FrameKind, FrameSchemas, HEADER_BYTES, Header, decode_rows};
use super::opening;
use super::partition::Partition;
use super::recovery::Stop;
use super::seal::read_seal;
use super::segment::{Predecessor, SegmentId, Syncing, read_schema_frame};
use super::{LogConfig, opening::StreamRecord};
use crate::io::{Disk, File, SimulatedClock, SimulatedDisk};
use crate::model::{Offset, SchemaId, StreamDefinition, StreamUid};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What a frame turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// No header, or a body that is not the one the header was written with.
    Nothing,
    /// A frame of rows.
    Rows(RecordBatch),
    /// A frame that says what the rows of its segment look like.
    Schema(SchemaRef),
    /// Any other frame.
    Other,
    /// Its checksums are right and it cannot be read all the same.
    Unreadable(String),
}

/// Reads the frame at the start of `bytes`, whose rows are of `schema`.
pub fn frame(bytes: &[u8], schema: &SchemaRef) -> Seen {
    let Some(header) = Header::decode(bytes) else { return Seen::Nothing };
    let whole =
        usize::try_from(header.frame_bytes()).ok().and_then(|end| bytes.get(HEADER_BYTES..end));
    let Some(padded) = whole else { return Seen::Nothing };
    let Some(body) = header.body_in(&Buffer::from(padded)) else { return Seen::Nothing };
    match header.kind {
        FrameKind::Data => {
            let schemas = FrameSchemas::new(SchemaId(1), schema);
            match decode_rows(&header, &body, &schemas) {
                Ok(rows) => Seen::Rows(rows),
                Err(detail) => Seen::Unreadable(detail),
            }
        }
        FrameKind::Schema => match read_schema_frame(&header, &body) {
            Ok((_, schemas)) => Seen::Schema(Arc::clone(schemas.base())),
            Err(detail) => Seen::Unreadable(detail),
        },
        _ => Seen::Other,
    }
}

/// Whether `file` ends in a seal and trailer of the first segment of partition `uid`; the offset its
/// seal says it ends at.
/// # Errors
/// The file's.
pub fn seal(file: &dyn File, uid: u64) -> io::Result<Option<Offset>> {
    let id = SegmentId { base: Offset(0), epoch: 1 };
    Ok(read_seal(file, file.len()?, uid, id)?.map(|sealed| sealed.summary.end_offset))
}

/// What the catalog keeps of a stream declared so.
pub fn stream_value(definition: &StreamDefinition) -> Vec<u8> {
    match opening::put_stream(StreamUid(1), SchemaId(1), definition) {
        Change::Put { value, .. } => value,
        _ => Vec::new(),
    }
}

/// Reads `bytes` as each of the values that the log keeps in the catalog; how many they could be.
pub fn catalog_value(bytes: &[u8]) -> usize {
    let stream = serde_json::from_slice::<StreamRecord>(bytes).is_ok();
    let point = opening::point_of(bytes).is_some();
    usize::from(stream) + usize::from(point)
}

/// What the catalog knows of a partition before its files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// This many bytes of the first segment were synced, and then the process was killed.
    Killed(u64),
    /// The process stopped with this many bytes of the first segment.
    Stopped(u64),
}

/// Opens single partitions on a disk; the catalog is on another. Their rows are as an internal log's:
/// of whatever schema their segments say.
#[derive(Debug)]
pub struct Recoverer {
    env: Arc<Env>,
}

impl Recoverer {
    /// For partitions on `disk`.
    /// # Errors
    /// The catalog cannot be made.
    pub fn new(disk: Arc<dyn Disk>, config: LogConfig) -> Result<Self, OpenError> {
        let own: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(1));
        let clock = Arc::new(SimulatedClock::at(1_000_000));
        let catalog = Catalog::open(&own, Path::new("catalog.redb"))?;
        Ok(Self { env: Env::new(disk, clock, catalog, config)? })
    }

    /// Tells the catalog about partition `uid`.
    /// # Errors
    /// The catalog's.
    pub fn tell(&self, uid: u64, told: Told) -> Result<(), OpenError> {
        let id = SegmentId { base: Offset(0), epoch: 1 };
        let change = match told {
            Told::Nothing => return Ok(()),
            Told::Killed(length) => {
                opening::put_point(uid, Predecessor { id, length }, Stop::Unclean)
            }
            Told::Stopped(length) => {
                opening::put_point(uid, Predecessor { id, length }, Stop::Clean)
            }
        };
        Ok(self.env.catalog.change(&[change])?)
    }

    /// Recovers partition `uid`, whose segments are in `directory` and whose stream has `series`
    /// series.
    /// # Errors
    /// The disk's.
    pub fn open(
        &self,
        directory: &Path,
        uid: u64,
        series: u32,
    ) -> Result<Arc<Partition>, OpenError> {
        Ok(opening::lone(&self.env, directory.to_path_buf(), uid, series)?)
    }

    /// Commits everything queued in a partition.
    pub fn commit(&self, partition: &Partition) {
        while partition.commit_group(Syncing::Inline).is_some() {}
    }
}

#[cfg(test)]
mod tests;
