//! Who sent the rows of a frame: in its header if it was one, else in a block before the message.
//!
//! Promise: a frame of one producer costs no byte more than one of nobody.

use super::{ALIGN, Header, len_u32};
use crate::log::producer::{ProducerId, Source, Stored};

/// Bytes of the block's head, and of each entry.
const ENTRY_BYTES: usize = 32;

/// Where it stands who sent the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) enum Sources {
    /// Nowhere: they came without.
    Unknown,
    /// In the header: all rows are of this one.
    One(Source),
    /// In a block before the message.
    Block,
}

/// Rows of a frame that one batch brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::log) struct SourceRows {
    pub(in crate::log) source: Source,
    pub(in crate::log) first_row: u32,
    pub(in crate::log) rows: u32,
}

impl Sources {
    /// Where `sent` is put in a frame of `rows` rows.
    pub(super) fn of(sent: &[SourceRows], rows: usize) -> Self {
        match sent {
            [] => Self::Unknown,
            [one] if one.rows as usize == rows && one.source.wire_partition.is_none() => {
                Self::One(one.source)
            }
            _ => Self::Block,
        }
    }
}

/// The block, a multiple of 64.
pub(super) fn encode(sent: &[SourceRows]) -> Vec<u8> {
    let mut bytes = vec![0; ENTRY_BYTES];
    bytes[..4].copy_from_slice(&len_u32(sent.len()).to_le_bytes());
    for SourceRows { source, first_row, rows } in sent {
        bytes.extend(source.producer.0.to_le_bytes());
        bytes.extend(source.sequence.to_le_bytes());
        bytes.extend(source.wire_partition.unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(first_row.to_le_bytes());
        bytes.extend(rows.to_le_bytes());
        bytes.extend(source.epoch.to_le_bytes());
        bytes.extend([0; 2]);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
    bytes
}

/// Bytes of the block at the start of `body`; `None` if there is not room for what it says.
pub(super) fn block_bytes(header: &Header, body: &[u8]) -> Option<usize> {
    if header.sources != Sources::Block {
        return Some(0);
    }
    let entries = u32::from_le_bytes(*body.first_chunk()?) as usize;
    let bytes = (entries.checked_add(1)?).checked_mul(ENTRY_BYTES)?;
    let bytes = bytes.checked_next_multiple_of(ALIGN as usize)?;
    (entries <= header.row_count as usize && bytes <= body.len()).then_some(bytes)
}

/// The batches whose rows a frame holds.
pub(in crate::log) fn stored_in(header: &Header, body: &[u8]) -> Vec<Stored> {
    let (base, at) = (header.base_offset, header.append_time);
    match header.sources {
        Sources::Unknown => Vec::new(),
        Sources::One(source) => vec![Stored { source, base_offset: base, at }],
        Sources::Block => {
            let Some(bytes) = block_bytes(header, body) else { return Vec::new() };
            let entries = u32_at(body, 0) as usize;
            let block = body[..bytes].chunks_exact(ENTRY_BYTES).skip(1).take(entries);
            block
                .map(|entry| {
                    let (source, first_row) = decode(entry);
                    Stored { source, base_offset: base.plus(u64::from(first_row)), at }
                })
                .collect()
        }
    }
}

fn decode(entry: &[u8]) -> (Source, u32) {
    let wire = u32_at(entry, 16);
    let source = Source {
        producer: ProducerId(u64_at(entry, 0)),
        sequence: u64_at(entry, 8),
        wire_partition: (wire != u32::MAX).then_some(wire),
        epoch: u16::from_le_bytes([entry[28], entry[29]]),
    };
    (source, u32_at(entry, 20))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("inside the entry"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("inside the entry"))
}
