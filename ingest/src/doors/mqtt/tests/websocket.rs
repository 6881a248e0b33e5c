//! MQTT in the frames of a WebSocket, spoken by another library.

use super::client::{connect, publish};
use super::{Server, TOPIC, reading};
use crate::doors::mqtt::router;
use crate::doors::testing::Served;
use crate::model::Limits;
use bytes::{Bytes, BytesMut};
use rmqtt_codec::v5::{Codec, Packet};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};
use tokio_util::codec::{Decoder, Encoder};

type Socket = WebSocket<TcpStream>;

/// The HTTP port with the way to the door.
fn http(server: &Server) -> Served {
    let router = router(Arc::clone(&server.door));
    Served::by(async move |listener, stopped| {
        let end = async { drop(stopped.await) };
        crate::doors::serve(listener, router, &Limits::default(), end).await.expect("served");
    })
}

/// A handshake that offers `protocol`, from a page of `origin`.
fn open(at: SocketAddr, protocol: &str, origin: Option<&str>) -> Result<Socket, Error> {
    let mut request = format!("ws://{at}/mqtt").into_client_request()?;
    let header = |value: &str| HeaderValue::from_str(value).expect("a header");
    request.headers_mut().insert("sec-websocket-protocol", header(protocol));
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", header(origin));
    }
    let stream = TcpStream::connect(at).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let shaken = tokio_tungstenite::tungstenite::client::client(request, stream);
    shaken.map(|(socket, _)| socket).map_err(|error| match error {
        tokio_tungstenite::tungstenite::HandshakeError::Failure(error) => error,
        other @ tokio_tungstenite::tungstenite::HandshakeError::Interrupted(_) => {
            panic!("{other:?}")
        }
    })
}

fn encoded(packets: Vec<Packet>) -> Bytes {
    let (mut codec, mut bytes) = (Codec::new(0, 0), BytesMut::new());
    packets.into_iter().for_each(|packet| codec.encode(packet, &mut bytes).expect("encoded"));
    bytes.freeze()
}

/// The next packet, from however many frames; `None` if the connection ends before.
fn next(socket: &mut Socket, unread: &mut BytesMut) -> Option<Packet> {
    loop {
        if let Some((packet, _)) = Codec::new(0, 0).decode(unread).expect("decoded") {
            return Some(packet);
        }
        match socket.read() {
            Ok(Message::Binary(bytes)) => unread.extend_from_slice(&bytes),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

#[test]
fn packets_may_be_cut_anywhere_and_pings_come_between() {
    let server = Server::start();
    let http = http(&server);
    let mut socket = open(http.address, "mqttv3.1, mqtt", Some("http://localhost")).expect("open");
    let mut packets = vec![Packet::Connect(Box::new(connect("page")))];
    for n in 1..=50 {
        packets.push(Packet::Publish(Box::new(publish(TOPIC, 1, n, reading(n.into())))));
    }
    for (at, piece) in encoded(packets).chunks(7).enumerate() {
        socket.send(Message::Binary(Bytes::copy_from_slice(piece))).expect("sent");
        if at % 10 == 0 {
            socket.send(Message::Ping(Bytes::new())).expect("sent");
        }
    }
    let mut unread = BytesMut::new();
    assert!(matches!(next(&mut socket, &mut unread), Some(Packet::ConnectAck(_))));
    for n in 1..=50 {
        let Some(Packet::PublishAck(ack)) = next(&mut socket, &mut unread) else { panic!("{n}") };
        assert_eq!((ack.packet_id.get(), u8::from(ack.reason_code)), (n, 0));
    }
    assert_eq!(server.rows(), 50);
}

#[test]
fn a_page_hears_what_devices_publish_and_a_stop() {
    let mut server = Server::relaying();
    let http = http(&server);
    let mut socket = open(http.address, "mqtt", None).expect("open");
    let subscribe = rmqtt_codec::v5::Subscribe {
        packet_id: std::num::NonZeroU16::MIN,
        id: None,
        user_properties: Vec::new(),
        topic_filters: vec![("chat/#".into(), Default::default())],
    };
    let hello = vec![Packet::Connect(Box::new(connect("page"))), Packet::Subscribe(subscribe)];
    socket.send(Message::Binary(encoded(hello))).expect("sent");
    let mut unread = BytesMut::new();
    assert!(matches!(next(&mut socket, &mut unread), Some(Packet::ConnectAck(_))));
    assert!(matches!(next(&mut socket, &mut unread), Some(Packet::SubscribeAck(_))));
    let mut device = server.client().named("device");
    let large = "x".repeat(200_000);
    device.publish(publish("chat/a", 1, 1, large.as_str()));
    let Some(Packet::Publish(heard)) = next(&mut socket, &mut unread) else { panic!("a message") };
    assert_eq!((heard.topic.as_ref() as &str, heard.payload.len()), ("chat/a", large.len()));
    server.served.tell_stop();
    let Some(Packet::Disconnect(end)) = next(&mut socket, &mut unread) else { panic!("an end") };
    assert_eq!(u8::from(end.reason_code), 0x8b);
}

#[test]
fn text_frames_and_frames_beyond_the_largest_packet_end_the_connection() {
    let server = Server::start();
    let http = http(&server);
    let too_large = vec![0; server.door.mqtt.packet_bytes_max as usize + 1];
    for frame in [Message::text("CONNECT"), Message::Binary(too_large.into())] {
        let mut socket = open(http.address, "mqtt", None).expect("open");
        // It may be gone before all of it is sent.
        drop(socket.send(frame));
        assert!(next(&mut socket, &mut BytesMut::new()).is_none());
    }
    let mut other = server.client().named("device");
    other.publish(publish(TOPIC, 1, 1, reading(1)));
    assert_eq!(other.ack().1, 0, "others are undisturbed");
}

#[test]
fn who_does_not_offer_mqtt_or_shows_a_page_of_elsewhere_is_refused_with_a_sentence() {
    let server = Server::start();
    let http = http(&server);
    for (protocol, origin, status, words) in [
        ("chat", None, 400, "does not offer the subprotocol 'mqtt'"),
        ("mqtt", Some("https://elsewhere.example"), 403, "only callers on this machine"),
    ] {
        let Err(Error::Http(response)) = open(http.address, protocol, origin) else {
            panic!("{protocol} {origin:?} was let in")
        };
        assert_eq!(response.status(), status);
        let said = String::from_utf8(response.body().clone().unwrap_or_default()).unwrap();
        assert!(said.contains(words), "{said}");
    }
}
