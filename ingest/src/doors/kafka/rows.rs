//! Rows as records.
//!
//! Promise: a row is a record with its topic path as key, its reading as JSON or as an event, and its event
//! time; a record's offset is its row's.

use super::batch::HEAD_BYTES;

/// One batch that is written, record by record.
#[derive(Debug)]
pub(super) struct Writing<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    base: u64,
    first_ms: i64,
    latest_ms: i64,
    /// Offset behind the last record, less the base.
    count: u32,
    last: u32,
    record: Vec<u8>,
}

/// What a record says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'r> {
    pub(super) offset: u64,
    pub(super) time_ms: i64,
    pub(super) key: Option<&'r str>,
    pub(super) value: &'r str,
    /// Names and values.
    pub(super) headers: &'r [(&'r str, &'r str)],
}

impl<'o> Writing<'o> {
    /// A batch behind what is there, from this offset and time on.
    pub(super) fn new(out: &'o mut Vec<u8>, base: u64, first_ms: i64) -> Self {
        let start = out.len();
        out.resize(start + HEAD_BYTES, 0);
        let record = Vec::new();
        Self { out, start, base, first_ms, latest_ms: first_ms, count: 0, last: 0, record }
    }

    /// Bytes of all that is there.
    pub(super) fn bytes(&self) -> usize {
        self.out.len()
    }

    pub(super) fn push(&mut self, said: &Said<'_>) {
        let record = &mut self.record;
        record.clear();
        record.push(0);
        let delta = u32::try_from(said.offset - self.base).unwrap_or(u32::MAX);
        varint(record, said.time_ms.saturating_sub(self.first_ms));
        varint(record, i64::from(delta));
        match said.key {
            Some(key) => text(record, key),
            None => varint(record, -1),
        }
        text(record, said.value);
        varint(record, length(said.headers.len()));
        for (name, value) in said.headers {
            text(record, name);
            text(record, value);
        }
        varint(self.out, length(record.len()));
        self.out.extend_from_slice(record);
        self.latest_ms = self.latest_ms.max(said.time_ms);
        (self.count, self.last) = (self.count + 1, delta);
    }

    /// Writes the head of the batch; nothing is there if it has no records.
    pub(super) fn finish(self) {
        let Self { out, start, base, first_ms, latest_ms, count, last, .. } = self;
        if count == 0 {
            return out.truncate(start);
        }
        let batch = &mut out[start..];
        let bytes = u32::try_from(batch.len() - 12).unwrap_or(u32::MAX);
        let mut put = |at: usize, bytes: &[u8]| batch[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &base.to_be_bytes());
        put(8, &bytes.to_be_bytes());
        put(12, &(-1_i32).to_be_bytes());
        put(16, &[2]);
        put(23, &last.to_be_bytes());
        put(27, &first_ms.to_be_bytes());
        put(35, &latest_ms.to_be_bytes());
        // No producer, no epoch, no sequence.
        put(43, &[0xff; 14]);
        put(57, &count.to_be_bytes());
        let checksum = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn text(record: &mut Vec<u8>, text: &str) {
    varint(record, length(text.len()));
    record.extend_from_slice(text.as_bytes());
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
