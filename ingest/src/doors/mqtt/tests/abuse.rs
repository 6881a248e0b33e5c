//! Abuse, by table: each gets its end, and others are not disturbed.

use super::client::{Client, publish};
use super::{Server, TOPIC, reading};
use crate::doors::mqtt::MqttLimits;
use crate::model::Limits;
use rmqtt_codec::v5::Packet;

const HELLO_V3: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01r";
const HELLO_V5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01r";

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// CONNACK with this code, then nothing.
    Refused(u8),
    /// DISCONNECT with this code.
    Told(u8),
    /// Without a word.
    Closed,
}

/// What the client is told at last.
fn end(client: &mut Client) -> End {
    let mut last = End::Closed;
    while let Some(packet) = client.try_next() {
        last = match packet {
            Packet::ConnectAck(ack) if u8::from(ack.reason_code) != 0 => {
                End::Refused(u8::from(ack.reason_code))
            }
            Packet::Disconnect(disconnect) => End::Told(u8::from(disconnect.reason_code)),
            _ => last,
        };
    }
    last
}

/// A neighbour's reading is confirmed.
fn goes_on(neighbour: &mut Client, name: &str) {
    neighbour.publish(publish(TOPIC, 1, 9, reading(1)));
    assert_eq!(neighbour.ack(), (9, 0, String::new()), "after {name}");
}

/// A packet of this type with this body.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// CONNECT of MQTT 5 with these flags, properties and payload.
fn connect_v5(flags: u8, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x05".to_vec();
    body.extend_from_slice(&[flags, 0, 60, u8::try_from(properties.len()).unwrap()]);
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    packet(0x10, &body)
}

/// PUBLISH of MQTT 5 at QoS 0 with these properties.
fn publish_v5(topic: &[u8], properties: &[u8]) -> Vec<u8> {
    let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
    body.extend_from_slice(topic);
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend_from_slice(properties);
    packet(0x30, &body)
}

#[test]
fn what_is_no_hello_is_not_answered_for_long() {
    use End::{Closed, Refused};
    let will_to = |topic: &[u8]| {
        let mut payload = b"\x00\x01r\x00\x00".to_vec();
        payload.push(u8::try_from(topic.len()).unwrap());
        payload.extend_from_slice(topic);
        payload.extend_from_slice(b"\x00\x00");
        connect_v5(0b0000_0110, b"", &payload)
    };
    let long_id = [&[1, 44][..], &[b'x'; 300]].concat();
    let cases: Vec<(&str, Vec<u8>, End)> = vec![
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), Closed),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), Closed),
        ("PINGREQ first", b"\xc0\x00".to_vec(), Closed),
        ("PUBLISH first", publish_v5(b"a", b""), Closed),
        ("DISCONNECT first", b"\xe0\x00".to_vec(), Closed),
        ("zeros", vec![0; 64], Closed),
        ("an empty CONNECT", packet(0x10, b""), Closed),
        ("CONNECT with flags", packet(0x11, &HELLO_V5[2..]), Closed),
        ("another protocol", packet(0x10, b"\x00\x02hj\x04\x02\x00\x3c\x00\x01a"), Closed),
        ("level 6", packet(0x10, b"\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x01a"), Refused(0x84)),
        ("a length that lies", b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05".to_vec(), Closed),
        ("a length of five bytes", b"\x10\xff\xff\xff\xff\xff".to_vec(), Closed),
        ("reserved flags", connect_v5(3, b"", b"\x00\x01r"), Refused(0x81)),
        ("will QoS 3", connect_v5(0x1e, b"", b"\x00\x01r\x00\x00\x01w\x00\x00"), Refused(0x81)),
        ("will flags without a will", connect_v5(0x22, b"", b"\x00\x01r"), Refused(0x81)),
        ("a will that is not there", connect_v5(6, b"", b"\x00\x01r"), Refused(0x81)),
        ("a user that is not there", connect_v5(0x82, b"", b"\x00\x01r"), Refused(0x81)),
        ("an unknown property", connect_v5(2, b"\x7f\x00", b"\x00\x01r"), Refused(0x81)),
        ("a PUBLISH property", connect_v5(2, b"\x23\x00\x01", b"\x00\x01r"), Refused(0x81)),
        ("receive maximum 0", connect_v5(2, b"\x21\x00\x00", b"\x00\x01r"), Refused(0x81)),
        ("packet maximum 0", connect_v5(2, b"\x27\0\0\0\0", b"\x00\x01r"), Refused(0x81)),
        ("a property twice", connect_v5(2, b"\x21\0\x01\x21\0\x01", b"\x00\x01r"), Refused(0x81)),
        ("a property cut short", connect_v5(2, b"\x11\x00", b"\x00\x01r"), Refused(0x81)),
        ("an identifier with NUL", connect_v5(2, b"", b"\x00\x02r\x00"), Refused(0x85)),
        ("an identifier not UTF-8", connect_v5(2, b"", b"\x00\x01\xff"), Refused(0x81)),
        ("a long identifier", connect_v5(2, b"", &long_id), Refused(0x85)),
        ("authentication", connect_v5(2, b"\x15\x00\x01m", b"\x00\x01r"), Refused(0x8c)),
        ("a will to nowhere", will_to(b""), Refused(0x90)),
        ("a will to a wildcard", will_to(b"a/#"), Refused(0x90)),
        ("a will to $", will_to(b"$SYS/x"), Refused(0x90)),
    ];
    let server = Server::relaying();
    let mut neighbour = server.client().named("neighbour");
    for (name, bytes, expected) in cases {
        let mut rude = server.client();
        rude.write(&bytes);
        rude.close_sending();
        assert_eq!(end(&mut rude), expected, "{name}");
        goes_on(&mut neighbour, name);
    }
}

