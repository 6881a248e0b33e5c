//! The log in a topic of Apache Kafka itself; skipped, with a plain message, where it cannot be had.

use crate::broker::Broker;
use crate::kafka::subject_at;
use crate::subject::{Removes, Subject};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use weir_ingest::kafka::{KafkaTopic, KeyedBy};

/// One broker for all tests of this process.
fn broker() -> Option<&'static Broker> {
    static BROKER: OnceLock<Option<Broker>> = OnceLock::new();
    let start = || match Broker::start() {
        Ok(broker) => Some(broker),
        Err(why) => {
            println!("skipped, {why}");
            None
        }
    };
    BROKER.get_or_init(start).as_ref()
}

/// A topic of its own.
pub(crate) fn subject() -> Option<Subject> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let broker = broker()?;
    let name = format!("climate-{}", NEXT.fetch_add(1, Ordering::SeqCst));
    let topic = KafkaTopic { name, partitions: 1, keyed_by: KeyedBy::Topic, group: String::new() };
    create(&broker.address(), &[&topic.name, &topic.ticks()]);
    Some(subject_at(&broker.address(), topic, Removes::Rows, Box::new(())))
}

fn create(address: &str, topics: &[&str]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
    let topics: Vec<NewTopic<'_>> =
        topics.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1))).collect();
    let waiting = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let created = waiting.block_on(admin.create_topics(&topics, &AdminOptions::new()));
    for topic in created.expect("the broker answers") {
        topic.expect("a new topic");
    }
}
