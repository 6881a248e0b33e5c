//! Abuse, by table: each gets its end, and others are not disturbed.

use super::client::{Pair, batch, packed, produce_request, sealed};
use super::{Client, STREAM, Server, TOPIC, reading};
use crate::doors::kafka::KafkaLimits;
use crate::model::Limits;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, GroupId, HeartbeatRequest,
    JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SaslHandshakeRequest,
    SyncGroupRequest,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use std::io::Write;

/// A frame of these bytes.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A request with this number, version and body.
fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let head = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 7, 0, 1, b'x']].concat();
    framed(&[&head, body].concat())
}

/// As `request`, with a header that has tagged fields.
fn flexible(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    request(key, version, &[&[0], body].concat())
}

const MOST: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];
const MINUS_2: [u8; 4] = [0xff, 0xff, 0xff, 0xfe];

fn all(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

/// A neighbour's reading is confirmed.
fn goes_on(neighbour: &mut Client, name: &str) {
    let told = neighbour.produce(STREAM, &[(Some(TOPIC), &reading(1))]);
    assert_eq!(told.error_code, 0, "after {name}: {told:?}");
}

#[test]
fn what_is_no_request_ends_the_connection_and_nothing_else() {
    // No transaction, acks all, a timeout.
    let produce = b"\xff\xff\xff\xff\0\0\0\x01";
    // One topic `s`.
    let topic = b"\0\0\0\x01\0\x01s";
    let fetch = all(&[&[0xff; 4], &[0; 13], &[0; 8]]);
    let join = b"\0\x01g\0\0\x27\x10\0\0\x27\x10\0\0\xff\xff\0\x01c";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("MQTT", b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01r".to_vec()),
        ("a length of nothing", framed(b"")),
        ("a length below zero", vec![0xff; 8]),
        ("the longest length", MOST.to_vec()),
        ("a request one byte too long", (16 * 1024 * 1024 + 1_i32).to_be_bytes().to_vec()),
        ("half a length", vec![0, 0]),
        ("a frame that is not all there", b"\0\0\0\x20\0\x12\0\0".to_vec()),
        ("half a header", framed(b"\0\x12\0\0\0\0\0")),
        ("no client", framed(b"\0\x12\0\0\0\0\0\x07")),
        ("a client's name that lies", framed(b"\0\x12\0\0\0\0\0\x07\x7f\xffx")),
        ("a client's name of -2", framed(b"\0\x12\0\0\0\0\0\x07\xff\xfe")),
        ("an unknown request", request(999, 0, b"")),
        ("a request below zero", request(-1, 0, b"")),
        ("ApiVersions below zero", request(18, -1, b"")),
        ("a broker's LeaderAndIsr", request(4, 0, b"")),
        ("a broker's StopReplica", request(5, 0, b"")),
        ("a broker's ControlledShutdown", request(7, 0, b"")),
        ("DeleteTopics", request(20, 1, b"\0\0\0\0\0\0\0\0")),
        ("AddPartitionsToTxn", request(24, 0, b"")),
        ("EndTxn", request(26, 0, b"")),
        ("SaslAuthenticate", request(36, 0, b"\0\0\0\x03\0u\0")),
        ("ConsumerGroupHeartbeat", request(68, 0, b"")),
        ("Produce 0", request(0, 0, &all(&[b"\xff\xff\0\0\0\x01", &[0; 4]]))),
        ("Produce 2", request(0, 2, &all(&[b"\xff\xff\0\0\0\x01", &[0; 4]]))),
        ("Produce 9", request(0, 9, &all(&[produce, &[0; 4]]))),
        ("Fetch 3", request(1, 3, &fetch)),
        ("Fetch 12", request(1, 12, &fetch)),
        ("ListOffsets 0", request(2, 0, &[0; 8])),
        ("Metadata 9", request(3, 9, &[0; 4])),
        ("JoinGroup 6", request(11, 6, join)),
        ("twelve bytes of Produce with 2^31 topics", request(0, 3, &all(&[produce, &MOST]))),
        ("Produce with -2 topics", request(0, 3, &all(&[produce, &MINUS_2]))),
        ("Produce with a name that lies", request(0, 3, &all(&[produce, b"\0\0\0\x01\x7f\xffs"]))),
        ("Produce without a name", request(0, 3, &all(&[produce, b"\0\0\0\x01\xff\xff\0\0\0\0"]))),
        ("Produce to no UTF-8", request(0, 3, &all(&[produce, b"\0\0\0\x01\0\x01\xff\0\0\0\0"]))),
        ("2^31 partitions", request(0, 3, &all(&[produce, topic, &MOST]))),
        ("records that lie", request(0, 3, &all(&[produce, topic, b"\0\0\0\x01\0\0\0\0", &MOST]))),
        ("records of -2", request(0, 3, &all(&[produce, topic, b"\0\0\0\x01\0\0\0\0", &MINUS_2]))),
        ("Produce cut short", request(0, 8, &produce[..5])),
        ("Produce and a byte", request(0, 8, &all(&[produce, &[0; 4], b"x"]))),
        ("no topics at all", request(0, 8, &all(&[produce, &[0xff; 4]]))),
        ("Fetch of 2^31 topics", request(1, 11, &all(&[&fetch, &MOST]))),
        ("Fetch of 2^31 partitions", request(1, 11, &all(&[&fetch, topic, &MOST]))),
        ("2^31 forgotten topics", request(1, 11, &all(&[&fetch, &[0; 4], &MOST]))),
        ("Fetch cut short", request(1, 11, &fetch[..9])),
        ("a rack that lies", request(1, 11, &all(&[&fetch, &[0; 8], b"\x7f\xff"]))),
        ("ListOffsets of 2^31", request(2, 5, &all(&[&[0xff; 4], b"\0", &MOST]))),
        ("Metadata of 2^31", request(3, 8, &MOST)),
        ("Metadata of -2", request(3, 8, &MINUS_2)),
        ("OffsetCommit of 2^31", request(8, 7, &all(&[b"\0\x01g\0\0\0\0\0\0\xff\xff", &MOST]))),
        ("OffsetFetch of 2^31", request(9, 5, &all(&[b"\0\x01g", &MOST]))),
        ("OffsetFetch of 2^31 partitions", request(9, 5, &all(&[b"\0\x01g", topic, &MOST]))),
        ("FindCoordinator of nothing", request(10, 2, b"")),
        ("2^31 ways to share", request(11, 5, &all(&[join, &MOST]))),
        ("a way that lies", request(11, 5, &all(&[join, b"\0\0\0\x01\0\x01r", &MOST]))),
        ("Heartbeat cut short", request(12, 3, b"\0\x01g\0\0")),
        ("2^31 members leave", request(13, 3, &all(&[b"\0\x01g", &MOST]))),
        ("2^31 shares", request(14, 3, &all(&[b"\0\x01g\0\0\0\x01\0\x01m\xff\xff", &MOST]))),
        ("DescribeGroups of 2^31", request(15, 4, &all(&[&MOST, b"\0"]))),
        ("a mechanism that lies", request(17, 1, b"\x7f\xff")),
        ("CreateTopics of 2^31", request(19, 4, &all(&[&MOST, &[0; 5]]))),
        ("2^31 replicas", request(19, 4, &all(&[topic, &[0; 6], &MOST]))),
        ("DescribeConfigs of 2^31", request(32, 3, &MOST)),
        ("2^31 settings", request(32, 3, &all(&[b"\0\0\0\x01\x02\0\x01s", &MOST]))),
        ("DeleteGroups of 2^31", request(42, 1, &MOST)),
        ("ApiVersions with 2^28 tags", flexible(18, 3, b"\x01\x01\xff\xff\xff\xff\x0f")),
        ("a tag that lies", flexible(18, 3, b"\x01\x01\x01\x07\x7f")),
        ("a header with tags that lie", request(18, 3, b"\x7f")),
        ("a number without an end", flexible(18, 3, &[0xff; 12])),
        ("a short text that lies", flexible(22, 2, b"\xff\xff\xff\xff\x0f\0\0\0\0")),
        ("50,001 topics", request(3, 8, &all(&[&50_001_i32.to_be_bytes(), &[0; 100_005]]))),
        ("a megabyte that is no Produce", request(3, 8, &vec![0; 1024 * 1024 + 1])),
    ];
    assert!(cases.len() >= 60);
    let server = Server::start();
    let mut neighbour = server.client();
    for (name, bytes) in &cases {
        let mut client = server.client();
        client.write(bytes);
        client.close_sending();
        assert!(client.frame().is_none(), "{name} is not answered");
        goes_on(&mut neighbour, name);
    }
    assert_eq!(server.budget.in_flight(), 0, "what was taken from the budget came back");
}

#[test]
fn versions_that_are_too_new_are_answered_with_those_there_are() {
    let server = Server::start();
    let mut client = server.client();
    for version in [4, 5, i16::MAX] {
        client.write(&flexible(18, version, b"\x01\x01\0"));
        let mut frame = client.frame().expect("an answer").split_off(4);
        let answer = ApiVersionsResponse::decode(&mut frame, 0).expect("of version 0");
        assert_eq!(answer.error_code, Code::UnsupportedVersion.code());
        assert!(!answer.api_keys.is_empty());
    }
}

/// A batch with a few bytes replaced and its checksum made right.
fn patched(at: usize, with: &[u8]) -> Vec<u8> {
    let mut bytes = batch(&[(Some(TOPIC), &reading(1))]);
    bytes[at..at + with.len()].copy_from_slice(with);
    sealed(bytes)
}

fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let zeros = |_: &[u8]| vec![0; 16 * 1024 * 1024];
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&zeros(bytes)).unwrap();
        encoder.finish().unwrap()
    };
    let lz4 = |bytes: &[u8]| {
        let mut encoder = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
        encoder.write_all(&zeros(bytes)).unwrap();
        encoder.finish().0
    };
    let snappy = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(&zeros(bytes)).unwrap();
    let zstd = |bytes: &[u8]| zstd::stream::encode_all(&zeros(bytes)[..], 1).unwrap();
    let one = || batch(&[(Some(TOPIC), &reading(1))]);
    vec![
        ("a bomb of gzip", packed(one(), 1, gzip)),
        ("a bomb of snappy", packed(one(), 2, snappy)),
        ("a bomb of lz4", packed(one(), 3, lz4)),
        ("a bomb of zstd", packed(one(), 4, zstd)),
    ]
}

