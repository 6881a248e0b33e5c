//! What the doors that tell of alarms say of them.
//!
//! Promise: an alarm is the CloudEvent that webhooks get in structured mode. Elsewhere: what is spoken there
//! is `weir_ingest::doors`'.

use arrow::array::RecordBatch;
use std::sync::Arc;
use weir_engine::alarms::transition_rows;
use weir_engine::deliver::event::cloud_event;
use weir_ingest::doors::mqtt::{AlarmEvent, AlarmEvents, Sources};

/// What the MQTT door tells of other rooms.
pub fn sources() -> Sources {
    Sources { alarms: Some(alarms()) }
}

/// The log of alarms in words.
pub fn alarms() -> Arc<dyn AlarmEvents> {
    Arc::new(Transitions)
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
