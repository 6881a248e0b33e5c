//! The rows behind a receipt, read again in the input order.

use super::{Recomputed, refused};
use crate::alarms::{PartitionReceipt, Receipt, Transition};
use crate::deliver::event::rfc3339;
use crate::runtime::definition::Planned;
use crate::runtime::feed::{Feed, FeedStart, Next};
use crate::runtime::outputs::json_row;
use crate::runtime::runner::{InTime, Seen};
use crate::sql::SqlError;
use crate::sql::plan::Nested;
use crate::stream::input::{Input, Rows};
use crate::stream::pipeline::number_rows;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::log::{InternalLog, Log};
use weir_ingest::model::{AppendTime, EventTime, PartitionId, SeriesId};

/// Rows that are shown; all are counted.
pub(super) const ROWS_SHOWN_MAX: usize = 100;

/// Where the rows of a receipt lie, and who judged them.
pub(super) struct Evidence<'e> {
    pub(super) log: &'e Arc<Log>,
    pub(super) planned: &'e Planned,
    pub(super) receipt: &'e Receipt,
    /// What caused the transition; nothing later took part.
    pub(super) until: AppendTime,
}

/// The rows of one key, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Counted {
    /// Those that took part.
    pub(super) used: u64,
    /// Those within the ranges that came too late.
    pub(super) late: u64,
    /// The first of them, as text.
    pub(super) shown: Vec<String>,
    /// They are rows of the SELECT inside the window.
    pub(super) inner: bool,
}

type Take<'t> = &'t mut dyn FnMut(&Input) -> Result<(), SqlError>;

impl Evidence<'_> {
    /// The receipt's partitions, each with the position of its stream in the plan.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (usize, &PartitionReceipt)> {
        let streams = &self.planned.plan.streams;
        let of = |lane: &PartitionReceipt| streams.iter().position(|s| s.name() == lane.stream);
        self.receipt.partitions.iter().filter_map(move |lane| Some((of(lane)?, lane)))
    }

    /// Gives the rows of the ranges, the ticks between them and the tables of that time to `take`;
    /// whether all rows were there.
    pub(super) fn read(&self, take: Take<'_>) -> Result<bool, SqlError> {
        let lanes: BTreeMap<(usize, PartitionId), &PartitionReceipt> =
            self.lanes().map(|(stream, lane)| ((stream, lane.partition), lane)).collect();
        let Some(mut feed) = self.feed(&lanes) else { return Ok(false) };
        let expected: u64 = lanes.values().map(|l| l.last_offset.0 + 1 - l.first_offset.0).sum();
        let mut read = 0;
        // Where a partition is through, what follows in it took no part.
        let mut over: Vec<(usize, PartitionId)> = Vec::new();
        while let Next::Input(input) = feed.next_input().map_err(refused)? {
            if input.appended() > self.until {
                break;
            }
            match &input {
                Input::Rows(rows) => {
                    let place = (rows.stream, rows.partition(0));
                    let Some(lane) = lanes.get(&place) else { continue };
                    if let Some(rows) = within(rows, lane) {
                        read += rows.len() as u64;
                        take(&Input::Rows(rows))?;
                    }
                    if rows.offset(rows.len() - 1) >= lane.last_offset {
                        over.push(place);
                    }
                }
                Input::Tick { stream, partition, .. } => {
                    let place = (*stream, *partition);
                    if lanes.contains_key(&place) && !over.contains(&place) {
                        take(&input)?;
                    }
                }
                Input::Tables { .. } => take(&input)?,
                Input::Restart { .. } | Input::Gap { .. } | Input::Commands { .. } => {}
            }
        }
        Ok(read == expected && lanes.len() == self.receipt.partitions.len())
    }

    /// `None` where a stream or the first row is gone.
    fn feed(&self, lanes: &BTreeMap<(usize, PartitionId), &PartitionReceipt>) -> Option<Feed> {
        let mut starts = Vec::new();
        for (index, definition) in self.planned.plan.streams.iter().enumerate() {
            let stream = self.log.streams().get(definition.name())?;
            let mut offsets = Vec::new();
            for partition in stream.partitions() {
                let ends = partition.ends();
                let first = lanes.get(&(index, partition.id())).map(|lane| lane.first_offset);
                if first.is_some_and(|first| first < ends.log_start) {
                    return None;
                }
                offsets.push(first.unwrap_or(ends.durable_end));
            }
            starts.push(FeedStart { stream, definition: Arc::clone(definition), offsets });
        }
        let commands = self.log.internal(InternalLog::Commands).ends().durable_end;
        Some(Feed::new(self.log, starts, commands))
    }

    /// The rows of the key that `recomputed` is about.
    pub(super) fn count(
        &self,
        transition: &Transition,
        recomputed: Option<&Recomputed>,
    ) -> Result<Counted, SqlError> {
        let mut runner = self.runner(transition);
        let mut counted = Counted::default();
        self.read(&mut |input| {
            match (input, transition.window, recomputed) {
                (Input::Rows(rows), Some(window), Some(recomputed)) => {
                    for (row, in_time) in runner.rows_of(rows, window, &recomputed.group) {
                        counted.note(rows, row, in_time);
                    }
                }
                (Input::Rows(rows), None, _) => counted.note(rows, 0, InTime::Yes),
                (Input::Rows(_), Some(_), None) => {}
                (other, _, _) => drop(runner.step(other).map_err(refused)?),
            }
            Ok(())
        })?;
        Ok(counted)
    }
}

