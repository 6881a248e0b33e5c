//! Rows out, by real sockets.

use super::client::topic_name;
use super::{Client, STREAM, Server, TOPIC, reading, reading_at};
use crate::decode::testing::options;
use crate::doors::kafka::KafkaLimits;
use crate::doors::kafka::batch::{Batch, Records};
use crate::doors::testing::Served;
use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest};

fn fetch(offset: i64, min_bytes: i32, max_bytes: i32, wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(max_bytes)
        .with_current_leader_epoch(-1);
    let topic =
        FetchTopic::default().with_topic(topic_name(STREAM)).with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(min_bytes)
        .with_max_bytes(max_bytes)
        .with_topics(vec![topic])
}

/// Offset, key and value of each record of each batch.
fn records(mut bytes: Bytes) -> Vec<(i64, String, String)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let base = i64::from_be_bytes(*bytes.first_chunk().unwrap());
        let length = i32::from_be_bytes(*bytes[8..].first_chunk().unwrap());
        let one = bytes.split_to(usize::try_from(length).unwrap() + 12);
        let batch = Batch::read(Some(one)).expect("a batch");
        let mut records = Records::new(&batch.records, batch.count);
        while let Some((number, record)) = records.next().expect("a record") {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            all.push((base + i64::from(number), text(record.key), text(record.value)));
        }
    }
    all
}

/// Error, end, and records of the only partition.
fn ask(
    client: &mut Client,
    version: i16,
    request: &FetchRequest,
) -> (i16, i64, Vec<(i64, String, String)>) {
    let mut answer = client.ask(version, request);
    let partition = answer.responses[0].partitions.remove(0);
    let bytes = partition.records.unwrap_or_default();
    (partition.error_code, partition.high_watermark, records(bytes))
}

fn offset_at(client: &mut Client, version: i16, time: i64) -> (i16, i64, i64) {
    let partition = ListOffsetsPartition::default().with_timestamp(time);
    let topic =
        ListOffsetsTopic::default().with_name(topic_name(STREAM)).with_partitions(vec![partition]);
    let request =
        ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let answer = client.ask(version, &request);
    let told = &answer.topics[0].partitions[0];
    (told.error_code, told.offset, told.timestamp)
}

#[test]
fn rows_are_records_with_their_topic_as_key_from_any_offset_on() {
    let server = Server::start();
    let mut client = server.client();
    let readings: Vec<String> = (0..10).map(reading).collect();
    let sent: Vec<_> = readings.iter().map(|r| (Some(TOPIC), r.as_str())).collect();
    client.produce(STREAM, &sent);
    client.produce(STREAM, &sent[..5]);
    for version in 4..=11 {
        let (code, end, rows) = ask(&mut client, version, &fetch(7, 1, 1 << 20, 0));
        assert_eq!((code, end, rows.len()), (0, 15, 8), "{version}");
        let value = r#"{"topic":"/room/1/s","time":"2026-01-01T00:00:00Z","n":7}"#;
        assert_eq!(rows[0], (7, TOPIC.to_owned(), value.to_owned()));
        let offsets: Vec<i64> = rows.iter().map(|(offset, _, _)| *offset).collect();
        assert_eq!(offsets, (7..15).collect::<Vec<_>>());
    }
}

#[test]
fn an_answer_has_as_much_as_was_asked_for_and_one_row_more() {
    let server = Server::start();
    let mut client = server.client();
    let readings: Vec<String> = (0..1000).map(reading).collect();
    let sent: Vec<_> = readings.iter().map(|r| (Some(TOPIC), r.as_str())).collect();
    client.produce(STREAM, &sent);
    let (_, _, one) = ask(&mut client, 11, &fetch(3, 1, 1, 0));
    assert_eq!(one.len(), 1, "one row at least");
    let (mut next, mut answers) = (0, 0);
    while next < 1000 {
        let (_, _, rows) = ask(&mut client, 11, &fetch(next, 1, 10_000, 0));
        assert!(rows.len() < 200, "{}", rows.len());
        assert_eq!(rows[0].0, next);
        next = rows.last().unwrap().0 + 1;
        answers += 1;
    }
    assert!(answers > 5, "{answers}");
}

