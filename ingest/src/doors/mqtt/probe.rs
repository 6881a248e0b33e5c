//! What proofs and fuzz targets see of the door's insides. No part of the interface.
//!
//! Promise: each function takes bytes that may say anything. None panics, and none allocates by a length
//! that was not held against the bytes that are there.

use super::ending::Ending;
use super::filter::Filter;
use super::inbound::Inbound;
use super::keep::Kept;
use super::limits::MqttLimits;
use super::publish::Ack;
use super::session::{Session, Step};
use super::verdict::Verdict;
use super::wire::{Version, Wire};
use bytes::BytesMut;
use rmqtt_codec::v5::Packet;

/// What the bytes of a connection came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Packets that were taken.
    pub packets: usize,
    /// Bytes that were said.
    pub said: usize,
    /// Whether the connection was ended for what came.
    pub ended: bool,
}

/// One connection without a socket: each message it publishes is taken, nothing is sent to it.
struct Alone {
    wire: Wire,
    session: Session,
    input: BytesMut,
    output: BytesMut,
    seen: Seen,
}

/// Bytes of one connection, as they come in pieces of so many.
pub fn connection(bytes: &[u8], piece: usize) -> Seen {
    let limits = MqttLimits::default();
    let mut alone = Alone {
        wire: Wire::new(limits.packet_bytes_max),
        session: Session::new("fuzz".into()),
        input: BytesMut::new(),
        output: BytesMut::new(),
        seen: Seen::default(),
    };
    for piece in bytes.chunks(piece.max(1)) {
        alone.input.extend_from_slice(piece);
        if let Err(ending) = alone.take_all(&limits) {
            alone.say(ending.packet());
            alone.seen.ended = true;
            break;
        }
    }
    alone.seen
}

/// Reads `bytes` as what the catalog keeps of a session; whether it is one.
pub fn kept(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Kept>(bytes).is_ok_and(|kept| !kept.session(0).is_connected())
}

impl Alone {
    fn take_all(&mut self, limits: &MqttLimits) -> Result<(), Ending> {
        while let Some(packet) = self.wire.take(&mut self.input)? {
            self.seen.packets += 1;
            let version = self.wire.version().unwrap_or(Version::V5);
            match packet {
                Packet::Connect(connect) if self.seen.packets == 1 => {
                    self.session.resume(1, &connect, version, limits);
                    let most = connect.max_packet_size.map_or(usize::MAX, |max| max.get() as usize);
                    self.wire.limit_sent(most);
                }
                packet => {
                    let step = self.session.take(packet)?;
                    self.answer(step, version);
                }
            }
        }
        Ok(())
    }

    fn answer(&mut self, step: Step, version: Version) {
        match step {
            Step::Publish(publish) => {
                let ack = Ack { id: publish.packet_id, qos: publish.qos, verdict: Verdict::Taken };
                settle(&mut self.session.inbound, &ack, version);
                if let Some(id) = ack.id {
                    self.say(ack.verdict.packet(ack.qos, id));
                }
                self.say(Packet::Publish(publish));
            }
            Step::Answer(packet) | Step::Release(packet) => self.say(packet),
            Step::Subscribe(subscribe) => {
                for (filter, _) in &subscribe.topic_filters {
                    drop(Filter::parse(filter));
                }
            }
            Step::Unsubscribe(_) | Step::Leave(_) | Step::Repeat(_) | Step::Nothing => {}
        }
    }

    fn say(&mut self, packet: Packet) {
        self.wire.put(packet, &mut self.output);
        self.seen.said += self.output.len();
        self.output.clear();
    }
}

fn settle(inbound: &mut Inbound, ack: &Ack, version: Version) {
    inbound.settled(ack, version);
    inbound.confirmed();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HELLO: [&[u8]; 2] = [
        b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
        b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a",
    ];

    #[test]
    fn pieces_make_no_difference() {
        let session = b"\x32\x06\x00\x01a\x00\x07x\xc0\x00\x62\x02\x00\x09\xe0\x00";
        let bytes = [HELLO[0], session].concat();
        let whole = connection(&bytes, bytes.len());
        assert_eq!((whole.packets, whole.ended), (5, false));
        for piece in 1..bytes.len() {
            assert_eq!(connection(&bytes, piece), whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_session_is_none() {
        for bytes in [&b""[..], b"{", b"{}", b"[]", b"null", b"{\"client\":1}"] {
            assert!(!kept(bytes), "{bytes:?}");
        }
    }

    proptest! {
        /// Whatever comes behind a CONNECT, in whatever pieces.
        #[test]
        fn no_connection_breaks_it(
            version in 0_usize..2,
            packets in proptest::collection::vec(
                (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            piece in 1_usize..64,
        ) {
            let mut bytes = HELLO[version].to_vec();
            for (first, body) in packets {
                bytes.extend_from_slice(&[first, u8::try_from(body.len()).unwrap()]);
                bytes.extend_from_slice(&body);
            }
            let whole = connection(&bytes, bytes.len());
            prop_assert!(whole.packets > 0);
            prop_assert_eq!(connection(&bytes, piece), whole);
        }
    }
}
