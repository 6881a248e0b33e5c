//! A table whose whole content is one batch, computed when it is scanned.
//!
//! Promise: the content is made at scan time on a blocking thread, never while planning names.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::fmt;
use std::sync::Arc;

/// Computes the content of a [`SnapshotTable`].
pub(super) type Content = dyn Fn() -> Result<RecordBatch> + Send + Sync;

/// See the module.
pub struct SnapshotTable {
    schema: SchemaRef,
    content: Arc<Content>,
}

impl SnapshotTable {
    /// A table with this schema; `content` returns batches of exactly it.
    pub fn new(
        schema: SchemaRef,
        content: impl Fn() -> Result<RecordBatch> + Send + Sync + 'static,
    ) -> Self {
        Self { schema, content: Arc::new(content) }
    }

    /// A table with this content.
    pub fn of(batch: RecordBatch) -> Self {
        Self::new(batch.schema(), move || Ok(batch.clone()))
    }
}

impl fmt::Debug for SnapshotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let content = Arc::clone(&self.content);
        let batch = tokio::task::spawn_blocking(move || content())
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))??;
        let plan = MemorySourceConfig::try_new_exec(
            &[vec![batch]],
            Arc::clone(&self.schema),
            projection.cloned(),
        )?;
        Ok(plan)
    }
}
