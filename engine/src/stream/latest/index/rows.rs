//! The latest readings as columns: of the series and columns that are asked for.
//!
//! Promise: what is not asked for is not copied; level columns share their values with the directory.

use super::{AGE, LatestIndex, NEVER, latest_schema};
use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, RecordBatch, RecordBatchOptions,
    StringArray, TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Field, UInt32Type};
use std::sync::Arc;
use weir_ingest::model::{AppendTime, SeriesSnapshot, StreamDefinition, reading};

/// The newest reading of each series of a stream, at one moment.
#[derive(Debug, Clone, Copy)]
pub struct LatestRows<'i> {
    pub(super) index: &'i LatestIndex,
    pub(super) stream: &'i StreamDefinition,
    pub(super) series: &'i SeriesSnapshot,
    pub(super) now: AppendTime,
}

impl LatestRows<'_> {
    /// Number of series known, with or without a reading.
    pub fn series(&self) -> usize {
        self.series.len()
    }

    /// Whether a series has a reading.
    pub fn has(&self, series: u32) -> bool {
        (series as usize) < self.series.len()
            && self.index.times.get(series as usize).is_some_and(|time| *time != NEVER)
    }

    /// The series that have a reading, in id order.
    pub fn present(&self) -> Vec<u32> {
        let known = u32::try_from(self.series.len()).expect("series ids are 32 bits");
        (0..known).filter(|series| self.has(*series)).collect()
    }

    /// All of them, in id order, as [`latest_schema`].
    pub fn all(&self) -> RecordBatch {
        let columns: Vec<usize> = (0..latest_schema(self.stream).fields().len()).collect();
        self.columns(&self.present(), &columns)
    }

    /// These columns of [`latest_schema`] of these series. A column of levels may be asked of a series
    /// without a reading, others may not.
    pub fn columns(&self, series: &[u32], columns: &[usize]) -> RecordBatch {
        let schema = latest_schema(self.stream).project(columns).expect("columns of that schema");
        let arrays = schema.fields().iter().map(|field| self.column(series, field)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(series.len()));
        RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)
            .expect("columns are built from latest_schema")
    }

    /// The newest readings of these series, each of which has one, as the log stores rows.
    pub fn stored(&self, series: &[u32]) -> RecordBatch {
        let schema = reading::stored_schema(self.stream, reading::Hidden::default());
        let ids = || Arc::new(UInt32Array::from(series.to_vec()));
        let column = |field: &Arc<Field>| match field.name().as_str() {
            reading::SERIES => ids() as ArrayRef,
            _ => self.column(series, field),
        };
        let arrays = schema.fields().iter().map(column).collect();
        RecordBatch::try_new(schema, arrays).expect("columns are built from that schema")
    }

    fn column(&self, series: &[u32], field: &Field) -> ArrayRef {
        let LatestIndex { times, appended, partitions, offsets, sent, .. } = self.index;
        let slots = || series.iter().map(|id| *id as usize);
        let timestamps = |values: &[i64]| -> ArrayRef {
            let values = TimestampMicrosecondArray::from_iter_values(slots().map(|s| values[s]));
            Arc::new(values.with_timezone("UTC"))
        };
        let dictionary = |values: &ArrayRef| -> ArrayRef {
            let keys = UInt32Array::from(series.to_vec());
            Arc::new(DictionaryArray::<UInt32Type>::new(keys, Arc::clone(values)))
        };
        match field.name().as_str() {
            reading::TIME => timestamps(times),
            "received_at" => timestamps(appended),
            reading::SOURCE_TIME => {
                let sent = slots().map(|s| sent[s]).collect::<TimestampMicrosecondArray>();
                Arc::new(sent.with_timezone("UTC"))
            }
            "topic" => dictionary(&self.series.topics),
            "partition" => Arc::new(Int32Array::from_iter_values(slots().map(|s| partitions[s]))),
            "offset" => Arc::new(UInt64Array::from_iter_values(slots().map(|s| offsets[s]))),
            "publisher" => anonymous(series.len()),
            AGE => Arc::new(Float64Array::from_iter_values(
                slots().map(|s| seconds_between(times[s], self.now.0)),
            )),
            name => match self.stream.levels().iter().position(|level| level == name) {
                Some(level) => dictionary(&self.series.levels[level]),
                None => self.field(name, series),
            },
        }
    }

    fn field(&self, name: &str, series: &[u32]) -> ArrayRef {
        let columns = self.stream.columns();
        let index = columns.iter().position(|column| column.name == name);
        let index = index.expect("latest_schema names levels and fields of the stream");
        match self.index.fields.get(index) {
            Some(column) => column.gather(series),
            None => {
                let data_type = columns[index].column_type.data_type();
                arrow::array::new_null_array(&data_type, series.len())
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an age in seconds needs no 53 bits of them")]
fn seconds_between(earlier_us: i64, later_us: i64) -> f64 {
    later_us.saturating_sub(earlier_us) as f64 / 1e6
}

/// Until tokens exist every caller is `anonymous`.
fn anonymous(rows: usize) -> ArrayRef {
    let keys = UInt32Array::from(vec![0; rows]);
    Arc::new(DictionaryArray::new(keys, Arc::new(StringArray::from(vec!["anonymous"]))))
}
