//! An answer on its way: batches until the rows end or the time is over.

use super::QueryError;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream};
use std::fmt;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// Rows of one query. Dropping it stops the query.
pub struct Answer {
    schema: SchemaRef,
    batches: SendableRecordBatchStream,
    text: String,
}

impl Answer {
    /// An answer that is there already.
    pub fn of(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        let batches = stream::iter([Ok(batch)]);
        let batches = RecordBatchStreamAdapter::new(Arc::clone(&schema), batches);
        Self { schema, batches: Box::pin(batches), text: String::new() }
    }

    /// `batches` of the query `text`, cut off at `deadline`; `permit` is given back at the end.
    pub(super) fn within(
        batches: SendableRecordBatchStream,
        text: &str,
        permit: OwnedSemaphorePermit,
        deadline: Deadline,
    ) -> Self {
        let schema = batches.schema();
        let timed =
            stream::unfold((batches, Some(permit)), move |(mut batches, permit)| async move {
                let permit = permit?;
                match tokio::time::timeout_at(deadline.at, batches.next()).await {
                    Ok(Some(batch)) => Some((batch, (batches, Some(permit)))),
                    Ok(None) => None,
                    Err(_) => Some((Err(deadline.passed()), (batches, None))),
                }
            });
        let timed = RecordBatchStreamAdapter::new(Arc::clone(&schema), timed);
        Self { schema, batches: Box::pin(timed), text: text.to_owned() }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows.
    /// # Errors
    /// What stopped the query; there is nothing after it.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        let batch = self.batches.next().await?;
        Some(batch.map_err(|error| QueryError::from_datafusion(&error, &self.text)))
    }

    /// All rows, if there are at most `rows_max`.
    /// # Errors
    /// What stopped the query, or `QueryError::Rows`.
    pub async fn collect(mut self, rows_max: usize) -> Result<Vec<RecordBatch>, QueryError> {
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(batch) = self.next().await {
            let batch = batch?;
            rows += batch.num_rows();
            if rows > rows_max {
                return Err(QueryError::Rows { rows_max });
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// When a query has to be done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) seconds: u64,
}

impl Deadline {
    fn passed(self) -> DataFusionError {
        DataFusionError::External(Box::new(QueryError::Time { seconds: self.seconds }))
    }
}
