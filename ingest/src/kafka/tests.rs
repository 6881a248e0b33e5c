//! What is a cluster's own, against the one that librdkafka brings along for tests.
//!
//! Elsewhere: what it has in common with every log is in `tests/conformance`.

use super::{
    Connection, KafkaLog, KafkaLogError, KafkaPartition, KafkaReader, KafkaTopic, KafkaWriter,
    KeyedBy,
};
use crate::io::{RealClock, SimulatedDisk};
use crate::log::{EntryBody, EntryReader, Log, LogConfig, PartitionLog, ReadError, TickKind};
use crate::model::{
    AppendTime, Column, ColumnType, EventTime, Offset, PartitionId, StreamDefinition,
    StreamOptions, TopicTemplate, partition_of,
};
use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use std::sync::Arc;
use std::time::Duration;

/// A cluster with the topics of a stream of two partitions.
struct Room {
    cluster: MockCluster<'static, DefaultProducerContext>,
    here: Arc<Log>,
    log: Arc<KafkaLog>,
    partitions: Vec<Arc<KafkaPartition>>,
}

fn definition(partitions: u32) -> StreamDefinition {
    let column = Column { name: "celsius".to_owned(), column_type: ColumnType::Double, unit: None };
    let template = TopicTemplate::parse("/room/{room}").unwrap();
    let options = StreamOptions { partitions, ..StreamOptions::default() };
    StreamDefinition::new("climate", vec![column], template, options).unwrap()
}

fn here() -> Arc<Log> {
    let (disk, clock) = (Arc::new(SimulatedDisk::new(1)), Arc::new(RealClock::new()));
    Log::open_manual(disk, clock, LogConfig::new("data")).unwrap()
}

fn topic() -> Arc<KafkaTopic> {
    let (name, keyed_by) = ("climate".to_owned(), KeyedBy::Topic);
    Arc::new(KafkaTopic { name, partitions: 2, keyed_by, group: "plant".to_owned() })
}

fn partitions(
    log: &Arc<KafkaLog>,
    topic: &Arc<KafkaTopic>,
) -> (Arc<Log>, Vec<Arc<KafkaPartition>>) {
    let here = here();
    let stream = here.create_stream(definition(topic.partitions)).unwrap();
    let ids = (0..topic.partitions).map(PartitionId);
    let partitions = ids.map(|id| log.partition(&here, &stream, topic, id)).collect();
    (here, partitions)
}

fn address(cluster: &MockCluster<'static, DefaultProducerContext>) -> Connection {
    Connection::to(&format!("kafka://{}", cluster.bootstrap_servers())).unwrap()
}

impl Room {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let topic = topic();
        for topic in [&topic.name, &topic.ticks()] {
            cluster.create_topic(topic, 2, 1).unwrap();
        }
        let log = KafkaLog::connect(address(&cluster)).unwrap();
        log.check(&topic).unwrap();
        let (here, partitions) = partitions(&log, &topic);
        Self { cluster, here, log, partitions }
    }

    /// Somebody else's producer writes to partition 0.
    fn publish(&self, key: Option<&str>, value: Option<&str>, headers: &[(&str, &str)]) {
        let producer: ThreadedProducer<_> = self.log.connection().producer().create().unwrap();
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: Some(*value) })
        });
        let mut record = BaseRecord::<str, str>::to("climate").partition(0).headers(headers);
        (record.key, record.payload) = (key, value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    fn reader(&self) -> KafkaReader {
        self.partitions[0].reader(Offset(0), AppendTime(i64::MIN)).unwrap()
    }

    /// The temperatures of everything in partition 0, each with its offset.
    fn temperatures(&self, reader: &mut KafkaReader) -> Vec<(u64, f64)> {
        let end = self.partitions[0].ends().unwrap().durable_end;
        let mut all = Vec::new();
        while reader.position() < end {
            let Some(entry) = reader.next().unwrap() else { continue };
            if let EntryBody::Rows(batch) = &entry.body {
                let column = batch.column_by_name("celsius").unwrap();
                let values = column.as_primitive::<Float64Type>().values();
                all.extend((entry.base_offset.0..).zip(values.iter().copied()));
            }
        }
        all
    }

    /// A batch of one topic's readings and the partition it belongs into.
    fn rows(&self, topic: &str, celsius: &[f64]) -> (arrow::array::RecordBatch, usize) {
        let mut decoder = crate::decode::Decoder::new(self.here.streams());
        for (index, value) in (0..).zip(celsius) {
            let row = format!(
                r#"{{"topic":"{topic}","time":"2026-01-31T12:00:00.000001Z","celsius":{value}}}"#
            );
            decoder.push_json(row.as_bytes(), index, AppendTime(1_800_000_000_000_000));
        }
        let mut decoded = decoder.finish();
        let rows = decoded.rows.pop().unwrap();
        (rows.batch, rows.partition.0 as usize)
    }
}

