//! CONNECT and CONNACK: what both sides may expect of each other.
//!
//! Promise: a client that cannot be served is told why in the words of its version; MQTT 5 is told every
//! bound that differs from what it asked for.

use super::Connection;
use crate::doors::mqtt::MqttDoor;
use crate::doors::mqtt::hub::Connected;
use crate::doors::mqtt::message::own;
use crate::doors::mqtt::stream::Stream;
use crate::doors::mqtt::wire::{Reasons, Version, Wire, WireError};
use crate::model::{TopicError, check_topic};
use bytes::BytesMut;
use bytestring::ByteString;
use rmqtt_codec::types::Publish;
use rmqtt_codec::v5::{
    Connect, ConnectAck, ConnectAckReason, LastWill, Packet, PublishAck2, PublishAck2Reason,
};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;
use tokio::time::Instant;

/// CONNACK of 3.1.1, and of 5, to a version that nobody speaks here.
const UNSPOKEN_V3: [u8; 4] = [0x20, 2, 0, 1];
const UNSPOKEN_V5: [u8; 5] = [0x20, 3, 0, 0x84, 0];

/// Bytes that are read at once until the client is known.
const HELLO_BYTES: usize = 1024;

/// A client that is served from now on.
pub(super) struct Greeted<'d> {
    pub(super) connection: Connection<'d>,
    /// Of the connection that it ends.
    pub(super) will: Option<LastWill>,
}

/// Topic aliases towards a client: the first topics get one each.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    numbers: HashMap<ByteString, NonZeroU16>,
    max: u16,
}

impl Aliases {
    pub(super) fn knows(&self, topic: &ByteString) -> bool {
        self.numbers.contains_key(topic)
    }

    /// The client was not told this one.
    pub(super) fn forget(&mut self, topic: &ByteString) {
        self.numbers.remove(topic);
    }

    /// Says the topic once and its alias from then on.
    pub(super) fn shorten(&mut self, mut publish: Publish) -> Publish {
        let Some(properties) = &mut publish.properties else { return publish };
        if let Some(alias) = self.numbers.get(&publish.topic) {
            properties.topic_alias = Some(*alias);
            publish.topic = ByteString::new();
            return publish;
        }
        let next = u16::try_from(self.numbers.len() + 1).ok().and_then(NonZeroU16::new);
        if let Some(alias) = next.filter(|alias| alias.get() <= self.max) {
            properties.topic_alias = Some(alias);
            self.numbers.insert(publish.topic.clone(), alias);
        }
        publish
    }
}

/// PUBREL.
pub(super) fn release(packet_id: NonZeroU16) -> Packet {
    let reason_code = PublishAck2Reason::Success;
    Packet::PublishRelease(PublishAck2 { packet_id, reason_code, ..PublishAck2::default() })
}

/// Reads CONNECT and answers it; `None` if nothing came of it.
pub(super) async fn greet(door: &MqttDoor, mut stream: Stream) -> Option<Greeted<'_>> {
    let mut wire = Wire::new(door.mqtt.packet_bytes_max);
    let mut input = BytesMut::new();
    let mut permit = door.budget.wait(0).await;
    let first = loop {
        match wire.take(&mut input) {
            Ok(Some(packet)) => break packet,
            Ok(None) => {}
            Err(error) => {
                refuse_bytes(stream, wire, &error).await;
                return None;
            }
        }
        if permit.grow_to(input.len() + HELLO_BYTES).is_err() {
            drop(permit);
            permit = door.budget.wait(input.len() + HELLO_BYTES).await;
        }
        stream.read_more(&mut input).await.ok()?;
    };
    let (Packet::Connect(mut connect), Some(version)) = (first, wire.version()) else {
        return None;
    };
    connect.client_id = own(&connect.client_id);
    let assigned = connect.client_id.is_empty();
    if assigned {
        connect.client_id = new_client_id();
    }
    if let Err((reason, why)) = check(&connect) {
        refuse(stream, wire, reason, why).await;
        return None;
    }
    let connected = match door.hub.connect(&connect, version, &door.mqtt) {
        Ok(connected) => connected,
        Err(refused) => {
            refuse(stream, wire, ConnectAckReason::QuotaExceeded, refused.to_string()).await;
            return None;
        }
    };
    let Connected { seat, link, present, will } = connected;
    let terms = Terms::of(door, &connect, version);
    let mut output = BytesMut::new();
    wire.limit_sent(connect.max_packet_size.map_or(usize::MAX, |max| max.get() as usize));
    if !connect.request_problem_info {
        wire.say_reasons(Reasons::AtTheEnds);
    }
    wire.put(
        Packet::ConnectAck(Box::new(terms.ack(door, &connect, assigned, present))),
        &mut output,
    );
    let permit = (!input.is_empty()).then_some(permit);
    let aliases = Aliases { max: terms.aliases, ..Aliases::default() };
    let connection = Connection {
        door,
        stream,
        wire,
        version,
        seat,
        link,
        input,
        permit,
        starved: false,
        output,
        settling: VecDeque::new(),
        unsettled: 0,
        patience: terms.patience,
        heard: Instant::now(),
        begun: None,
        aliases,
        reader: None,
        stalled: None,
        turn: None,
    };
    Some(Greeted { connection, will })
}