/// A name, bytes, and the code of the DISCONNECT.
type BadPacket = (&'static str, Vec<u8>, u8);

/// What is wrong in both versions, and only in 5.
fn bad_packets() -> (Vec<BadPacket>, Vec<BadPacket>) {
    let both = vec![
        ("type 0", b"\x00\x00".to_vec(), 0x81),
        ("SUBACK", packet(0x90, b"\x00\x01\x00\x00"), 0x82),
        ("PINGRESP", packet(0xd0, b""), 0x82),
        ("PUBREL without its flags", packet(0x60, b"\x00\x01"), 0x81),
        ("PUBACK with flags", packet(0x42, b"\x00\x01"), 0x81),
        ("PUBACK of id 0", packet(0x40, b"\x00\x00"), 0x81),
        ("PUBACK cut short", packet(0x40, b"\x00"), 0x81),
        ("SUBSCRIBE without its flags", packet(0x80, b"\x00\x01\x00\x00\x01a\x00"), 0x81),
        ("SUBSCRIBE of id 0", packet(0x82, b"\x00\x00\x00\x00\x01a\x00"), 0x81),
        ("SUBSCRIBE cut short", packet(0x82, b"\x00\x01\x00\x00\x05a"), 0x81),
        ("QoS 3", packet(0x36, b"\x00\x01a\x00\x01\x00x"), 0x81),
        ("QoS 0 that repeats", packet(0x38, b"\x00\x01a\x00x"), 0x81),
        ("PUBLISH of id 0", packet(0x32, b"\x00\x01a\x00\x00\x00x"), 0x81),
        ("a topic longer than its packet", packet(0x30, b"\x00\xffa"), 0x81),
        ("a topic not UTF-8", packet(0x30, b"\x00\x01\xff\x00"), 0x81),
        ("PUBLISH without a body", packet(0x30, b""), 0x81),
        ("a length of five bytes", b"\x30\xff\xff\xff\xff\x01".to_vec(), 0x81),
        ("a packet too large", b"\x30\xff\xff\xff\x7f".to_vec(), 0x95),
        ("a packet a little too large", b"\x30\xff\x9f\x80\x01".to_vec(), 0x95),
    ];
    let only_5 = vec![
        ("a second CONNECT", HELLO_V5.to_vec(), 0x82),
        ("CONNACK", packet(0x20, b"\x00\x00\x00"), 0x82),
        ("AUTH", packet(0xf0, b"\x18\x00"), 0x82),
        ("SUBSCRIBE without filters", packet(0x82, b"\x00\x01\x00"), 0x8f),
        ("UNSUBSCRIBE without filters", packet(0xa2, b"\x00\x01\x00"), 0x8f),
        ("subscription identifier 0", packet(0x82, b"\x00\x01\x02\x0b\x00\x00\x01a\x00"), 0x81),
        ("reserved options", packet(0x82, b"\x00\x01\x00\x00\x01a\xc0"), 0x81),
        ("retain handling 3", packet(0x82, b"\x00\x01\x00\x00\x01a\x30"), 0x81),
        ("alias 0", publish_v5(b"a", b"\x23\x00\x00"), 0x81),
        ("alias 65", publish_v5(b"a", b"\x23\x00\x41"), 0x94),
        ("alias 65535", publish_v5(b"a", b"\x23\xff\xff"), 0x94),
        ("an alias of nothing", publish_v5(b"", b"\x23\x00\x01"), 0x94),
        ("neither topic nor alias", publish_v5(b"", b""), 0x82),
        ("a client's subscription identifier", publish_v5(b"a", b"\x0b\x01"), 0x82),
        ("payload format 2", publish_v5(b"a", b"\x01\x02"), 0x81),
        ("content type twice", publish_v5(b"a", b"\x03\x00\x01a\x03\x00\x01b"), 0x81),
        ("a property of CONNECT", publish_v5(b"a", b"\x21\x00\x01"), 0x81),
        ("properties longer than the packet", packet(0x30, b"\x00\x01a\x7f"), 0x81),
        ("a user property cut short", publish_v5(b"a", b"\x26\x00\x05a"), 0x81),
        ("a user property not UTF-8", publish_v5(b"a", b"\x26\x00\x01\xff\x00\x00"), 0x81),
        ("a reason that does not exist", packet(0x40, b"\x00\x01\x42"), 0x81),
        ("DISCONNECT that keeps nothing", packet(0xe0, b"\x00\x05\x11\x00\x00\x00\x05"), 0x82),
        ("DISCONNECT with bytes behind", packet(0xe0, b"\x00\x00\x00"), 0x81),
    ];
    (both, only_5)
}

#[test]
fn a_packet_that_may_not_be_ends_its_connection_alone() {
    let server = Server::relaying();
    let mut neighbour = server.client().named("neighbour");
    let (both, only_5) = bad_packets();
    for (name, bytes, code) in both.iter().chain(&only_5) {
        let mut rude = server.client();
        rude.write(HELLO_V5);
        rude.write(bytes);
        rude.close_sending();
        assert_eq!(end(&mut rude), End::Told(*code), "{name}");
        goes_on(&mut neighbour, name);
    }
    let second = ("a second CONNECT", HELLO_V3.to_vec(), 0);
    for (name, bytes, _) in both.iter().chain([&second]) {
        let mut rude = server.client().v3();
        rude.write(HELLO_V3);
        rude.write(bytes);
        rude.close_sending();
        assert_eq!(end(&mut rude), End::Closed, "{name} in 3.1.1");
        goes_on(&mut neighbour, name);
    }
    assert_eq!(server.rows(), both.len() * 2 + only_5.len() + 1);
}

#[test]
fn what_may_not_be_published_is_told_and_the_connection_goes_on() {
    let deep = "a/".repeat(40);
    let long = "x".repeat(600);
    let nested = format!(r#"{{"time":1,"n":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    let twice = r#"{"time":1,"n":1,"n":2}"#;
    let far = r#"{"time":"2999-01-01T00:00:00Z","n":1}"#;
    let other = r#"{"topic":"/room/2/s","time":1,"n":1}"#;
    let cases: [(&str, &str, &str, u8); 24] = [
        ("a one-level wildcard", "/room/+/s", "{}", 0x90),
        ("a rest wildcard", "/room/#", "{}", 0x90),
        ("wildcards alone", "+", "{}", 0x90),
        ("the rest alone", "#", "{}", 0x90),
        ("a wildcard inside a level", "/room/a+b/s", "{}", 0x90),
        ("a # inside a level", "/room/a#/s", "{}", 0x90),
        ("the server's topics", "$SYS/uptime", "{}", 0x90),
        ("alarms", "$weir/alarms/x", "{}", 0x90),
        ("a shared filter", "$share/g/room", "{}", 0x90),
        ("$ alone", "$", "{}", 0x90),
        ("too many levels", &deep, "{}", 0x90),
        ("a topic that is too long", &long, "{}", 0x90),
        ("nobody's topic", "/nobody", "{}", 0x90),
        ("a prefix of a stream's", "/room/1", "{}", 0x90),
        ("more than a stream's", "/room/1/s/x", "{}", 0x90),
        ("no payload", TOPIC, "", 0x99),
        ("half an object", TOPIC, "{\"time\":1", 0x99),
        ("a number", TOPIC, "1", 0x99),
        ("a text", TOPIC, "\"x\"", 0x99),
        ("deeply nested", TOPIC, &nested, 0x99),
        ("a key twice", TOPIC, twice, 0x99),
        ("another topic inside", TOPIC, other, 0x99),
        ("no time", TOPIC, r#"{"n":1}"#, 0x99),
        ("a time far ahead", TOPIC, far, 0x99),
    ];
    let server = Server::start();
    let mut rude = server.client().named("rude");
    let mut neighbour = server.client().named("neighbour");
    for (name, topic, payload, code) in cases {
        rude.publish(publish(topic, 0, 0, payload));
        assert_eq!(rude.ping(), [], "{name} of QoS 0 is not answered");
        for qos in [1, 2] {
            rude.publish(publish(topic, qos, 5, payload));
            let (id, found, why) = rude.ack();
            assert!((id, found) == (5, code) && !why.is_empty(), "{name}: {found:x} {why}");
        }
        goes_on(&mut neighbour, name);
    }
    assert_eq!(server.rows(), cases.len(), "the neighbour's alone");
    assert_eq!(server.dead_letters().len(), 3 * cases.len());
}

#[test]
fn filters_that_are_none_are_refused_one_by_one() {
    let deep = "a/".repeat(40);
    let long = "x".repeat(600);
    let cases: [(&str, &str); 14] = [
        ("nothing", ""),
        ("a # before the end", "a/#/b"),
        ("a # inside a level", "a#"),
        ("a + inside a level", "a+/b"),
        ("NUL", "a\0b"),
        ("too many levels", &deep),
        ("too long", &long),
        ("a share of nothing", "$share/g"),
        ("a share without a group", "$share//a"),
        ("a share of an empty filter", "$share/g/"),
        ("a wildcard in the group", "$share/+/a"),
        ("a # in the group", "$share/#/a"),
        ("a share of no filter", "$share/g/a/#/b"),
        ("a share of a broken level", "$share/g/a+"),
    ];
    let server = Server::start();
    let mut rude = server.client().named("rude");
    let mut old = server.client().v3().named("old");
    for (name, filter) in cases {
        assert_eq!(rude.subscribe(filter, Default::default()), 0x8f, "{name}");
        if !filter.is_empty() {
            assert_eq!(old.subscribe(filter, Default::default()), 0x80, "{name} in 3.1.1");
        }
    }
    assert_eq!(rude.ping(), []);
    old.write(b"\x82\x05\x00\x01\x00\x00\x00");
    assert_eq!(end(&mut old), End::Closed, "no filter at all in 3.1.1");
    goes_on(&mut server.client().named("neighbour"), "them");
}

#[test]
fn answers_to_nothing_change_nothing() {
    let server = Server::start();
    let mut rude = server.client().named("rude");
    for (name, bytes) in [
        ("PUBACK", packet(0x40, b"\x00\x09")),
        ("PUBACK with an error", packet(0x40, b"\x00\x09\x97")),
        ("PUBREC", packet(0x50, b"\x00\x09")),
        ("PUBREC with an error", packet(0x50, b"\x00\x09\x80")),
        ("PUBREL", packet(0x62, b"\x00\x09")),
        ("PUBCOMP", packet(0x70, b"\x00\x09")),
        ("UNSUBSCRIBE of nothing", packet(0xa2, b"\x00\x09\x00\x00\x01a")),
        ("PINGREQ", packet(0xc0, b"")),
    ] {
        rude.write(&bytes);
        rude.ping();
        goes_on(&mut rude, name);
    }
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let server = Server::relaying();
    let mut deaf = server.client().named("deaf");
    assert_eq!(deaf.subscribe("#", Default::default()), 0);
    let mut reader = server.client().named("reader");
    assert_eq!(reader.subscribe("loud", Default::default()), 0);
    let mut loud = server.client().named("loud");
    let payload = "x".repeat(60_000);
    for n in 1..=400 {
        loud.publish(publish("loud", 1, n, payload.clone()));
        assert_eq!(loud.ack().0, n);
        assert_eq!(reader.message().payload.len(), payload.len());
    }
    goes_on(&mut loud, "it");
}

#[test]
fn more_in_flight_than_was_said_ends_the_connection() {
    let server = Server::with(MqttLimits { in_flight_max: 4, ..MqttLimits::default() });
    let mut greedy = server.client().named("greedy");
    for id in 1..=5 {
        greedy.publish(publish(TOPIC, 2, id, reading(1)));
    }
    assert_eq!(end(&mut greedy), End::Told(0x93));
    goes_on(&mut server.client().named("neighbour"), "it");
}

#[test]
fn many_properties_and_many_filters_cost_no_more_than_their_packet() {
    let server = Server::relaying();
    let mut client = server.client().named("a");
    let mut message = publish("x", 1, 1, "p");
    let user = (0..20_000).map(|n| (format!("k{n}").into(), "v".into()));
    message.properties.as_mut().unwrap().user_properties = user.collect();
    client.publish(message);
    assert_eq!(client.ack().1, 0x10);
    for n in 0..1000 {
        assert_eq!(client.subscribe(&format!("f/{n}"), Default::default()), 0);
    }
    assert_eq!(client.subscribe("one/more", Default::default()), 0x97);
    assert_eq!(client.ping(), []);
    let mut greedy = server.client().named("greedy");
    let filters = b"\x00\x01#\x00".repeat(1001);
    greedy.write(&packet(0x82, &[b"\x00\x01\x00", &filters[..]].concat()));
    assert_eq!(end(&mut greedy), End::Told(0x97));
}

#[test]
fn a_storm_of_reconnects_leaves_one_session() {
    let server = Server::start();
    let clients: Vec<Client> = (0..100).map(|_| server.client().named("same")).collect();
    let mut last = server.client().named("same");
    for mut client in clients {
        assert_eq!(end(&mut client), End::Told(0x8e));
    }
    goes_on(&mut last, "the storm");
}

#[test]
fn half_a_packet_holds_its_own_bytes_and_not_for_ever() {
    let limits = Limits { body_timeout_ms: 300, ..Limits::default() };
    let server = Server::manual(limits);
    let mut halves = server.client().named("halves");
    halves.write(b"\xc0\x00\x32\x40\x00");
    assert!(matches!(halves.next(), Packet::PingResponse));
    assert!(server.budget.in_flight() <= 1024, "{}", server.budget.in_flight());
    assert_eq!(end(&mut halves), End::Told(0x80));
    let mut slow = server.client().named("slow");
    for byte in b"\xc0\x00".repeat(3) {
        slow.write(&[byte]);
    }
    for _ in 0..3 {
        assert!(matches!(slow.next(), Packet::PingResponse));
    }
}

#[test]
fn half_a_packet_holds_nobody_up() {
    let server = Server::start();
    let mut slow: Vec<Client> = (0..50)
        .map(|_| {
            let mut client = server.client();
            client.write(b"\x10\x0d\x00\x04MQ");
            client
        })
        .collect();
    let mut halves = server.client().named("halves");
    halves.write(b"\x32\x40\x00");
    goes_on(&mut server.client().named("neighbour"), "it");
    for client in &mut slow {
        client.close_sending();
        assert_eq!(end(client), End::Closed);
    }
}
