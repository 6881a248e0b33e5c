//! Rows of a rule that are readings of a stream: CREATE STREAM ... AS SELECT.
//!
//! Promise: rows come with dense ordinals, ticks with growing event times, both a function of the
//! rule's inputs alone, so a replay can tell what is already written (P6).
//! Elsewhere: into which partition a row goes, and what is there already, is `sink`'s.

use super::outputs::texts;
use crate::sql::plan::Derivation;
use crate::stream::watermark::NEVER;
use crate::stream::window::LaneEvidence;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weir_ingest::log::TickKind;
use weir_ingest::model::{AppendTime, EventTime, TopicTemplate, check_topic};

/// What goes into the stream, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Derived {
    /// Readings.
    Rows(DerivedRows),
    /// A tick for every partition.
    Tick(DerivedTick),
}

impl Derived {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.times.len(),
            Self::Tick(_) => 0,
        }
    }
}

/// Readings, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct DerivedRows {
    /// Ordinal of the first; the others follow.
    pub first_ordinal: u64,
    /// Event times.
    pub times: Vec<i64>,
    /// Topic paths.
    pub topics: Vec<String>,
    /// The stream's fields.
    pub fields: RecordBatch,
    /// Append time of the input that caused them.
    pub appended: AppendTime,
    /// Of rows of a window, what it was made of.
    pub evidence: Vec<LaneEvidence>,
    /// Of rows of a window, readings that came too late for it.
    pub late: u64,
}

/// The rule's watermark as the stream's event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DerivedTick {
    /// How far.
    pub event_time: EventTime,
    /// Whether FLUSH STREAM is passed on.
    pub kind: TickKind,
    /// How many flushes came before.
    pub flushes: u64,
    /// Append time of the input that caused it.
    pub appended: AppendTime,
}

/// The stream of one rule.
#[derive(Debug)]
pub struct Deriving {
    derivation: Arc<Derivation>,
    schema: SchemaRef,
    idle_us: i64,
    state: DerivingState,
}

/// What a checkpoint keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivingState {
    next_ordinal: u64,
    /// The largest event time of its rows and ticks.
    newest: i64,
    ticked: i64,
    flushed: i64,
    flushes: u64,
}

