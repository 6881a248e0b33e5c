//! A batch of records as producers send it (format 2).
//!
//! Promise: its checksum is right before anything in it is believed; a record is a view of the batch's bytes.
//! Elsewhere: what is compressed is `unpack`'s, what a record means is `produce`'s.

use super::unpack::Codec;
use bytes::Bytes;

/// Bytes before the records.
pub(super) const HEAD_BYTES: usize = 61;
/// Where the checksum begins to count.
const CHECKED_FROM: usize = 21;

/// Why bytes are no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BatchError {
    #[error("there are no records")]
    None,
    #[error("the records are of format {0}; only format 2 is taken (Kafka 0.11 and later)")]
    Format(i8),
    #[error("the checksum is wrong")]
    Checksum,
    #[error("the batch is cut or its length is wrong")]
    Length,
    #[error("one batch of a partition in one request, not several")]
    Several,
    #[error("a compression that is not known")]
    Compression,
    #[error("a batch of a transaction")]
    Transaction,
    #[error("a batch that says it has {0} records")]
    Count(i32),
    #[error("the record {0} is cut or its lengths are wrong")]
    Record(u32),
}

/// Who sends a batch that may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) producer: u64,
    pub(super) epoch: u16,
    /// Of the first record; they wrap at 2^31.
    pub(super) sequence: i32,
}

/// A batch whose checksum is right.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) codec: Codec,
    pub(super) count: u32,
    pub(super) sender: Option<Sender>,
    /// As they came, compressed or not.
    pub(super) records: Bytes,
}

impl Batch {
    /// The one batch of a partition in a Produce request.
    /// # Errors
    /// It is none that is taken.
    pub(super) fn read(bytes: Option<Bytes>) -> Result<Self, BatchError> {
        let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or(BatchError::None)?;
        let format = bytes.get(16).ok_or(BatchError::Length)?.cast_signed();
        if format != 2 {
            return Err(BatchError::Format(format));
        }
        let head = Head(bytes.first_chunk().ok_or(BatchError::Length)?);
        let length = usize::try_from(i32::from_be_bytes(head.at(8))).unwrap_or(0) + 12;
        if length < HEAD_BYTES || length > bytes.len() {
            return Err(BatchError::Length);
        }
        if length < bytes.len() {
            return Err(BatchError::Several);
        }
        if crc32c::crc32c(&bytes[CHECKED_FROM..]) != u32::from_be_bytes(head.at(17)) {
            return Err(BatchError::Checksum);
        }
        let attributes = i16::from_be_bytes(head.at(21));
        if attributes & 0b11_0000 != 0 {
            return Err(BatchError::Transaction);
        }
        let said = i32::from_be_bytes(head.at(57));
        let last = i32::from_be_bytes(head.at(23));
        let records = bytes.slice(HEAD_BYTES..);
        // A record has seven bytes at least, but compressed ones may have less.
        let count = u32::try_from(said).ok().filter(|n| *n > 0 && last == said - 1);
        Ok(Self {
            codec: codec_of(attributes)?,
            count: count.ok_or(BatchError::Count(said))?,
            sender: sender(&head),
            records,
        })
    }
}

fn codec_of(attributes: i16) -> Result<Codec, BatchError> {
    match attributes & 0b111 {
        0 => Ok(Codec::Plain),
        1 => Ok(Codec::Gzip),
        2 => Ok(Codec::Snappy),
        3 => Ok(Codec::Lz4),
        4 => Ok(Codec::Zstd),
        _ => Err(BatchError::Compression),
    }
}

/// Only whoever has an id may send again.
fn sender(head: &Head<'_>) -> Option<Sender> {
    let producer = u64::try_from(i64::from_be_bytes(head.at(43))).ok()?;
    let epoch = u16::try_from(i16::from_be_bytes(head.at(51))).ok()?;
    let sequence = i32::from_be_bytes(head.at(53));
    (sequence >= 0).then_some(Sender { producer, epoch, sequence })
}

struct Head<'b>(&'b [u8; HEAD_BYTES]);

impl Head<'_> {
    fn at<const N: usize>(&self, from: usize) -> [u8; N] {
        std::array::from_fn(|n| self.0[from + n])
    }
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'b> {
    pub(super) key: Option<&'b [u8]>,
    pub(super) value: Option<&'b [u8]>,
    headers: usize,
    header_bytes: &'b [u8],
}

impl<'b> Record<'b> {
    /// Whether it has any header.
    pub(super) fn has_headers(&self) -> bool {
        self.headers > 0
    }

    /// The value of its first header with a name that `is` the one.
    pub(super) fn header(&self, is: &dyn Fn(&[u8]) -> bool) -> Option<&'b [u8]> {
        let mut rest = Rest(self.header_bytes);
        for _ in 0..self.headers {
            let (name, value) = (rest.bytes()??, rest.bytes()?);
            if is(name) {
                return value;
            }
        }
        None
    }
}

/// The records of a batch, in order.
#[derive(Debug)]
pub(super) struct Records<'b> {
    rest: Rest<'b>,
    at: u32,
    count: u32,
}

impl<'b> Records<'b> {
    pub(super) fn new(bytes: &'b [u8], count: u32) -> Self {
        Self { rest: Rest(bytes), at: 0, count }
    }

    /// The next one and its number.
    /// # Errors
    /// It is none, or bytes are left behind the last.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Record<'b>)>, BatchError> {
        if self.at == self.count {
            return if self.rest.0.is_empty() {
                Ok(None)
            } else {
                Err(BatchError::Record(self.at))
            };
        }
        let record = self.rest.record(self.at).ok_or(BatchError::Record(self.at))?;
        self.at += 1;
        Ok(Some((self.at - 1, record)))
    }
}

/// Bytes that are not read yet.
#[derive(Debug, Clone, Copy)]
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn record(&mut self, number: u32) -> Option<Record<'b>> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (record, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let mut inner = Self(record.get(1..)?);
        inner.varlong()?;
        if inner.varint()? != i32::try_from(number).ok()? {
            return None;
        }
        let (key, value) = (inner.bytes()?, inner.bytes()?);
        let headers = usize::try_from(inner.varint()?).ok()?;
        let header_bytes = inner.0;
        // Each has two lengths at least.
        if headers > header_bytes.len() / 2 {
            return None;
        }
        for _ in 0..headers {
            inner.bytes()??;
            inner.bytes()?;
        }
        inner.0.is_empty().then_some(Record { key, value, headers, header_bytes })
    }

    /// Bytes behind their length; -1 is none.
    fn bytes(&mut self) -> Option<Option<&'b [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => {
                let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
                self.0 = rest;
                Some(Some(bytes))
            }
        }
    }

    fn varint(&mut self) -> Option<i32> {
        i32::try_from(self.varlong()?).ok()
    }

    /// Seven bits a byte, the sign in the lowest one.
    #[inline]
    fn varlong(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