/// What the codec does not look at.
fn check(connect: &Connect) -> Result<(), (ConnectAckReason, String)> {
    if connect.client_id.contains('\0') || connect.client_id.len() > 256 {
        let why = "a client identifier has at most 256 bytes and no NUL".to_owned();
        return Err((ConnectAckReason::ClientIdentifierNotValid, why));
    }
    if let Some(method) = &connect.auth_method {
        let why = format!("the authentication method '{method}' is not known here");
        return Err((ConnectAckReason::BadAuthenticationMethod, why));
    }
    let Some(will) = &connect.last_will else { return Ok(()) };
    let reserved = will.topic.starts_with('$').then_some(TopicError::Reserved);
    let checked = reserved.map_or_else(|| check_topic(&will.topic), Err);
    checked.map_err(|error| (ConnectAckReason::TopicNameInvalid, format!("of the will: {error}")))
}

/// What holds on a connection.
struct Terms {
    /// Told to the client where it asked for another one.
    keep_alive_s: Option<u16>,
    patience: Option<Duration>,
    aliases: u16,
}

impl Terms {
    fn of(door: &MqttDoor, connect: &Connect, version: Version) -> Self {
        let (asked, most) = (connect.keep_alive, door.mqtt.keep_alive_s_max);
        // 3.1.1 cannot be told another one: what it says holds.
        let keep_alive_s = (version == Version::V5 && asked > most).then_some(most);
        let holds = keep_alive_s.unwrap_or(asked);
        let patience = (holds > 0).then(|| Duration::from_millis(u64::from(holds) * 1500));
        Self {
            keep_alive_s,
            patience,
            aliases: connect.topic_alias_max.min(door.mqtt.topic_alias_max),
        }
    }

    fn ack(&self, door: &MqttDoor, connect: &Connect, assigned: bool, present: bool) -> ConnectAck {
        let limits = &door.mqtt;
        let asked = connect.session_expiry_interval_secs;
        ConnectAck {
            session_present: present,
            session_expiry_interval_secs: (asked > limits.session_expiry_s_max)
                .then_some(limits.session_expiry_s_max),
            receive_max: NonZeroU16::new(limits.in_flight_max).unwrap_or(NonZeroU16::MIN),
            max_packet_size: NonZeroU32::new(limits.packet_bytes_max).map(NonZeroU32::get),
            assigned_client_id: assigned.then(|| connect.client_id.clone()),
            topic_alias_max: limits.topic_alias_max,
            server_keepalive_sec: self.keep_alive_s,
            ..ConnectAck::default()
        }
    }
}

/// Nobody can guess it; each state of the hasher is the system's.
fn new_client_id() -> ByteString {
    let part = || RandomState::new().build_hasher().finish();
    format!("weir-{:016x}{:016x}", part(), part()).into()
}

async fn refuse_bytes(stream: Stream, wire: Wire, error: &WireError) {
    match error {
        WireError::NoClientId => {
            let reason = ConnectAckReason::ClientIdentifierNotValid;
            refuse(stream, wire, reason, error.to_string()).await;
        }
        WireError::Level(level) if *level > 5 => last_words(stream, &UNSPOKEN_V5).await,
        WireError::Level(_) => last_words(stream, &UNSPOKEN_V3).await,
        WireError::TooLarge { .. } if wire.version().is_some() => {
            refuse(stream, wire, ConnectAckReason::PacketTooLarge, error.to_string()).await;
        }
        _ if wire.version() == Some(Version::V5) => {
            refuse(stream, wire, ConnectAckReason::MalformedPacket, error.to_string()).await;
        }
        // It is not known what the client speaks, or it could not be told.
        _ => {}
    }
}

async fn refuse(stream: Stream, mut wire: Wire, reason: ConnectAckReason, why: String) {
    let ack = ConnectAck {
        reason_code: reason,
        reason_string: Some(why.into()),
        ..ConnectAck::default()
    };
    let mut output = BytesMut::new();
    wire.put(Packet::ConnectAck(Box::new(ack)), &mut output);
    last_words(stream, &output).await;
}

/// Says something and hears the client out, so that it is not lost in a reset.
async fn last_words(mut stream: Stream, words: &[u8]) {
    drop(tokio::time::timeout(super::STOP_FAREWELL, stream.finish(words)).await);
}