#[test]
fn what_is_no_batch_is_told_why() {
    let garbage = |codec| packed(batch(&[(Some(TOPIC), &reading(1))]), codec, |_| vec![0xff; 40]);
    let records = |records: &'static [u8]| {
        packed(batch(&[(Some(TOPIC), &reading(1))]), 0, |_| records.to_vec())
    };
    let flipped = {
        let mut bytes = batch(&[(Some(TOPIC), &reading(1))]);
        bytes[70] ^= 1;
        bytes
    };
    let pair: Pair<'static> = (Some(TOPIC), "{}");
    let two = [batch(&[pair]), batch(&[pair])].concat();
    let mut cases: Vec<(&str, Vec<u8>, Code)> = vec![
        ("no records", Vec::new(), Code::InvalidRecord),
        ("twelve bytes", vec![0; 12], Code::InvalidRecord),
        ("format 0", patched(16, &[0]), Code::UnsupportedForMessageFormat),
        ("format 1", patched(16, &[1]), Code::UnsupportedForMessageFormat),
        ("format 3", patched(16, &[3]), Code::UnsupportedForMessageFormat),
        ("two batches", two, Code::InvalidRecord),
        ("a length that lies", patched(8, &MOST), Code::InvalidRecord),
        ("a wrong checksum", flipped, Code::CorruptMessage),
        ("a transaction", patched(22, &[0x10]), Code::TransactionalIdAuthorizationFailed),
        ("a control batch", patched(22, &[0x20]), Code::TransactionalIdAuthorizationFailed),
        ("compression 6", patched(22, &[6]), Code::UnsupportedCompressionType),
        ("2^31 records", patched(57, &MOST), Code::InvalidRecord),
        ("-1 records", patched(57, &[0xff; 4]), Code::InvalidRecord),
        ("garbage for gzip", garbage(1), Code::InvalidRecord),
        ("garbage for snappy", garbage(2), Code::InvalidRecord),
        ("garbage for lz4", garbage(3), Code::InvalidRecord),
        ("garbage for zstd", garbage(4), Code::InvalidRecord),
        ("a record that lies", records(b"\x7e\0\0\0\x01\x01\0"), Code::InvalidRecord),
        ("a record below zero", records(b"\x01\0\0\0\x01\x01\0"), Code::InvalidRecord),
        ("2^31 headers", records(b"\x14\0\0\0\x01\x01\xfe\xff\xff\xff\x0f"), Code::InvalidRecord),
        ("a key that is no UTF-8", records(b"\x0e\0\0\0\x02\xff\x01\0"), Code::InvalidRecord),
    ];
    cases.extend(bombs().into_iter().map(|(name, bytes)| (name, bytes, Code::MessageTooLarge)));
    let limits = KafkaLimits { unpacked_bytes_max: 1024 * 1024, ..KafkaLimits::default() };
    let server = Server::with(limits, super::options());
    let (mut client, mut neighbour) = (server.client(), server.client());
    for (name, bytes, code) in cases {
        let told = client.produce_batch(STREAM, 0, bytes);
        assert_eq!((told.error_code, told.base_offset), (code.code(), -1), "{name}: {told:?}");
        assert!(told.error_message.is_some(), "{name}: in words");
        goes_on(&mut neighbour, name);
    }
    let fine = batch(&[(Some(TOPIC), &reading(1))]);
    let unknown = Code::UnknownTopicOrPartition.code();
    for (topic, partition) in [("other", 0), ("", 0), (STREAM, 1), (STREAM, -1), (STREAM, i32::MAX)]
    {
        assert_eq!(client.produce_batch(topic, partition, fine.clone()).error_code, unknown);
    }
    for acks in [2, -2, i16::MAX] {
        let request = produce_request(STREAM, 0, fine.clone()).with_acks(acks);
        let told = super::client::only(client.ask(8, &request));
        assert_eq!(told.error_code, Code::InvalidRequiredAcks.code());
    }
    assert_eq!(server.budget.in_flight(), 0, "what was taken from the budget came back");
}

