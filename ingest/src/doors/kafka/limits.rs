//! Every bound of the Kafka door, with its unit (D3).

use serde::{Deserialize, Serialize};

/// Bounds an operator may set; `Default` is what `weir serve` starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaLimits {
    /// Bytes that the records of one request may become when they are unpacked.
    pub unpacked_bytes_max: usize,
    /// Requests of one connection that are read before the first of them is answered.
    pub in_flight_max: usize,
    /// Bytes of rows one answer to Fetch may have, whatever the client asks for.
    pub fetch_bytes_max: usize,
    /// Bytes of rows in all answers that are not written yet.
    pub answers_bytes_max: usize,
    /// Longest time a Fetch waits for rows.
    pub fetch_wait_ms_max: u64,
    /// Time after which a connection on which nothing happens ends.
    pub idle_s_max: u64,
    /// Time a client may take to read its answer.
    pub write_timeout_ms: u64,
    /// Shortest session of a member of a consumer group.
    pub session_ms_min: u64,
    /// Longest session of a member of a consumer group.
    pub session_ms_max: u64,
    /// How long a group that was empty waits for more members before it begins.
    pub group_delay_ms: u64,
    /// Members of all consumer groups.
    pub members_max: usize,
    /// Bytes that all of them say of themselves, and are given.
    pub members_bytes_max: usize,
}

impl KafkaLimits {
    /// Bytes of a request that is no Produce.
    pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;
    /// Elements of all arrays of one request.
    pub const ELEMENTS_MAX: usize = 50_000;
    /// Bytes that one member of a consumer group says of itself.
    pub const MEMBER_BYTES_MAX: usize = 256 * 1024;
}

impl Default for KafkaLimits {
    fn default() -> Self {
        Self {
            unpacked_bytes_max: 64 * 1024 * 1024,
            in_flight_max: 16,
            fetch_bytes_max: 4 * 1024 * 1024,
            answers_bytes_max: 128 * 1024 * 1024,
            fetch_wait_ms_max: 60_000,
            idle_s_max: 600,
            write_timeout_ms: 30_000,
            session_ms_min: 1_000,
            session_ms_max: 30 * 60 * 1000,
            group_delay_ms: 300,
            members_max: 10_000,
            members_bytes_max: 64 * 1024 * 1024,
        }
    }
}
