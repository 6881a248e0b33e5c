//! Request bodies into rows: an object, an array, lines, an Arrow stream.
//!
//! Promise: lines are refused one by one. An array that breaks off is refused as a whole, so that
//! sending it again does no harm; its elements are otherwise judged one by one.

use super::Decoded;
use super::arrow::decode_stream;
use super::json::{Decoder, scan_reason};
use super::scan::{ScanError, Scanner};
use crate::log::Streams;
use crate::model::{AppendTime, RefusalReason};

/// Bytes one request may become as columns and refusals, however small it came.
pub const DECODED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a body is, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// One JSON document: an object or an array of them.
    Json,
    /// An object a line.
    Ndjson,
    /// An Arrow IPC stream.
    Arrow,
    /// Not said; told by its first byte.
    Unnamed,
}

/// Why a whole body is refused; nothing of it is kept.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// Nothing in it.
    #[error("the body is empty")]
    Empty,
    /// A content type that is not taken.
    #[error("the content type '{0}' is not taken here")]
    ContentType(String),
    /// Neither `{` nor `[` nor a content type.
    #[error(
        "the body is neither a JSON object nor an array of them, and no content type says what else it is"
    )]
    Unrecognised,
    /// Small as bytes, large as columns.
    #[error("the request becomes more than {DECODED_BYTES_MAX} bytes of columns and refusals")]
    Expands,
    /// Not an Arrow stream.
    #[error("not an Arrow IPC stream: {0}")]
    Arrow(String),
}

impl BodyKind {
    /// What a `Content-Type` says; curl's default says nothing.
    /// # Errors
    /// A type that is not taken.
    pub fn of(content_type: Option<&str>) -> Result<Self, BodyError> {
        let Some(content_type) = content_type else {
            return Ok(Self::Unnamed);
        };
        match essence(content_type).as_str() {
            "application/json" | "text/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Ndjson),
            "application/vnd.apache.arrow.stream" => Ok(Self::Arrow),
            ""
            | "application/x-www-form-urlencoded"
            | "application/octet-stream"
            | "text/plain" => Ok(Self::Unnamed),
            _ => Err(BodyError::ContentType(content_type.to_owned())),
        }
    }
}

/// The media type without its parameters, in lower case.
pub(super) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Decodes a body of readings.
/// # Errors
/// The body as a whole cannot be taken; bad rows are in [`Decoded::refused`].
pub fn decode_body(
    streams: &Streams,
    content_type: Option<&str>,
    body: &[u8],
    now: AppendTime,
) -> Result<Decoded, BodyError> {
    let kind = BodyKind::of(content_type)?;
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let Some(first) = body.iter().find(|b| !b.is_ascii_whitespace()) else {
        return Err(BodyError::Empty);
    };
    let mut decoder = Decoder::new(streams);
    match (kind, first) {
        (BodyKind::Arrow, _) => decode_stream(&mut decoder, body, now)?,
        (BodyKind::Ndjson, _) => lines(&mut decoder, body, now)?,
        (BodyKind::Unnamed, b'{') if first_line_is_whole(body) => lines(&mut decoder, body, now)?,
        (BodyKind::Json, _) | (BodyKind::Unnamed, b'{' | b'[') => {
            document(&mut decoder, body, now)?;
        }
        (BodyKind::Unnamed, _) => return Err(BodyError::Unrecognised),
    }
    Ok(decoder.finish())
}

/// Whether this looks like lines rather than one object written over several.
fn first_line_is_whole(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    let end = memchr::memchr(b'\n', body).unwrap_or(body.len());
    body[..end].trim_ascii_end().ends_with(b"}")
}

fn lines(decoder: &mut Decoder<'_>, body: &[u8], now: AppendTime) -> Result<(), BodyError> {
    each_line(decoder, body, now, within_bounds).map(drop)
}

impl Decoder<'_> {
    /// JSON readings, one a line; a row's index is that of its line. The number of lines.
    pub fn push_lines(&mut self, text: &[u8], now: AppendTime) -> u32 {
        let all = |_: &Self| Ok::<_, std::convert::Infallible>(());
        let Ok(lines) = each_line(self, text, now, all);
        lines
    }

    /// As [`Self::push_lines`]; `now` tells the clock at each line that is not blank.
    pub fn push_timed_lines(
        &mut self,
        text: &[u8],
        mut now: impl FnMut(u32, &[u8]) -> AppendTime,
    ) -> u32 {
        let body = Body::new(text);
        let (mut start, mut index) = (0, 0);
        while start < text.len() {
            start = body.line(self, start, index, &mut now);
            index += 1;
        }
        index
    }
}

