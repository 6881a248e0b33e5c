//! The client that most others are built on, unmodified.

use super::{STREAM, Server, TOPIC, reading, reading_at};
use crate::decode::testing::options;
use crate::doors::kafka::KafkaLimits;
use crate::model::StreamOptions;
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::BTreeSet;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(100);

fn config(server: &Server) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", server.served.address.to_string());
    config.set("partitioner", "murmur2");
    config
}

fn partitioned() -> Server {
    Server::with(KafkaLimits::default(), StreamOptions { partitions: 4, ..options() })
}

fn stored(server: &Server) -> u64 {
    let stream = server.log.streams().get(STREAM).expect("the stream");
    stream.partitions().iter().map(|partition| partition.ends().durable_end.0).sum()
}

fn send(producer: &BaseProducer, readings: std::ops::Range<usize>) {
    for n in readings {
        let (key, payload) = (format!("/room/{}/s", n % 50), reading(n));
        let record = || BaseRecord::to(STREAM).key(&key).payload(&payload);
        while let Err((error, _)) = producer.send(record()) {
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
            producer.poll(MOMENT);
        }
    }
}

fn consumer(server: &Server, group: &str) -> BaseConsumer {
    let mut config = config(server);
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "2000")
        .set("heartbeat.interval.ms", "200");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[STREAM]).expect("subscribed");
    consumer
}

/// Partition and offset of the next message, if one comes in a moment.
fn poll(consumer: &BaseConsumer) -> Option<(i32, i64)> {
    match consumer.poll(MOMENT) {
        None => None,
        Some(Ok(message)) => Some((message.partition(), message.offset())),
        Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::PartitionEOF))) => None,
        Some(Err(error)) => panic!("{error}"),
    }
}

#[test]
fn records_of_every_compression_are_stored_once_each() {
    let server = partitioned();
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for (n, codec) in codecs.into_iter().enumerate() {
        let mut config = config(&server);
        config.set("compression.codec", codec).set("linger.ms", "20");
        config.set("enable.idempotence", "true");
        let producer: BaseProducer = config.create().expect("a producer");
        send(&producer, 0..2000);
        producer.flush(PATIENCE).expect("all of it is confirmed");
        assert_eq!(stored(&server), 2000 * (n as u64 + 1), "{codec}");
    }
    assert_eq!(server.dead_letters(), Vec::<String>::new());
}

#[test]
fn a_group_shares_the_partitions_and_one_takes_over_when_the_other_is_gone() {
    let server = partitioned();
    let producer: BaseProducer = config(&server).create().expect("a producer");
    send(&producer, 0..1000);
    producer.flush(PATIENCE).expect("confirmed");
    let (one, two) = (consumer(&server, "g"), consumer(&server, "g"));
    let mut seen = BTreeSet::new();
    let shares = || {
        let count = |c: &BaseConsumer| c.assignment().expect("an assignment").count();
        (count(&one), count(&two))
    };
    while seen.len() < 1000 || shares() != (2, 2) {
        for consumer in [&one, &two] {
            seen.extend(poll(consumer));
        }
    }
    drop(one);
    send(&producer, 1000..2000);
    producer.flush(PATIENCE).expect("confirmed");
    while seen.len() < 2000 {
        seen.extend(poll(&two));
    }
    assert_eq!(two.assignment().expect("an assignment").count(), 4);
}

#[test]
fn a_group_goes_on_where_it_committed_and_two_groups_do_not_meet() {
    let server = Server::start();
    let producer: BaseProducer = config(&server).create().expect("a producer");
    send(&producer, 0..100);
    producer.flush(PATIENCE).expect("confirmed");
    let first = consumer(&server, "first");
    let mut last = -1;
    while last < 49 {
        last = poll(&first).map_or(last, |(_, offset)| offset);
    }
    first.commit_consumer_state(CommitMode::Sync).expect("committed");
    drop(first);
    let again = consumer(&server, "first");
    let next = std::iter::repeat_with(|| poll(&again)).flatten().next();
    assert_eq!(next, Some((0, last + 1)));
    let second = consumer(&server, "second");
    let next = std::iter::repeat_with(|| poll(&second)).flatten().next();
    assert_eq!(next, Some((0, 0)));
}

#[test]
fn a_time_is_found_and_messages_say_theirs() {
    let server = Server::start();
    let producer: BaseProducer = config(&server).create().expect("a producer");
    for second in 0..60 {
        let payload = reading_at(second, second);
        producer.send(BaseRecord::to(STREAM).key(TOPIC).payload(&payload)).expect("queued");
    }
    producer.flush(PATIENCE).expect("confirmed");
    let consumer: BaseConsumer = config(&server).set("group.id", "t").create().expect("a consumer");
    let midnight = 1_767_225_600_000_i64;
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(STREAM, 0, Offset::Offset(midnight + 30_500)).expect("added");
    let found = consumer.offsets_for_times(times, PATIENCE).expect("found");
    assert_eq!(found.elements()[0].offset(), Offset::Offset(31));
    consumer.assign(&found).expect("assigned");
    let message = std::iter::repeat_with(|| consumer.poll(MOMENT)).flatten().next();
    let message = message.expect("one").expect("a message");
    assert_eq!(message.timestamp().to_millis(), Some(midnight + 31_000));
    assert_eq!(message.key(), Some(TOPIC.as_bytes()));
    let (low, high) = consumer.fetch_watermarks(STREAM, 0, PATIENCE).expect("watermarks");
    assert_eq!((low, high), (0, 60));
}

#[test]
fn transactions_are_refused_for_good() {
    let server = Server::start();
    let mut config = config(&server);
    config.set("transactional.id", "t");
    let producer: BaseProducer = config.create().expect("a producer");
    let error = producer.init_transactions(Duration::from_secs(10)).expect_err("refused");
    let code = error.rdkafka_error_code();
    let refused = [
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
        RDKafkaErrorCode::UnsupportedFeature,
    ];
    assert!(code.is_some_and(|code| refused.contains(&code)), "{error}");
}
