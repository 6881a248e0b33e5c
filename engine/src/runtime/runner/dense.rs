//! Rows that cannot be late, all at once; and rules whose groups the series tell: rows into panes by series.
//!
//! Promise: rows of which none can be late are taken without a look at each of them; which those are is
//! told by the least and greatest time of the batch. All others go row by row, with the same answers.

use super::super::outputs::Outputs;
use super::Runner;
use super::windows::open_windows;
use crate::sql::plan::Shape;
use crate::stream::grid::{Grid, PaneIndex};
use crate::stream::input::{Lane, Rows};
use crate::stream::lookup::Tables;
use crate::stream::pipeline::{number_rows, row_column};
use crate::stream::watermark::{Progress, Until};
use crate::stream::window::PaneKey;
use crate::stream::window::by_series::{RowColumns, SeriesSlice, Which};
use crate::stream::window::dense::DensePanes;
use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::concat;
use datafusion::error::Result;
use std::collections::BTreeMap;
use weir_ingest::model::{PartitionId, reading};

/// Panes that the rows of a batch are sorted into at once.
pub(super) const PANES_AT_ONCE: i64 = 4;

/// The first rows of a batch, none of which can be late.
#[derive(Debug, Clone, Copy)]
pub(super) struct InTime {
    /// How many.
    pub(super) rows: usize,
    pub(super) lanes: Lanes,
    /// Panes of their least and greatest time.
    pub(super) panes: (PaneIndex, PaneIndex),
}

/// Which lanes they come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lanes {
    /// One; its greatest time among them.
    One { lane: usize, newest: i64 },
    /// Several in turn.
    Many,
}

/// What is aggregated of the rows of a batch.
pub(super) struct Entries {
    /// The row of each; `None`: each row has one.
    rows: Option<UInt32Array>,
    pub(super) series: ScalarBuffer<u32>,
    /// The columns that are aggregated.
    pub(super) values: Vec<ArrayRef>,
    /// Which of them count; `None`: all.
    counted: Option<Vec<u32>>,
}

/// Which entries are in a pane; `None`: all.
type OfPane = (PaneIndex, Option<Vec<u32>>);

impl Entries {
    pub(super) fn row(&self, entry: u32) -> usize {
        self.rows.as_ref().map_or(entry, |rows| rows.value(entry as usize)) as usize
    }

    /// Those that count, by pane.
    pub(super) fn by_pane(
        &self,
        grid: Grid,
        times: &[i64],
        panes: (PaneIndex, PaneIndex),
    ) -> Vec<OfPane> {
        if panes.0 == panes.1 {
            return vec![(panes.0, self.counted.clone())];
        }
        let counted = self.counted();
        let of = |pane| {
            let (from, to) = (grid.edge(pane), grid.edge(pane + 1));
            let inside = |entry: &&u32| (from..to).contains(&times[self.row(**entry)]);
            (pane, Some(counted.iter().filter(inside).copied().collect()))
        };
        (panes.0..=panes.1).map(of).collect()
    }

    pub(super) fn counted(&self) -> Vec<u32> {
        let all = || (0..u32::try_from(self.series.len()).expect("a batch's rows fit")).collect();
        self.counted.clone().unwrap_or_else(all)
    }
}

impl Runner {
    /// The first series of a stream, this many, had a reading before the rule began.
    pub fn knows_series(&mut self, stream: usize, series: usize) {
        if let Some(windows) = &mut self.reader_mut().windows {
            windows.knows_series(stream, series);
        }
    }

    pub(super) fn dense(&mut self) -> Option<&mut DensePanes> {
        self.windows.as_mut()?.dense()
    }

    /// Whether the series tell the groups.
    pub(super) fn is_by_series(&self) -> bool {
        match &self.plan.shape {
            Shape::Windowed(aggregation) => aggregation.path.columns().is_some(),
            Shape::Sessions(_) | Shape::PerReading => false,
        }
    }

