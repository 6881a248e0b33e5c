//! What a rule gives out, and the columns of its lists in the internal logs.
//!
//! Promise: every output carries the rule's identity and a dense ordinal of its kind, so that a replay
//! can tell what is already written (P6).

mod window_rows;

pub use window_rows::WindowRows;

use super::derived::Derived;
use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, UInt64Type};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::alarms::{RuleIdentity, Transition};
use weir_ingest::model::{AppendTime, EventTime, Offset, PartitionId};

/// What one step gave out, each list in order.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Alarm transitions, or rows of a rule per reading without RAISE WHEN.
    pub transitions: Vec<Transition>,
    /// Rows of closed windows of a rule without RAISE WHEN.
    pub rows: Vec<WindowRows>,
    /// What goes into the stream that the rule writes, ticks included.
    pub derived: Vec<Derived>,
    /// Readings that came too late.
    pub late: Vec<LateReading>,
    /// Readings an expression failed on.
    pub errors: Vec<RuleError>,
}

impl Outputs {
    /// Whether nothing came out.
    pub fn is_empty(&self) -> bool {
        let lists = self.late.is_empty() && self.errors.is_empty();
        lists && self.derived.is_empty() && self.outputs() == 0
    }

    /// Number of transitions and rows.
    pub fn outputs(&self) -> usize {
        let rows = self.rows.iter().map(WindowRows::len).sum::<usize>();
        self.transitions.len() + rows + self.derived.iter().map(Derived::rows).sum::<usize>()
    }

    /// All transitions and rows, in the order of their ordinals.
    pub fn told(&mut self) -> Vec<Transition> {
        let mut told = std::mem::take(&mut self.transitions);
        told.extend(self.rows.drain(..).flat_map(|rows| rows.transitions().collect::<Vec<_>>()));
        told
    }
}

/// Where a reading stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingPlace {
    /// Its stream.
    pub stream: String,
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: Offset,
    /// Its topic path.
    pub topic: String,
    /// Its event time.
    pub time: EventTime,
}

/// A reading that came behind the watermark of its partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateReading {
    /// Position among the rule's late readings.
    pub ordinal: u64,
    /// Which reading.
    pub reading: ReadingPlace,
    /// How far its partition was closed.
    pub watermark: EventTime,
    /// The windows it missed, for a windowed rule.
    pub missed: Option<MissedWindows>,
    /// Its append time.
    pub appended: AppendTime,
}

/// The windows a reading came too late for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissedWindows {
    /// How many: for HOP it may be in time for later ones.
    pub count: u32,
    /// End of the last of them.
    pub last_end: EventTime,
}

/// A reading, or a row of a closed window, that an expression failed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// Position among the rule's errors.
    pub ordinal: u64,
    /// Which reading; `None` for a row of a closed window.
    pub reading: Option<ReadingPlace>,
    /// When: the reading's event time, or the window's end.
    pub time: EventTime,
    /// What went wrong.
    pub error: String,
    /// Append time of the input.
    pub appended: AppendTime,
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn identity_fields() -> Vec<Field> {
    vec![
        Field::new("time", utc(), false),
        Field::new("rule", DataType::Utf8, false),
        Field::new("rule_uid", DataType::UInt64, false),
        Field::new("rule_version", DataType::UInt32, false),
        Field::new("ordinal", DataType::UInt64, false),
        Field::new("stream", DataType::Utf8, true),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::UInt64, true),
        Field::new("topic", DataType::Utf8, true),
    ]
}

static LATE: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = identity_fields();
    fields.push(Field::new("watermark", utc(), false));
    fields.push(Field::new("window_end", utc(), true));
    fields.push(Field::new("windows_missed", DataType::UInt32, true));
    Arc::new(Schema::new(fields))
});

static ERRORS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = identity_fields();
    fields.push(Field::new("error", DataType::Utf8, false));
    Arc::new(Schema::new(fields))
});

/// Columns of internal/late and of the table `late_readings`.
pub fn late_schema() -> SchemaRef {
    Arc::clone(&LATE)
}

/// Columns of internal/rule_errors and of the table `rule_errors`.
pub fn errors_schema() -> SchemaRef {
    Arc::clone(&ERRORS)
}

/// Late readings as a batch of [`late_schema`].
pub fn encode_late(rule: &RuleIdentity, late: &[LateReading]) -> RecordBatch {
    let rows: Vec<_> = late.iter().map(|l| (l.reading.time, l.ordinal, Some(&l.reading))).collect();
    let mut columns = identity_columns(rule, &rows);
    columns.push(times(late.iter().map(|l| Some(l.watermark.0))));
    columns.push(times(late.iter().map(|l| l.missed.map(|m| m.last_end.0))));
    let missed = late.iter().map(|l| l.missed.map(|m| m.count));
    columns.push(Arc::new(missed.collect::<UInt32Array>()));
    RecordBatch::try_new(late_schema(), columns).expect("columns follow the schema")
}

