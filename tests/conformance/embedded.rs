//! The log on this machine's disk, which is a simulated one.

use crate::readings;
use crate::subject::{Removes, Subject};
use std::sync::Arc;
use weir_ingest::io::{RealClock, SimulatedDisk};
use weir_ingest::log::{Log, LogConfig};

pub(crate) fn subject() -> Option<Subject> {
    let config = LogConfig { segment_bytes_max: 4096, ..LogConfig::new("data") };
    let disk = Arc::new(SimulatedDisk::new(1));
    let log = Log::open(disk, Arc::new(RealClock::new()), config).expect("an empty disk");
    let (stream, series) = readings::stream_in(&log);
    let partition = Arc::clone(&stream.partitions()[0]);
    let (removes, below) = (Removes::Segments, Box::new(log));
    Some(Subject { log: partition, stream, series, removes, _below: below })
}
