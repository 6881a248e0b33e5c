//! Frames: a 128-byte header, then an Arrow IPC message, padded to 64.
//!
//! Promise: a header that decodes has a valid checksum and lengths within the limits; a body is
//! handed to the IPC reader only after its checksum; decoding copies nothing.
//! Elsewhere: which frame may follow which is `recovery`'s; docs/FORMAT.md has every byte.

mod sources;

pub(super) use sources::{SourceRows, Sources, stored_in};

use super::producer::{ProducerId, Source};
use crate::model::reading::{DEDUPE, Hidden, SOURCE_TIME, TIME, stored_schema};
use crate::model::{AppendTime, EventTime, Limits, Offset, SchemaId, StreamDefinition};
use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow::ipc::reader::FileDecoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow::ipc::{Block, MetadataVersion};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Bytes of a header.
pub(super) const HEADER_BYTES: usize = 128;
/// Frames start at multiples of this, and so do their buffers.
pub(super) const ALIGN: u64 = 64;
const MAGIC: [u8; 4] = *b"WEIR";
const VERSION: u16 = 1;
const CONTINUATION: [u8; 4] = [0xff; 4];
const FLAG_ONE_SOURCE: u16 = 1 << 0;
const FLAG_SOURCES: u16 = 1 << 1;
const FLAG_SOURCE_TIME: u16 = 1 << 2;
const FLAG_DEDUPE: u16 = 1 << 3;
const FLAG_FLUSH: u16 = 1 << 4;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameKind {
    Data = 1,
    Schema = 2,
    SyncMarker = 3,
    Seal = 4,
    Gap = 5,
    Tick = 6,
    Restart = 7,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        use FrameKind::{Data, Gap, Restart, Schema, Seal, SyncMarker, Tick};
        [Data, Schema, SyncMarker, Seal, Gap, Tick, Restart].into_iter().find(|k| *k as u8 == byte)
    }

    /// Whether readers see it.
    pub(super) fn is_entry(self) -> bool {
        matches!(self, Self::Data | Self::Gap | Self::Tick | Self::Restart)
    }
}

/// A frame's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: FrameKind,
    pub(super) hidden: Hidden,
    pub(super) flush: Flush,
    pub(super) body_len: u32,
    pub(super) ipc_meta_len: u32,
    pub(super) row_count: u32,
    pub(super) base_offset: Offset,
    pub(super) log_epoch: u32,
    pub(super) schema_id: SchemaId,
    pub(super) partition_uid: u64,
    pub(super) min_time: EventTime,
    pub(super) max_time: EventTime,
    pub(super) append_time: AppendTime,
    pub(super) series_needed: u32,
    pub(super) sources: Sources,
    /// Of a gap: the first offset that is there again. Else 0.
    pub(super) gap_to: u64,
    pub(super) synced_pos: u64,
    pub(super) body_crc: u32,
}

/// Whether a tick flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    Yes,
    No,
}

