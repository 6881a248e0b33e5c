//! The records of a request into columns.
//!
//! Promise: the topic path of a record is its header `topic`, else its key, else what its value says; a record
//! of another stream than the one it was produced to is refused alone. No I/O, no waiting.

use crate::decode::{DECODED_BYTES_MAX, DecodedRows, Decoder, Published, topic_of};
use crate::doors::kafka::batch::{Batch, BatchError, Record, Records, Sender};
use crate::doors::kafka::unpack::{Unfolding, UnpackError};
use crate::log::Stream;
use crate::model::{AppendTime, Limits, Refusal, RefusalReason, SeriesId, reading};
use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use std::collections::HashMap;
use std::sync::Arc;

/// Records of one partition, ready to append.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) rows: Vec<DecodedRows>,
    pub(super) refused: Vec<Refusal>,
    /// Where refused records were meant to go.
    pub(super) topics: HashMap<u32, String>,
    pub(super) count: u32,
    pub(super) sender: Option<Sender>,
    /// About what all that takes.
    pub(super) bytes: usize,
}

/// Why nothing of a partition's records is taken: what the client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) why: String,
}

impl Refused {
    pub(super) fn new(code: Code, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

impl From<BatchError> for Refused {
    fn from(error: BatchError) -> Self {
        let code = match error {
            BatchError::Format(_) => Code::UnsupportedForMessageFormat,
            // What is sent again may come whole.
            BatchError::Checksum => Code::CorruptMessage,
            BatchError::Transaction => Code::TransactionalIdAuthorizationFailed,
            BatchError::Compression => Code::UnsupportedCompressionType,
            _ => Code::InvalidRecord,
        };
        Self::new(code, error.to_string())
    }
}

impl From<UnpackError> for Refused {
    fn from(error: UnpackError) -> Self {
        let code = match error {
            UnpackError::TooLarge(_) => Code::MessageTooLarge,
            UnpackError::NoRoom(_) => Code::RequestTimedOut,
            UnpackError::Broken(_) => Code::InvalidRecord,
        };
        Self::new(code, error.to_string())
    }
}

/// The records of one partition.
/// # Errors
/// Nothing of them can be taken.
pub(super) fn prepare(
    decoder: &mut Decoder<'_>,
    stream: &Arc<Stream>,
    records: Option<Bytes>,
    unfolding: &mut Unfolding<'_>,
    now: AppendTime,
) -> Result<Prepared, Refused> {
    let batch = Batch::read(records)?;
    if batch.count as usize > Limits::FRAME_ROWS_MAX {
        let why = format!("{} records; at most {} at once", batch.count, Limits::FRAME_ROWS_MAX);
        return Err(Refused::new(Code::MessageTooLarge, why));
    }
    let bytes = unfolding.unpack(batch.codec, &batch.records)?;
    let taken = take(decoder, &bytes, batch.count, now);
    let mut decoded = decoder.finish();
    taken?;
    refuse_others(stream, &mut decoded.rows, &mut decoded.refused, &bytes, batch.count)?;
    let (rows, refused) = (decoded.rows, decoded.refused);
    let topics = topics(&refused, &bytes, batch.count)?;
    Ok(Prepared {
        rows,
        refused,
        topics,
        count: batch.count,
        sender: batch.sender,
        bytes: decoded.bytes,
    })
}

fn take(
    decoder: &mut Decoder<'_>,
    bytes: &[u8],
    count: u32,
    now: AppendTime,
) -> Result<(), Refused> {
    let mut records = Records::new(bytes, count);
    while let Some((number, record)) = records.next()? {
        push(decoder, &record, number, now);
        if decoder.bytes() > DECODED_BYTES_MAX {
            let why = format!("the records become more than {DECODED_BYTES_MAX} bytes of columns");
            return Err(Refused::new(Code::MessageTooLarge, why));
        }
    }
    Ok(())
}

#[inline]
fn push(decoder: &mut Decoder<'_>, record: &Record<'_>, number: u32, now: AppendTime) {
    let payload = record.value.unwrap_or_default();
    let topic = match topic_bytes(record).map(std::str::from_utf8) {
        None if !record.has_headers() => return decoder.push_json(payload, number, now),
        None => None,
        Some(Ok(topic)) => Some(topic),
        Some(Err(error)) => {
            let reason = RefusalReason::Utf8(error.valid_up_to());
            return decoder.refuse(number, reason, payload);
        }
    };
    let header = |is: &dyn Fn(&[u8]) -> bool| {
        let value = record.has_headers().then(|| record.header(is)).flatten();
        value.and_then(|value| std::str::from_utf8(value).ok())
    };
    let content_type = header(&|name| name.eq_ignore_ascii_case(b"content-type"));
    let attribute =
        |wanted: &str| header(&|name| name.strip_prefix(b"ce_") == Some(wanted.as_bytes()));
    let message = Published { topic, payload, content_type, attribute };
    decoder.push_published(&message, number, now);
}

/// The header `topic`, else the key, if it has any bytes.
#[inline]
fn topic_bytes<'r>(record: &Record<'r>) -> Option<&'r [u8]> {
    let said = match record.has_headers() {
        true => record.header(&|name| name == b"topic").or(record.key),
        false => record.key,
    };
    said.filter(|said| !said.is_empty())
}

/// Rows that went to another stream are refused: their offsets would mean nothing to who sent them.
fn refuse_others(
    stream: &Arc<Stream>,
    rows: &mut Vec<DecodedRows>,
    refused: &mut Vec<Refusal>,
    bytes: &[u8],
    count: u32,
) -> Result<(), Refused> {
    let others: Vec<DecodedRows> =
        rows.extract_if(.., |rows| rows.stream.uid() != stream.uid()).collect();
    if others.is_empty() {
        return Ok(());
    }
    let definition = stream.definition();
    let mut reasons = HashMap::new();
    for rows in &others {
        let series = rows.stream.series().snapshot();
        let ids = reading::series_column(&rows.batch).values().iter();
        for (index, id) in rows.indexes.iter().zip(ids) {
            let reason = RefusalReason::OtherStream {
                topic: series.topic(SeriesId(*id)).to_owned(),
                stream: rows.stream.definition().name().to_owned(),
                named: definition.name().to_owned(),
            };
            reasons.insert(*index, reason);
        }
    }
    let mut records = Records::new(bytes, count);
    while let Some((number, record)) = records.next()? {
        let Some(reason) = reasons.remove(&number) else { continue };
        let value = record.value.unwrap_or_default();
        let payload = value[..value.len().min(Limits::DEAD_LETTER_BYTES_MAX)].to_vec();
        refused.push(Refusal { index: number, reason, payload });
    }
    refused.sort_by_key(|refusal| refusal.index);
    Ok(())
}

/// Where refused records were meant to go, as far as they say.
fn topics(refused: &[Refusal], bytes: &[u8], count: u32) -> Result<HashMap<u32, String>, Refused> {
    let mut topics = HashMap::new();
    let mut wanted = refused.iter().map(|refusal| refusal.index).peekable();
    let mut records = Records::new(bytes, count);
    while wanted.peek().is_some() {
        let Some((number, record)) = records.next()? else { break };
        if wanted.next_if(|index| *index == number).is_none() {
            continue;
        }
        while wanted.next_if(|index| *index <= number).is_some() {}
        let said = topic_bytes(&record).map(|topic| String::from_utf8_lossy(topic).into_owned());
        let said = said.or_else(|| topic_of(record.value.unwrap_or_default()));
        if let Some(topic) = said {
            topics.insert(number, topic);
        }
    }
    Ok(topics)
}
