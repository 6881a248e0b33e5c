//! The files of a partition as they follow each other, for those who look for damage in them.

use super::{Candidate, Known, Recovered, Recovery};
use crate::io::File;
use crate::log::env::Env;
use crate::log::frame::FrameSchemas;
use crate::log::index::IndexEntry;
use crate::log::producer::ProducerTable;
use crate::log::seal::{Sealed, read_seal};
use crate::log::segment::SegmentId;
use crate::model::Offset;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of a partition, for those who look for damage in it.
#[derive(Debug)]
pub(in crate::log) struct Link {
    pub(in crate::log) partition_uid: u64,
    pub(in crate::log) id: SegmentId,
    pub(in crate::log) path: PathBuf,
    pub(in crate::log) file: Arc<dyn File>,
    pub(in crate::log) file_bytes: u64,
    pub(in crate::log) schemas: Arc<FrameSchemas>,
    /// How many of its bytes count.
    pub(in crate::log) length: u64,
    /// Up to here frames are to be found; behind it a seal that is whole, or what was never synced.
    pub(in crate::log) limit: u64,
    /// Where the next file starts.
    pub(in crate::log) next_base: Option<Offset>,
    /// Of its seal.
    pub(in crate::log) index: Vec<IndexEntry>,
    /// Those at its end, as its seal has them.
    pub(in crate::log) producers: Option<ProducerTable>,
}

/// The files of a partition, oldest first. What is left over is set aside, so call it on a disk that may
/// change.
/// # Errors
/// The disk's, or one is missing among them: what was in it is not known.
pub(in crate::log) fn links(env: &Env, directory: &Path, known: Known) -> io::Result<Vec<Link>> {
    let mut ids: Vec<SegmentId> =
        env.disk.list(directory)?.iter().filter_map(|path| SegmentId::of(path)).collect();
    ids.sort();
    ids.retain(|id| known.start.is_none_or(|start| *id >= start.first));
    let mut recovery = Recovery { env, directory, known, found: Recovered::empty(known.start) };
    let last = recovery.newest_valid(&mut ids)?;
    if let Some(detail) = recovery.found.corrupt.take() {
        return Err(io::Error::other(detail));
    }
    let Some(last) = last else { return Ok(Vec::new()) };
    if known.point.is_some_and(|point| last.id < point.id) {
        return Err(io::Error::other("the newest segment known to be synced is gone"));
    }
    let chain = recovery.chain(last, &ids)?;
    if let Some(detail) = recovery.found.corrupt.take() {
        return Err(io::Error::other(detail));
    }
    let bases: Vec<Offset> = chain.iter().map(|(file, _)| file.id.base).collect();
    let link = |(n, (file, length)): (usize, (Candidate, Option<u64>))| -> io::Result<Link> {
        let uid = known.partition_uid;
        let seal = match length {
            Some(length) if length == file.file_bytes => {
                read_seal(file.file.as_ref(), length, uid, file.id)?
            }
            _ => None,
        };
        let length = match length {
            Some(length) => length,
            None => recovery.known_synced(file.id, file.file.as_ref(), 0)?,
        };
        let producers = seal.as_ref().and_then(Sealed::producers);
        let (limit, index) = seal.map_or_else(
            || (length, Vec::new()),
            |seal| (seal.summary.end_position, seal.summary.index),
        );
        Ok(Link {
            partition_uid: uid,
            id: file.id,
            path: file.path,
            file: file.file,
            file_bytes: file.file_bytes,
            schemas: file.schemas,
            length,
            limit,
            next_base: bases.get(n + 1).copied(),
            index,
            producers,
        })
    };
    chain.into_iter().enumerate().map(link).collect()
}
