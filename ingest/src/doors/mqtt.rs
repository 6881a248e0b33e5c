//! MQTT 3.1.1 and 5 on one port.
//!
//! Promise: a reading published to its topic path goes the way of a reading over HTTP, and PUBACK or PUBREC
//! says that it is durable (P1); what is refused is a dead letter, and MQTT 5 is told why (P8). A client
//! that sends more than the log takes is read no further (P9). Sessions are pure; only `connection`,
//! `follow` and `keep` touch sockets, log and catalog.

mod connection; // a socket's task
mod ending; // why it ends
mod filter; // what is subscribed to
mod follow; // the log to those who subscribe
mod held; // how much of it all there is
mod hub; // all sessions, and who gets what
mod inbound; // what a client publishes
mod keep; // what is there after a restart
mod latest; // what is retained of streams
mod legacy; // 3.1.1 as 5
mod limits; // the bounds
mod listen; // the accept loop
mod message; // what is on its way
mod outbound; // what waits for a client
#[doc(hidden)]
pub mod probe; // what fuzz targets see
mod publish; // messages into the log
mod retained; // what a new subscriber gets first
mod session; // one client
mod stream; // bytes both ways
mod verdict; // what a publisher is told
mod websocket; // browsers
mod wills; // what is said for those who are gone
mod wire; // bytes and packets

pub use follow::{AlarmEvent, AlarmEvents};
pub use latest::{LatestPage, LatestReadings};
pub use limits::MqttLimits;
pub use listen::serve;
pub use websocket::router;

use super::budget::IngestBudget;
use super::metrics::Metrics;
use crate::log::Log;
use crate::model::{AppendTime, Limits};
use hub::Hub;
use keep::Keeper;
use metrics::Label;
use std::sync::Arc;
use stream::Stream;
use tokio::sync::{Mutex, mpsc};

/// Connections over HTTP that wait to be taken up.
const ARRIVALS: usize = 64;

/// Why a door cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// A filter of `relay` or `private` is none.
    #[error("ingest.mqtt.{key}: {what}")]
    Filter {
        /// The key it stands under.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// The MQTT door of a log; [`serve`] opens it.
#[derive(Debug)]
pub struct MqttDoor {
    log: Arc<Log>,
    budget: Arc<IngestBudget>,
    limits: Limits,
    mqtt: MqttLimits,
    metrics: Arc<Metrics>,
    sources: Sources,
    hub: Hub,
    keeper: Keeper,
    /// Connections that came in over HTTP.
    arrivals: mpsc::Sender<Stream>,
    arrived: Mutex<mpsc::Receiver<Stream>>,
}

/// What the door tells subscribers that other rooms know.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The log of alarms in words; without it alarms are not told.
    pub alarms: Option<Arc<dyn AlarmEvents>>,
    /// The latest readings; without it nothing is retained of streams.
    pub latest: Option<Arc<dyn LatestReadings>>,
}

impl MqttDoor {
    /// The budget and the metrics are those of the other doors.
    /// # Errors
    /// The configuration says what cannot be.
    pub fn new(
        log: Arc<Log>,
        budget: Arc<IngestBudget>,
        limits: Limits,
        mqtt: MqttLimits,
        metrics: Arc<Metrics>,
        sources: Sources,
    ) -> Result<Arc<Self>, MqttError> {
        let hub = Hub::new(&mqtt)?;
        let keeper = Keeper::default();
        let (arrivals, arrived) = mpsc::channel(ARRIVALS);
        let arrived = Mutex::new(arrived);
        Ok(Arc::new(Self {
            log,
            budget,
            limits,
            mqtt,
            metrics,
            sources,
            hub,
            keeper,
            arrivals,
            arrived,
        }))
    }

    /// What the clock says.
    fn now(&self) -> AppendTime {
        AppendTime(self.log.clock().wall_us())
    }

    fn count(&self, name: &'static str, what: &'static str, n: u64) {
        if n > 0 {
            self.metrics.count(name, vec![Label::new("what", what)], n);
        }
    }
}

#[cfg(test)]
mod tests;
