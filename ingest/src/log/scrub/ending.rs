//! What a closed segment has beside its rows: its index, and what stands behind the last of them.
//!
//! Promise: frames begin where the index says; a seal that was written is whole, or the catalog has its word.

use crate::io::{File, Open};
use crate::log::errors::ReadError;
use crate::log::frame::{FrameKind, HEADER_BYTES, Header};
use crate::log::index::Summary;
use crate::log::partition::Partition;
use crate::log::published::PublishedSegment;
use crate::log::seal::read_seal;
use crate::log::segment::{Predecessor, read_schema_frame};
use crate::log::vouched::Vouched;
use crate::log::window::Window;
use crate::model::Offset;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Checks what stands in the segment behind its last rows, up to the length its successor gives it.
/// # Errors
/// It cannot be read, or it is damaged: that is the partition's state then.
pub(super) fn check(partition: &Partition, segment: Offset) -> Result<(), ReadError> {
    let found = partition.with_published(|published| {
        let number = published.segments.iter().rposition(|s| s.id.base == segment)?;
        Some((published.segments[number].clone(), published.segments.get(number + 1)?.clone()))
    });
    // The last one: nothing says yet how long it is.
    let Some((segment, next)) = found else { return Ok(()) };
    let rot = |(at, detail): (u64, &str)| ReadError::Rot {
        partition: partition.id(),
        segment: Arc::from(segment.path.display().to_string()),
        at,
        detail: Arc::from(detail),
    };
    match damage(partition, &segment, &next) {
        Ok(None) => Ok(()),
        Ok(Some(damage)) => Err(rot(damage)).inspect_err(|error| partition.note_rot(error)),
        Err(error) => {
            let detail = format!("{}: {error}", segment.path.display()).into();
            Err(ReadError::Io { partition: partition.id(), detail })
        }
    }
}

/// What is damaged, and where: the index, or the first thing that is neither a frame nor a seal that is whole.
/// Rows that are not published yet are passed over: their readers check them.
fn damage(
    partition: &Partition,
    segment: &PublishedSegment,
    next: &PublishedSegment,
) -> io::Result<Option<(u64, &'static str)>> {
    let (env, uid, id) = (partition.env(), partition.uid(), segment.id);
    let file = env.disk.open(&segment.path, Open::Read)?;
    if let Some(at) = outside_index(file.as_ref(), &segment.summary, uid)? {
        return Ok(Some((at, "the index leads to no frame")));
    }
    // What is wrong with the next one is found there.
    let follows = predecessor(partition, &next.path).unwrap_or_default();
    let Some(Predecessor { length, .. }) = follows.filter(|f| f.id == id) else { return Ok(None) };
    let (mut window, mut at) = (Window::default(), segment.summary.end_position);
    while at < length {
        let header = window.header(file.as_ref(), at, length)?;
        let ours = header.filter(|h| h.partition_uid == uid && h.log_epoch == id.epoch);
        match ours.map(|header| (header.kind, header.frame_bytes())) {
            Some((kind, bytes)) if kind != FrameKind::Seal => at += bytes,
            _ if read_seal(file.as_ref(), length, uid, id)?.is_some() => return Ok(None),
            _ => {
                let vouched = Vouched::read(&env.catalog, uid, id, length);
                let vouched = vouched.map_err(io::Error::other)?.is_some();
                return Ok((!vouched).then_some((at, "the end of the segment")));
            }
        }
    }
    Ok(None)
}

/// The first place the index names where no such frame begins: readers who look for an offset start there.
fn outside_index(file: &dyn File, summary: &Summary, uid: u64) -> io::Result<Option<u64>> {
    for entry in &summary.index {
        let mut head = [0; HEADER_BYTES];
        file.pread(&mut head, entry.position)?;
        let ours = |h: &Header| h.partition_uid == uid && h.base_offset == entry.offset;
        if Header::decode(&head).filter(ours).is_none() {
            return Ok(Some(entry.position));
        }
    }
    Ok(None)
}

/// Which segment a file follows, if its first frame is whole.
fn predecessor(partition: &Partition, path: &Path) -> io::Result<Option<Predecessor>> {
    let file = partition.env().disk.open(path, Open::Read)?;
    let (mut window, length) = (Window::default(), file.len()?);
    let Some(header) = window.header(file.as_ref(), 0, length)? else { return Ok(None) };
    let body = window.body(file.as_ref(), 0, &header, length)?;
    let Some(body) = body.and_then(|body| header.body_in(&body)) else { return Ok(None) };
    Ok(read_schema_frame(&header, &body).ok().and_then(|(follows, _)| follows))
}
