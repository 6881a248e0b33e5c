//! Why a row was not taken, in a sentence that says what to write instead.

use super::topic::TopicError;

/// One refused row of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Position of the row in its request, from 0.
    pub index: u32,
    /// Why.
    pub reason: RefusalReason,
    /// The row's bytes as they came, cut at `Limits::DEAD_LETTER_BYTES_MAX`, for the dead letters.
    pub payload: Vec<u8>,
}

/// Why a row is refused. `Display` is the sentence the client reads.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RefusalReason {
    /// Not JSON.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// Not UTF-8.
    #[error("not valid UTF-8 at byte {0}")]
    Utf8(usize),
    /// JSON, but not an object.
    #[error("a reading is a JSON object with 'topic', 'time' and the stream's fields; this is {0}")]
    NotAnObject(&'static str),
    /// The same key twice.
    #[error("the key '{0}' stands twice")]
    DuplicateKey(String),
    /// No `topic`.
    #[error("the reading has no 'topic'")]
    MissingTopic,
    /// `topic` is not a topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// No stream's template matches.
    #[error(
        "no stream takes the topic '{0}'; CREATE STREAM with a template that matches it, or see SHOW STREAMS"
    )]
    NoStream(String),
    /// Its stream takes no readings.
    #[error(
        "the topic '{topic}' is of the stream '{stream}', which its rule writes (CREATE STREAM ... AS SELECT); publish to the streams that it reads"
    )]
    WrittenByRule {
        /// The topic.
        topic: String,
        /// Its stream.
        stream: String,
    },
    /// It was sent to a stream by name, and its topic is of another.
    #[error(
        "the topic '{topic}' is of the stream '{stream}', not of '{named}'; send it to '{stream}'"
    )]
    OtherStream {
        /// The topic.
        topic: String,
        /// Its stream.
        stream: String,
        /// The one it was sent to.
        named: String,
    },
    /// No event time.
    #[error("the reading has no '{0}'; send one, or create the stream WITH (time = 'arrival')")]
    MissingTime(String),
    /// The event time cannot be read.
    #[error(
        "'{field}' is not a time: {detail}; write RFC 3339 with a zone, such as 2026-01-31T12:00:00Z, or an integer epoch"
    )]
    BadTime {
        /// JSON name.
        field: String,
        /// What is wrong.
        detail: String,
    },
    /// The event time is too far ahead.
    #[error("the time {time} is more than max_future_skew ahead of the clock ({clock})")]
    Future {
        /// As RFC 3339.
        time: String,
        /// As RFC 3339.
        clock: String,
    },
    /// A field has another type.
    #[error("'{field}' should be {expected}, this is {found}")]
    WrongType {
        /// JSON name.
        field: String,
        /// The stream's type.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// NaN, an infinity, or a number beyond the type.
    #[error("'{field}' is {found}, which is not a finite number that fits {expected}")]
    NotFinite {
        /// JSON name.
        field: String,
        /// What came.
        found: String,
        /// The stream's type.
        expected: &'static str,
    },
    /// A field the stream does not have, where it refuses them.
    #[error(
        "the stream '{stream}' has no field '{field}' and is declared WITH (unknown_fields = 'refuse')"
    )]
    UnknownField {
        /// The stream.
        stream: String,
        /// JSON name.
        field: String,
    },
    /// A CloudEvent breaks its specification.
    #[error("not a CloudEvent 1.0: {0}")]
    Event(String),
    /// Nested deeper than allowed.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// One row larger than allowed.
    #[error("the row is {bytes} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The server's series limit is reached.
    #[error(
        "the server already has {0} series, its limit; raise limits.series_max or publish to known topics"
    )]
    TooManySeries(usize),
}

impl RefusalReason {
    /// A short stable word for counters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::Utf8(_) => "utf8",
            Self::NotAnObject(_) => "not_an_object",
            Self::DuplicateKey(_) => "duplicate_key",
            Self::MissingTopic => "missing_topic",
            Self::Topic(_) => "topic",
            Self::NoStream(_) => "no_stream",
            Self::WrittenByRule { .. } => "written_by_rule",
            Self::OtherStream { .. } => "other_stream",
            Self::MissingTime(_) => "missing_time",
            Self::BadTime { .. } => "bad_time",
            Self::Future { .. } => "future",
            Self::WrongType { .. } => "wrong_type",
            Self::NotFinite { .. } => "not_finite",
            Self::UnknownField { .. } => "unknown_field",
            Self::Event(_) => "event",
            Self::TooDeep(_) => "too_deep",
            Self::TooLarge { .. } => "too_large",
            Self::TooManySeries(_) => "too_many_series",
        }
    }
}