#[test]
fn who_asks_where_nothing_is_yet_waits_for_it() {
    let server = Server::start();
    let (mut reader, mut writer) = (server.client(), server.client());
    let waited = fetch(0, 1, 1 << 20, 20_000);
    reader.send(11, &waited);
    writer.produce(STREAM, &[(Some(TOPIC), &reading(1))]);
    let mut answer = reader.answer::<FetchRequest>(11);
    let partition = answer.responses[0].partitions.remove(0);
    assert_eq!(records(partition.records.unwrap()).len(), 1);
    let (code, end, rows) = ask(&mut reader, 11, &fetch(1, 1, 1 << 20, 10));
    assert_eq!((code, end, rows.len()), (0, 1, 0), "not longer than it wants to");
}

#[test]
fn a_stop_does_not_wait_for_those_who_wait() {
    let mut server = Server::start();
    let mut reader = server.client();
    reader.send(11, &fetch(0, 1, 1 << 20, 60_000));
    reader.send(0, &kafka_protocol::messages::ApiVersionsRequest::default());
    Served::stop(&mut server.served);
    while reader.frame().is_some() {}
}

#[test]
fn offsets_that_are_not_there_are_told_apart() {
    let server = Server::start();
    let mut client = server.client();
    client.produce(STREAM, &[(Some(TOPIC), &reading(1))]);
    let out = Code::OffsetOutOfRange.code();
    for (offset, code) in [(0, 0), (1, 0), (2, out), (-1, out), (i64::MAX, out)] {
        assert_eq!(ask(&mut client, 11, &fetch(offset, 0, 1 << 20, 0)).0, code, "{offset}");
    }
    let mut other = fetch(0, 0, 1 << 20, 0);
    other.topics[0].partitions[0].partition = 1;
    let unknown = Code::UnknownTopicOrPartition.code();
    assert_eq!(ask(&mut client, 11, &other).0, unknown);
    other.topics[0].topic = topic_name("other");
    assert_eq!(ask(&mut client, 11, &other).0, unknown);
    let session = client.ask(11, &fetch(0, 0, 1 << 20, 0).with_session_id(7));
    assert_eq!(session.error_code, Code::FetchSessionIdNotFound.code());
}

#[test]
fn the_offset_of_a_time_is_that_of_the_first_row_at_it_or_later() {
    let server = Server::with(KafkaLimits::default(), options());
    let mut client = server.client();
    // Event times are out of order: 10, 30, 20, 40.
    for second in [10, 30, 20, 40] {
        client.produce(STREAM, &[(Some(TOPIC), &reading_at(second, second))]);
    }
    let midnight = 1_767_225_600_000_i64;
    for version in 1..=5 {
        assert_eq!(offset_at(&mut client, version, -1), (0, 4, -1));
        assert_eq!(offset_at(&mut client, version, -2), (0, 0, -1));
        for (second, offset, found) in
            [(0, 0, 10), (10, 0, 10), (11, 1, 30), (20, 1, 30), (31, 3, 40)]
        {
            let told = offset_at(&mut client, version, midnight + second * 1000);
            assert_eq!(told, (0, offset, midnight + found * 1000), "{second}");
        }
        assert_eq!(offset_at(&mut client, version, midnight + 41_000), (0, -1, -1));
    }
}

#[test]
fn who_waits_for_more_than_there_is_leaves_room_for_the_answers_of_others() {
    let kafka = KafkaLimits { answers_bytes_max: 1024 * 1024, ..KafkaLimits::default() };
    let server = Server::with(kafka, options());
    let (mut patient, mut other) = (server.client(), server.client());
    other.produce(STREAM, &[(Some(TOPIC), &reading(1))]);
    for _ in 0..3 {
        patient.send(11, &fetch(0, 1 << 30, 500 * 1024, 60_000));
    }
    // The first one has been read and waits for more; each of them takes almost all the room while it reads.
    for _ in 0..20 {
        assert_eq!(ask(&mut other, 11, &fetch(0, 1, 500 * 1024, 0)).2.len(), 1);
    }
}
