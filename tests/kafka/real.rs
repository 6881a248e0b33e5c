//! Against Apache Kafka itself.

use crate::alarms;
use crate::broker::Broker;
use crate::group::Group;
use crate::published::{Load, PARTITIONS, Publisher};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::time::Duration;
use weir_ingest::kafka::{Connection, KafkaLog, Letter, Outbox, read_committed};
use weir_ingest::model::{Offset, PartitionId};

/// Longer than the session of a member.
const OUT_OF_THE_GROUP: Duration = Duration::from_secs(6);

fn create(brokers: &str, topics: &[&str]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
    let topics: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)))
        .collect();
    let created = futures::executor::block_on(admin.create_topics(&topics, &AdminOptions::new()));
    for topic in created.expect("the broker answers") {
        topic.expect("a new topic");
    }
}

/// How long the broker is away.
fn away() -> Duration {
    let seconds = std::env::var("WEIR_BROKER_AWAY_S").ok().and_then(|s| s.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

#[test]
fn kills_pauses_rebalances_and_a_broker_that_is_away_change_no_alarm() {
    let mut broker = match Broker::start() {
        Ok(broker) => broker,
        Err(why) => return println!("skipped, {why}"),
    };
    let brokers = broker.address();
    create(&brokers, &["climate", "climate.weir-ticks", "plant.weir-alarms", "alone.weir-alarms"]);
    let mut plant = Group::new("plant", &brokers);
    (0..3).for_each(|_| plant.start());
    let load = Load::begin(Publisher::new(&brokers));
    let topic = plant.alarms();
    // What happened by now was judged, in every room.
    let catch_up = || alarms::since(&brokers, &topic, PARTITIONS, &load.time());
    catch_up();

    // One is killed in the middle of its work, one sleeps until others have taken its place.
    plant.kill(0);
    plant.signal(0, "STOP");
    std::thread::sleep(OUT_OF_THE_GROUP);
    catch_up();
    plant.signal(0, "CONT");
    catch_up();

    // A storm of rebalances: processes come and go, each before the group has settled.
    for _ in 0..4 {
        plant.start();
        std::thread::sleep(Duration::from_millis(1500));
        plant.kill(0);
    }
    plant.start();
    catch_up();

    broker.kill();
    std::thread::sleep(away());
    broker.resume().expect("it starts again over its records");
    catch_up();
    load.end();
    let shared = alarms::all(&brokers, &topic, PARTITIONS);
    plant.stop();

    let mut alone = Group::new("alone", &brokers);
    alone.start();
    let reference = alarms::all(&brokers, &alone.alarms(), PARTITIONS);
    alone.stop();
    assert!(reference.by_id.len() > 100, "{} events", reference.by_id.len());
    assert_eq!(shared.by_id, reference.by_id);
    assert_eq!(shared.repeated, 0, "whoever reads committed records sees each event once");
}

#[test]
fn what_was_committed_behind_a_transaction_under_way_is_found() {
    let broker = match Broker::start() {
        Ok(broker) => broker,
        Err(why) => return println!("skipped, {why}"),
    };
    let brokers = broker.address();
    create(&brokers, &["alarms"]);
    let patience = Duration::from_secs(60);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &brokers).set("transactional.id", "slow");
    let slow: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
    slow.init_transactions(patience).expect("a place");
    slow.begin_transaction().expect("nothing is under way");
    slow.send(BaseRecord::<str, str>::to("alarms").partition(0).payload("slow")).expect("sent");
    slow.flush(patience).expect("the broker has it");

    let connection = Connection::to(&format!("kafka://{brokers}")).expect("an address");
    let log = KafkaLog::connect(connection).expect("the broker answers");
    let quick = Outbox::open(&log, "quick", "alarms", PartitionId(0)).expect("a place");
    let (key, value) = ("key".to_owned(), "quick".to_owned());
    quick.send(&[Letter { key, value, headers: Vec::new() }]).expect("committed");
    let ending = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        slow.commit_transaction(patience).expect("committed");
    });
    let mut found = Vec::new();
    read_committed(&log, "alarms", PartitionId(0), Offset(0), |record| {
        found.push(record.value().expect("text").to_owned());
    })
    .expect("the broker answers");
    ending.join().expect("it ends");
    assert_eq!(found, ["slow", "quick"]);
}
