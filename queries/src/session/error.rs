//! Why a question has no answer, and whose fault it is.

use datafusion::error::DataFusionError;
use weir_engine::sql::SqlError;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The text is wrong, or asks for more than fits.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// It took too long.
    #[error("the query took longer than {seconds} s and was stopped")]
    Time {
        /// The limit.
        seconds: u64,
    },
    /// Too many at once.
    #[error("{concurrent_max} queries are running already; ask again in a moment")]
    Busy {
        /// The limit.
        concurrent_max: usize,
    },
    /// Too long for one JSON array.
    #[error("the answer has more than {rows_max} rows, too many for one JSON array")]
    Rows {
        /// The limit.
        rows_max: usize,
    },
    /// The server's fault.
    #[error("the query failed inside the server: {0}")]
    Internal(String),
}

impl QueryError {
    /// What DataFusion found wrong with `text`.
    pub(crate) fn from_datafusion(error: &DataFusionError, text: &str) -> Self {
        match error.find_root() {
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(ours) => ours.clone(),
                None if inner.is::<SqlError>() => SqlError::from_datafusion(error, text).into(),
                None => Self::Internal(inner.to_string()),
            },
            DataFusionError::Internal(_) | DataFusionError::IoError(_) => {
                Self::Internal(error.strip_backtrace())
            }
            _ => SqlError::from_datafusion(error, text).into(),
        }
    }

    /// The primary sentence, without place, detail and hint.
    pub fn message(&self) -> String {
        match self {
            Self::Sql(error) => error.message.clone(),
            other => other.to_string(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sql(error) => error.hint.clone(),
            Self::Time { .. } => Some("ask for less time, or filter on time and topic".to_owned()),
            Self::Rows { .. } => Some(
                "add LIMIT, or ask for application/x-ndjson, text/csv or an Arrow stream"
                    .to_owned(),
            ),
            Self::Busy { .. } | Self::Internal(_) => None,
        }
    }
}
