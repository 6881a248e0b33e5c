//! Bytes of a connection into packets and back, for 3.1.1 and 5 alike.
//!
//! Promise: a packet is looked at only when all of it is there and its length is allowed, so that a length
//! that lies costs nothing; behind this file every packet is one of MQTT 5. Elsewhere: what packets mean is
//! `session`'s; 3.1.1 becomes 5 in `legacy`.

use super::legacy;
use bytes::{Buf, BytesMut};
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::v5::{DisconnectReasonCode, Packet, ToReasonCode};
use rmqtt_codec::version::{ProtocolVersion, VersionCodec};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::{Decoder, Encoder};

/// First byte of a CONNECT.
const CONNECT: u8 = 0x10;
/// The flags of a CONNECT behind the protocol's name and level, from the name's length on.
const CONNECT_FLAGS_AT: usize = 7;
const CLEAN_START: u8 = 0b0000_0010;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 3.1 or 3.1.1.
    V3,
    /// 5.
    V5,
}

/// Bytes that are no packet; the connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// Longer than allowed.
    #[error("the packet has {bytes} bytes, at most {limit} are taken")]
    TooLarge { bytes: usize, limit: u32 },
    /// The first packet is another one.
    #[error("the first packet of a connection is CONNECT, this is type {0}")]
    NotConnect(u8),
    /// The first packet is of another protocol, or another version of it.
    #[error("MQTT 3.1.1 and 5 are spoken here, level {0} is not")]
    Level(u8),
    /// CONNECT without a client identifier and with a session to keep.
    #[error("a session to keep needs a client identifier")]
    NoClientId,
    /// Not as the specification says.
    #[error("{what} of type {packet_type}")]
    Malformed { what: &'static str, packet_type: u8, code: DisconnectReasonCode },
}

impl WireError {
    /// What a client that speaks MQTT 5 is told.
    pub(super) fn code(&self) -> DisconnectReasonCode {
        match self {
            Self::TooLarge { .. } => DisconnectReasonCode::PacketTooLarge,
            Self::NotConnect(_) | Self::Level(_) | Self::NoClientId => {
                DisconnectReasonCode::ProtocolError
            }
            Self::Malformed { code, .. } => *code,
        }
    }
}

/// One connection's codec.
#[derive(Debug)]
pub(super) struct Wire {
    packet_bytes_max: u32,
    spoken: Option<Codec>,
    /// Largest packet the client takes.
    sent_bytes_max: usize,
    reasons: Reasons,
}

/// Where a client wants to read reasons in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reasons {
    Everywhere,
    /// In CONNACK and DISCONNECT only.
    AtTheEnds,
}

#[derive(Debug)]
enum Codec {
    V3(v3::Codec),
    V5(v5::Codec),
}

/// What became of a packet that should be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is in the buffer.
    Written,
    /// It is larger than the client takes, or cannot be said in its version; nothing is in the buffer.
    LeftOut,
}

impl Wire {
    pub(super) fn new(packet_bytes_max: u32) -> Self {
        Self {
            packet_bytes_max,
            spoken: None,
            sent_bytes_max: usize::MAX,
            reasons: Reasons::Everywhere,
        }
    }

    /// What the client speaks, once its first packet has come.
    pub(super) fn version(&self) -> Option<Version> {
        Some(match self.spoken.as_ref()? {
            Codec::V3(_) => Version::V3,
            Codec::V5(_) => Version::V5,
        })
    }

    /// From now on nothing larger is sent.
    pub(super) fn limit_sent(&mut self, bytes: usize) {
        self.sent_bytes_max = bytes;
    }

    /// From now on reasons are said only where the client wants them.
    pub(super) fn say_reasons(&mut self, reasons: Reasons) {
        self.reasons = reasons;
    }

    /// The next packet, if all of it is in the buffer.
    /// # Errors
    /// The bytes are none; the connection cannot go on.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Packet>, WireError> {
        let Some(length) = self.whole_packet(buffer)? else { return Ok(None) };
        let first = buffer[0];
        if self.spoken.is_none() {
            self.spoken = Some(negotiate(&buffer[..length])?);
            check_connect(&mut buffer[..length])?;
        }
        let decoded = match self.spoken.as_mut() {
            Some(Codec::V3(codec)) => codec.decode(buffer).map(|p| p.map(|(p, _)| legacy::read(p))),
            Some(Codec::V5(codec)) => codec.decode(buffer).map(|p| p.map(|(p, _)| p)),
            None => Ok(None),
        };
        decoded.map_err(|error| of_codec(&error, first))
    }

    /// The length of the packet at the start of the buffer, if all of it is there.
    fn whole_packet(&self, buffer: &BytesMut) -> Result<Option<usize>, WireError> {
        let Some(first) = buffer.first() else { return Ok(None) };
        if self.spoken.is_none() && *first != CONNECT {
            return Err(WireError::NotConnect(first >> 4));
        }
        let (mut length, mut header) = (0_usize, 1_usize);
        for (place, byte) in buffer.iter().skip(1).enumerate() {
            if place == 4 {
                return Err(malformed("a length of more than four bytes in a packet", *first));
            }
            length |= usize::from(byte & 0x7f) << (7 * place);
            header += 1;
            if byte & 0x80 == 0 {
                let bytes = header + length;
                if bytes > self.packet_bytes_max as usize {
                    return Err(WireError::TooLarge { bytes, limit: self.packet_bytes_max });
                }
                return Ok((buffer.len() >= bytes).then_some(bytes));
            }
        }
        Ok(None)
    }

    /// Appends a packet to `out`, as the client's version says it. A reason that makes it too large for
    /// the client is left out.
    pub(super) fn put(&mut self, packet: Packet, out: &mut BytesMut) -> Put {
        let shorter = without_reason(&packet);
        let is_end = matches!(packet, Packet::ConnectAck(_) | Packet::Disconnect(_));
        let (packet, shorter) = match (self.reasons, shorter) {
            (Reasons::AtTheEnds, Some(shorter)) if !is_end => (shorter, None),
            (_, shorter) => (packet, shorter),
        };
        match (self.put_whole(packet, out), shorter) {
            (Put::LeftOut, Some(shorter)) => self.put_whole(shorter, out),
            (put, _) => put,
        }
    }

    fn put_whole(&mut self, packet: Packet, out: &mut BytesMut) -> Put {
        let before = out.len();
        match self.encode(packet, out) {
            Some(()) if out.len() - before <= self.sent_bytes_max => Put::Written,
            _ => {
                out.truncate(before);
                Put::LeftOut
            }
        }
    }

    /// `None` where the version has no such packet.
    fn encode(&mut self, packet: Packet, out: &mut BytesMut) -> Option<()> {
        match self.spoken.as_mut()? {
            Codec::V5(codec) => codec.encode(packet, out).ok(),
            Codec::V3(codec) => codec.encode(legacy::write(packet)?, out).ok(),
        }
    }
}

