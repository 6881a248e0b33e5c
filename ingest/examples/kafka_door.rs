//! The Kafka door over a log in a directory, for clients of other makers to be tried against.
//!
//! `cargo run -p weir-ingest --example kafka_door -- 127.0.0.1:9092 DIRECTORY` keeps two streams: `rooms`,
//! `/room/{room}/s`, and `climate`, the readings that the benchmarks send. It ends with its standard input and
//! says how many rows each partition holds.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use weir_ingest::doors::kafka::{KafkaDoor, KafkaLimits, serve};
use weir_ingest::doors::{IngestBudget, Metrics, listen};
use weir_ingest::io::{RealClock, RealDisk};
use weir_ingest::log::{Log, LogConfig};
use weir_ingest::model::{
    Column, ColumnType, Limits, StreamDefinition, StreamOptions, TopicTemplate,
};

const CLIMATE: &str = "/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/{sensor}";

fn create(
    log: &Log,
    name: &str,
    columns: &[(&str, ColumnType)],
    template: &str,
    time_field: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    if log.streams().get(name).is_none() {
        let column = |(name, column_type): &(&str, ColumnType)| Column {
            name: (*name).to_owned(),
            column_type: *column_type,
            unit: None,
        };
        let columns = columns.iter().map(column).collect();
        let template = TopicTemplate::parse(template)?;
        let options =
            StreamOptions { time_field: time_field.to_owned(), ..StreamOptions::default() };
        log.create_stream(StreamDefinition::new(name, columns, template, options)?)?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().ok_or("an address is missing")?.parse()?;
    let directory = PathBuf::from(arguments.next().ok_or("a directory is missing")?);
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
    let log = Log::open(disk, clock, LogConfig::new(directory))?;
    let (double, flag) = (ColumnType::Double, ColumnType::Boolean);
    create(&log, "rooms", &[("n", ColumnType::Bigint)], "/room/{room}/s", "time")?;
    let climate =
        [("temperature", double), ("humidity", double), ("co2", double), ("occupied", flag)];
    create(&log, "climate", &climate, CLIMATE, "ts")?;
    let limits = Limits::default();
    let budget = IngestBudget::new(limits.ingest_bytes_max);
    let kafka = KafkaLimits::default();
    let door = KafkaDoor::new(Arc::clone(&log), budget, limits, kafka, Metrics::new(), None);
    let listener = listen(address).await?;
    println!("{}", listener.local_addr()?);
    let end = async {
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        drop(ended.await);
    };
    serve(listener, door, end).await?;
    for stream in log.streams().all() {
        let ends = stream.partitions().iter().map(|partition| partition.ends().durable_end.0);
        println!("{}: {} rows", stream.definition().name(), ends.sum::<u64>());
    }
    tokio::task::spawn_blocking(move || log.stop()).await?;
    Ok(())
}