fn each_line<'a, E>(
    decoder: &mut Decoder<'a>,
    bytes: &[u8],
    now: AppendTime,
    check: impl Fn(&Decoder<'a>) -> Result<(), E>,
) -> Result<u32, E> {
    let body = Body::new(bytes);
    let (mut start, mut index) = (0, 0);
    while start < bytes.len() {
        start = match body.text.and_then(|text| straight_line(decoder, text, start, (index, now))) {
            Some(next) => next,
            None => body.line(decoder, start, index, &mut |_, _| now),
        };
        check(decoder)?;
        index += 1;
    }
    Ok(index)
}

/// A line that is like the sensor's last one, without a look for its end first; where the next one begins.
#[inline]
fn straight_line(
    decoder: &mut Decoder<'_>,
    text: &str,
    start: usize,
    row: (u32, AppendTime),
) -> Option<usize> {
    let at_line_end = |text: &[u8], end: usize| matches!(text.get(end), None | Some(b'\n'));
    decoder.take_straight(text, start, row, at_line_end).map(|end| end + 1)
}

/// Lines; as text, if all of them are.
struct Body<'b> {
    bytes: &'b [u8],
    text: Option<&'b str>,
}

impl<'b> Body<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, text: std::str::from_utf8(bytes).ok() }
    }

    /// Takes the line at `start`; where the next one begins.
    fn line(
        &self,
        decoder: &mut Decoder<'_>,
        start: usize,
        index: u32,
        now: &mut impl FnMut(u32, &[u8]) -> AppendTime,
    ) -> usize {
        let rest = &self.bytes[start..];
        let end = memchr::memchr(b'\n', rest).map_or(self.bytes.len(), |at| start + at);
        let line = &self.bytes[start..end];
        match self.text {
            Some(text) if !is_blank(line) => {
                decoder.push_text(&text[start..end], index, now(index, line));
            }
            None if !is_blank(line) => decoder.push_json(line, index, now(index, line)),
            _ => {}
        }
        end + 1
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

pub(super) fn within_bounds(decoder: &Decoder<'_>) -> Result<(), BodyError> {
    if decoder.bytes() > DECODED_BYTES_MAX { Err(BodyError::Expands) } else { Ok(()) }
}

/// One JSON document.
fn document(decoder: &mut Decoder<'_>, body: &[u8], now: AppendTime) -> Result<(), BodyError> {
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => {
            decoder.refuse(0, RefusalReason::Utf8(error.valid_up_to()), body);
            return Ok(());
        }
    };
    each_element(decoder, text, |decoder, at, index| decoder.push_element(text, at, index, now))
}

/// Calls `element` with the place and index of the document's object, or of each array element; it
/// answers where the element ends. What is not a document is refused as one row.
pub(super) fn each_element<'a>(
    decoder: &mut Decoder<'a>,
    text: &str,
    mut element: impl FnMut(&mut Decoder<'a>, usize, u32) -> Result<usize, ScanError>,
) -> Result<(), BodyError> {
    let mut index = 0;
    let walked = walk(text, |at| {
        let end = element(decoder, at, index)?;
        if within_bounds(decoder).is_err() {
            return Ok(None);
        }
        index += 1;
        Ok(Some(end))
    });
    match walked {
        Ok(Walked::Whole) => Ok(()),
        Ok(Walked::Stopped) => Err(BodyError::Expands),
        Err(error) => {
            decoder.discard();
            let reason = match scan_reason(&error) {
                RefusalReason::Json(what) => RefusalReason::Json(format!(
                    "{what}; nothing of this document was taken (of application/x-ndjson, whole lines would be)"
                )),
                other => other,
            };
            decoder.refuse(index, reason, text.as_bytes());
            Ok(())
        }
    }
}

/// How a walk through a document ended.
pub(super) enum Walked {
    Whole,
    Stopped,
}

pub(super) fn walk(
    text: &str,
    mut element: impl FnMut(usize) -> Result<Option<usize>, ScanError>,
) -> Result<Walked, ScanError> {
    let mut scanner = Scanner::new(text, 0);
    scanner.skip_space();
    if scanner.eat(b'[') {
        scanner.skip_space();
        if !scanner.eat(b']') {
            loop {
                let Some(end) = element(scanner.at)? else { return Ok(Walked::Stopped) };
                scanner.at = end;
                scanner.skip_space();
                if scanner.eat(b']') {
                    break;
                }
                scanner.comma_in_array()?;
            }
        }
    } else {
        let Some(end) = element(scanner.at)? else { return Ok(Walked::Stopped) };
        scanner.at = end;
    }
    scanner.skip_space();
    if scanner.at == text.len() {
        Ok(Walked::Whole)
    } else {
        scanner.fail("something follows the document")
    }
}

#[cfg(test)]
mod tests;
