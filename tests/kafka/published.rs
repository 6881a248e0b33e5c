//! What the tests publish: rooms that get warm and cold again, and the definitions that judge them.

use rdkafka::ClientConfig;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Partitions of the stream.
pub(crate) const PARTITIONS: i32 = 6;
/// Rooms, each with two sensors.
pub(crate) const ROOMS: u32 = 12;

/// The topic is keyed by room, so a rule keyed by room may be shared out.
pub(crate) const DEFINITIONS: &str = "
CREATE STREAM climate (celsius DOUBLE) TOPIC '/room/{room}/{sensor}'
  WITH (partitions = 6, lateness = '1 second');
CREATE RULE warm SEVERITY high KEY (room)
  RAISE WHEN mean > 30 CLEAR WHEN mean < 25
AS SELECT room, window_end, avg(celsius) AS mean
   FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '10' SECOND)
   GROUP BY room, window_start, window_end;
CREATE RULE hot KEY (room, sensor)
  RAISE WHEN celsius > 38 CLEAR WHEN celsius < 36
AS SELECT room, sensor, celsius FROM climate;
";

/// What a rule says when everything before was read.
pub(crate) const LAST: &str = "last";

/// Midnight of some day, seconds: nothing of it is live, so no clock has a say in what comes out.
const BEGIN: i64 = 1_767_225_600;

/// Writes readings as any producer would.
pub(crate) struct Publisher {
    producer: ThreadedProducer<DefaultProducerContext>,
    second: i64,
}

impl Publisher {
    pub(crate) fn new(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("enable.idempotence", "true");
        config.set("partitioner", "murmur2_random").set("linger.ms", "1");
        Self { producer: config.create().expect("a producer"), second: 0 }
    }

    /// A reading of every sensor for each of the next so many seconds.
    pub(crate) fn publish(&mut self, seconds: i64) {
        for second in self.second..self.second + seconds {
            for room in 0..ROOMS {
                for sensor in 0..2 {
                    self.send(room, &sensor.to_string(), second, celsius(room, sensor, second));
                }
            }
        }
        self.second += seconds;
    }

    /// The word that nothing more comes: closes every window, and raises an alarm of its own in each room.
    pub(crate) fn end(&mut self) {
        for room in 0..ROOMS {
            self.send(room, LAST, self.second + 3600, 99.0);
        }
        self.producer.flush(Duration::from_secs(120)).expect("the cluster takes it");
    }

    fn send(&self, room: u32, sensor: &str, second: i64, celsius: f64) {
        let value = reading(room, sensor, second, celsius);
        let key = room.to_string();
        let mut record = BaseRecord::to("climate").key(&key).payload(&value);
        while let Err((error, again)) = self.producer.send(record) {
            assert!(error.to_string().contains("Queue full"), "{error}");
            std::thread::sleep(Duration::from_millis(10));
            record = again;
        }
    }
}

/// Publishes until it is told that it is enough.
pub(crate) struct Load {
    enough: Arc<AtomicBool>,
    second: Arc<AtomicI64>,
    publishing: JoinHandle<Publisher>,
}

impl Load {
    /// A second's readings, again and again.
    pub(crate) fn begin(mut publisher: Publisher) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let second = Arc::new(AtomicI64::new(0));
        let (stop, now) = (Arc::clone(&enough), Arc::clone(&second));
        let publishing = std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                publisher.publish(1);
                now.store(publisher.second, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(25));
            }
            publisher
        });
        Self { enough, second, publishing }
    }

    /// The time of the newest readings, as events say it.
    pub(crate) fn time(&self) -> String {
        time_of(self.second.load(Ordering::SeqCst))
    }

    /// The last readings.
    pub(crate) fn end(self) {
        self.enough.store(true, Ordering::SeqCst);
        self.publishing.join().expect("it publishes").end();
    }
}

/// One that closes every window of its room and raises an alarm of its own.
pub(crate) fn last_reading(room: u32) -> String {
    reading(room, LAST, 3600, 99.0)
}

fn reading(room: u32, sensor: &str, second: i64, celsius: f64) -> String {
    let time = BEGIN + second;
    format!(r#"{{"topic":"/room/{room}/{sensor}","time":{time},"celsius":{celsius}}}"#)
}

/// A second of what is published, as events say it.
pub(crate) fn time_of(second: i64) -> String {
    let time = chrono::DateTime::from_timestamp(BEGIN + second, 0).expect("a time of this century");
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Up and down, each sensor at its own pace.
fn celsius(room: u32, sensor: u32, second: i64) -> f64 {
    let pace = 40.0 + f64::from(room * 7 + sensor * 3);
    let phase = second as f64 / pace * std::f64::consts::TAU;
    27.0 + 13.0 * phase.sin()
}
