//! The log in a topic: librdkafka over sockets to the cluster that it brings along for tests.
//!
//! That cluster knows no DeleteRecords, so that nothing can be removed; `real` puts the same suite to
//! Apache Kafka itself, which can.

use crate::readings;
use crate::subject::{Removes, Subject};
use rdkafka::mocking::MockCluster;
use std::any::Any;
use std::sync::Arc;
use weir_ingest::io::{RealClock, SimulatedDisk};
use weir_ingest::kafka::{Connection, KafkaLog, KafkaTopic, KeyedBy};
use weir_ingest::log::{Log, LogConfig};
use weir_ingest::model::PartitionId;

pub(crate) fn subject() -> Option<Subject> {
    let cluster = MockCluster::new(1).expect("sockets on this machine");
    let name = "climate".to_owned();
    let topic = KafkaTopic { name, partitions: 1, keyed_by: KeyedBy::Topic, group: String::new() };
    for name in [&topic.name, &topic.ticks()] {
        cluster.create_topic(name, 1, 1).expect("a new cluster");
    }
    let address = cluster.bootstrap_servers();
    Some(subject_at(&address, topic, Removes::Nothing, Box::new(cluster)))
}

/// The one partition of a topic that is there.
pub(crate) fn subject_at(
    brokers: &str,
    topic: KafkaTopic,
    removes: Removes,
    below: Box<dyn Any>,
) -> Subject {
    let connection = Connection::to(&format!("kafka://{brokers}")).expect("an address");
    let kafka = KafkaLog::connect(connection).expect("it answers");
    kafka.check(&topic).expect("its topics are there");
    let (disk, clock) = (Arc::new(SimulatedDisk::new(1)), Arc::new(RealClock::new()));
    let here = Log::open_manual(disk, clock, LogConfig::new("data")).expect("an empty disk");
    let (stream, series) = readings::stream_in(&here);
    let log = kafka.partition(&here, &stream, &Arc::new(topic), PartitionId(0));
    Subject { log, stream, series, removes, _below: Box::new((here, below)) }
}
