//! What doors tell that other rooms know: alarms, and the latest readings.
//!
//! Promise: an alarm is the CloudEvent that webhooks get in structured mode; the latest readings are those that
//! questions get. Elsewhere: what is spoken there
//! is `weir_ingest::doors`'.

use arrow::array::RecordBatch;
use std::sync::Arc;
use weir_engine::alarms::transition_rows;
use weir_engine::deliver::event::cloud_event;
use weir_engine::tables::latest::{LatestRows, LatestTables};
use weir_ingest::doors::mqtt::{AlarmEvent, AlarmEvents, LatestPage, LatestReadings, Sources};
use weir_ingest::log::Stream;
use weir_ingest::model::{SeriesId, TopicPattern};

/// What the MQTT door tells of other rooms.
pub fn sources(latest: Arc<LatestTables>) -> Sources {
    Sources { alarms: Some(alarms()), latest: Some(Arc::new(Latest(latest))) }
}

/// The log of alarms in words.
pub fn alarms() -> Arc<dyn AlarmEvents> {
    Arc::new(Transitions)
}

/// The latest readings, as questions get them.
#[derive(Debug)]
struct Latest(Arc<LatestTables>);

impl LatestReadings for Latest {
    fn page(
        &self,
        stream: &Arc<Stream>,
        pattern: &TopicPattern,
        from: SeriesId,
        at_most: usize,
    ) -> Result<LatestPage, String> {
        let (definition, series) = (stream.definition(), stream.series().snapshot());
        let page = |rows: LatestRows<'_>| {
            let known = rows.series().min(series.len());
            let ids = from.0..u32::try_from(known).expect("series ids are 32 bits");
            let matching =
                ids.filter(|id| rows.has(*id) && pattern.matches(series.topic(SeriesId(*id))));
            let ids: Vec<u32> = matching.take(at_most).collect();
            let next = ids.last().filter(|_| ids.len() == at_most).map(|last| SeriesId(last + 1));
            LatestPage { rows: rows.stored(&ids), next }
        };
        self.0.read(stream, &definition, page).map_err(|error| error.to_string())
    }
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
