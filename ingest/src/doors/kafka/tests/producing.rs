//! Records in, by real sockets.

use super::client::{batch, packed, produce_request, sent_by, topic_name};
use super::{STREAM, Server, TOPIC, reading};
use crate::decode::testing::options;
use crate::doors::kafka::KafkaLimits;
use crate::model::StreamOptions;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, InitProducerIdRequest, MetadataRequest, ProduceRequest, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use std::io::Write;

/// What a producer asks for that is in no transaction.
fn idempotent() -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(None)
}

#[test]
fn what_is_said_to_be_served_has_the_versions_that_clients_look_for() {
    let server = Server::start();
    let mut client = server.client();
    for version in 0..=3 {
        let answer = client.ask(version, &ApiVersionsRequest::default());
        let of = |key: i16| answer.api_keys.iter().find(|one| one.api_key == key).unwrap();
        assert_eq!((answer.error_code, of(0).min_version, of(1).max_version), (0, 0, 11));
    }
}

#[test]
fn every_version_of_metadata_names_the_stream_and_its_partitions() {
    let server = Server::with(KafkaLimits::default(), StreamOptions { partitions: 3, ..options() });
    let mut client = server.client();
    for version in 0..=8 {
        let all = if version == 0 { Some(Vec::new()) } else { None };
        let answer = client.ask(version, &MetadataRequest::default().with_topics(all));
        let port = i32::from(server.served.address.port());
        assert_eq!((answer.brokers.len(), answer.brokers[0].port), (1, port));
        let topic = &answer.topics[0];
        assert_eq!((topic.name.as_ref(), topic.partitions.len()), (Some(&topic_name(STREAM)), 3));
        let named = MetadataRequestTopic::default().with_name(Some(topic_name("other")));
        let answer =
            client.ask(version, &MetadataRequest::default().with_topics(Some(vec![named])));
        assert_eq!(answer.topics[0].error_code, Code::UnknownTopicOrPartition.code());
    }
}

#[test]
fn a_record_is_answered_with_the_offset_of_its_row_when_it_is_durable() {
    let server = Server::start();
    let mut client = server.client();
    let inline = format!(r#"{{"topic":"{TOPIC}","time":"2026-01-01T00:00:00Z","n":3}}"#);
    let first = client.produce(STREAM, &[(Some(TOPIC), &reading(1)), (None, &inline)]);
    assert_eq!((first.error_code, first.base_offset), (0, 0));
    let second = client.produce(STREAM, &[(Some(TOPIC), &reading(2))]);
    assert_eq!((second.error_code, second.base_offset), (0, 2));
    assert_eq!(server.rows(), 3);
    for version in 3..=8 {
        let request = produce_request(STREAM, 0, batch(&[(Some(TOPIC), &reading(1))]));
        let answer = client.ask(version, &request);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{version}");
    }
}

#[test]
fn all_compressions_are_taken() {
    let server = Server::start();
    let mut client = server.client();
    let readings: Vec<String> = (0..500).map(reading).collect();
    let records: Vec<_> = readings.iter().map(|r| (Some(TOPIC), r.as_str())).collect();
    let plain = batch(&records);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let lz4 = |bytes: &[u8]| {
        let mut encoder = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().0
    };
    let snappy = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    let xerial = |bytes: &[u8]| {
        let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        for piece in bytes.chunks(1000) {
            let block = snappy(piece);
            framed.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
            framed.extend(block);
        }
        framed
    };
    let zstd = |bytes: &[u8]| zstd::stream::encode_all(bytes, 3).unwrap();
    let batches = [
        plain.clone(),
        packed(plain.clone(), 1, gzip),
        packed(plain.clone(), 2, snappy),
        packed(plain.clone(), 2, xerial),
        packed(plain.clone(), 3, lz4),
        packed(plain, 4, zstd),
    ];
    for (n, batch) in batches.into_iter().enumerate() {
        let told = client.produce_batch(STREAM, 0, batch);
        assert_eq!((told.error_code, told.base_offset), (0, n as i64 * 500), "{n}: {told:?}");
    }
    assert_eq!(server.rows(), 3000);
    assert_eq!(server.budget.in_flight(), 0, "what was taken from the budget came back");
}

#[test]
fn refused_records_are_dead_letters_and_the_others_are_kept() {
    let server = Server::start();
    let mut client = server.client();
    let mixed = client.produce(
        STREAM,
        &[
            (Some(TOPIC), "no json"),
            (Some(TOPIC), &reading(1)),
            (Some("/nowhere"), &reading(1)),
            (Some("a/+/b"), &reading(1)),
            (None, r#"{"n":1}"#),
        ],
    );
    assert_eq!((mixed.error_code, mixed.base_offset, mixed.record_errors.len()), (0, -1, 4));
    assert_eq!(server.rows(), 1);
    let letters = ["/room/1/s json", "/nowhere no_stream", "a/+/b topic", " missing_topic"];
    assert_eq!(server.dead_letters(), letters);
    let none = client.produce(STREAM, &[(Some(TOPIC), "{}")]);
    assert_eq!(none.error_code, Code::InvalidRecord.code());
    let why = none.record_errors[0].batch_index_error_message.clone().unwrap();
    assert!(why.contains("has no 'time'"), "{why}");
}

#[test]
fn a_record_of_another_stream_is_refused_by_the_one_it_was_sent_to() {
    let server = Server::start();
    let other = crate::decode::testing::stream("others", "n BIGINT", "/hall/{hall}", options());
    server.log.create_stream(other).unwrap();
    let mut client = server.client();
    let told =
        client.produce("others", &[(Some(TOPIC), &reading(1)), (Some("/hall/1"), &reading(2))]);
    assert_eq!((told.error_code, told.record_errors.len(), server.rows()), (0, 1, 0));
    let why = told.record_errors[0].batch_index_error_message.clone().unwrap();
    assert!(why.contains("send it to 'sensors'"), "{why}");
    assert_eq!(server.dead_letters(), ["/room/1/s other_stream"]);
}

#[test]
fn a_record_is_stored_in_the_partition_of_its_path_whatever_it_was_sent_to() {
    let server = Server::with(KafkaLimits::default(), StreamOptions { partitions: 4, ..options() });
    let mut client = server.client();
    let own = i32::try_from(crate::model::partition_of(TOPIC, 4)).unwrap();
    let told = client.produce_batch(STREAM, own, batch(&[(Some(TOPIC), &reading(1))]));
    assert_eq!((told.error_code, told.base_offset), (0, 0));
    let told = client.produce_batch(STREAM, (own + 1) % 4, batch(&[(Some(TOPIC), &reading(1))]));
    assert_eq!((told.error_code, told.base_offset), (0, -1), "it has no offset there");
    let stream = server.log.streams().get(STREAM).unwrap();
    assert_eq!(stream.partitions()[usize::try_from(own).unwrap()].ends().durable_end.0, 2);
}

#[test]
fn who_wants_no_answer_gets_none() {
    let server = Server::start();
    let mut client = server.client();
    let request = produce_request(STREAM, 0, batch(&[(Some(TOPIC), &reading(1))]));
    client.send(8, &request.with_acks(0));
    let next = client.ask(0, &ApiVersionsRequest::default());
    assert_eq!((next.error_code, server.rows()), (0, 1), "the next answer is the next request's");
}

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    let server = Server::start();
    let mut client = server.client();
    for n in 0..10 {
        client.send(8, &produce_request(STREAM, 0, batch(&[(Some(TOPIC), &reading(n))])));
        client.send(0, &ApiVersionsRequest::default());
    }
    for n in 0..10 {
        let answer = client.answer::<ProduceRequest>(8);
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, n);
        assert!(!client.answer::<ApiVersionsRequest>(0).api_keys.is_empty());
    }
}

