//! DataFusion over the same batches, as batch queries, one thread.

use crate::workload::{ROOMS, Workload, floor_of};
use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use std::sync::Arc;
use weir_ingest::model::{AppendTime, Offset, PartitionId, reading};

/// The tables `climate` (dictionary level columns, as a question sees them) and `plain` (Int32 keys).
pub(crate) struct Batch {
    runtime: tokio::runtime::Runtime,
    context: SessionContext,
}

impl Batch {
    pub(crate) fn new(workload: &Workload) -> Self {
        let config = SessionConfig::new().with_target_partitions(1);
        let context = SessionContext::new_with_config(config);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let register = |name: &str, batches: Vec<RecordBatch>| {
            let table = MemTable::try_new(batches[0].schema(), vec![batches]).expect("one schema");
            context.register_table(name, Arc::new(table)).expect("a new name");
        };
        register(
            "climate",
            workload.batches.iter().map(|batch| dictionaries(workload, batch)).collect(),
        );
        register("plain", workload.batches.iter().map(plain).collect());
        Self { runtime, context }
    }

    /// Runs a query; rows, and the sum of the first column.
    pub(crate) fn run(&self, sql: &str) -> (usize, f64) {
        self.runtime.block_on(async {
            let frame = self.context.sql(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            let mut stream = frame.execute_stream().await.expect("it runs");
            let (mut rows, mut total) = (0, 0.0);
            while let Some(batch) = stream.next().await {
                let batch = batch.expect("it runs");
                rows += batch.num_rows();
                total += sum(batch.column(0));
            }
            (rows, total)
        })
    }
}

fn sum(column: &ArrayRef) -> f64 {
    match column.as_primitive_opt::<Float64Type>() {
        Some(values) => values.values().iter().sum(),
        None => column.as_primitive::<Int64Type>().values().iter().map(|v| *v as f64).sum(),
    }
}

fn dictionaries(workload: &Workload, batch: &RecordBatch) -> RecordBatch {
    let at = reading::Position {
        partition: PartitionId(0),
        base_offset: Offset(0),
        append_time: AppendTime(0),
    };
    let schema = reading::table_schema(&workload.definition);
    let wanted = ["time", "site", "building", "floor", "unit", "room", "temperature"];
    let wanted: Vec<usize> =
        wanted.iter().map(|name| schema.index_of(name).expect("a column of the stream")).collect();
    reading::table_batch(&workload.definition, batch, at, &workload.series, Some(&wanted))
}

fn plain(batch: &RecordBatch) -> RecordBatch {
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    let rooms = batch.column(1).as_primitive::<UInt32Type>();
    let column = |of: &dyn Fn(u32) -> i32| -> ArrayRef {
        Arc::new(rooms.values().iter().map(|room| of(*room)).collect::<Int32Array>())
    };
    debug_assert!(rooms.values().iter().all(|room| (*room as usize) < ROOMS));
    let minute = |time: &i64| i32::try_from(time / 60_000_000).expect("minutes fit");
    let minutes: Int32Array = TimestampMicrosecondArray::values(times).iter().map(minute).collect();
    let values: &Float64Array = batch.column(2).as_primitive();
    let count: Int64Array = times.values().iter().copied().collect();
    RecordBatch::try_from_iter([
        ("minute", Arc::new(minutes) as ArrayRef),
        ("time_us", Arc::new(count)),
        ("floor", column(&|room| floor_of(room as usize) as i32)),
        ("room", column(&|room| room.cast_signed())),
        ("temperature", Arc::new(values.clone())),
    ])
    .expect("columns of one length")
}
