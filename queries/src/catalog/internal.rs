//! An internal log as a table: what the engine decided, refused or delivered.
//!
//! Promise: the rows that were durable when the scan was planned, in the order they were written;
//! a column that older rows do not have is null, and bytes are shown as text, whatever they are.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use std::sync::Arc;
use weir_ingest::log::{EntryBody, Partition};
use weir_ingest::model::{Offset, reading};

/// Batches a scan reads ahead of whoever consumes them.
const BATCHES_AHEAD_MAX: usize = 2;

/// See the module.
#[derive(Debug)]
pub struct InternalTable {
    partition: Arc<Partition>,
    schema: SchemaRef,
}

impl InternalTable {
    /// The table over `partition`, whose newest rows have `schema`; its columns but `time` may be
    /// missing in older ones and are nullable here.
    pub fn new(partition: Arc<Partition>, schema: &SchemaRef) -> Self {
        Self { partition, schema: shown(schema) }
    }
}

/// The columns of the table over rows of `schema`.
fn shown(schema: &SchemaRef) -> SchemaRef {
    let column = |field: &Arc<Field>| match (field.name().as_str(), field.data_type()) {
        (reading::TIME, _) => Arc::clone(field),
        (name, DataType::Binary) => Arc::new(Field::new(name, DataType::Utf8, true)),
        _ => Arc::new(field.as_ref().clone().with_nullable(true)),
    };
    Arc::new(arrow::datatypes::Schema::new(schema.fields().iter().map(column).collect::<Vec<_>>()))
}

#[async_trait]
impl TableProvider for InternalTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = Arc::new(InternalScan {
            partition: Arc::clone(&self.partition),
            schema: Arc::clone(&self.schema),
            end: self.partition.ends().durable_end,
        });
        StreamingTable::try_new(Arc::clone(&self.schema), vec![scan])?
            .scan(state, projection, filters, limit)
            .await
    }
}

#[derive(Debug)]
struct InternalScan {
    partition: Arc<Partition>,
    schema: SchemaRef,
    end: Offset,
}

impl PartitionStream for InternalScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder =
            RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), BATCHES_AHEAD_MAX);
        let sender = builder.tx();
        let (partition, schema, end) =
            (Arc::clone(&self.partition), Arc::clone(&self.schema), self.end);
        builder.spawn_blocking(move || {
            let mut reader = partition.reader(partition.ends().log_start);
            while let Some(entry) =
                reader.next().map_err(|error| DataFusionError::External(Box::new(error)))?
            {
                if entry.base_offset >= end {
                    break;
                }
                let EntryBody::Rows(rows) = &entry.body else { continue };
                if sender.blocking_send(adapted(rows, &schema)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// `rows` with the columns of `schema`, by name: cast where the type differs, null where missing.
fn adapted(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
        Some(bytes) if bytes.data_type() == &DataType::Binary => Ok(text(bytes)),
        Some(column) => arrow::compute::cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), rows.num_rows())),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Bytes as text. What is none, such as the payload that was refused for it or one that was cut
/// within a character, has a replacement character in its place.
fn text(bytes: &ArrayRef) -> ArrayRef {
    let bytes = bytes.as_binary::<i32>().iter();
    Arc::new(bytes.map(|bytes| bytes.map(String::from_utf8_lossy)).collect::<StringArray>())
}
