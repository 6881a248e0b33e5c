//! A stream as a table: its log, partition by partition, segment by segment.
//!
//! Promise: only segments whose event times can pass the filter are opened, the rest is counted as
//! pruned; a scan ends at what was durable when it was planned (L4) and never holds more than a few
//! batches of it.

use super::leaf::is_leaf;
use super::times::TimeSpan;
use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use std::fmt;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use weir_ingest::log::{EntryBody, Partition, Stream};
use weir_ingest::model::{Offset, SeriesSnapshot, StreamDefinition, reading};

/// Batches a scan reads ahead of whoever consumes them.
const BATCHES_AHEAD_MAX: usize = 2;

/// A stream's history as a table.
#[derive(Debug)]
pub struct StreamTable {
    stream: Arc<Stream>,
    definition: Arc<StreamDefinition>,
    schema: SchemaRef,
}

impl StreamTable {
    /// The table of `stream` as it is declared now.
    pub fn new(stream: Arc<Stream>) -> Self {
        let definition = stream.definition();
        let schema = reading::table_schema(&definition);
        Self { stream, definition, schema }
    }

    /// The stream, and its declaration that this is the table of.
    pub(crate) fn of(&self) -> (&Arc<Stream>, &Arc<StreamDefinition>) {
        (&self.stream, &self.definition)
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match TimeSpan::understands(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let span = TimeSpan::of(filters);
        let parts = self.stream.partitions().iter().map(|p| Part::plan(p, span)).collect();
        // After the ends: every series of a durable row is in the directory by now.
        let series = self.stream.series().snapshot();
        let schema = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => Arc::clone(&self.schema),
        };
        let scan = Scan {
            definition: Arc::clone(&self.definition),
            series,
            projection: projection.cloned(),
            schema,
            span,
            limit,
            batch_rows: state.config_options().execution.batch_size.get(),
        };
        Ok(Arc::new(HistoryScan::new(scan, parts)))
    }
}

/// What every partition of a scan shares.
#[derive(Debug, Clone)]
struct Scan {
    definition: Arc<StreamDefinition>,
    series: Arc<SeriesSnapshot>,
    projection: Option<Vec<usize>>,
    schema: SchemaRef,
    span: TimeSpan,
    limit: Option<usize>,
    batch_rows: usize,
}

/// The segments of one log partition that a scan reads.
#[derive(Debug, Clone)]
struct Part {
    partition: Arc<Partition>,
    segments: Vec<Offset>,
    pruned: usize,
    end: Offset,
}

impl Part {
    fn plan(partition: &Arc<Partition>, span: TimeSpan) -> Self {
        let end = partition.ends().durable_end;
        let all = partition.segments();
        let in_sight = all.iter().filter(|s| s.base_offset < end && s.end_offset > s.base_offset);
        let (kept, pruned): (Vec<_>, Vec<_>) =
            in_sight.partition(|s| span.overlaps(s.min_time.0, s.max_time.0));
        Self {
            partition: Arc::clone(partition),
            segments: kept.iter().map(|s| s.base_offset).collect(),
            pruned: pruned.len(),
            end,
        }
    }
}

/// The physical scan: one plan partition per log partition.
#[derive(Debug)]
struct HistoryScan {
    scan: Scan,
    parts: Vec<Part>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl HistoryScan {
    fn new(scan: Scan, parts: Vec<Part>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&scan.schema)),
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            scan,
            parts,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for HistoryScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments: usize = self.parts.iter().map(|part| part.segments.len()).sum();
        let pruned: usize = self.parts.iter().map(|part| part.pruned).sum();
        write!(
            f,
            "HistoryScan: stream={}, partitions={}, segments={segments}, pruned={pruned}",
            self.scan.definition.name(),
            self.parts.len(),
        )?;
        if self.scan.span != TimeSpan::ALL {
            write!(f, ", time={}", self.scan.span)?;
        }
        Ok(())
    }
}

impl ExecutionPlan for HistoryScan {
    fn name(&self) -> &'static str {
        "HistoryScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    is_leaf!();

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut builder =
            RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.scan.schema), BATCHES_AHEAD_MAX);
        let work = Work {
            scan: self.scan.clone(),
            part: self.parts[partition].clone(),
            sender: builder.tx(),
            read: MetricBuilder::new(&self.metrics).counter("segments_read", partition),
            rows: BaselineMetrics::new(&self.metrics, partition),
        };
        MetricBuilder::new(&self.metrics)
            .counter("segments_pruned", partition)
            .add(self.parts[partition].pruned);
        builder.spawn_blocking(move || work.run());
        Ok(builder.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One log partition being read on a blocking thread; ends early when nobody listens any more.
struct Work {
    scan: Scan,
    part: Part,
    sender: Sender<Result<RecordBatch>>,
    read: Count,
    rows: BaselineMetrics,
}

/// Whether the reader wants more.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    More,
    Enough,
}

impl Work {
    fn run(self) -> Result<()> {
        let mut batches =
            BatchCoalescer::new(Arc::clone(&self.scan.schema), self.scan.batch_rows.max(1));
        let mut sent = 0;
        for segment in &self.part.segments {
            self.read.add(1);
            if self.segment(*segment, &mut batches, &mut sent)? == Wanted::Enough {
                return Ok(());
            }
        }
        batches.finish_buffered_batch()?;
        self.send_completed(&mut batches, &mut sent);
        Ok(())
    }

    fn segment(
        &self,
        segment: Offset,
        batches: &mut BatchCoalescer,
        sent: &mut usize,
    ) -> Result<Wanted> {
        let mut reader = self.part.partition.segment_reader(segment);
        while let Some(entry) =
            reader.next().map_err(|error| DataFusionError::External(Box::new(error)))?
        {
            if entry.base_offset >= self.part.end {
                return Ok(Wanted::More);
            }
            let EntryBody::Rows(stored) = &entry.body else { continue };
            if !self.scan.span.overlaps(entry.min_time.0, entry.max_time.0) {
                continue;
            }
            let batch = reading::table_batch(
                &self.scan.definition,
                stored,
                entry.position(),
                &self.scan.series,
                self.scan.projection.as_deref(),
            );
            if self.push(batch, batches, sent)? == Wanted::Enough {
                return Ok(Wanted::Enough);
            }
        }
        Ok(Wanted::More)
    }

    /// Small frames travel together; batches without columns (`count(*)`) only have a length.
    fn push(
        &self,
        batch: RecordBatch,
        batches: &mut BatchCoalescer,
        sent: &mut usize,
    ) -> Result<Wanted> {
        if batch.num_columns() == 0 {
            return Ok(self.send(batch, sent));
        }
        batches.push_batch(batch)?;
        Ok(self.send_completed(batches, sent))
    }

    fn send_completed(&self, batches: &mut BatchCoalescer, sent: &mut usize) -> Wanted {
        while let Some(batch) = batches.next_completed_batch() {
            if self.send(batch, sent) == Wanted::Enough {
                return Wanted::Enough;
            }
        }
        Wanted::More
    }

    fn send(&self, batch: RecordBatch, sent: &mut usize) -> Wanted {
        self.rows.record_output(batch.num_rows());
        *sent += batch.num_rows();
        let gone = self.sender.blocking_send(Ok(batch)).is_err();
        if gone || self.scan.limit.is_some_and(|limit| *sent >= limit) {
            return Wanted::Enough;
        }
        Wanted::More
    }
}