/// The same without its reason string, if it has one.
fn without_reason(packet: &Packet) -> Option<Packet> {
    let has_reason = match packet {
        Packet::ConnectAck(ack) => ack.reason_string.is_some(),
        Packet::PublishAck(ack) | Packet::PublishReceived(ack) => ack.reason_string.is_some(),
        Packet::SubscribeAck(ack) => ack.reason_string.is_some(),
        Packet::Disconnect(disconnect) => disconnect.reason_string.is_some(),
        _ => false,
    };
    let mut packet = has_reason.then(|| packet.clone())?;
    match &mut packet {
        Packet::ConnectAck(ack) => ack.reason_string = None,
        Packet::PublishAck(ack) | Packet::PublishReceived(ack) => ack.reason_string = None,
        Packet::SubscribeAck(ack) => ack.reason_string = None,
        Packet::Disconnect(disconnect) => disconnect.reason_string = None,
        _ => {}
    }
    Some(packet)
}

fn negotiate(packet: &[u8]) -> Result<Codec, WireError> {
    match VersionCodec.decode(&mut BytesMut::from(packet)) {
        Ok(Some(ProtocolVersion::MQTT3)) => Ok(Codec::V3(v3::Codec::new(0))),
        Ok(Some(ProtocolVersion::MQTT5)) => Ok(Codec::V5(v5::Codec::new(0, 0))),
        Ok(None) => Err(malformed("a CONNECT that is too short", CONNECT)),
        Err(_) => {
            let mut body = body_of(packet);
            let name = if body.len() >= 2 { usize::from(body.get_u16()) } else { 0 };
            Err(match body.get(..name) {
                Some(b"MQTT" | b"MQIsdp") => {
                    WireError::Level(body.get(name).copied().unwrap_or_default())
                }
                _ => malformed("a CONNECT of another protocol", CONNECT),
            })
        }
    }
}

/// What the codec does not look at: flags that contradict each other; and a client of MQTT 5 without an
/// identifier, which has no session to go on with, whatever it says.
fn check_connect(packet: &mut [u8]) -> Result<(), WireError> {
    let version_5 = body_of(packet).get(6) == Some(&5);
    let header = packet.len() - body_of(packet).len();
    let body = &mut packet[header..];
    let Some(flags) = body.get(CONNECT_FLAGS_AT).copied() else { return Ok(()) };
    let (will, will_flags) = (flags & 0b0100, flags & 0b0011_1000);
    if will == 0 && will_flags != 0 {
        return Err(malformed("a CONNECT with flags of a will and no will", CONNECT));
    }
    if !version_5 && flags & 0b1100_0000 == 0b0100_0000 {
        return Err(malformed("a CONNECT with a password and no user name", CONNECT));
    }
    if version_5 {
        body[CONNECT_FLAGS_AT] |= if has_client_id(body) { 0 } else { CLEAN_START };
    }
    Ok(())
}

/// Whether the identifier behind the properties of a CONNECT of MQTT 5 has a length.
fn has_client_id(body: &[u8]) -> bool {
    let (mut length, mut at) = (0_usize, 10_usize);
    for place in 0..4 {
        let Some(byte) = body.get(at) else { return true };
        length |= usize::from(byte & 0x7f) << (7 * place);
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    body.get(at + length..at + length + 2) != Some(&[0, 0])
}

/// What follows the fixed header.
fn body_of(packet: &[u8]) -> &[u8] {
    let length = packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 2;
    packet.get(length..).unwrap_or_default()
}

fn malformed(what: &'static str, first: u8) -> WireError {
    let code = DisconnectReasonCode::MalformedPacket;
    WireError::Malformed { what, packet_type: first >> 4, code }
}

fn of_codec(error: &DecodeError, first: u8) -> WireError {
    let what = match error {
        DecodeError::InvalidClientId => return WireError::NoClientId,
        DecodeError::InvalidLength => "a length that does not fit in a packet",
        DecodeError::Utf8Error => "a text that is not UTF-8 in a packet",
        DecodeError::InvalidTopicFilter => "no filter in a packet",
        DecodeError::InvalidTopicName => "no topic in a packet",
        DecodeError::UnsupportedPacketType => "flags or a kind that do not exist in a packet",
        _ => "a field that cannot be in a packet",
    };
    let code = match error {
        DecodeError::UnsupportedPacketType | DecodeError::Utf8Error => {
            DisconnectReasonCode::MalformedPacket
        }
        _ => error.to_reason_code(),
    };
    WireError::Malformed { what, packet_type: first >> 4, code }
}

#[cfg(test)]
mod tests;
