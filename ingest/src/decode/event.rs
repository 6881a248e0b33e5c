//! CloudEvents 1.0 over HTTP: binary, structured, batch.
//!
//! Promise: an event without its required attributes is refused; the topic path is the extension
//! `topic`, else `subject`; a repeat of (source, id) is known as one. The data are the fields.

use super::Decoded;
use super::body::{BodyError, each_element, essence};
use super::envelope::Envelope;
use super::json::Decoder;
use super::scan::{ScanError, Value};
use super::shape::{Form, Level, RowError, Shape};
use crate::log::Streams;
use crate::model::{AppendTime, RefusalReason};
use base64::Engine as _;
use std::borrow::Cow;

/// One event, its attributes checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEvent<'e> {
    /// Unique within its source.
    pub id: Cow<'e, str>,
    /// Who made it.
    pub source: Cow<'e, str>,
    /// Where it belongs: `topic`, else `subject`.
    pub topic: Cow<'e, str>,
    /// RFC 3339; used where the data have no time.
    pub time: Option<Cow<'e, str>>,
    /// A JSON object with the fields.
    pub data: Cow<'e, [u8]>,
}

/// Decodes a body of events. `attributes` gives a `ce-` header's raw value by its name behind `ce-`.
/// # Errors
/// The body as a whole cannot be taken; bad events are in [`Decoded::refused`].
pub fn decode_events<'h>(
    streams: &Streams,
    content_type: Option<&str>,
    attributes: impl Fn(&str) -> Option<&'h [u8]>,
    body: &[u8],
    now: AppendTime,
) -> Result<Decoded, BodyError> {
    let mut decoder = Decoder::new(streams);
    match content_type.map(essence).as_deref() {
        Some("application/cloudevents+json") => structured(&mut decoder, body, Many::One, now)?,
        Some("application/cloudevents-batch+json") => {
            structured(&mut decoder, body, Many::Batch, now)?;
        }
        Some(other) if other.starts_with("application/cloudevents") => {
            return Err(BodyError::ContentType(other.to_owned()));
        }
        _ if attributes("specversion").is_none() => {
            return Err(BodyError::ContentType(content_type.unwrap_or("(none)").to_owned()));
        }
        data_type => match binary(data_type, attributes, body) {
            Ok(event) => decoder.push_event(&event, 0, now),
            Err(reason) => decoder.refuse(0, reason, body),
        },
    }
    Ok(decoder.finish())
}

impl Decoder<'_> {
    /// One event; `index` and `now` as for a reading.
    pub fn push_event(&mut self, event: &CloudEvent<'_>, index: u32, now: AppendTime) {
        if let Err(reason) = self.take_event(event, index, now) {
            self.refuse(index, reason, &event.data);
        }
    }

    pub(super) fn take_event(
        &mut self,
        event: &CloudEvent<'_>,
        index: u32,
        now: AppendTime,
    ) -> Result<(), RefusalReason> {
        let data = std::str::from_utf8(&event.data)
            .map_err(|error| RefusalReason::Utf8(error.valid_up_to()))?;
        let envelope = Envelope::Event {
            topic: &event.topic,
            time: event.time.as_deref(),
            source: &event.source,
            id: &event.id,
        };
        self.take_whole(data, envelope, index, now)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Many {
    One,
    Batch,
}

fn structured(
    decoder: &mut Decoder<'_>,
    body: &[u8],
    many: Many,
    now: AppendTime,
) -> Result<(), BodyError> {
    let text = match std::str::from_utf8(body) {
        Ok(text) if text.trim().is_empty() => return Err(BodyError::Empty),
        Ok(text) => text,
        Err(error) => {
            decoder.refuse(0, RefusalReason::Utf8(error.valid_up_to()), body);
            return Ok(());
        }
    };
    if text.trim_start().starts_with('[') != (many == Many::Batch) {
        let what = match many {
            Many::Batch => "a batch is a JSON array of events",
            Many::One => {
                "one event is a JSON object; send arrays as application/cloudevents-batch+json"
            }
        };
        decoder.refuse(0, RefusalReason::Event(what.to_owned()), body);
        return Ok(());
    }
    let mut shape = Shape::default();
    let mut values = Vec::new();
    each_element(decoder, text, |decoder, at, index| {
        let (end, event) = parse(text, at, &mut shape, &mut values, None)?;
        let taken = event.and_then(|event| decoder.take_event(&event, index, now));
        if let Err(reason) = taken {
            decoder.refuse(index, reason, &text.as_bytes()[at..end]);
        }
        Ok(end)
    })
}

pub(super) type Parsed<'e> = (usize, Result<CloudEvent<'e>, RefusalReason>);

/// The event at `at` and where it ends; its topic path is where it was published, if that is known.
pub(super) fn parse<'e>(
    text: &'e str,
    at: usize,
    shape: &mut Shape,
    values: &mut Vec<Value>,
    published: Option<&'e str>,
) -> Result<Parsed<'e>, ScanError> {
    match shape.learn(text, at, Form::Flat, values) {
        Err(RowError::Scan(error)) => Err(error),
        Err(RowError::Refused { reason, end }) => Ok((end, Err(reason))),
        Ok(end) => Ok((end, from_members(text, shape, values, published))),
    }
}

