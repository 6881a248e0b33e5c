//! Frames and headers: bytes to requests, answers to bytes.
//!
//! Promise: nothing is decoded that `shape` did not pass. Elsewhere: what a request means.

use super::limits::KafkaLimits;
use super::shape::{Malformed, Shape, Walk};
use super::shapes::shape_of;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

/// Characters kept of what a client calls itself.
const CLIENT_CHARS_MAX: usize = 64;

/// A request whose lengths are right; its body is not decoded yet.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) key: i16,
    pub(super) version: i16,
    /// Comes back with the answer.
    pub(super) correlation: i32,
    /// Who the client says it is, shortened.
    pub(super) client: String,
    body: Bytes,
}

/// Why a frame is no request that is answered as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unserved {
    /// The connection ends.
    #[error("the request {key} of version {version} is malformed: {what}")]
    Malformed { key: i16, version: i16, what: Malformed },
    /// The connection ends.
    #[error("there is no request {key} of version {version} here")]
    Unknown { key: i16, version: i16 },
    /// It is told which versions there are.
    #[error("ApiVersions has no version {version} here")]
    NewerVersions { version: i16, correlation: i32 },
}

impl Request {
    /// A frame without its length.
    /// # Errors
    /// It is none that is served.
    pub(super) fn read(frame: Bytes) -> Result<Self, Unserved> {
        let Some((head, _)) = frame.split_first_chunk::<8>() else {
            return Err(Unserved::Malformed { key: -1, version: -1, what: Malformed::Short });
        };
        let [k0, k1, v0, v1, c0, c1, c2, c3] = *head;
        let (key, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
        let correlation = i32::from_be_bytes([c0, c1, c2, c3]);
        let shape = shape_of(key).ok_or(Unserved::Unknown { key, version })?;
        if !shape.serves(version) {
            return Err(match key == ApiKey::ApiVersions as i16 && version > shape.said.1 {
                true => Unserved::NewerVersions { version, correlation },
                false => Unserved::Unknown { key, version },
            });
        }
        let malformed = |what| Unserved::Malformed { key, version, what };
        if key != ApiKey::Produce as i16 && frame.len() > KafkaLimits::REQUEST_BYTES_MAX {
            return Err(malformed(Malformed::Elements));
        }
        let (client, header) = header(shape, &frame, version).map_err(malformed)?;
        let body = frame.slice(header..);
        shape.check(&body, version).map_err(malformed)?;
        Ok(Self { key, version, correlation, client, body })
    }

    /// Its body.
    /// # Errors
    /// A text is not UTF-8, or missing where one must be.
    pub(super) fn decode<R: Decodable>(&mut self) -> Result<R, Unserved> {
        R::decode(&mut self.body, self.version).map_err(|_| Unserved::Malformed {
            key: self.key,
            version: self.version,
            what: Malformed::Undecoded,
        })
    }
}

/// Who the client says it is, and how long the header is: key, version, correlation, that, and what later
/// versions added.
fn header(shape: &Shape, frame: &[u8], version: i16) -> Result<(String, usize), Malformed> {
    let mut walk = Walk::new(&frame[8..], version, false);
    walk.text()?;
    let named = &frame[8..frame.len() - walk.rest().len()];
    let named = String::from_utf8_lossy(&named[2..]);
    let client = named.chars().filter(|c| !c.is_control()).take(CLIENT_CHARS_MAX).collect();
    if shape.is_flexible(version) {
        walk = Walk::new(walk.rest(), version, true);
        walk.tags()?;
    }
    Ok((client, frame.len() - walk.rest().len()))
}

/// An answer with its length before it; `None` if it cannot be said in this version.
pub(super) fn answer<R: Encodable + HeaderVersion>(
    correlation: i32,
    version: i16,
    response: &R,
) -> Option<Bytes> {
    let mut bytes = BytesMut::with_capacity(response.compute_size(version).ok()? + 16);
    bytes.put_i32(0);
    bytes.put_i32(correlation);
    if R::header_version(version) > 0 {
        bytes.put_u8(0);
    }
    response.encode(&mut bytes, version).ok()?;
    let length = i32::try_from(bytes.len() - 4).ok()?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Some(bytes.freeze())
}
