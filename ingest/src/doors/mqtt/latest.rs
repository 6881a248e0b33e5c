//! What is retained of streams: the latest reading of each series.
//!
//! Promise: nothing of it is kept here; whoever keeps the latest readings is asked page by page. How they reach
//! a client is `connection::latest`'s.

use super::session::Subscription;
use crate::log::Stream;
use crate::model::{SeriesId, StreamUid, TopicPattern};
use arrow::array::RecordBatch;
use bytestring::ByteString;
use std::fmt::Debug;
use std::sync::Arc;

/// Whoever keeps the latest readings of all streams.
pub trait LatestReadings: Debug + Send + Sync {
    /// Those of the first series of a stream from an id on whose topics match, at most so many. Reads files.
    /// # Errors
    /// The log cannot be read; in words.
    fn page(
        &self,
        stream: &Arc<Stream>,
        pattern: &TopicPattern,
        from: SeriesId,
        at_most: usize,
    ) -> Result<LatestPage, String>;
}

/// The latest readings of some series.
#[derive(Debug, Clone)]
pub struct LatestPage {
    /// As the log stores them, one row for each series, in the order of their ids.
    pub rows: RecordBatch,
    /// Where to go on, if there may be more.
    pub next: Option<SeriesId>,
}

/// What a filter has still to get of a stream.
#[derive(Debug)]
pub(super) struct LatestLeft {
    pub(super) filter: ByteString,
    pub(super) pattern: TopicPattern,
    pub(super) subscription: Subscription,
    pub(super) stream: StreamUid,
    pub(super) from: SeriesId,
}
