//! The words every room uses: topics, streams, series, rows, refusals.
//!
//! Promise: plain values without I/O; whatever is built here has been checked.

mod ids;
mod limits;
pub mod reading;
mod refusal;
mod retention;
mod series;
mod stream;
mod topic;

pub use ids::{AppendTime, EventTime, Offset, PartitionId, SchemaId, SeriesId, StreamUid};
pub use limits::Limits;
pub use refusal::{Refusal, RefusalReason};
pub use retention::Retention;
pub use series::{SeriesDirectory, SeriesSnapshot};
pub use stream::{
    Column, ColumnType, FedBy, FutureTimes, MissingTime, RESERVED_COLUMNS, StreamDefinition,
    StreamError, StreamOptions, TimeUnit, UnknownFields,
};
pub use topic::{
    InStream, Interest, PatternIndex, TOPIC_BYTES_MAX, TOPIC_LEVELS_MAX, TopicError, TopicPattern,
    TopicTemplate, check_topic, partition_of,
};
