//! The MQTT door over a log in a new directory, for clients of other makers to be tried against.
//!
//! `cargo run -p weir-ingest --example mqtt_door -- 127.0.0.1:1883 DIRECTORY` passes on every topic that no
//! stream takes and keeps one stream, `/room/{room}/s`; nobody may subscribe to `test/nosubscribe`. It ends with its standard input.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use weir_ingest::doors::mqtt::{MqttDoor, MqttLimits, Sources, serve};
use weir_ingest::doors::{IngestBudget, Metrics, listen};
use weir_ingest::io::{RealClock, RealDisk};
use weir_ingest::log::{Log, LogConfig};
use weir_ingest::model::{
    Column, ColumnType, Limits, StreamDefinition, StreamOptions, TopicTemplate,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().ok_or("an address is missing")?.parse()?;
    let directory = PathBuf::from(arguments.next().ok_or("a directory is missing")?);
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(RealClock::new()));
    let log = Log::open(disk, clock, LogConfig::new(directory))?;
    if log.streams().get("rooms").is_none() {
        let column = Column { name: "n".to_owned(), column_type: ColumnType::Bigint, unit: None };
        let template = TopicTemplate::parse("/room/{room}/s")?;
        let options = StreamOptions::default();
        log.create_stream(StreamDefinition::new("rooms", vec![column], template, options)?)?;
    }
    let limits = Limits::default();
    let mqtt = MqttLimits {
        relay: vec!["#".to_owned()],
        private: vec!["test/nosubscribe".to_owned()],
        keep_alive_s_max: 60,
        ..MqttLimits::default()
    };
    let budget = IngestBudget::new(limits.ingest_bytes_max);
    let door =
        MqttDoor::new(Arc::clone(&log), budget, limits, mqtt, Metrics::new(), Sources::default())?;
    let listener = listen(address).await?;
    println!("{}", listener.local_addr()?);
    let end = async {
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        drop(ended.await);
    };
    serve(listener, door, end).await?;
    tokio::task::spawn_blocking(move || log.stop()).await?;
    Ok(())
}
