//! How long rows are kept.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is kept of a stream or of an internal log; more is kept where somebody still needs it.
/// Nothing set keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// Rows younger than this, by append time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Duration>,
    /// The newest bytes, over all partitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}