#[test]
fn a_batch_that_comes_again_is_stored_once_and_one_that_leaves_one_out_is_not() {
    let mut server = Server::start();
    let mut client = server.client();
    let id = client.ask(4, &idempotent());
    assert_eq!((id.error_code, id.producer_epoch), (0, 0));
    let id = id.producer_id.0;
    let send = |client: &mut super::Client, epoch, sequence| {
        let records: Vec<_> =
            (0..3).map(|_| (Some(TOPIC), r#"{"time":1700000000,"n":1}"#)).collect();
        let told = client.produce_batch(STREAM, 0, sent_by(batch(&records), id, epoch, sequence));
        (told.error_code, told.base_offset)
    };
    assert_eq!(send(&mut client, 0, 0), (0, 0));
    assert_eq!(send(&mut client, 0, 0), (0, 0), "again");
    assert_eq!(send(&mut client, 0, 3), (0, 3));
    assert_eq!(send(&mut client, 0, 9).0, Code::OutOfOrderSequenceNumber.code());
    for n in 2..8 {
        assert_eq!(send(&mut client, 0, n * 3), (0, i64::from(n) * 3));
    }
    assert_eq!(send(&mut client, 0, 3).0, Code::DuplicateSequenceNumber.code(), "long ago");
    // Another process over the same log.
    server.stop();
    let log = std::sync::Arc::clone(&server.log);
    let again = Server::over(log, KafkaLimits::default(), crate::model::Limits::default());
    let mut client = again.client();
    assert_eq!(send(&mut client, 0, 21), (0, 21), "the log knows it");
    assert_eq!(send(&mut client, 1, 0), (0, 24), "a later life");
    assert_eq!(send(&mut client, 0, 24).0, Code::InvalidProducerEpoch.code());
    assert_eq!(again.rows(), 27);
}

#[test]
fn ids_of_producers_are_never_given_twice_and_epochs_grow() {
    let server = Server::start();
    let mut client = server.client();
    let mut last = -1;
    for version in 0..=4 {
        let given = client.ask(version, &idempotent());
        assert!(given.producer_id.0 > last, "{version}");
        last = given.producer_id.0;
    }
    let again = idempotent().with_producer_id(last.into()).with_producer_epoch(0);
    let given = client.ask(4, &again);
    assert_eq!((given.producer_id.0, given.producer_epoch), (last, 1));
    let transactional = TransactionalId(StrBytes::from_static_str("t"));
    let refused = InitProducerIdRequest::default().with_transactional_id(Some(transactional));
    let given = client.ask(4, &refused);
    assert_eq!(given.error_code, Code::TransactionalIdAuthorizationFailed.code());
}
