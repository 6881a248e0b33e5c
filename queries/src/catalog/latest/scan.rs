//! The reading of `latest.<stream>` for a plan.
//!
//! Promise: what is newest is looked up when the plan runs, each time it runs, so that a plan may be used
//! again. Which series a condition on levels chooses is kept with the table.

use super::{Chosen, Condition};
use crate::catalog::leaf::is_leaf;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use weir_engine::tables::latest::{LatestRows, LatestTables};
use weir_ingest::log::Stream;
use weir_ingest::model::StreamDefinition;

/// What is read.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) latest: Arc<LatestTables>,
    pub(super) stream: Arc<Stream>,
    pub(super) definition: Arc<StreamDefinition>,
    pub(super) condition: Option<Condition>,
    pub(super) chosen: Arc<Mutex<Chosen>>,
    /// Columns of the table.
    pub(super) columns: Vec<usize>,
}

impl Wanted {
    /// Calls `of` with the newest rows, on a thread that may wait for them, and the series that are asked
    /// for and have one.
    async fn look<T: Send + 'static>(
        self: Arc<Self>,
        of: impl FnOnce(&Self, &LatestRows<'_>, Vec<u32>) -> T + Send + 'static,
    ) -> Result<T> {
        let reading = tokio::task::spawn_blocking(move || {
            self.latest.read(&self.stream, &self.definition, |rows| {
                let present = self.present(&rows);
                of(&self, &rows, present)
            })
        });
        let external = |error| DataFusionError::External(error);
        let read = reading.await.map_err(|error| external(Box::new(error)))?;
        read.map_err(|error| external(Box::new(error)))
    }

    fn present(&self, rows: &LatestRows<'_>) -> Vec<u32> {
        let Some(condition) = &self.condition else { return rows.present() };
        let mut chosen = self.chosen.lock();
        match chosen.cover(condition, rows) {
            Ok(()) => chosen.series.iter().copied().filter(|series| rows.has(*series)).collect(),
            // Said by the filter above, if it meets it too.
            Err(_) => rows.present(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct LatestScan {
    wanted: Arc<Wanted>,
    /// Rows there were when it was planned.
    rows: usize,
    properties: Arc<PlanProperties>,
}

impl LatestScan {
    pub(super) async fn plan(wanted: Wanted, schema: SchemaRef) -> Result<Self> {
        let wanted = Arc::new(wanted);
        let rows = Arc::clone(&wanted).look(|_, _, present| present.len()).await?;
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Ok(Self { wanted, rows, properties })
    }
}

impl DisplayAs for LatestScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LatestScan: stream={}, series={}", self.wanted.definition.name(), self.rows)
    }
}

impl ExecutionPlan for LatestScan {
    fn name(&self) -> &'static str {
        "LatestScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    is_leaf!();

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let unknown = Statistics::new_unknown(&self.schema());
        Ok(Arc::new(unknown.with_num_rows(Precision::Inexact(self.rows))))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let columns = |wanted: &Wanted, rows: &LatestRows<'_>, present: Vec<u32>| -> RecordBatch {
            rows.columns(&present, &wanted.columns)
        };
        let batch = Arc::clone(&self.wanted).look(columns);
        let batches = futures::stream::once(batch);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
