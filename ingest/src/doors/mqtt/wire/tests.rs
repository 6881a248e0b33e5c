//! Bytes that are packets, and bytes that are none.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{Connect, Disconnect, PublishAck, PublishAckReason};
use std::num::NonZeroU16;

const CONNECT_V3: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
const CONNECT_V5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a";

/// A connection on which CONNECT has come.
fn connected(connect: &[u8]) -> Wire {
    let mut wire = Wire::new(1000);
    let packet = wire.take(&mut BytesMut::from(connect)).unwrap().unwrap();
    assert!(matches!(packet, Packet::Connect(_)));
    wire
}

fn refused(bytes: &[u8]) -> String {
    Wire::new(1000).take(&mut BytesMut::from(bytes)).unwrap_err().to_string()
}

#[test]
fn a_packet_is_taken_when_all_of_it_is_there() {
    for connect in [CONNECT_V3, CONNECT_V5] {
        let mut wire = Wire::new(1000);
        let mut buffer = BytesMut::new();
        for byte in &connect[..connect.len() - 1] {
            buffer.extend_from_slice(&[*byte]);
            assert_eq!(wire.take(&mut buffer), Ok(None));
        }
        buffer.extend_from_slice(&connect[connect.len() - 1..]);
        buffer.extend_from_slice(b"\xc0\x00\xc0");
        let Ok(Some(Packet::Connect(connect))) = wire.take(&mut buffer) else { panic!() };
        assert_eq!((&*connect.client_id, connect.keep_alive), ("a", 60));
        assert_eq!(wire.take(&mut buffer), Ok(Some(Packet::PingRequest)));
        assert_eq!((wire.take(&mut buffer), &buffer[..]), (Ok(None), &b"\xc0"[..]));
    }
}