impl Deriving {
    /// Nothing written yet.
    pub fn new(derivation: Arc<Derivation>) -> Self {
        let columns = derivation.stream.columns().iter();
        let fields = columns.map(|c| Field::new(&c.name, c.column_type.data_type(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let idle = derivation.stream.options().idle.as_micros();
        Self {
            schema,
            idle_us: i64::try_from(idle).unwrap_or(i64::MAX / 4),
            derivation,
            state: DerivingState {
                next_ordinal: 0,
                newest: NEVER,
                ticked: NEVER,
                flushed: NEVER,
                flushes: 0,
            },
        }
    }

    /// For a checkpoint.
    pub fn state(&self) -> DerivingState {
        self.state.clone()
    }

    /// Goes on from a checkpoint.
    pub fn restore(&mut self, state: DerivingState) {
        self.state = state;
    }

    /// Its name.
    pub fn stream(&self) -> &str {
        self.derivation.stream.name()
    }

    /// Ordinal that the next row will have.
    pub fn next_ordinal(&self) -> u64 {
        self.state.next_ordinal
    }

    /// The rule's watermark at which the next tick is due, if no row comes before.
    pub fn next_tick(&self) -> i64 {
        if self.state.ticked <= NEVER {
            NEVER + 1
        } else {
            self.state.ticked.saturating_add(self.idle_us)
        }
    }

    /// The rows of an output batch, whose last column is the row lane; `time` is that of a row without
    /// one. With those that cannot be readings, each with the reason.
    pub fn rows(
        &mut self,
        batch: &RecordBatch,
        time: i64,
        appended: AppendTime,
    ) -> (Option<DerivedRows>, Vec<String>) {
        let (mut wrong, mut kept) = (Vec::new(), Vec::new());
        let places = self.places(batch, time);
        let (mut times, mut topics) = (Vec::new(), Vec::new());
        let mut fields = self.fields(batch).ok();
        let whole = fields.is_some();
        let mut single = Vec::new();
        for (row, place) in (0_u32..).zip(places) {
            let one = || self.fields(&batch.slice(row as usize, 1)).map_err(|e| e.to_string());
            match place.and_then(|place| Ok((place, if whole { None } else { Some(one()?) }))) {
                Ok(((time, topic), one)) => {
                    kept.push(row);
                    times.push(time);
                    topics.push(topic);
                    single.extend(one);
                }
                Err(reason) => wrong.push(reason),
            }
        }
        if kept.is_empty() {
            return (None, wrong);
        }
        fields = match fields {
            Some(all) if kept.len() == all.num_rows() => Some(all),
            Some(all) => take_record_batch(&all, &UInt32Array::from(kept)).ok(),
            None => arrow::compute::concat_batches(&self.schema, &single).ok(),
        };
        let Some(fields) = fields else { return (None, wrong) };
        let first_ordinal = self.state.next_ordinal;
        self.state.next_ordinal += times.len() as u64;
        self.state.newest = times.iter().copied().fold(self.state.newest, i64::max);
        let (evidence, late) = (Vec::new(), 0);
        let rows = DerivedRows { first_ordinal, times, topics, fields, appended, evidence, late };
        (Some(rows), wrong)
    }

    fn fields(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let column = |(at, field): (&usize, &Arc<Field>)| {
            cast_with_options(batch.column(*at), field.data_type(), &options)
        };
        let columns = self.derivation.fields.iter().zip(self.schema.fields()).map(column);
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?)
    }

    /// Event time and topic path of each row.
    fn places(&self, batch: &RecordBatch, time: i64) -> Vec<Result<(i64, String), String>> {
        let times = self.derivation.time.map(|at| as_times(batch.column(at)));
        let of_levels = self.derivation.levels.iter().map(|at| texts(batch.column(*at)));
        let levels: Vec<Vec<Option<String>>> = of_levels.collect();
        let time_of = |row: usize| match &times {
            None => Ok(time),
            Some(Ok(times)) => {
                let times = times.as_primitive::<TimestampMicrosecondType>();
                let known = times.is_valid(row).then(|| times.value(row));
                known.ok_or_else(|| "'time' is NULL: a reading needs an event time".to_owned())
            }
            Some(Err(error)) => Err(error.to_string()),
        };
        let template = self.derivation.stream.template();
        (0..batch.num_rows())
            .map(|row| {
                if levels.is_empty() {
                    // A stream in memory has no topics.
                    return Ok((time_of(row)?, String::new()));
                }
                let values: Vec<Option<&str>> = levels.iter().map(|l| l[row].as_deref()).collect();
                Ok((time_of(row)?, topic(template, &values)?))
            })
            .collect()
    }

    /// A tick, if the rule's watermark tells something new.
    pub fn tick(&mut self, watermark: i64, appended: AppendTime) -> Option<DerivedTick> {
        if watermark <= self.state.ticked.max(NEVER) {
            return None;
        }
        self.state.ticked = watermark;
        self.state.newest = self.state.newest.max(watermark);
        let (kind, flushes) = (TickKind::Idle, self.state.flushes);
        Some(DerivedTick { event_time: EventTime(watermark), kind, flushes, appended })
    }

    /// FLUSH STREAM, where all that the rule reads was flushed up to `flushed`.
    pub fn flush(&mut self, flushed: i64, appended: AppendTime) -> Option<DerivedTick> {
        if flushed <= self.state.flushed || self.state.newest <= NEVER {
            return None;
        }
        self.state.flushed = flushed;
        let flushes = self.state.flushes;
        self.state.flushes += 1;
        let event_time = EventTime(self.state.newest);
        Some(DerivedTick { event_time, kind: TickKind::Flush, flushes, appended })
    }
}

fn as_times(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    cast_with_options(column, &utc, &CastOptions { safe: false, ..CastOptions::default() })
}

fn topic(template: &TopicTemplate, levels: &[Option<&str>]) -> Result<String, String> {
    let captures = template.captures();
    for (name, value) in captures.iter().zip(levels) {
        match value {
            None => return Err(format!("the level '{name}' is NULL: the row has no topic")),
            Some(value) if value.contains('/') => {
                return Err(format!("the level '{name}' is '{value}': a level has no '/'"));
            }
            Some(_) => {}
        }
    }
    let level = |name: &str| levels[captures.iter().position(|c| c == name)?];
    let topic = template.fill(level).unwrap_or_default();
    check_topic(&topic).map_err(|error| error.to_string())?;
    Ok(topic)
}
