//! Every bound of this crate, with its unit (D3).

use serde::{Deserialize, Serialize};

/// Bounds an operator may set; `Default` is what `weir serve` starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of request bodies and unconfirmed rows held at once.
    pub ingest_bytes_max: usize,
    /// Bytes of rows that may wait for one partition: what a slow disk can hold of the above.
    pub partition_bytes_max: usize,
    /// Bytes one request body may have; a connection has one request at a time.
    pub request_bytes_max: usize,
    /// Connections open at once.
    pub connections_max: usize,
    /// Time to send the request head.
    pub header_timeout_ms: u64,
    /// Time to send the request body.
    pub body_timeout_ms: u64,
    /// Series over all streams.
    pub series_max: usize,
}

impl Limits {
    /// Bytes of one row.
    pub const ROW_BYTES_MAX: usize = 1024 * 1024;
    /// Nesting of one row.
    pub const JSON_DEPTH_MAX: usize = 32;
    /// Bytes of a refused row kept in the dead letters.
    pub const DEAD_LETTER_BYTES_MAX: usize = 16 * 1024;
    /// Bytes of a frame's body.
    pub const FRAME_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
    /// Rows of a frame.
    pub const FRAME_ROWS_MAX: usize = 1_000_000;
    /// Producers remembered of a partition.
    pub const PRODUCERS_MAX: usize = 10_000;
    /// Bytes one group commit gathers.
    pub const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ingest_bytes_max: 256 * 1024 * 1024,
            partition_bytes_max: 64 * 1024 * 1024,
            request_bytes_max: 16 * 1024 * 1024,
            connections_max: 4096,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            series_max: 1_000_000,
        }
    }
}