#[test]
fn the_first_packet_is_connect_in_a_version_that_is_spoken() {
    for (bytes, says) in [
        (&b"\xc0\x00"[..], "the first packet of a connection is CONNECT, this is type 12"),
        (b"GET / HTTP/1.1\r\n\r\n", "this is type 4"),
        (b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x3c\x00\x01a", "level 6 is not"),
        (b"\x10\x0b\x00\x02hj\x04\x02\x00\x3c\x00\x01a", "another protocol"),
        (b"\x10\x00", "too short"),
        (b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00", "needs a client identifier"),
        (b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01a", "a field that cannot be"),
        (b"\x10\x0d\x00\x04MQTT\x04\x1a\x00\x3c\x00\x01a", "flags of a will and no will"),
        (b"\x10\x0d\x00\x04MQTT\x04\x42\x00\x3c\x00\x01a", "a password and no user name"),
        (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x05a", "a length that does not fit"),
        (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\xff", "not UTF-8"),
    ] {
        assert!(refused(bytes).contains(says), "{bytes:?}: {}", refused(bytes));
    }
}

#[test]
fn a_client_of_5_without_an_identifier_begins_anew() {
    let bytes = b"\x10\x0d\x00\x04MQTT\x05\x00\x00\x3c\x00\x00\x00";
    let packet = Wire::new(1000).take(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();
    let Packet::Connect(connect) = packet else { panic!() };
    assert!(connect.clean_start && connect.client_id.is_empty());
}

#[test]
fn a_length_that_is_too_large_is_refused_before_its_bytes_come() {
    let mut wire = connected(CONNECT_V5);
    let mut buffer = BytesMut::from(&b"\x30\xff\xff\xff\x7f"[..]);
    let error = wire.take(&mut buffer).unwrap_err();
    assert_eq!(error.code(), DisconnectReasonCode::PacketTooLarge);
    assert!(buffer.capacity() < 1024, "nothing was made ready for it");
    let mut longer = BytesMut::from(&b"\x30\xff\xff\xff\xff\x01"[..]);
    assert!(
        connected(CONNECT_V5).take(&mut longer).unwrap_err().to_string().contains("four bytes")
    );
}

#[test]
fn a_version_says_what_it_can() {
    let id = NonZeroU16::new(7).unwrap();
    let ack = PublishAck {
        packet_id: id,
        reason_code: PublishAckReason::PayloadFormatInvalid,
        properties: Vec::new(),
        reason_string: Some("not a reading".into()),
    };
    let mut v3 = BytesMut::new();
    assert_eq!(connected(CONNECT_V3).put(Packet::PublishAck(ack.clone()), &mut v3), Put::Written);
    assert_eq!(&v3[..], b"\x40\x02\x00\x07");
    let mut v5 = BytesMut::new();
    connected(CONNECT_V5).put(Packet::PublishAck(ack.clone()), &mut v5);
    assert!(v5.windows(13).any(|w| w == b"not a reading"), "{v5:?}");
    let mut short = BytesMut::new();
    let mut wire = connected(CONNECT_V5);
    wire.limit_sent(8);
    assert_eq!(wire.put(Packet::PublishAck(ack), &mut short), Put::Written);
    assert_eq!(&short[..], b"\x40\x04\x00\x07\x99\x00");
}

#[test]
fn a_client_that_does_not_want_reasons_reads_them_only_where_it_must() {
    let said = |packet| {
        let mut wire = connected(CONNECT_V5);
        wire.say_reasons(Reasons::AtTheEnds);
        let mut out = BytesMut::new();
        assert_eq!(wire.put(packet, &mut out), Put::Written);
        out.windows(3).any(|w| w == b"why")
    };
    let packet_id = NonZeroU16::MIN;
    let reason_string = Some("why".into());
    let ack = PublishAck { packet_id, reason_string, ..PublishAck::default() };
    assert!(!said(Packet::PublishAck(ack.clone())) && !said(Packet::PublishReceived(ack)));
    let mut goodbye = Disconnect::new(DisconnectReasonCode::ProtocolError);
    goodbye.reason_string = Some("why".into());
    assert!(said(Packet::Disconnect(goodbye)));
}

#[test]
fn what_is_larger_than_the_client_takes_is_left_out() {
    for most in 1..12 {
        let mut wire = connected(CONNECT_V5);
        wire.limit_sent(most);
        let publish = Publish {
            dup: false,
            retain: false,
            qos: QoS::AtMostOnce,
            topic: "a/b".into(),
            packet_id: None,
            payload: Bytes::from_static(b"0123456789"),
            properties: None,
        };
        let mut out = BytesMut::from(&b"before"[..]);
        assert_eq!(wire.put(Packet::Publish(Box::new(publish)), &mut out), Put::LeftOut);
        assert_eq!(&out[..], b"before");
    }
}

proptest! {
    /// Whatever comes, it is a packet, none, or not all there; never a panic.
    #[test]
    fn no_bytes_break_it(first in 0_u8..=255, body in proptest::collection::vec(any::<u8>(), 0..120), v5 in any::<bool>()) {
        let mut wire = connected(if v5 { CONNECT_V5 } else { CONNECT_V3 });
        let mut bytes = BytesMut::from(&[first, u8::try_from(body.len()).unwrap()][..]);
        bytes.extend_from_slice(&body);
        if let Ok(Some(packet)) = wire.take(&mut bytes) {
            wire.put(packet, &mut BytesMut::new());
        }
    }

    #[test]
    fn no_connect_breaks_it(at in 0_usize..14, byte in any::<u8>(), cut in 0_usize..16, v5 in any::<bool>()) {
        let mut bytes = BytesMut::from(if v5 { CONNECT_V5 } else { CONNECT_V3 });
        bytes[at] = byte;
        bytes.truncate(bytes.len().min(cut + 2));
        drop(Wire::new(1000).take(&mut bytes));
        let connect = Connect::default();
        prop_assert!(connect.client_id.is_empty());
    }
}