#[test]
fn groups_are_not_joined_or_left_by_nobody() {
    let server = Server::start();
    let mut client = server.client();
    let group = |name: &'static str| GroupId(StrBytes::from_static_str(name));
    let protocol =
        JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("range"));
    let join = JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(1000)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_protocols(vec![protocol.clone()]);
    let ghost = StrBytes::from_static_str("ghost");
    let large = protocol.with_metadata(vec![0; 300_000].into());
    let cases = [
        ("no name", join.clone().with_group_id(group("")), Code::InvalidGroupId),
        ("NUL", join.clone().with_group_id(group("a\0")), Code::InvalidGroupId),
        ("no session", join.clone().with_session_timeout_ms(0), Code::InvalidSessionTimeout),
        ("below zero", join.clone().with_session_timeout_ms(-1), Code::InvalidSessionTimeout),
        ("for ever", join.clone().with_session_timeout_ms(i32::MAX), Code::InvalidSessionTimeout),
        ("a ghost", join.clone().with_member_id(ghost.clone()), Code::UnknownMemberId),
        ("much to say", join.clone().with_protocols(vec![large]), Code::InvalidRequest),
        ("an id first", join.clone(), Code::MemberIdRequired),
    ];
    for (name, request, code) in cases {
        assert_eq!(client.ask(5, &request).error_code, code.code(), "{name}");
    }
    let none = join.with_protocols(Vec::new());
    assert_eq!(client.ask(3, &none).error_code, Code::InconsistentGroupProtocol.code());
    let unknown = Code::UnknownMemberId.code();
    let sync = SyncGroupRequest::default().with_group_id(group("h")).with_member_id(ghost.clone());
    assert_eq!(client.ask(3, &sync).error_code, unknown);
    let beat = HeartbeatRequest::default().with_group_id(group("h")).with_member_id(ghost.clone());
    assert_eq!(client.ask(3, &beat).error_code, unknown);
    let leave = LeaveGroupRequest::default().with_group_id(group("h")).with_member_id(ghost);
    assert_eq!(client.ask(2, &leave).error_code, unknown);
    let commit = |topic: &str, partition: i32, offset: i64| {
        let one = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(super::client::topic_name(topic))
            .with_partitions(vec![one]);
        OffsetCommitRequest::default().with_group_id(group("h")).with_topics(vec![topic])
    };
    let nowhere = Code::UnknownTopicOrPartition;
    for (request, code) in [
        (commit("other", 0, 1), nowhere),
        (commit(STREAM, 7, 1), nowhere),
        (commit(STREAM, 0, -7), Code::OffsetOutOfRange),
    ] {
        let request = request.with_generation_id_or_member_epoch(-1);
        let told = client.ask(7, &request).topics[0].partitions[0].error_code;
        assert_eq!(told, code.code());
    }
}

