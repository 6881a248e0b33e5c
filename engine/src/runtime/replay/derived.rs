//! Streams that rules write, without a log: what comes out of one rule goes into those that read it.
//!
//! Promise: the input order is that of a log in which each output stands right behind what caused it,
//! however the input is cut into batches.

use super::ReplayError;
use super::definitions::Definitions;
use crate::runtime::derived::{Derived, DerivedRows};
use crate::stream::input::{Flush, Input, Lane, Offsets, Rows};
use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::log::TickKind;
use weir_ingest::model::PartitionId;
use weir_ingest::model::reading::{Hidden, stored_schema};

/// Next offset of each partition of the streams that rules write.
#[derive(Debug, Default)]
pub(super) struct DerivedOffsets(BTreeMap<(usize, u32), u64>);

/// An input as the rules get it: row by row where some rule reads what another writes of them.
pub(super) fn pieces(definitions: &Definitions, input: &Input) -> Vec<Input> {
    let derives = definitions.rules.iter().any(|rule| rule.into.is_some());
    match input {
        Input::Rows(rows) if derives => {
            (0..rows.len()).map(|row| Input::Rows(rows.slice(row, 1))).collect()
        }
        other => vec![other.clone()],
    }
}

impl DerivedOffsets {
    /// What a rule gave out as inputs of those that read its stream.
    /// # Errors
    /// There are too many series.
    pub(super) fn inputs(
        &mut self,
        definitions: &Definitions,
        stream: usize,
        derived: &[Derived],
    ) -> Result<Vec<Input>, ReplayError> {
        let mut inputs = Vec::new();
        for one in derived {
            match one {
                Derived::Rows(rows) => inputs.push(self.rows(definitions, stream, rows)?),
                Derived::Tick(tick) => {
                    let flush = match tick.kind {
                        TickKind::Idle => Flush::No,
                        TickKind::Flush => Flush::Yes,
                    };
                    let partitions = definitions.streams[stream].partitions();
                    inputs.extend(partitions.iter().map(|partition| Input::Tick {
                        stream,
                        partition: partition.id(),
                        event_time: tick.event_time,
                        flush,
                        appended: tick.appended,
                    }));
                }
            }
        }
        Ok(inputs)
    }

    fn rows(
        &mut self,
        definitions: &Definitions,
        stream: usize,
        rows: &DerivedRows,
    ) -> Result<Input, ReplayError> {
        let failed = |error: &dyn std::fmt::Display| ReplayError::Log(error.to_string());
        let of = &definitions.streams[stream];
        let (mut series, mut partitions, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
        for topic in &rows.topics {
            let route = definitions.log.streams().place(topic).map_err(|e| failed(&e))?;
            let PartitionId(partition) = route.partition;
            let next = self.0.entry((stream, partition)).or_default();
            series.push(route.series.0);
            partitions.push(partition);
            offsets.push(*next);
            *next += 1;
        }
        let definition = of.definition();
        let times = TimestampMicrosecondArray::from(rows.times.clone()).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(UInt32Array::from(series))];
        columns.extend(rows.fields.columns().iter().map(Arc::clone));
        let schema = stored_schema(&definition, Hidden::default());
        let batch = RecordBatch::try_new(schema, columns).map_err(|e| failed(&e))?;
        Ok(Input::Rows(Rows {
            stream,
            batch,
            definition,
            series: of.series().snapshot(),
            partitions: Lane::Each(partitions.into()),
            offsets: Offsets::Each(offsets.into()),
            append_times: Lane::Same(rows.appended.0),
        }))
    }
}
