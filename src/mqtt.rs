//! The MQTT listener of a server.
//!
//! Promise: it is started and stopped with the server. Elsewhere: what is spoken there is
//! `weir_ingest::doors::mqtt`'s.

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_engine::alarms::transition_rows;
use weir_engine::deliver::event::cloud_event;
use weir_ingest::doors;
use weir_ingest::doors::mqtt::{AlarmEvent, AlarmEvents, MqttDoor, Sources};

/// See the module.
#[derive(Debug)]
pub struct MqttServer {
    address: SocketAddr,
    serving: JoinHandle<()>,
    shutdown: oneshot::Sender<()>,
}

impl MqttServer {
    /// Listens.
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(address: SocketAddr, door: Arc<MqttDoor>) -> Result<Self> {
        let listener = doors::listen(address).await?;
        let address = listener.local_addr().context("the MQTT listener has no address")?;
        let (shutdown, told) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let end = async { drop(told.await) };
            if let Err(error) = doors::mqtt::serve(listener, door, end).await {
                tracing::error!(%error, "the MQTT listener ended");
            }
        });
        Ok(Self { address, serving, shutdown })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells its clients and lets what is under way be confirmed.
    /// # Errors
    /// It ended badly.
    pub async fn stop(self) -> Result<()> {
        if self.shutdown.send(()).is_err() {
            tracing::debug!("the MQTT listener ended before");
        }
        self.serving.await.context("the MQTT listener ended badly")
    }
}

/// What the door tells of other rooms.
pub fn sources() -> Sources {
    Sources { alarms: Some(Arc::new(Transitions)) }
}

/// Transitions of alarms as CloudEvents, as webhooks get them in structured mode.
#[derive(Debug)]
struct Transitions;

impl AlarmEvents for Transitions {
    fn events(&self, rows: &RecordBatch) -> Vec<AlarmEvent> {
        match transition_rows::decode(rows) {
            Ok(transitions) => transitions
                .iter()
                .map(|transition| AlarmEvent {
                    subject: transition.subject.clone(),
                    event: cloud_event(transition).to_string(),
                })
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "transitions cannot be read");
                Vec::new()
            }
        }
    }
}