const TIME: &str = r#""time":"2026-01-31T12:00:00Z""#;

#[test]
fn records_of_other_producers_are_readings_or_passed_over_with_a_reason() {
    let room = Room::new();
    let publish = |key, value: &str| room.publish(key, Some(value), &[]);
    publish(Some("/room/1"), &format!(r#"{{{TIME},"celsius":1}}"#));
    publish(Some("/room/1"), "21.5");
    publish(None, &format!(r#"{{"topic":"/room/2",{TIME},"celsius":2}}"#));
    publish(Some("/cellar/1"), &format!(r#"{{{TIME},"celsius":3}}"#));
    room.publish(Some("/room/1"), None, &[]);
    publish(Some("/room/1"), &format!(r#"[{{{TIME},"celsius":4}}]"#));
    publish(Some("/room/3"), &format!(r#"{{{TIME},"celsius":5}}"#));
    let mut reader = room.reader();
    assert_eq!(room.temperatures(&mut reader), [(0, 1.0), (2, 2.0), (6, 5.0)]);
    let unread: Vec<(u64, String)> = reader
        .take_unread()
        .into_iter()
        .map(|u| (u.offset.0, u.refusal.reason.to_string()))
        .collect();
    let offsets: Vec<u64> = unread.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [1, 3, 4, 5], "{unread:?}");
    assert!(unread[1].1.starts_with("no stream takes the topic '/cellar/1'"), "{unread:?}");
    assert!(unread[2].1.ends_with("this is a record without a value"), "{unread:?}");
    assert!(unread[3].1.ends_with("this is an array: one record is one reading"), "{unread:?}");
}

#[test]
fn a_cloud_event_is_a_reading_in_both_modes_of_its_kafka_binding() {
    let room = Room::new();
    let binary = [
        ("content-type", "application/json"),
        ("ce_specversion", "1.0"),
        ("ce_id", "1"),
        ("ce_source", "/gateway"),
        ("ce_type", "reading"),
        ("ce_time", "2026-01-31T12:00:00Z"),
    ];
    room.publish(Some("/room/1"), Some(r#"{"celsius":1.5}"#), &binary);
    let structured = r#"{"specversion":"1.0","id":"2","source":"/gateway","type":"reading","time":"2026-01-31T12:00:00Z","data":{"celsius":2.5}}"#;
    let json = [("content-type", "application/cloudevents+json; charset=utf-8")];
    room.publish(Some("/room/1"), Some(structured), &json);
    let mut reader = room.reader();
    assert_eq!(room.temperatures(&mut reader), [(0, 1.5), (1, 2.5)]);
    assert_eq!(reader.take_unread(), []);
}

#[test]
fn a_rows_partition_is_the_one_that_javas_client_gives_its_key() {
    let room = Room::new();
    for topic in ["/room/1", "/room/2", "/room/3"] {
        let (rows, partition) = room.rows(topic, &[20.0]);
        assert_eq!(partition, partition_of(topic, 2) as usize);
        room.partitions[partition].append(rows).wait().unwrap();
    }
    let here = |topic: &&&str| partition_of(topic, 2) == 0;
    let expected = ["/room/1", "/room/2", "/room/3"].iter().filter(here).count();
    let mut reader = room.reader();
    assert_eq!(room.temperatures(&mut reader).len(), expected);
    assert_eq!(reader.misplaced(), 0);
    let elsewhere = (0..).map(|n| format!("/room/{n}")).find(|t| partition_of(t, 2) == 1).unwrap();
    room.publish(Some(&elsewhere), Some(&format!(r#"{{{TIME},"celsius":9}}"#)), &[]);
    assert_eq!(room.temperatures(&mut reader).len(), 1, "it is read all the same");
    assert_eq!(reader.misplaced(), 1);
}

#[test]
fn a_batch_whose_answer_was_lost_is_stored_once() {
    let room = Room::new();
    let (rows, partition) = room.rows("/room/1", &[1.0, 2.0, 3.0]);
    let partition = &room.partitions[partition];
    let lost = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    ];
    room.cluster.request_errors(RDKafkaApiKey::Produce, &lost);
    let appended = partition.append(rows).wait().unwrap();
    assert_eq!((appended.base_offset, appended.rows), (Offset(0), 3));
    assert_eq!(partition.ends().unwrap().durable_end, Offset(3));
}

#[test]
fn a_broker_that_is_away_for_a_while_costs_nothing_but_time() {
    let room = Room::new();
    let (rows, partition) = room.rows("/room/1", &[1.0]);
    let partition = &room.partitions[partition];
    room.cluster.broker_down(1).unwrap();
    let mut receipt = partition.append(rows);
    std::thread::sleep(Duration::from_millis(300));
    assert!(receipt.try_take().is_none(), "not confirmed by anybody yet");
    room.cluster.broker_up(1).unwrap();
    assert_eq!(receipt.wait().unwrap().base_offset, Offset(0));
}

#[test]
fn a_topic_that_ends_before_where_it_was_read_is_refused() {
    let room = Room::new();
    room.publish(Some("/room/1"), Some(&format!(r#"{{{TIME},"celsius":1}}"#)), &[]);
    let mut reader = room.partitions[0].reader(Offset(40), AppendTime(0)).unwrap();
    let error = loop {
        match reader.next() {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Ok(Some(entry)) => panic!("{entry:?}"),
            Err(error) => break error,
        }
    };
    let ReadError::Io { detail, .. } = &error else { panic!("{error}") };
    assert!(detail.starts_with("the topic 'climate' ends at 1, before 40"), "{detail}");
}

#[test]
fn who_claims_a_partition_later_has_the_larger_generation_and_the_other_is_told() {
    let room = Room::new();
    let log = KafkaLog::connect(address(&room.cluster)).unwrap();
    let other = partitions(&log, &topic()).1.swap_remove(0);
    let (first, mut reader) = (&room.partitions[0], room.reader());
    assert_eq!(first.claim().unwrap(), 1);
    first.append_tick(EventTime(10), TickKind::Idle).wait().unwrap();
    assert_eq!(other.claim().unwrap(), 2);
    first.append_tick(EventTime(20), TickKind::Idle).wait().unwrap();
    other.append_tick(EventTime(30), TickKind::Idle).wait().unwrap();
    room.publish(Some("/room/1"), Some(&format!(r#"{{{TIME},"celsius":1}}"#)), &[]);
    let mut ticks = Vec::new();
    while reader.position() < Offset(1) {
        if let Some(EntryBody::Tick { event_time, .. }) = reader.next().unwrap().map(|e| e.body) {
            ticks.push(event_time.0);
        }
    }
    assert_eq!(ticks, [10, 30], "of the first, what it said while the partition was its own");
    assert_eq!(reader.generation(), 2);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_read() {
    let room = Room::new();
    let of_three = KafkaTopic { partitions: 3, ..(*topic()).clone() };
    let error = room.log.check(&of_three).unwrap_err();
    let KafkaLogError::Partitions { found: 2, wanted: 3, .. } = error else { panic!("{error}") };
    assert!(error.to_string().contains("WITH (partitions = 2)"), "{error}");
    let said = room.log.check(&topic()).unwrap().to_string();
    assert!(said.contains("replicated memory") && said.contains("losing its broker"), "{said}");
}

#[test]
fn what_is_no_cluster_is_said_so() {
    for wrong in ["localhost:9092", "kafka://", "kafka://broker", "kafka://a:1,b", "kafka://a/b:1"]
    {
        let error = Connection::to(wrong).unwrap_err();
        assert_eq!(error, KafkaLogError::Address(wrong.to_owned()));
    }
    let connection = Connection::to("kafka://a:1,b:2").unwrap();
    assert_eq!(connection.brokers(), "a:1,b:2");
    let error = connection.clone().with("acks", "1").unwrap_err().to_string();
    assert!(error.ends_with("a row is confirmed when all in-sync replicas have it"), "{error}");
    let odd = connection.with("no.such.property", "1").unwrap();
    let error = KafkaLog::connect(odd).unwrap_err().to_string();
    assert!(error.contains("no.such.property"), "{error}");
}

#[test]
fn what_a_topic_is_keyed_by_decides_which_keys_stay_in_one_partition() {
    let template = TopicTemplate::parse("/site/{site}/room/{room}").unwrap();
    let stream = StreamDefinition::new(
        "climate",
        definition(1).columns().to_vec(),
        template,
        StreamOptions::default(),
    );
    let stream = stream.unwrap();
    let keyed = |keyed_by| KafkaTopic { keyed_by, ..(*topic()).clone() };
    let by_topic = keyed(KeyedBy::Topic);
    let by_site = keyed(KeyedBy::Levels(vec!["site".to_owned()]));
    let path = "/site/north/room/7";
    assert_eq!(by_topic.key(&stream, path).unwrap(), path);
    assert_eq!(by_site.key(&stream, path).unwrap(), "north");
    assert_eq!(by_site.key(&stream, "/cellar"), None);
    let decides = |topic: &KafkaTopic, columns: &[&str]| {
        let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        topic.is_decided_by(&stream, &columns)
    };
    assert!(decides(&by_topic, &["room", "site"]) && decides(&by_topic, &["topic"]));
    assert!(!decides(&by_topic, &["site"]), "its rooms are in several partitions");
    assert!(decides(&by_site, &["site"]) && decides(&by_site, &["room", "site"]));
    assert!(decides(&by_site, &["topic"]), "a path says its site");
    assert!(!decides(&by_site, &["room"]) && !decides(&by_site, &[]));
}

#[test]
fn a_written_row_goes_where_its_key_says_whatever_partition_it_was_decoded_for() {
    let room = Room::new();
    let here = here();
    here.create_stream(definition(1)).unwrap();
    let topics = [("climate".to_owned(), topic())].into();
    let writer = KafkaWriter::new(Arc::clone(&room.log), Arc::clone(&here), topics);
    let mut decoder = crate::decode::Decoder::new(here.streams());
    for index in 0..20 {
        let row = format!(r#"{{"topic":"/room/{index}",{TIME},"celsius":{index}}}"#);
        decoder.push_json(row.as_bytes(), index, AppendTime(1_800_000_000_000_000));
    }
    let of = |index: u32| partition_of(&format!("/room/{index}"), 2);
    let mut written = 0;
    for (receipt, indexes) in decoder.finish().rows.into_iter().flat_map(|r| writer.append(r)) {
        let appended = receipt.wait().unwrap();
        assert_eq!(appended.rows as usize, indexes.len(), "each row is confirmed");
        assert!(indexes.iter().all(|index| of(*index) == of(indexes[0])), "{indexes:?}");
        written += indexes.len();
    }
    assert_eq!(written, 20);
    let first: Vec<f64> = (0..20).filter(|index| of(*index) == 0).map(f64::from).collect();
    let found: Vec<f64> = room.temperatures(&mut room.reader()).iter().map(|(_, c)| *c).collect();
    assert_eq!(found, first);
}