    /// The rows up to the next place where event time closes a window or fires a timer, if they come
    /// from one partition, lie in few panes, and none of them can be late.
    pub(super) fn rows_in_time(&mut self, rows: &Rows) -> Option<InTime> {
        self.windows.as_ref()?;
        let partition = match &rows.partitions {
            Lane::Same(partition) => *partition,
            Lane::Each(_) => return self.lanes_in_time(rows),
        };
        let lane = self.progress.lane(rows.stream, PartitionId(partition));
        let grid = self.aggregation().grid;
        let (next_end, next_due) = (self.next_end(), self.next_due());
        let mut times: &[i64] = rows.times();
        loop {
            let (oldest, newest) = span(times)?;
            let fresh = grid.end(grid.first_window(grid.pane(oldest)));
            let to_window = next_end.map_or(fresh, |end| end.min(fresh));
            let taken = [(Some(to_window), Until::Closed), (next_due, Until::Timed)]
                .into_iter()
                .filter_map(|(boundary, until)| {
                    let reached = |b: &i64| self.progress.reaches(lane, newest, *b, until);
                    let at = self.progress.time_that_reaches(lane, boundary.filter(reached)?);
                    times.iter().position(|time| *time >= at)
                })
                .min()
                .map_or(times.len(), |row| row + 1);
            if taken < times.len() {
                times = &times[..taken];
                continue;
            }
            let panes = (grid.pane(oldest), grid.pane(newest));
            let in_time = fresh > self.progress.closed_after(lane, newest)
                || fresh > closed_before(&self.progress, lane, &times[..taken - 1]);
            let few = panes.1 - panes.0 < PANES_AT_ONCE;
            let lanes = Lanes::One { lane, newest };
            return (in_time && few).then_some(InTime { rows: taken, lanes, panes });
        }
    }

    /// Takes rows of which none is late.
    pub(super) fn take_in_time(&mut self, rows: &Rows, in_time: InTime, out: &mut Outputs) {
        let rows = rows.slice(0, in_time.rows);
        let panes = in_time.panes;
        match (in_time.lanes, self.is_by_series()) {
            (Lanes::Many, _) => self.dense_lanes_in_time(&rows, panes, out),
            (Lanes::One { lane, newest }, true) => {
                self.by_series_in_time(&rows, lane, panes, out);
                self.progress.observe(lane, newest);
            }
            (Lanes::One { lane, newest }, false) => {
                self.by_row_in_time(&rows, lane, panes, out);
                self.progress.observe(lane, newest);
            }
        }
    }

    fn by_series_in_time(
        &mut self,
        rows: &Rows,
        lane: usize,
        panes: (PaneIndex, PaneIndex),
        out: &mut Outputs,
    ) {
        let grid = self.aggregation().grid;
        let entries = self.entries(rows, out).filter(|entries| !entries.series.is_empty());
        let Some(entries) = entries else { return };
        let times = rows.times();
        for (pane, which) in entries.by_pane(grid, times, panes) {
            let key = PaneKey { lane, pane, first_window: grid.first_window(pane) };
            let first = which.as_ref().map_or(Some(0), |entries| entries.first().copied());
            let before = first.map(|first| &times[..entries.row(first)]);
            let watermark_before =
                before.map_or(0, |before| closed_before(&self.progress, lane, before));
            self.add_entries(rows, &entries, key, which.as_deref(), watermark_before);
        }
    }

    fn by_row_in_time(
        &mut self,
        rows: &Rows,
        lane: usize,
        panes: (PaneIndex, PaneIndex),
        out: &mut Outputs,
    ) {
        let grid = self.aggregation().grid;
        let times = rows.times();
        self.saw(rows);
        for batch in self.run_branches(rows, out) {
            let of_row = row_column(&batch).values().clone();
            for pane in panes.0..=panes.1 {
                let (from, to) = (grid.edge(pane), grid.edge(pane + 1));
                let inside = |row: &u32| (from..to).contains(&times[*row as usize]);
                let positions: Vec<u32> =
                    (0..).zip(&of_row).filter(|(_, row)| inside(row)).map(|(at, _)| at).collect();
                let Some(first) = positions.first() else { continue };
                let before = &times[..of_row[*first as usize] as usize];
                let watermark_before = closed_before(&self.progress, lane, before);
                let key = PaneKey { lane, pane, first_window: grid.first_window(pane) };
                self.add_slice(rows, &batch, &|_| watermark_before, key, positions, out);
            }
        }
    }

    /// On the general path; on the dense one it is seen with the rows' values.
    pub(super) fn saw(&mut self, rows: &Rows) {
        if let Some(windows) = &mut self.windows {
            windows.saw(rows.stream, rows.series_ids(), &rows.series);
        }
    }

    /// Takes rows of any lanes, late or not.
    pub(super) fn take_part_by_series(&mut self, rows: &Rows, out: &mut Outputs) {
        let entries = self.entries(rows, out);
        let closed_before = self.progress.note(rows);
        let Some(entries) = entries else { return };
        let grid = self.aggregation().grid;
        let (mut late, mut slices) = (BTreeMap::new(), BTreeMap::<PaneKey, Vec<u32>>::new());
        for entry in entries.counted() {
            let row = entries.row(entry);
            let pane = grid.pane(rows.times()[row]);
            let open = open_windows(grid, pane, closed_before[row]);
            if let Some(missed) = open.missed {
                late.insert(row, missed);
            }
            if let Some(first_window) = open.next {
                let lane = self.progress.lane(rows.stream, rows.partition(row));
                slices.entry(PaneKey { lane, pane, first_window }).or_default().push(entry);
            }
        }
        for (key, which) in slices {
            let watermark_before = closed_before[entries.row(which[0])];
            self.add_entries(rows, &entries, key, Some(&which), watermark_before);
        }
        self.list_late(rows, &closed_before, late, out);
    }

