//! The Arrow IPC stream format, from a body that may say anything.
//!
//! Promise: every length in it is held against the bytes that are there before Arrow sees it, so a
//! hostile one neither allocates nor aborts; compressed bodies are refused.

use super::super::body::{BodyError, within_bounds};
use super::super::json::Decoder;
use crate::model::AppendTime;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::{RecordBatch as Header, root_as_message};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Marks a message; older streams begin with its length.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Decodes a stream into `decoder`.
/// # Errors
/// It is none.
pub(in super::super) fn decode_stream(
    decoder: &mut Decoder<'_>,
    body: &[u8],
    now: AppendTime,
) -> Result<(), BodyError> {
    check_messages(body).map_err(BodyError::Arrow)?;
    let mut rest = Buffer::from(body);
    let mut reader = StreamDecoder::new();
    let mut index = 0_u32;
    while !rest.is_empty() {
        // Arrow asserts some of what a stream says; such a stream is refused like any other.
        let next = catch_unwind(AssertUnwindSafe(|| reader.decode(&mut rest)));
        match next {
            Ok(Ok(Some(batch))) if batch.num_rows() > body.len() => {
                return Err(BodyError::Arrow("it says more rows than it has bytes".to_owned()));
            }
            Ok(Ok(Some(batch))) => {
                decoder.push_arrow(&batch, index, now);
                index += u32::try_from(batch.num_rows()).expect("fewer rows than bytes");
                within_bounds(decoder)?;
            }
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(BodyError::Arrow(error.to_string())),
            Err(_) => return Err(BodyError::Arrow("a message contradicts itself".to_owned())),
        }
    }
    Ok(())
}

/// Walks the messages and holds their lengths against the bytes.
fn check_messages(body: &[u8]) -> Result<(), String> {
    let mut at = 0;
    loop {
        let Some(mut word) = word_at(body, at) else {
            // A stream may end without its end marker.
            return if at == body.len() { Ok(()) } else { Err("it ends too early".to_owned()) };
        };
        at += 4;
        if word == CONTINUATION {
            word = word_at(body, at).ok_or("it ends too early")?;
            at += 4;
        }
        let length = u32::from_le_bytes(word) as usize;
        if length == 0 {
            return if at == body.len() { Ok(()) } else { Err("something follows it".to_owned()) };
        }
        let head = body.get(at..).and_then(|b| b.get(..length)).ok_or("it ends too early")?;
        at += length;
        let message = root_as_message(head).map_err(|error| error.to_string())?;
        let length = usize::try_from(message.bodyLength()).map_err(|_| "a length is negative")?;
        let bytes = body.get(at..).and_then(|b| b.get(..length)).ok_or("it ends too early")?;
        at += length;
        let batch = match message.header_as_dictionary_batch() {
            Some(dictionary) => dictionary.data(),
            None => message.header_as_record_batch(),
        };
        if let Some(batch) = batch {
            check_batch(&batch, bytes.len(), body.len())?;
        }
    }
}

fn check_batch(batch: &Header<'_>, bytes: usize, rows_max: usize) -> Result<(), String> {
    if batch.compression().is_some() {
        return Err("its buffers are compressed; send them plain".to_owned());
    }
    let within = |length: i64| usize::try_from(length).is_ok_and(|length| length <= rows_max);
    let nodes_fit = batch
        .nodes()
        .is_none_or(|nodes| nodes.iter().all(|n| within(n.length()) && within(n.null_count())));
    if !within(batch.length()) || !nodes_fit {
        return Err("it says more rows than it has bytes".to_owned());
    }
    let inside = |offset: i64, length: i64| {
        let (Ok(offset), Ok(length)) = (usize::try_from(offset), usize::try_from(length)) else {
            return false;
        };
        offset.checked_add(length).is_some_and(|end| end <= bytes)
    };
    let buffers_fit =
        batch.buffers().is_none_or(|all| all.iter().all(|b| inside(b.offset(), b.length())));
    if buffers_fit { Ok(()) } else { Err("a buffer lies outside its message".to_owned()) }
}

fn word_at(body: &[u8], at: usize) -> Option<[u8; 4]> {
    body.get(at..)?.first_chunk::<4>().copied()
}
