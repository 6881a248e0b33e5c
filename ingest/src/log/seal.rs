//! The end of a closed segment: what it holds, so that opening it reads nothing else.
//!
//! Promise: a trailer that verifies vouches for the summary before it; bodies are checked when read.

use super::frame::{ALIGN, Frame, FrameKind, HEADER_BYTES, Header};
use super::index::{IndexEntry, Summary};
use super::producer::ProducerTable;
use super::segment::SegmentId;
use crate::io::File;
use crate::model::{AppendTime, EventTime, Limits, Offset, SeriesId};
use std::sync::Arc;

/// Bytes of the trailer.
pub(super) const TRAILER_BYTES: u64 = 64;
const TRAILER_MAGIC: [u8; 8] = *b"WEIRSEAL";

/// Bytes of a summary before its index, and of an entry of that.
const SUMMARY_BYTES: usize = 80;
const INDEX_ENTRY_BYTES: usize = 32;

/// The series a segment holds: id and topic path.
pub(super) type UsedSeries = Vec<(SeriesId, Arc<str>)>;

/// What a seal says beside the summary.
#[derive(Debug)]
pub(super) struct SealTail {
    pub(super) series: UsedSeries,
    /// The producers at its end, as `ProducerTable::snapshot` gives them.
    pub(super) producers: Vec<u8>,
}

/// A seal that was read.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) summary: Summary,
    /// What follows the summary.
    tail: Vec<u8>,
}

impl Sealed {
    /// The seal that `bytes` are, of the segment `id`.
    pub(super) fn of_bytes(mut bytes: Vec<u8>, id: SegmentId) -> Option<Self> {
        let summary = decode_summary(&bytes, id.base)?;
        let tail = bytes.split_off(SUMMARY_BYTES + summary.index.len() * INDEX_ENTRY_BYTES);
        Some(Self { summary, tail })
    }

    /// The producers at its end; `None` where it was written before there were any.
    pub(super) fn producers(&self) -> Option<ProducerTable> {
        let (count, mut rest) = self.tail.split_first_chunk::<8>()?;
        for _ in 0..u64::from_le_bytes(*count) {
            let (head, after) = rest.split_first_chunk::<6>()?;
            rest = after.get(usize::from(u16::from_le_bytes([head[4], head[5]]))..)?;
        }
        ProducerTable::restore(rest)
    }
}

/// A seal as bytes.
pub(super) fn seal_bytes(summary: &Summary, tail: &SealTail) -> Vec<u8> {
    let mut bytes = encode_summary(summary);
    put(&mut bytes, &(tail.series.len() as u64).to_le_bytes());
    for (id, topic) in &tail.series {
        put(&mut bytes, &id.0.to_le_bytes());
        let length = u16::try_from(topic.len()).expect("topics are at most TOPIC_BYTES_MAX");
        put(&mut bytes, &length.to_le_bytes());
        put(&mut bytes, topic.as_bytes());
    }
    put(&mut bytes, &tail.producers);
    bytes
}

/// The seal frames of a segment that ends here.
pub(super) fn seal_frames(summary: &Summary, tail: &SealTail, at: AppendTime) -> Vec<Frame> {
    let bytes = seal_bytes(summary, tail);
    bytes
        .chunks(Limits::FRAME_BODY_BYTES_MAX)
        .map(|part| {
            let header = Header::bare(FrameKind::Seal, summary.end_offset, at);
            Frame::with_bytes(header, part.to_vec())
        })
        .collect()
}