#[test]
fn nobody_has_an_identity_and_no_topic_is_made_without_columns() {
    let server = Server::start();
    let mut client = server.client();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", ""] {
        let asked =
            SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
        let told = client.ask(1, &asked);
        assert_eq!(told.error_code, Code::UnsupportedSaslMechanism.code());
        assert!(told.mechanisms.is_empty());
    }
    let create = |name: &str| {
        let topic = CreatableTopic::default().with_name(super::client::topic_name(name));
        CreateTopicsRequest::default().with_topics(vec![topic])
    };
    let told = client.ask(4, &create("new")).topics.remove(0);
    assert_eq!(told.error_code, Code::PolicyViolation.code());
    assert!(told.error_message.unwrap().contains("CREATE STREAM"));
    let told = client.ask(4, &create(STREAM)).topics.remove(0);
    assert_eq!(told.error_code, Code::TopicAlreadyExists.code());
}

#[test]
fn a_client_that_does_not_read_is_let_go_and_one_that_sends_slowly_too() {
    let kafka = KafkaLimits { write_timeout_ms: 200, idle_s_max: 1, ..KafkaLimits::default() };
    let server = Server::with(kafka, super::options());
    let mut deaf = server.client();
    let question = super::client::frame(1, 0, &ApiVersionsRequest::default());
    for _ in 0..50_000 {
        deaf.write(&question);
    }
    let mut idle = server.client();
    assert!(idle.frame().is_none(), "nothing came for a second");
    goes_on(&mut server.client(), "both");
}

#[test]
fn half_a_request_that_finds_no_room_is_let_go_with_what_it_holds() {
    let limits = Limits { body_timeout_ms: 200, ..Limits::default() };
    let (log, directory) = super::fresh(super::options());
    let mut server = Server::over(log, KafkaLimits::default(), limits);
    server.directory = Some(directory);
    let most = server.budget.bytes_max();
    let others = server.budget.take(most - 512 * 1024).expect("room");
    let mut client = server.client();
    client.write(&(2 * 1024 * 1024_i32).to_be_bytes());
    client.write(&vec![0; 1024 * 1024]);
    assert!(client.frame().is_none(), "it does not wait for ever with half of it in memory");
    drop(others);
    goes_on(&mut server.client(), "that");
}