    fn add_entries(
        &mut self,
        rows: &Rows,
        entries: &Entries,
        key: PaneKey,
        which: Option<&[u32]>,
        watermark_before: i64,
    ) {
        let ends = match which {
            Some(which) => which.first().copied().zip(which.last().copied()),
            None => u32::try_from(entries.series.len())
                .ok()
                .and_then(|n| n.checked_sub(1))
                .map(|last| (0, last)),
        };
        let (Some((first, last)), Some(windows)) = (ends, &mut self.windows) else { return };
        let added = windows.add_by_series(&SeriesSlice {
            key,
            series: &entries.series,
            values: &entries.values,
            which: which.map_or(Which::All, Which::At),
            offsets: (rows.offset(entries.row(first)), rows.offset(entries.row(last))),
            watermark_before,
        });
        added.expect("the planner made such accumulators");
    }

    /// What is aggregated of `rows`; rows on which an expression fails are listed and left out.
    pub(super) fn entries(&mut self, rows: &Rows, out: &mut Outputs) -> Option<Entries> {
        self.windows.as_mut()?.meet(&rows.series, rows.series_ids());
        let aggregation = self.aggregation();
        let columns = aggregation.path.columns()?;
        let mut entries = match measure(columns, rows) {
            Ok(entries) => entries,
            Err(_) => {
                let mut all = Vec::new();
                for row in 0..rows.len() {
                    match measure(columns, &rows.slice(row, 1)) {
                        Ok(entries) => all.push((row, entries)),
                        Err(e) => self.failed_reading(rows, row, &e.strip_backtrace(), out),
                    }
                }
                together(all)?
            }
        };
        let counted = self.windows.as_mut()?.counted();
        entries.counted = counted.map(|counted| {
            let of = |(entry, series): (u32, &u32)| counted[*series as usize].then_some(entry);
            (0..).zip(&entries.series).filter_map(of).collect()
        });
        Some(entries)
    }
}

/// Least and greatest.
pub(super) fn span(times: &[i64]) -> Option<(i64, i64)> {
    let first = *times.first()?;
    Some(
        times.iter().fold((first, first), |(least, greatest), time| {
            (least.min(*time), greatest.max(*time))
        }),
    )
}

/// How far windows of a lane are closed once it has seen `times`.
fn closed_before(progress: &Progress, lane: usize, times: &[i64]) -> i64 {
    span(times).map_or(progress.closed(lane), |(_, newest)| progress.closed_after(lane, newest))
}

fn measure(columns: &RowColumns, rows: &Rows) -> Result<Entries> {
    let series = reading::series_column(&rows.batch).values();
    match columns {
        RowColumns::Stored(columns) => {
            let values = columns.iter().map(|(name, data_type)| {
                let stored = rows.batch.column_by_name(name).cloned();
                stored.unwrap_or_else(|| new_null_array(data_type, rows.len()))
            });
            let (series, values) = (series.clone(), values.collect());
            Ok(Entries { rows: None, series, values, counted: None })
        }
        RowColumns::Computed { of, pipeline } => {
            let table = number_rows(&rows.columns(Some(of)))?;
            let batch = pipeline.run(table, &Tables::default())?;
            let of = row_column(&batch).clone();
            let series = of.values().iter().map(|row| series[*row as usize]).collect();
            let values = batch.columns()[..batch.num_columns() - 1].to_vec();
            Ok(Entries { rows: Some(of), series, values, counted: None })
        }
    }
}

/// Entries of single rows as those of the batch they stand in.
fn together(single: Vec<(usize, Entries)>) -> Option<Entries> {
    let number = |row: usize| u32::try_from(row).expect("a batch's rows fit");
    let single: Vec<_> = single.into_iter().filter(|(_, e)| !e.series.is_empty()).collect();
    let measures = single.first()?.1.values.len();
    let column = |at: usize| {
        let pieces: Vec<&dyn Array> = single.iter().map(|(_, e)| e.values[at].as_ref()).collect();
        concat(&pieces).ok()
    };
    Some(Entries {
        rows: Some(single.iter().map(|(row, _)| number(*row)).collect::<Vec<_>>().into()),
        series: single.iter().flat_map(|(_, entries)| entries.series.to_vec()).collect(),
        values: (0..measures).map(column).collect::<Option<_>>()?,
        counted: None,
    })
}