impl Header {
    /// A frame without rows or body.
    pub(super) fn bare(kind: FrameKind, base_offset: Offset, append_time: AppendTime) -> Self {
        Self {
            kind,
            hidden: Hidden::default(),
            flush: Flush::No,
            body_len: 0,
            ipc_meta_len: 0,
            row_count: 0,
            base_offset,
            log_epoch: 0,
            schema_id: SchemaId(0),
            partition_uid: 0,
            min_time: EventTime(0),
            max_time: EventTime(0),
            append_time,
            series_needed: 0,
            sources: Sources::Unknown,
            gap_to: 0,
            synced_pos: 0,
            body_crc: 0,
        }
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(4, &VERSION.to_le_bytes());
        put(6, &128_u16.to_le_bytes());
        put(8, &[self.kind as u8, 0]);
        put(10, &self.flags().to_le_bytes());
        put(12, &self.body_len.to_le_bytes());
        put(16, &self.ipc_meta_len.to_le_bytes());
        put(20, &self.row_count.to_le_bytes());
        put(24, &self.base_offset.0.to_le_bytes());
        put(32, &self.log_epoch.to_le_bytes());
        put(36, &self.schema_id.0.to_le_bytes());
        put(40, &self.partition_uid.to_le_bytes());
        put(48, &self.min_time.0.to_le_bytes());
        put(56, &self.max_time.0.to_le_bytes());
        put(64, &self.append_time.0.to_le_bytes());
        put(72, &self.series_needed.to_le_bytes());
        match self.sources {
            Sources::One(source) => {
                put(76, &source.producer.0.to_le_bytes());
                put(84, &source.epoch.to_le_bytes());
                put(88, &source.sequence.to_le_bytes());
            }
            Sources::Unknown | Sources::Block => put(88, &self.gap_to.to_le_bytes()),
        }
        put(96, &self.synced_pos.to_le_bytes());
        put(120, &self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..124]);
        bytes[124..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn flags(&self) -> u16 {
        let mut flags = match self.sources {
            Sources::Unknown => 0,
            Sources::One(_) => FLAG_ONE_SOURCE,
            Sources::Block => FLAG_SOURCES,
        };
        if self.hidden.source_time {
            flags |= FLAG_SOURCE_TIME;
        }
        if self.hidden.dedupe {
            flags |= FLAG_DEDUPE;
        }
        if self.flush == Flush::Yes {
            flags |= FLAG_FLUSH;
        }
        flags
    }

    /// The header in `bytes`; `None` if there is none, whatever the reason.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        if bytes[..4] != MAGIC || crc32c::crc32c(&bytes[..124]) != u32_at(bytes, 124) {
            return None;
        }
        let flags = u16_at(bytes, 10);
        let known = FLAG_ONE_SOURCE | FLAG_SOURCES | FLAG_SOURCE_TIME | FLAG_DEDUPE | FLAG_FLUSH;
        let reserved = [&bytes[86..88], &bytes[104..120]].concat().iter().any(|b| *b != 0);
        let unknown = u16_at(bytes, 4) != VERSION || u16_at(bytes, 6) != 128 || bytes[9] != 0;
        if unknown || flags & !known != 0 || reserved {
            return None;
        }
        let kind = FrameKind::from_byte(bytes[8])?;
        let (sources, gap_to) = sources_at(bytes, flags, kind)?;
        let header = Self {
            kind,
            hidden: Hidden {
                source_time: flags & FLAG_SOURCE_TIME != 0,
                dedupe: flags & FLAG_DEDUPE != 0,
            },
            flush: if flags & FLAG_FLUSH == 0 { Flush::No } else { Flush::Yes },
            body_len: u32_at(bytes, 12),
            ipc_meta_len: u32_at(bytes, 16),
            row_count: u32_at(bytes, 20),
            base_offset: Offset(u64_at(bytes, 24)),
            log_epoch: u32_at(bytes, 32),
            schema_id: SchemaId(u32_at(bytes, 36)),
            partition_uid: u64_at(bytes, 40),
            min_time: EventTime(u64_at(bytes, 48).cast_signed()),
            max_time: EventTime(u64_at(bytes, 56).cast_signed()),
            append_time: AppendTime(u64_at(bytes, 64).cast_signed()),
            series_needed: u32_at(bytes, 72),
            sources,
            gap_to,
            synced_pos: u64_at(bytes, 96),
            body_crc: u32_at(bytes, 120),
        };
        let within = header.body_len as usize <= Limits::FRAME_BODY_BYTES_MAX
            && header.row_count as usize <= Limits::FRAME_ROWS_MAX
            && header.ipc_meta_len <= header.body_len
            && header.base_offset.0.checked_add(u64::from(header.row_count)).is_some();
        within.then_some(header)
    }

    /// Bytes of the whole frame, padding included.
    pub(super) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_len).next_multiple_of(ALIGN)
    }

    /// Offset after its rows.
    pub(super) fn end_offset(&self) -> Offset {
        match self.kind {
            FrameKind::Gap => Offset(self.gap_to.max(self.base_offset.0)),
            _ => self.base_offset.plus(u64::from(self.row_count)),
        }
    }

    /// Whether `padded`, the body and the zeros behind it, is what the header was written with.
    pub(super) fn body_is_whole(&self, padded: &[u8]) -> bool {
        let Some((body, padding)) = padded.split_at_checked(self.body_len as usize) else {
            return false;
        };
        let whole = HEADER_BYTES as u64 + padded.len() as u64 == self.frame_bytes();
        whole && padding.iter().all(|b| *b == 0) && crc32c::crc32c(body) == self.body_crc
    }

    /// The body in `padded`, if it is whole.
    pub(super) fn body_in(&self, padded: &Buffer) -> Option<Buffer> {
        let whole = self.body_is_whole(padded);
        whole.then(|| padded.slice_with_length(0, self.body_len as usize))
    }
}

