//! Readings that wait to go along their series, and what is known of each series, in a checkpoint.
//!
//! Promise: the readings that wait are kept as they were stored, so they go on as if there had been no break.

use super::again::{Again, Place};
use super::{Along, Held};
use crate::stream::along::{AlongKept, AlongState, Lasts};
use crate::stream::grid::{Grid, PaneIndex};
use crate::stream::input::{Lane, Offsets, Rows};
use crate::stream::ipc;
use crate::stream::window::LaneEvidence;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::error::Result;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use weir_ingest::model::reading::{Hidden, SOURCE_TIME, conform, stored_schema};
use weir_ingest::model::{Offset, SeriesSnapshot, StreamDefinition};

/// What a checkpoint keeps of the rule's readings along their series.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct AlongSaved {
    /// By stream, those that wait, in their order.
    waiting: Vec<Option<SavedRows>>,
    /// By branch; where windows are open, as they were where the first of these begins.
    states: Vec<AlongKept>,
    taken: u64,
    open: Option<Open>,
}

/// The readings of open windows.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    /// Where the first of these windows begins.
    from: i64,
    /// The first row of each lane.
    first: Vec<LaneEvidence>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedRows {
    batch: Vec<u8>,
    places: Vec<(i64, u64)>,
    watermarks: Vec<i64>,
    partitions: Vec<u32>,
    offsets: Vec<u64>,
    append_times: Vec<i64>,
}

impl AlongSaved {
    /// The first row of each lane that is read again.
    pub(in super::super) fn rows_again(&self) -> &[LaneEvidence] {
        self.open.as_ref().map_or(&[], |open| &open.first)
    }
}

impl Along {
    /// For a checkpoint; `grid` is of the windows that readings go into, of which some are over.
    pub(in super::super) fn saved(
        &self,
        streams: &[Arc<StreamDefinition>],
        grid: Option<Grid>,
        is_over: &dyn Fn(PaneIndex) -> bool,
    ) -> Result<AlongSaved> {
        let waiting = (0..streams.len()).map(|stream| self.saved_rows(stream, &streams[stream]));
        let mut before: Vec<HashMap<u64, Option<&Lasts>>> = vec![HashMap::new(); self.states.len()];
        for ((branch, series), lasts) in self.trace.iter().flat_map(|trace| trace.before(is_over)) {
            before[*branch].insert(*series, lasts);
        }
        let states = self.states.iter().zip(&before).map(|(state, before)| state.kept(before));
        let open = self.trace.as_ref().zip(grid).and_then(|(trace, grid)| {
            let from = grid.edge(trace.from(is_over)?);
            Some(Open { from, first: trace.first_of_lanes(is_over) })
        });
        Ok(AlongSaved {
            waiting: waiting.collect::<Result<_>>()?,
            states: states.collect::<Result<_>>()?,
            taken: self.taken,
            open,
        })
    }

    /// The first row that an open window needs again.
    pub(in super::super) fn first_row(&self) -> Option<Offset> {
        let first = self.trace.as_ref()?.first_of_lanes(|_| false);
        first.iter().map(|first| first.first).min()
    }

    fn saved_rows(
        &self,
        stream: usize,
        definition: &StreamDefinition,
    ) -> Result<Option<SavedRows>> {
        let of_stream: Vec<_> =
            self.waiting.iter().filter(|(_, held)| held.rows.stream == stream).collect();
        if of_stream.is_empty() {
            return Ok(None);
        }
        let stamped = |held: &Held| held.rows.batch.column_by_name(SOURCE_TIME).is_some();
        let source_time = of_stream.iter().any(|(_, held)| stamped(held));
        let schema = stored_schema(definition, Hidden { source_time, dedupe: false });
        let rows: Vec<RecordBatch> = of_stream
            .iter()
            .map(|(_, held)| conform(&held.rows.batch.slice(held.row, 1), &schema))
            .collect();
        let each = |held: &&(&(i64, u64), &Held)| (Arc::clone(&held.1.rows), held.1.row);
        let places = of_stream.iter().map(|(place, _)| **place).collect();
        let of_row: Vec<_> = of_stream.iter().map(|held| each(&held)).collect();
        Ok(Some(SavedRows {
            batch: ipc::encode(&concat_batches(&schema, &rows)?)?,
            places,
            watermarks: of_stream.iter().map(|(_, held)| held.watermark).collect(),
            partitions: of_row.iter().map(|(rows, row)| rows.partition(*row).0).collect(),
            offsets: of_row.iter().map(|(rows, row)| rows.offset(*row).0).collect(),
            append_times: of_row.iter().map(|(rows, row)| rows.appended(*row).0).collect(),
        }))
    }

    /// Goes on from a checkpoint; `series` are those of the streams. Gives the first row of each lane that
    /// is to be read again.
    pub(in super::super) fn restore(
        &mut self,
        saved: AlongSaved,
        streams: &[Arc<StreamDefinition>],
        series: &[Arc<SeriesSnapshot>],
    ) -> Result<Vec<LaneEvidence>> {
        self.taken = saved.taken;
        self.states = saved.states.iter().map(AlongState::restore).collect::<Result<_>>()?;
        let of_streams = streams.iter().zip(series).zip(saved.waiting).enumerate();
        for (stream, ((definition, series), saved)) in of_streams {
            let Some(saved) = saved else { continue };
            let rows = Arc::new(Rows {
                stream,
                batch: ipc::decode(&saved.batch)?,
                definition: Arc::clone(definition),
                series: Arc::clone(series),
                partitions: Lane::Each(saved.partitions.into()),
                offsets: Offsets::Each(saved.offsets.into()),
                append_times: Lane::Each(saved.append_times.into()),
            });
            let held = saved.places.into_iter().zip(saved.watermarks).enumerate();
            self.waiting.extend(held.map(|(row, (place, watermark))| {
                (place, Held { rows: Arc::clone(&rows), row, watermark, tables: None })
            }));
        }
        let Some(Open { from, first }) = saved.open else { return Ok(Vec::new()) };
        let waiting: HashSet<Place> = self.waiting.values().map(Held::place).collect();
        self.again = Some(Again::new(from, &first, waiting));
        Ok(first)
    }
}
