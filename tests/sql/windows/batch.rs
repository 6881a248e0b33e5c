//! What a batch says: which rows are late for which windows, and the SELECT over the others.
//!
//! Promise: lateness is worked out row by row, partition by partition, window by window; the SELECT is
//! DataFusion's, over one row for each reading and window that it is in time for.

use super::case::{Case, Reading, Step};
use super::text;
use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::datatypes::Int64Type;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::sync::Arc;
use weir_engine::stream::input::Flush;

/// (partition, offset, windows missed) of late readings.
pub(super) type Late = Vec<(u32, u64, u32)>;

pub(super) fn times(times: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
}

pub(super) fn series(rows: &[Reading]) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.series)))
}

pub(super) fn temperatures<'r>(rows: impl IntoIterator<Item = &'r Reading>) -> ArrayRef {
    Arc::new(rows.into_iter().map(|r| r.temperature).collect::<Float64Array>())
}

pub(super) fn people<'r>(rows: impl IntoIterator<Item = &'r Reading>) -> ArrayRef {
    Arc::new(rows.into_iter().map(|r| r.people).collect::<Int64Array>())
}

pub(super) fn status<'r>(rows: impl IntoIterator<Item = &'r Reading>) -> ArrayRef {
    Arc::new(rows.into_iter().map(|r| r.status).collect::<StringArray>())
}

/// What the batch says of the windows that are closed in the end, and what is late.
pub(super) fn batch(case: &Case) -> Result<(Vec<RecordBatch>, Late), String> {
    let partitions = case.definition.options().partitions as usize;
    let (mut newest, mut flushed) = (vec![None::<i64>; partitions], false);
    let (mut pairs, mut late) = (Vec::new(), Vec::new());
    let all = case.steps.iter().flat_map(|step| match step {
        Step::Rows(rows) => rows.iter().map(|r| r.time).collect(),
        Step::Tick { .. } => Vec::new(),
    });
    let (from, to) = all.fold((i64::MAX, i64::MIN), |(a, b), time| (a.min(time), b.max(time)));
    let windows = case.grid.windows(from, to);
    for step in &case.steps {
        match step {
            Step::Rows(rows) => {
                for row in rows {
                    let newest = &mut newest[row.partition as usize];
                    let watermark = newest.map(|newest| newest - case.lateness);
                    let of_row = windows.iter().filter(|(s, e)| (*s..*e).contains(&row.time));
                    let (missed, open): (Vec<_>, Vec<_>) =
                        of_row.partition(|(_, end)| watermark.is_some_and(|mark| mark >= *end));
                    pairs.extend(open.into_iter().map(|window: &(i64, i64)| (row, *window)));
                    late.extend((!missed.is_empty()).then_some((row, missed.len() as i64)));
                    *newest = (*newest).max(Some(row.time));
                }
            }
            Step::Tick { partition, time, flush } => {
                let newest = &mut newest[*partition as usize];
                *newest = (*newest).max(Some(*time));
                flushed |= *flush == Flush::Yes;
            }
        }
    }
    let slowest = newest.into_iter().min().flatten().map(|newest| newest - case.lateness);
    pairs.retain(|(_, (_, end))| flushed || slowest.is_some_and(|slowest| *end <= slowest));
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let window = |of: fn(&(i64, i64)) -> i64| times(pairs.iter().map(move |(_, w)| of(w)));
    let mut columns = columns_of(case, &pairs.iter().map(|(row, _)| *row).collect::<Vec<_>>());
    columns.push(("window_start", window(|w| w.0)));
    columns.push(("window_end", window(|w| w.1)));
    register(&context, "pairs", columns)?;
    let expected = query(&context, &case.batch)?;
    let mut columns = columns_of(case, &late.iter().map(|(row, _)| *row).collect::<Vec<_>>());
    columns.push(("missed", Arc::new(Int64Array::from_iter_values(late.iter().map(|(_, m)| *m)))));
    register(&context, "late", columns)?;
    let of_late = format!(
        "SELECT partition_id, row_offset, missed FROM late {} ORDER BY partition_id, row_offset",
        case.conditions
    );
    let mut missed = Vec::new();
    for batch in query(&context, &of_late)? {
        let column = |at: usize| batch.column(at).as_primitive::<Int64Type>();
        missed.extend((0..batch.num_rows()).map(|row| {
            let partition = column(0).value(row) as u32;
            (partition, column(1).value(row).cast_unsigned(), column(2).value(row) as u32)
        }));
    }
    Ok((expected, missed))
}

fn columns_of(case: &Case, rows: &[&Reading]) -> Vec<(&'static str, ArrayRef)> {
    let topic = |r: &&Reading| case.topics[r.series as usize].as_str();
    let level = |at: usize| -> ArrayRef {
        let of = |r: &&Reading| topic(r).split('/').nth(at).unwrap_or_default();
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    };
    let long = |of: fn(&Reading) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| of(r))))
    };
    vec![
        ("partition_id", long(|r| i64::from(r.partition))),
        ("row_offset", long(|r| r.offset.cast_signed())),
        ("topic", Arc::new(StringArray::from_iter_values(rows.iter().map(topic)))),
        ("floor", level(2)),
        ("room", level(4)),
        ("temperature", temperatures(rows.iter().copied())),
        ("people", people(rows.iter().copied())),
        ("status", status(rows.iter().copied())),
    ]
}

fn register(
    context: &SessionContext,
    name: &str,
    columns: Vec<(&'static str, ArrayRef)>,
) -> Result<(), String> {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(text)?;
    context.register_batch(name, batch).map_err(text).map(drop)
}

fn query(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(text)?;
    runtime.block_on(async { context.sql(sql).await?.collect().await }).map_err(text)
}