/// Who sent the rows, as far as the header says, and the end of a gap.
fn sources_at(bytes: &[u8; HEADER_BYTES], flags: u16, kind: FrameKind) -> Option<(Sources, u64)> {
    let of_rows = kind == FrameKind::Data;
    match (flags & FLAG_ONE_SOURCE != 0, flags & FLAG_SOURCES != 0) {
        (true, false) if of_rows => {
            let source = Source {
                producer: ProducerId(u64_at(bytes, 76)),
                epoch: u16_at(bytes, 84),
                sequence: u64_at(bytes, 88),
                wire_partition: None,
            };
            Some((Sources::One(source), 0))
        }
        (one, block) if !one && block == (block && of_rows) => {
            let sources = if block { Sources::Block } else { Sources::Unknown };
            let reserved = bytes[76..86].iter().any(|b| *b != 0);
            (!reserved).then(|| (sources, u64_at(bytes, 88)))
        }
        _ => None,
    }
}

fn u16_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("inside the header"))
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("inside the header"))
}

/// A frame ready to be written; the header is finished by whoever knows the file.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) header: Header,
    /// The body's parts, one after another; together a multiple of 64.
    pub(super) body: Vec<Vec<u8>>,
}

impl Frame {
    /// A frame without a body.
    pub(super) fn bare(header: Header) -> Self {
        Self { header, body: Vec::new() }
    }

    /// A frame with plain bytes.
    pub(super) fn with_bytes(mut header: Header, mut bytes: Vec<u8>) -> Self {
        header.body_len = len_u32(bytes.len());
        header.body_crc = crc32c::crc32c(&bytes);
        bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
        Self { header, body: vec![bytes] }
    }

    /// A frame of rows. `header` has offset, append time and which hidden columns the batch carries;
    /// `sent` says which of them came from a producer; `room` is kept from one frame to the next.
    pub(super) fn with_rows(
        mut header: Header,
        batch: &RecordBatch,
        sent: &[SourceRows],
        room: &mut EncodeRoom,
    ) -> Result<Self, ArrowError> {
        let options = write_options()?;
        let mut tracker = DictionaryTracker::new(true);
        let (dictionaries, encoded) =
            IpcDataGenerator::default().encode(batch, &mut tracker, &options, &mut room.0)?;
        assert!(dictionaries.is_empty(), "stored batches hold no dictionaries");
        let meta = encapsulated(&encoded.ipc_message);
        let mut data = encoded.arrow_data;
        data.resize(data.len().next_multiple_of(ALIGN as usize), 0);
        header.sources = Sources::of(sent, batch.num_rows());
        let mut body = vec![meta, data];
        header.row_count = len_u32(batch.num_rows());
        header.ipc_meta_len = len_u32(body[0].len());
        if header.sources == Sources::Block {
            body.insert(0, sources::encode(sent));
        }
        header.body_len = len_u32(body.iter().map(Vec::len).sum());
        header.body_crc = body.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        Ok(Self { header, body })
    }
}

/// Memory in which frames are built.
#[derive(Default)]
pub(super) struct EncodeRoom(IpcWriteContext);

impl std::fmt::Debug for EncodeRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodeRoom").finish_non_exhaustive()
    }
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("frames are bounded by FRAME_BODY_BYTES_MAX")
}

fn write_options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::try_new(ALIGN as usize, false, MetadataVersion::V5)
}

/// Continuation marker, length, flatbuffer, padded so that what follows is aligned.
fn encapsulated(flatbuffer: &[u8]) -> Vec<u8> {
    let whole = (8 + flatbuffer.len()).next_multiple_of(ALIGN as usize);
    let mut bytes = Vec::with_capacity(whole);
    bytes.extend_from_slice(&CONTINUATION);
    bytes.extend_from_slice(&len_u32(whole - 8).to_le_bytes());
    bytes.extend_from_slice(flatbuffer);
    bytes.resize(whole, 0);
    bytes
}

