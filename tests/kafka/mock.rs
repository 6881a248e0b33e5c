//! Against the cluster that librdkafka brings along for tests.
//!
//! It shows also what was never committed, so that records are told apart by their ids here.

use crate::alarms;
use crate::group::Group;
use crate::published::{PARTITIONS, Publisher, ROOMS, last_reading, time_of};
use rdkafka::mocking::MockCluster;

#[test]
fn three_processes_of_which_one_is_killed_raise_what_one_alone_does() {
    let cluster = MockCluster::new(1).expect("sockets on this machine");
    for topic in ["climate", "climate.weir-ticks", "plant.weir-alarms", "alone.weir-alarms"] {
        cluster.create_topic(topic, PARTITIONS, 1).expect("a new cluster");
    }
    let brokers = cluster.bootstrap_servers();
    let mut publisher = Publisher::new(&brokers);
    let mut plant = Group::new("plant", &brokers);
    (0..3).for_each(|_| plant.start());
    publisher.publish(120);
    let topic = plant.alarms();
    alarms::since(&brokers, &topic, PARTITIONS, &time_of(0));
    plant.kill(0);
    publisher.publish(120);
    publisher.end();
    let shared = alarms::all(&brokers, &topic, PARTITIONS);
    plant.stop();

    let mut alone = Group::new("alone", &brokers);
    alone.start();
    let reference = alarms::all(&brokers, &alone.alarms(), PARTITIONS);
    alone.stop();
    assert!(reference.by_id.len() > 100, "{} events", reference.by_id.len());
    assert_eq!(shared.by_id, reference.by_id);
}

#[test]
fn readings_over_http_are_confirmed_judged_and_where_they_are_none_refused() {
    let cluster = MockCluster::new(1).expect("sockets on this machine");
    for topic in ["climate", "climate.weir-ticks", "door.weir-alarms"] {
        cluster.create_topic(topic, PARTITIONS, 1).expect("a new cluster");
    }
    let brokers = cluster.bootstrap_servers();
    let mut door = Group::new("door", &brokers);
    (0..2).for_each(|_| door.start());
    let rooms: Vec<String> = (0..ROOMS).map(last_reading).collect();
    let (some, rest) = rooms.split_at(5);
    let answer = door.post(0, &(some.join("\n") + "\n{\"topic\":\"/nowhere\"}"), "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""accepted":5"#) && answer.contains(r#""index":5"#), "{answer}");
    let numbered = door.post(1, &rest.join("\n"), "Weir-Producer: 7\r\nWeir-Sequence: 0\r\n");
    assert!(numbered.starts_with("HTTP/1.1 400") && numbered.contains("twice"), "{numbered}");
    let answer = door.post(1, &rest.join("\n"), "");
    assert!(answer.contains(r#""accepted":7"#), "{answer}");
    let alarms = alarms::all(&brokers, &door.alarms(), PARTITIONS);
    assert_eq!(alarms.by_id.len() as u32, ROOMS, "each room is hot: {:?}", alarms.by_id);
    door.stop();
}
