//! The smallest MQTT client that does only what it is told, on the library's codec.

use crate::doors::mqtt::legacy;
use bytes::BytesMut;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v5::{
    Connect, ConnectAck, LastWill, Packet, PublishAck2, PublishProperties, Subscribe,
    SubscriptionOptions,
};
use rmqtt_codec::{v3, v5};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;
use tokio_util::codec::{Decoder, Encoder};

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    codec: Codec,
    unread: BytesMut,
}

enum Codec {
    V3(v3::Codec),
    V5(v5::Codec),
}

pub(super) fn connect(client: &'static str) -> Connect {
    Connect { client_id: client.into(), clean_start: true, ..Connect::default() }
}

pub(super) fn publish(topic: &str, qos: u8, id: u16, payload: impl Into<Vec<u8>>) -> Publish {
    Publish {
        dup: false,
        retain: false,
        qos: QoS::try_from(qos).unwrap(),
        topic: topic.into(),
        packet_id: NonZeroU16::new(id),
        payload: payload.into().into(),
        properties: Some(PublishProperties::default()),
    }
}

/// A will of QoS 1, due at once.
pub(super) fn will(topic: &str, payload: impl Into<Vec<u8>>) -> LastWill {
    LastWill {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: topic.into(),
        message: payload.into().into(),
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: vec![("k".into(), "v".into())],
        is_utf8_payload: None,
        response_topic: None,
    }
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream.set_nodelay(true).expect("set");
        Self { stream, codec: Codec::V5(v5::Codec::new(0, 0)), unread: BytesMut::new() }
    }

    /// Speaks 3.1.1 from now on.
    pub(super) fn v3(mut self) -> Self {
        self.codec = Codec::V3(v3::Codec::new(0));
        self
    }

    /// CONNECT and its answer.
    pub(super) fn hello(&mut self, connect: Connect) -> ConnectAck {
        self.send(Packet::Connect(Box::new(connect)));
        match self.next() {
            Packet::ConnectAck(ack) => *ack,
            other => panic!("{other:?}"),
        }
    }

    /// Connected under this identifier, without a session to keep.
    pub(super) fn named(mut self, client: &'static str) -> Self {
        let ack = self.hello(connect(client));
        assert_eq!(u8::from(ack.reason_code), 0, "{ack:?}");
        self
    }

    pub(super) fn send(&mut self, packet: Packet) {
        self.send_together(vec![packet]);
    }

    fn encode(&mut self, packet: Packet, bytes: &mut BytesMut) {
        match &mut self.codec {
            Codec::V5(codec) => codec.encode(packet, bytes).expect("encoded"),
            Codec::V3(codec) => {
                let packet = legacy::write(packet).expect("3.1.1 has it");
                codec.encode(packet, bytes).expect("encoded");
            }
        }
    }

    /// Packets in one write.
    pub(super) fn send_together(&mut self, packets: Vec<Packet>) {
        let mut bytes = BytesMut::new();
        packets.into_iter().for_each(|packet| self.encode(packet, &mut bytes));
        self.write(&bytes);
    }

    /// Bytes as they are. The server may have closed already: its answer says why.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes) {
            let closed = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(closed.contains(&error.kind()), "{error}");
        }
    }

    /// DISCONNECT; the server has noticed when this returns.
    pub(super) fn leave(mut self) {
        self.send(Packet::Disconnect(v5::Disconnect::default()));
        while self.try_next().is_some() {}
    }

    /// Nothing more is sent; answers still come.
    pub(super) fn close_sending(&mut self) {
        drop(self.stream.shutdown(std::net::Shutdown::Write));
    }

    pub(super) fn publish(&mut self, publish: Publish) {
        self.send(Packet::Publish(Box::new(publish)));
    }

    /// SUBSCRIBE with one filter; the code of its answer. What comes before that is passed over.
    pub(super) fn subscribe(&mut self, filter: &str, options: SubscriptionOptions) -> u8 {
        self.subscribe_as(filter, options, None)
    }

    pub(super) fn subscribe_as(
        &mut self,
        filter: &str,
        options: SubscriptionOptions,
        id: Option<u32>,
    ) -> u8 {
        self.send(Packet::Subscribe(Subscribe {
            packet_id: NonZeroU16::MIN,
            id: id.and_then(NonZeroU32::new),
            user_properties: Vec::new(),
            topic_filters: vec![(filter.into(), options)],
        }));
        loop {
            if let Packet::SubscribeAck(ack) = self.next() {
                return u8::from(ack.status[0]);
            }
        }
    }

    /// The next packet.
    pub(super) fn next(&mut self) -> Packet {
        self.try_next().expect("a packet")
    }

    /// `None` if the connection ends before there is one.
    pub(super) fn try_next(&mut self) -> Option<Packet> {
        loop {
            let packet = match &mut self.codec {
                Codec::V5(codec) => codec.decode(&mut self.unread).expect("decoded").map(|p| p.0),
                Codec::V3(codec) => {
                    codec.decode(&mut self.unread).expect("decoded").map(|p| legacy::read(p.0))
                }
            };
            if packet.is_some() {
                return packet;
            }
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.unread.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next message, confirmed as its QoS wants it.
    pub(super) fn message(&mut self) -> Publish {
        loop {
            let Packet::Publish(publish) = self.next() else { continue };
            if let Some(packet_id) = publish.packet_id {
                let ack = v5::PublishAck { packet_id, ..v5::PublishAck::default() };
                match publish.qos {
                    QoS::ExactlyOnce => self.send(Packet::PublishReceived(ack)),
                    _ => self.send(Packet::PublishAck(ack)),
                }
            }
            if publish.qos == QoS::ExactlyOnce {
                self.complete();
            }
            return *publish;
        }
    }

    /// Waits for PUBREL and says PUBCOMP.
    fn complete(&mut self) {
        loop {
            if let Packet::PublishRelease(ack) = self.next() {
                let packet_id = ack.packet_id;
                let ack = PublishAck2 { packet_id, ..PublishAck2::default() };
                return self.send(Packet::PublishComplete(ack));
            }
        }
    }

    /// Everything that was sent has been looked at when this returns; gives what came meanwhile.
    pub(super) fn ping(&mut self) -> Vec<Packet> {
        self.send(Packet::PingRequest);
        let mut before = Vec::new();
        loop {
            match self.next() {
                Packet::PingResponse => return before,
                other => before.push(other),
            }
        }
    }

    /// Code and sentence of the DISCONNECT that ends the connection.
    pub(super) fn ended(&mut self) -> (u8, String) {
        loop {
            if let Packet::Disconnect(disconnect) = self.next() {
                assert!(self.try_next().is_none(), "nothing comes behind it");
                let why = disconnect.reason_string.unwrap_or_default();
                return (u8::from(disconnect.reason_code), why.to_string());
            }
        }
    }

    /// Code and sentence of the next PUBACK or PUBREC, and its id.
    pub(super) fn ack(&mut self) -> (u16, u8, String) {
        loop {
            if let Packet::PublishAck(ack) | Packet::PublishReceived(ack) = self.next() {
                let why = ack.reason_string.unwrap_or_default().to_string();
                return (ack.packet_id.get(), u8::from(ack.reason_code), why);
            }
        }
    }
}
