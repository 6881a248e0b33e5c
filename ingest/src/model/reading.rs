//! What one row looks like: stored in the log, and as a SQL table.
//!
//! Promise: the stored form holds ids, never strings per row; the SQL form is made from it without
//! touching rows: level columns are dictionaries that share the series column as their keys.

use super::ids::{AppendTime, Offset, PartitionId};
use super::series::SeriesSnapshot;
use super::stream::{FedBy, StreamDefinition, utc_timestamp};
use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use std::sync::{Arc, OnceLock};

/// Stored column of the event time, microseconds UTC, never null.
pub const TIME: &str = "time";
/// Stored column of the series id, never null.
pub const SERIES: &str = "series";
/// Stored column of the sent time of a stamped reading; present only in frames that have one.
pub const SOURCE_TIME: &str = "source_time";
/// Stored column of the 128-bit dedupe hash; present only in frames that have one.
pub const DEDUPE: &str = "dedupe";

/// Until tokens exist whoever publishes is this one.
pub const PUBLISHER: &str = "anonymous";

/// The stored schema: `time`, `series`, the fields in order, then the hidden columns a frame needs.
/// The same one each time, so that batches of one declaration are told alike by its address.
pub fn stored_schema(stream: &StreamDefinition, hidden: Hidden) -> SchemaRef {
    let all = stream.stored().0.get_or_init(|| Hidden::ALL.map(|hidden| build(stream, hidden)));
    Arc::clone(&all[hidden.index()])
}

/// The stored schemas of a declaration, made when first asked for; they follow from its columns.
#[derive(Debug, Clone, Default)]
pub(super) struct StoredSchemas(OnceLock<[SchemaRef; 4]>);

impl PartialEq for StoredSchemas {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for StoredSchemas {}

fn build(stream: &StreamDefinition, hidden: Hidden) -> SchemaRef {
    let mut fields =
        vec![Field::new(TIME, utc_timestamp(), false), Field::new(SERIES, DataType::UInt32, false)];
    fields.extend(
        stream.columns().iter().map(|c| Field::new(&c.name, c.column_type.data_type(), true)),
    );
    if hidden.source_time {
        fields.push(Field::new(SOURCE_TIME, utc_timestamp(), true));
    }
    if hidden.dedupe {
        fields.push(Field::new(DEDUPE, DataType::FixedSizeBinary(16), true));
    }
    Arc::new(Schema::new(fields))
}

/// Which hidden columns a stored batch carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hidden {
    /// Some row was stamped.
    pub source_time: bool,
    /// Some row came with an id.
    pub dedupe: bool,
}

impl Hidden {
    /// All there are, by [`Self::index`].
    pub const ALL: [Self; 4] = [
        Self { source_time: false, dedupe: false },
        Self { source_time: true, dedupe: false },
        Self { source_time: false, dedupe: true },
        Self { source_time: true, dedupe: true },
    ];

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        usize::from(self.source_time) + 2 * usize::from(self.dedupe)
    }

    /// What `batch` carries.
    pub fn of(batch: &RecordBatch) -> Self {
        let has = |name| batch.schema_ref().column_with_name(name).is_some();
        Self { source_time: has(SOURCE_TIME), dedupe: has(DEDUPE) }
    }

    /// What both together carry.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            source_time: self.source_time || other.source_time,
            dedupe: self.dedupe || other.dedupe,
        }
    }
}

/// `batch` with exactly the columns of `stored_schema(stream, hidden)`: what is missing is null.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    if batch.schema_ref() == schema {
        return batch.clone();
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), batch.num_rows()),
        })
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns).expect("only nullable columns can be missing")
}

/// The type of `topic` and of every level column.
pub fn level_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
}