/// The trailer of a segment whose seal frames start at `position` and end at `end`.
pub(super) fn trailer(position: u64, end: u64, partition_uid: u64, epoch: u32) -> [u8; 64] {
    let mut bytes = [0; TRAILER_BYTES as usize];
    bytes[..8].copy_from_slice(&TRAILER_MAGIC);
    bytes[8..16].copy_from_slice(&position.to_le_bytes());
    bytes[16..24].copy_from_slice(&(end - position).to_le_bytes());
    bytes[24..32].copy_from_slice(&partition_uid.to_le_bytes());
    bytes[32..36].copy_from_slice(&epoch.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The summary of a sealed segment of `length` bytes; `None` if it is not sealed or not whole.
pub(super) fn read_seal(
    file: &dyn File,
    length: u64,
    partition_uid: u64,
    id: SegmentId,
) -> std::io::Result<Option<Sealed>> {
    let Some(end) = length.checked_sub(TRAILER_BYTES) else { return Ok(None) };
    let mut last = [0; TRAILER_BYTES as usize];
    if file.pread(&mut last, end)? < last.len() {
        return Ok(None);
    }
    let position = u64::from_le_bytes(*last[8..].first_chunk().expect("64 bytes"));
    if position > end || last != trailer(position, end, partition_uid, id.epoch) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let mut at = position;
    while at < end {
        let Some(part) = read_seal_frame(file, at, end, partition_uid, id.epoch)? else {
            return Ok(None);
        };
        at += HEADER_BYTES as u64 + (part.len() as u64).next_multiple_of(ALIGN);
        bytes.extend(part);
    }
    Ok(Sealed::of_bytes(bytes, id).filter(|sealed| sealed.summary.end_position == position))
}

fn read_seal_frame(
    file: &dyn File,
    at: u64,
    end: u64,
    partition_uid: u64,
    epoch: u32,
) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEADER_BYTES];
    file.pread(&mut head, at)?;
    let header = Header::decode(&head).filter(|h| {
        h.kind == FrameKind::Seal
            && h.partition_uid == partition_uid
            && h.log_epoch == epoch
            && at + h.frame_bytes() <= end
    });
    let Some(header) = header else { return Ok(None) };
    let mut body = vec![0; (header.body_len as usize).next_multiple_of(ALIGN as usize)];
    file.pread(&mut body, at + HEADER_BYTES as u64)?;
    let whole = header.body_is_whole(&body);
    body.truncate(header.body_len as usize);
    Ok(whole.then_some(body))
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(field);
}

fn encode_summary(summary: &Summary) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96 + summary.index.len() * 32);
    for number in [summary.end_offset.0, summary.end_position, summary.frames, summary.rows] {
        put(&mut bytes, &number.to_le_bytes());
    }
    for time in [
        summary.min_time.0,
        summary.max_time.0,
        summary.min_append_time.0,
        summary.max_append_time.0,
        summary.max_tick.0,
    ] {
        put(&mut bytes, &time.to_le_bytes());
    }
    put(&mut bytes, &(summary.index.len() as u64).to_le_bytes());
    for entry in &summary.index {
        put(&mut bytes, &entry.offset.0.to_le_bytes());
        put(&mut bytes, &entry.position.to_le_bytes());
        put(&mut bytes, &entry.append_time.0.to_le_bytes());
        put(&mut bytes, &entry.event_time.0.to_le_bytes());
    }
    bytes
}

fn decode_summary(bytes: &[u8], base_offset: Offset) -> Option<Summary> {
    let mut numbers = bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b));
    let mut next = || numbers.next();
    let mut summary = Summary::empty(base_offset);
    summary.end_offset = Offset(next()?);
    summary.end_position = next()?;
    summary.frames = next()?;
    summary.rows = next()?;
    summary.min_time = EventTime(next()?.cast_signed());
    summary.max_time = EventTime(next()?.cast_signed());
    summary.min_append_time = AppendTime(next()?.cast_signed());
    summary.max_append_time = AppendTime(next()?.cast_signed());
    summary.max_tick = EventTime(next()?.cast_signed());
    let entries = next()?;
    for _ in 0..entries {
        summary.index.push(IndexEntry {
            offset: Offset(next()?),
            position: next()?,
            append_time: AppendTime(next()?.cast_signed()),
            event_time: EventTime(next()?.cast_signed()),
        });
    }
    Some(summary)
}
