//! Rows as CloudEvents, in both modes of the Kafka binding.
//!
//! Promise: the id of an event is its row's place in the log, the same whenever it is read; an event that is
//! produced again becomes a row of the same topic, time and fields.

use crate::decode::{event_time, fields_json};
use arrow::array::RecordBatch;
use serde_json::{Value, json};

/// Begins the id of each event: the stream's identity, so that one of the same name made later has others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) stream: u32,
    pub(super) partition: i32,
}

/// A row as an event.
#[derive(Debug)]
pub(super) struct Event<'e> {
    topic: &'e str,
    id: String,
    time: String,
    /// The fields, an object of JSON.
    pub(super) data: String,
}

const SPEC: &str = "1.0";
const TYPE: &str = "weir.reading";
/// What the whole event is in structured mode.
pub(super) const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
/// What the data are in both.
const DATA: &str = "application/json";

impl<'e> Event<'e> {
    pub(super) fn new(
        place: Place,
        offset: u64,
        topic: &'e str,
        rows: &RecordBatch,
        row: usize,
    ) -> Self {
        let id = format!("{}-{}-{offset}", place.stream, place.partition);
        Self { topic, id, time: event_time(rows, row), data: fields_json(rows, row) }
    }

    /// All of it in the value.
    pub(super) fn structured(&self) -> String {
        let attributes = json!({
            "specversion": SPEC,
            "id": self.id,
            "source": self.topic,
            "type": TYPE,
            "subject": self.topic,
            "time": self.time,
            "datacontenttype": DATA,
        });
        let mut event = Value::to_string(&attributes);
        // The data are JSON already.
        event.pop();
        event + ",\"data\":" + &self.data + "}"
    }

    /// What is beside the value in binary mode.
    pub(super) fn headers(&self) -> [(&str, &str); 7] {
        [
            ("content-type", DATA),
            ("ce_specversion", SPEC),
            ("ce_id", &self.id),
            ("ce_source", self.topic),
            ("ce_type", TYPE),
            ("ce_subject", self.topic),
            ("ce_time", &self.time),
        ]
    }
}