/// Rule errors as a batch of [`errors_schema`].
pub fn encode_errors(rule: &RuleIdentity, errors: &[RuleError]) -> RecordBatch {
    let rows: Vec<_> = errors.iter().map(|e| (e.time, e.ordinal, e.reading.as_ref())).collect();
    let mut columns = identity_columns(rule, &rows);
    columns.push(Arc::new(StringArray::from_iter_values(errors.iter().map(|e| &e.error))));
    RecordBatch::try_new(errors_schema(), columns).expect("columns follow the schema")
}

/// How many outputs of a rule a batch of [`late_schema`] or [`errors_schema`] proves: by version, one
/// more than its largest ordinal.
pub fn ordinals_written(uid: u64, batch: &RecordBatch) -> BTreeMap<u32, u64> {
    let uids = batch.column(2).as_primitive::<UInt64Type>();
    let versions = batch.column(3).as_primitive::<arrow::datatypes::UInt32Type>();
    let ordinals = batch.column(4).as_primitive::<UInt64Type>();
    let mut written = BTreeMap::new();
    for row in (0..batch.num_rows()).filter(|row| uids.value(*row) == uid) {
        let known: &mut u64 = written.entry(versions.value(row)).or_default();
        *known = (*known).max(ordinals.value(row) + 1);
    }
    written
}

fn identity_columns(
    rule: &RuleIdentity,
    rows: &[(EventTime, u64, Option<&ReadingPlace>)],
) -> Vec<ArrayRef> {
    let n = rows.len();
    let places = || rows.iter().map(|(_, _, place)| *place);
    vec![
        times(rows.iter().map(|(time, _, _)| Some(time.0))),
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&rule.name, n))),
        Arc::new(UInt64Array::from(vec![rule.uid; n])),
        Arc::new(UInt32Array::from(vec![rule.version; n])),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|(_, ordinal, _)| *ordinal))),
        Arc::new(places().map(|p| p.map(|p| p.stream.as_str())).collect::<StringArray>()),
        Arc::new(places().map(|p| p.map(|p| p.partition.0.cast_signed())).collect::<Int32Array>()),
        Arc::new(places().map(|p| p.map(|p| p.offset.0)).collect::<UInt64Array>()),
        Arc::new(places().map(|p| p.map(|p| p.topic.as_str())).collect::<StringArray>()),
    ]
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// `batch`'s rows as JSON objects, without its last column (the row lane); NULLs are written.
pub fn json_rows(batch: &RecordBatch) -> Vec<String> {
    let visible: Vec<usize> = (0..batch.num_columns() - 1).collect();
    json_objects(&batch.project(&visible).expect("columns of the batch"))
}

/// `batch`'s rows as JSON objects; NULLs are written.
pub fn json_objects(batch: &RecordBatch) -> Vec<String> {
    objects(batch).lines().map(str::to_owned).collect()
}

/// As [`json_rows`], one a line.
pub fn json_lines(batch: &RecordBatch) -> String {
    let visible: Vec<usize> = (0..batch.num_columns() - 1).collect();
    objects(&batch.project(&visible).expect("columns of the batch"))
}

fn objects(batch: &RecordBatch) -> String {
    if batch.num_columns() == 0 {
        return "{}\n".repeat(batch.num_rows());
    }
    let mut bytes = Vec::new();
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut bytes);
    let written = writer.write(batch).and_then(|()| writer.finish());
    drop(writer);
    match written {
        Ok(()) => String::from_utf8(bytes).expect("JSON is UTF-8"),
        // A type that JSON cannot carry: the outputs go on without their values.
        Err(error) => format!("{{\"error\":{:?}}}\n", error.to_string()).repeat(batch.num_rows()),
    }
}

/// Row `row` of [`json_rows`].
pub fn json_row(batch: &RecordBatch, row: usize) -> String {
    json_rows(&batch.slice(row, 1)).pop().unwrap_or_else(|| "{}".to_owned())
}

/// The values of `column` as text; NULL stays NULL.
pub fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    let text = arrow::compute::cast(column, &DataType::Utf8);
    match text {
        Ok(text) => text.as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect(),
        Err(_) => vec![Some(format!("{:?}", column.data_type())); column.len()],
    }
}