/// The schema SQL sees: `time`, levels, fields, then `topic`, `received_at`, `source_time`,
/// `partition`, `offset`, `publisher`.
pub fn table_schema(stream: &StreamDefinition) -> SchemaRef {
    let mut fields = vec![Field::new(TIME, utc_timestamp(), false)];
    fields.extend(stream.levels().iter().map(|name| Field::new(name, level_type(), false)));
    fields.extend(
        stream.columns().iter().map(|c| Field::new(&c.name, c.column_type.data_type(), true)),
    );
    fields.extend([
        Field::new("topic", level_type(), false),
        Field::new("received_at", utc_timestamp(), false),
        Field::new(SOURCE_TIME, utc_timestamp(), true),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::UInt64, false),
        Field::new("publisher", level_type(), false),
    ]);
    Arc::new(Schema::new(fields))
}

/// Where a stored batch came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Its partition.
    pub partition: PartitionId,
    /// Offset of its first row.
    pub base_offset: Offset,
    /// When the log took it: `received_at` of all its rows.
    pub append_time: AppendTime,
}

/// The columns `projection` (indices into [`table_schema`]; all when `None`) of a stored batch.
/// Zero-copy for fields, time and levels.
pub fn table_batch(
    stream: &StreamDefinition,
    stored: &RecordBatch,
    at: Position,
    series: &SeriesSnapshot,
    projection: Option<&[usize]>,
) -> RecordBatch {
    let schema = table_schema(stream);
    let all: Vec<usize>;
    let wanted = match projection {
        Some(wanted) => wanted,
        None => {
            all = (0..schema.fields().len()).collect();
            &all
        }
    };
    let columns: Vec<ArrayRef> =
        wanted.iter().map(|i| table_column(stream, stored, at, series, schema.field(*i))).collect();
    let schema = Arc::new(schema.project(wanted).expect("projection names columns of the schema"));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(stored.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .expect("columns match table_schema")
}

fn table_column(
    stream: &StreamDefinition,
    stored: &RecordBatch,
    at: Position,
    series: &SeriesSnapshot,
    field: &Field,
) -> ArrayRef {
    let rows = stored.num_rows();
    match field.name().as_str() {
        "topic" => dictionary(stored, &series.topics),
        "received_at" => Arc::new(
            TimestampMicrosecondArray::from(vec![at.append_time.0; rows]).with_timezone("UTC"),
        ),
        "partition" => Arc::new(Int32Array::from(vec![at.partition.0.cast_signed(); rows])),
        "offset" => {
            let first = at.base_offset.0;
            Arc::new(UInt64Array::from_iter_values(first..first + rows as u64))
        }
        "publisher" => publisher(stream, rows),
        name => match stream.levels().iter().position(|level| level == name) {
            Some(level) => dictionary(stored, &series.levels[level]),
            None => match stored.column_by_name(name) {
                Some(column) => Arc::clone(column),
                None => new_null_array(field.data_type(), rows),
            },
        },
    }
}

/// Until tokens exist every caller is `anonymous`.
fn publisher(stream: &StreamDefinition, rows: usize) -> ArrayRef {
    let publisher = match stream.fed_by() {
        FedBy::Doors => "anonymous".to_owned(),
        FedBy::Rule => format!("rules/{}", stream.name()),
    };
    let keys = UInt32Array::from(vec![0; rows]);
    Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(vec![publisher]))))
}

fn dictionary(stored: &RecordBatch, values: &ArrayRef) -> ArrayRef {
    let keys = series_column(stored).clone();
    Arc::new(DictionaryArray::<UInt32Type>::new(keys, Arc::clone(values)))
}

/// The series ids of a stored batch.
/// # Panics
/// If the batch is not one of [`stored_schema`].
pub fn series_column(stored: &RecordBatch) -> &UInt32Array {
    stored.column(1).as_primitive()
}

/// The event times of a stored batch, microseconds.
/// # Panics
/// As [`series_column`].
pub fn time_column(stored: &RecordBatch) -> &ScalarBuffer<i64> {
    stored.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>().values()
}