fn from_members<'e>(
    text: &'e str,
    shape: &Shape,
    values: &[Value],
    published: Option<&'e str>,
) -> Result<CloudEvent<'e>, RefusalReason> {
    let member = |name: &str| match shape.slot(Level::Row, name).map(|slot| values[slot]) {
        None | Some(Value::Null) => None,
        value => value,
    };
    let attribute = |name: &str| match member(name) {
        None => Ok(None),
        Some(Value::Text(value)) => Ok(Some(value.of(text))),
        Some(other) => {
            Err(broken(format!("'{name}' should be a text, this is {}", other.describe(text))))
        }
    };
    if let Some(data_type) = attribute("datacontenttype")? {
        check_data_type(&essence(&data_type))?;
    }
    let data: Cow<'e, [u8]> = match (member("data"), attribute("data_base64")?) {
        (Some(_), Some(_)) => {
            return Err(broken("it has both 'data' and 'data_base64'".to_owned()));
        }
        (None, Some(encoded)) => Cow::Owned(
            base64::engine::general_purpose::STANDARD
                .decode(encoded.as_bytes())
                .map_err(|error| broken(format!("'data_base64' is not base64: {error}")))?,
        ),
        (None, None) => Cow::Borrowed(b"{}"),
        (Some(Value::Object(span)), None) => Cow::Borrowed(span.of(text).as_bytes()),
        (Some(other), None) => {
            return Err(broken(format!(
                "its data should be an object with the stream's fields, this is {}",
                other.describe(text)
            )));
        }
    };
    build(|name| published_or(published, name, || attribute(name)), data)
}

/// An attribute; `topic` is where the event was published, if that is known.
pub(super) fn published_or<'e>(
    published: Option<&'e str>,
    name: &str,
    attribute: impl FnOnce() -> Result<Option<Cow<'e, str>>, RefusalReason>,
) -> Result<Option<Cow<'e, str>>, RefusalReason> {
    match published {
        Some(topic) if name == "topic" => Ok(Some(Cow::Borrowed(topic))),
        _ => attribute(),
    }
}

/// Checks the attributes both bindings share.
pub(super) fn build<'e>(
    attribute: impl Fn(&str) -> Result<Option<Cow<'e, str>>, RefusalReason>,
    data: Cow<'e, [u8]>,
) -> Result<CloudEvent<'e>, RefusalReason> {
    let required = |name: &str| match attribute(name)? {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(broken(format!("the required attribute '{name}' is missing or empty"))),
    };
    let version = required("specversion")?;
    if version != "1.0" {
        return Err(broken(format!("specversion is '{version}', only '1.0' is taken")));
    }
    let (id, source) = (required("id")?, required("source")?);
    required("type")?;
    let topic = match attribute("topic")? {
        Some(topic) => topic,
        None => attribute("subject")?.ok_or_else(|| {
            broken("neither 'topic' nor 'subject' says the topic path".to_owned())
        })?,
    };
    Ok(CloudEvent { id, source, topic, time: attribute("time")?, data })
}

fn binary<'e, 'h: 'e>(
    data_type: Option<&str>,
    attributes: impl Fn(&str) -> Option<&'h [u8]>,
    body: &'e [u8],
) -> Result<CloudEvent<'e>, RefusalReason> {
    let data: &'e [u8] = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        check_data_type(data_type.unwrap_or_default())?;
        body
    };
    let attribute = |name: &str| match attributes(name) {
        None => Ok(None),
        Some(raw) => header_value(raw)
            .map(Some)
            .ok_or_else(|| broken(format!("the header ce-{name} is not percent-encoded UTF-8"))),
    };
    build(attribute, Cow::Borrowed(data))
}

pub(super) fn check_data_type(data_type: &str) -> Result<(), RefusalReason> {
    let is_json = matches!(data_type, "" | "application/json" | "text/json")
        || data_type.ends_with("+json")
        || data_type == "application/x-www-form-urlencoded";
    if is_json {
        Ok(())
    } else {
        Err(broken(format!("its data are {data_type}; only JSON is taken")))
    }
}

fn broken(what: String) -> RefusalReason {
    RefusalReason::Event(what)
}

/// A header value as the HTTP binding says (3.1.3.2): quotes taken off, then percent-decoded.
fn header_value(raw: &[u8]) -> Option<Cow<'_, str>> {
    let raw = std::str::from_utf8(raw).ok()?.trim();
    let unquoted = match raw.strip_prefix('"').and_then(|r| r.strip_suffix('"')) {
        None => Cow::Borrowed(raw),
        Some(inner) => Cow::Owned(unquote(inner)),
    };
    if !unquoted.contains('%') {
        return Some(unquoted);
    }
    String::from_utf8(percent_decode(unquoted.as_bytes())?).ok().map(Cow::Owned)
}

fn unquote(quoted: &str) -> String {
    let mut out = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

fn percent_decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            out.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
