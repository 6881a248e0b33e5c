//! Why a partition is not looked after any more, by what follows from it.

use super::checkpoints::CheckpointsError;
use weir_ingest::kafka::{KafkaLogError, OutboxError};
use weir_ingest::log::ReadError;

/// Why a partition is not looked after any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaneError {
    /// It is somebody else's.
    #[error("another process has claimed it")]
    Fenced,
    /// The rows cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The cluster does not do what it is asked.
    #[error(transparent)]
    Cluster(#[from] KafkaLogError),
    /// The place of checkpoints fails.
    #[error(transparent)]
    Checkpoints(CheckpointsError),
    /// Something else; starting again does not help.
    #[error("{0}")]
    Refused(String),
}

impl From<OutboxError> for LaneError {
    fn from(error: OutboxError) -> Self {
        match error {
            OutboxError::Fenced => Self::Fenced,
            OutboxError::Failed(error) => Self::Cluster(error),
        }
    }
}

impl From<CheckpointsError> for LaneError {
    fn from(error: CheckpointsError) -> Self {
        match error {
            CheckpointsError::Taken(_) => Self::Fenced,
            error => Self::Checkpoints(error),
        }
    }
}
