//! Readings into a Kafka topic by librdkafka, as fast as it takes them.
//!
//! `cargo run --release -p weir-ingest --example kafka_load -- 127.0.0.1:9092 climate READINGS.ndjson [ROUNDS]`
//! sends each line as the value of a record without a key (a reading says its topic itself) and says how many
//! were confirmed in a second, from the first one on until the last one is.

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts what became of records.
#[derive(Default)]
struct Counts {
    confirmed: AtomicU64,
    failed: AtomicU64,
}

struct Counting(Arc<Counts>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.0.confirmed } else { &self.0.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[allow(clippy::disallowed_methods, reason = "it measures, and reads no log")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let broker = arguments.next().ok_or("a broker is missing")?;
    let topic = arguments.next().ok_or("a topic is missing")?;
    let text = std::fs::read_to_string(arguments.next().ok_or("a file is missing")?)?;
    let rounds: u32 = arguments.next().map_or(Ok(1), |rounds| rounds.parse())?;
    let counts = Arc::new(Counts::default());
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker)
        .set("linger.ms", "20")
        .set("batch.num.messages", "20000")
        .set("batch.size", "4000000")
        .set("message.max.bytes", "8000000")
        .set("queue.buffering.max.messages", "400000");
    for (key, value) in std::env::vars() {
        // RDKAFKA_compression_codec=lz4
        if let Some(key) = key.strip_prefix("RDKAFKA_") {
            config.set(key.replace('_', "."), value);
        }
    }
    let producer: ThreadedProducer<Counting> =
        config.create_with_context(Counting(Arc::clone(&counts)))?;
    let start = std::time::Instant::now();
    for line in (0..rounds).flat_map(|_| text.lines()) {
        let mut record = BaseRecord::<(), str>::to(&topic).payload(line);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(1));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(120))?;
    let seconds = start.elapsed().as_secs_f64();
    let (confirmed, failed) =
        (counts.confirmed.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed));
    println!("{confirmed} confirmed, {failed} failed, {:.0} a second", confirmed as f64 / seconds);
    Ok(())
}