impl Counted {
    /// What was seen while the rule read its input again; rows of a SELECT inside the window have its columns.
    pub(super) fn of(seen: &Seen, inner: Option<&Nested>) -> Self {
        let names = inner.map(|nested| nested.inner.output.fields());
        let shown = seen.rows.iter().map(|(one, in_time)| match names {
            None => shown(one, 0, *in_time),
            Some(names) => {
                let names: Vec<&str> = names.iter().map(|field| field.name().as_str()).collect();
                let time = rfc3339(EventTime(one.times()[0]));
                format!("{time} {}{}", fields(one, &names), told(*in_time))
            }
        });
        let (used, late) = (seen.used, seen.late);
        Self { used, late, shown: shown.collect(), inner: inner.is_some() }
    }

    fn note(&mut self, rows: &Rows, row: usize, in_time: InTime) {
        match in_time {
            InTime::Yes => self.used += 1,
            InTime::Late => self.late += 1,
        }
        if self.shown.len() < ROWS_SHOWN_MAX {
            self.shown.push(shown(rows, row, in_time));
        }
    }
}

/// The part of `rows` that lies in the range.
fn within(rows: &Rows, lane: &PartitionReceipt) -> Option<Rows> {
    let first = rows.offset(0).0;
    let from = lane.first_offset.0.saturating_sub(first);
    let to = (lane.last_offset.0 + 1).saturating_sub(first).min(rows.len() as u64);
    let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
    (from < to).then(|| rows.slice(from, to - from))
}

fn shown(rows: &Rows, row: usize, in_time: InTime) -> String {
    let one = rows.slice(row, 1);
    let topic = one.series.topic(SeriesId(one.series_ids()[0]));
    let late = told(in_time);
    format!(
        "{topic} {} {} ({} partition {} offset {}{late})",
        rfc3339(EventTime(one.times()[0])),
        fields(&one, &[]),
        one.definition.name(),
        one.partition(0).0,
        one.offset(0).0,
    )
}

fn told(in_time: InTime) -> &'static str {
    match in_time {
        InTime::Yes => "",
        InTime::Late => ", late: it does not count",
    }
}

/// The declared columns of a reading as a JSON object, under other names if there are any.
fn fields(one: &Rows, names: &[&str]) -> String {
    let table = one.table();
    let declared: Vec<usize> = one
        .definition
        .columns()
        .iter()
        .filter_map(|column| table.schema_ref().index_of(&column.name).ok())
        .collect();
    let fields = table.project(&declared).and_then(|fields| {
        let fields = if names.len() == declared.len() { renamed(&fields, names)? } else { fields };
        number_rows(&fields).map_err(|e| ArrowError::ExternalError(Box::new(e)))
    });
    fields.map_or_else(|_| "{}".to_owned(), |fields| json_row(&fields, 0))
}

fn renamed(batch: &RecordBatch, names: &[&str]) -> Result<RecordBatch, ArrowError> {
    RecordBatch::try_from_iter(names.iter().zip(batch.columns()).map(|(n, c)| (*n, Arc::clone(c))))
}
