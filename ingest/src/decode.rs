//! Bytes become Arrow columns.
//!
//! Promise (D1, D2): a row is either whole in the columns of its (stream, partition) or refused alone
//! with a sentence; no per-reading structs, no second parse. Plain functions: no clock, no I/O.
//! Elsewhere: where bytes come from is `doors`; where columns go is `log`.

mod arrow;
mod body;
mod cells;
mod columns;
mod dedupe;
mod envelope;
mod event;
mod json;
mod known;
mod learned;
mod number;
mod published;
mod render;
mod roles;
mod scan;
mod shape;
mod shapes;
mod straight;
#[cfg(test)]
pub(crate) mod testing;
mod time;

pub use body::{BodyError, BodyKind, DECODED_BYTES_MAX, decode_body};
pub use dedupe::dedupe_hash;
pub use event::{CloudEvent, decode_events};
pub use json::{Decoder, topic_of};
pub use published::Published;
#[cfg(feature = "kafka")]
pub(crate) use render::sent_json;
pub use render::{event_time, fields_json, reading_json};
pub use time::epoch_us;

use crate::log::Stream;
use crate::model::{PartitionId, Refusal};
use ::arrow::array::RecordBatch;
use std::sync::Arc;

/// What became of a request's rows.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Accepted rows; a partition may stand here more than once, in order.
    pub rows: Vec<DecodedRows>,
    /// Refused rows, in order.
    pub refused: Vec<Refusal>,
    /// Of rows in arrival order, the topics that were not there before: they go on from the last number.
    pub topics: Vec<Arc<str>>,
    /// About what both take in memory.
    pub bytes: usize,
}

/// Accepted rows of one (stream, partition), ready to append.
#[derive(Debug)]
pub struct DecodedRows {
    /// Their stream.
    pub stream: Arc<Stream>,
    /// Their partition; not said of rows in arrival order.
    pub partition: PartitionId,
    /// `model::reading::stored_schema`; of rows in arrival order the series are numbers of topics.
    pub batch: RecordBatch,
    /// Each row's position in the request.
    pub indexes: Vec<u32>,
}

impl Decoded {
    /// Number of accepted rows.
    pub fn accepted(&self) -> usize {
        self.rows.iter().map(|rows| rows.indexes.len()).sum()
    }
}