/// The rows of a data frame whose body checksum was verified. `body` starts 64-aligned in memory
/// and the batch shares it.
/// # Errors
/// A sentence: the body is not what the header says.
pub(super) fn decode_rows(
    header: &Header,
    body: &Buffer,
    schemas: &FrameSchemas,
) -> Result<RecordBatch, String> {
    let disagree = || "the lengths of the message do not agree".to_owned();
    if body.len() != header.body_len as usize {
        return Err(disagree());
    }
    let start = sources::block_bytes(header, body).ok_or_else(disagree)?;
    let body = &body.slice(start);
    let meta_len = header.ipc_meta_len as usize;
    let said = body.get(4..8).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    if meta_len < 8
        || meta_len > body.len()
        || body[..4] != CONTINUATION
        || said != Some(meta_len - 8)
    {
        return Err(disagree());
    }
    let metadata = i32::try_from(meta_len).map_err(|e| e.to_string())?;
    let data = i64::try_from(body.len() - meta_len).map_err(|e| e.to_string())?;
    let block = Block::new(0, metadata, data);
    let schema = schemas.with(header.hidden);
    let batch = guarded(|| {
        FileDecoder::new(schema, MetadataVersion::V5)
            .with_require_alignment(true)
            .read_record_batch(&block, body)
    })?
    .ok_or("the message is no record batch")?;
    if batch.num_rows() != header.row_count as usize {
        return Err(format!("{} rows instead of {}", batch.num_rows(), header.row_count));
    }
    Ok(batch)
}

/// The four schemas a segment's data frames can have.
#[derive(Debug)]
pub(super) struct FrameSchemas {
    pub(super) id: SchemaId,
    variants: [SchemaRef; 4],
}

impl FrameSchemas {
    pub(super) fn new(id: SchemaId, base: &SchemaRef) -> Self {
        Self { id, variants: Hidden::ALL.map(|hidden| extended(base, hidden)) }
    }

    /// Those of a stream: the very ones its rows are decoded into.
    pub(super) fn of_stream(id: SchemaId, stream: &StreamDefinition) -> Self {
        Self { id, variants: Hidden::ALL.map(|hidden| stored_schema(stream, hidden)) }
    }

    /// What the rows of a batch carry.
    pub(super) fn hidden(&self, batch: &RecordBatch) -> Hidden {
        let known = self.variants.iter().position(|schema| Arc::ptr_eq(schema, batch.schema_ref()));
        known.map_or_else(|| Hidden::of(batch), |index| Hidden::ALL[index])
    }

    /// The base schema with the hidden columns.
    pub(super) fn with(&self, hidden: Hidden) -> SchemaRef {
        Arc::clone(&self.variants[hidden.index()])
    }

    /// Without hidden columns.
    pub(super) fn base(&self) -> &SchemaRef {
        &self.variants[0]
    }
}

fn extended(base: &SchemaRef, hidden: Hidden) -> SchemaRef {
    if hidden == Hidden::default() {
        return Arc::clone(base);
    }
    let mut fields: Vec<Arc<Field>> = base.fields().iter().map(Arc::clone).collect();
    if hidden.source_time {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        fields.push(Arc::new(Field::new(SOURCE_TIME, utc, true)));
    }
    if hidden.dedupe {
        fields.push(Arc::new(Field::new(DEDUPE, DataType::FixedSizeBinary(16), true)));
    }
    Arc::new(Schema::new_with_metadata(fields, base.metadata().clone()))
}

/// A schema as the flatbuffer of an IPC schema message.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Vec<u8>, ArrowError> {
    let mut tracker = DictionaryTracker::new(true);
    let options = write_options()?;
    let generator = IpcDataGenerator::default();
    Ok(generator
        .schema_to_bytes_with_dictionary_tracker(schema, &mut tracker, &options)
        .ipc_message)
}

/// The schema in the flatbuffer of an IPC schema message.
pub(super) fn schema_from_bytes(bytes: &[u8]) -> Result<SchemaRef, String> {
    guarded(|| try_schema_from_flatbuffer_bytes(bytes)).map(Arc::new)
}

/// Arrow asserts some of what a message says: one that contradicts itself under a checksum that is right
/// (found by fuzzing) is an error like any other, not the end of a thread.
fn guarded<T>(read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|e| e.to_string()),
        Err(_) => Err("the message contradicts itself".to_owned()),
    }
}

/// Smallest and largest event time of a batch: its `time` column.
pub(super) fn time_span(batch: &RecordBatch) -> Option<(EventTime, EventTime)> {
    use arrow::array::AsArray;
    use arrow::datatypes::TimestampMicrosecondType;
    let times = batch.column_by_name(TIME)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    let min = arrow::compute::min(times)?;
    let max = arrow::compute::max(times)?;
    Some((EventTime(min), EventTime(max)))
}

#[cfg(test)]
mod tests;
