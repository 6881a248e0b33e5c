//! Arrow builders of one (stream, partition).
//!
//! Promise: a row is appended whole or not at all: the caller hands over checked cells. A column that
//! no row has filled yet takes no memory.

use super::scan::Text;
use super::straight::Bits;
use crate::model::reading::{Hidden, stored_schema};
use crate::model::{ColumnType, EventTime, Limits, SeriesId, StreamDefinition};
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanBuilder, FixedSizeBinaryBuilder, NullBufferBuilder,
    PrimitiveArray, RecordBatch, StringBuilder, TimestampMicrosecondArray, UInt32Array,
    new_null_array,
};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use std::sync::Arc;

/// Rows a new column has room for, and bytes of each text.
const FIRST_ROWS: usize = 8;
const TEXT_BYTES: usize = 16;

/// A checked value on its way into a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell {
    Null,
    Double(f64),
    Bigint(i64),
    Boolean(bool),
    /// A span of the row's text.
    Text(Text),
    Timestamp(EventTime),
}

/// What every row has besides its fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) time: EventTime,
    pub(super) series: SeriesId,
    pub(super) source_time: Option<EventTime>,
    pub(super) dedupe: Option<[u8; 16]>,
    pub(super) index: u32,
}

/// Rows on their way into a batch.
#[derive(Debug)]
pub(super) struct Columns {
    time: Vec<i64>,
    series: Vec<u32>,
    indexes: Vec<u32>,
    fields: Vec<FieldBuilder>,
    source_time: Option<Values<TimestampMicrosecondType>>,
    dedupe: Option<FixedSizeBinaryBuilder>,
    text_bytes: usize,
}

#[derive(Debug)]
enum FieldBuilder {
    /// Nothing but nulls so far.
    Absent(ColumnType),
    Double(Values<Float64Type>),
    Bigint(Values<Int64Type>),
    Boolean(BooleanBuilder),
    Text(StringBuilder),
    Timestamp(Values<TimestampMicrosecondType>),
}

/// Numbers and which of them are null: Arrow's builder without its detour over untyped data, which
/// is most of the work where a column has one row.
#[derive(Debug)]
struct Values<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
}

impl<T: ArrowPrimitiveType> Values<T> {
    fn with_capacity(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), nulls: NullBufferBuilder::new(rows) }
    }

    #[inline]
    fn append_value(&mut self, value: T::Native) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    #[inline]
    fn append_null(&mut self) {
        self.append_nulls(1);
    }

    fn append_nulls(&mut self, rows: usize) {
        self.values.resize(self.values.len() + rows, T::Native::default());
        if rows > 0 {
            self.nulls.append_n_nulls(rows);
        }
    }

    fn append_option(&mut self, value: Option<T::Native>) {
        match value {
            Some(value) => self.append_value(value),
            None => self.append_null(),
        }
    }

    fn finish(mut self) -> PrimitiveArray<T> {
        PrimitiveArray::new(self.values.into(), self.nulls.finish())
    }
}

impl Columns {
    pub(super) fn new(stream: &StreamDefinition) -> Self {
        Self {
            time: Vec::new(),
            series: Vec::new(),
            indexes: Vec::new(),
            fields: stream.columns().iter().map(|c| FieldBuilder::Absent(c.column_type)).collect(),
            source_time: None,
            dedupe: None,
            text_bytes: 0,
        }
    }

    #[inline]
    pub(super) fn rows(&self) -> usize {
        self.time.len()
    }

    /// About what the batch will take.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.rows() * row_bytes(self.fields.len()) + self.text_bytes
    }

    /// Whether the batch should be ended so that it fits a frame.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.rows() >= Limits::FRAME_ROWS_MAX / 4 || self.bytes() >= Limits::GROUP_BYTES_MAX
    }

    /// Appends one row; `cells` by column.
    #[inline]
    pub(super) fn push(&mut self, head: Head, cells: &[Cell], text: &str) {
        let rows = self.rows();
        for (field, cell) in self.fields.iter_mut().zip(cells) {
            self.text_bytes += field.push(*cell, text, rows);
        }
        self.push_head(head, rows);
    }

    /// As [`Self::push`], of a row whose values were read as what the columns keep.
    #[inline]
    pub(super) fn push_bits(&mut self, head: Head, bits: &[Bits], text: &str) {
        let rows = self.rows();
        for (field, bits) in self.fields.iter_mut().zip(bits) {
            self.text_bytes += field.push_bits(bits, text, rows);
        }
        self.push_head(head, rows);
    }

    #[inline]
    fn push_head(&mut self, head: Head, rows: usize) {
        self.time.push(head.time.0);
        self.series.push(head.series.0);
        self.indexes.push(head.index);
        if self.source_time.is_some() || head.source_time.is_some() {
            self.push_source_time(head.source_time, rows);
        }
        if self.dedupe.is_some() || head.dedupe.is_some() {
            self.push_dedupe(head.dedupe, rows);
        }
    }

    fn push_source_time(&mut self, time: Option<EventTime>, rows: usize) {
        let builder = self.source_time.get_or_insert_with(|| {
            let mut builder = Values::with_capacity(rows + 1);
            builder.append_nulls(rows);
            builder
        });
        builder.append_option(time.map(|t| t.0));
    }

    fn push_dedupe(&mut self, hash: Option<[u8; 16]>, rows: usize) {
        let builder = self.dedupe.get_or_insert_with(|| {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(rows + 1, 16);
            builder.append_nulls(rows);
            builder
        });
        match hash {
            Some(hash) => builder.append_value(hash).expect("16 bytes into 16"),
            None => builder.append_null(),
        }
    }

    /// The batch and each row's index in the request.
    pub(super) fn finish(self, stream: &StreamDefinition) -> (RecordBatch, Vec<u32>) {
        let rows = self.rows();
        let hidden =
            Hidden { source_time: self.source_time.is_some(), dedupe: self.dedupe.is_some() };
        let schema = stored_schema(stream, hidden);
        let utc = schema.field(0).data_type();
        let time = TimestampMicrosecondArray::from(self.time).with_data_type(utc.clone());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        columns.push(Arc::new(time));
        columns.push(Arc::new(UInt32Array::from(self.series)));
        columns.extend(self.fields.into_iter().map(|field| field.finish(rows, utc)));
        if let Some(times) = self.source_time {
            columns.push(Arc::new(times.finish().with_data_type(utc.clone())));
        }
        if let Some(mut builder) = self.dedupe {
            columns.push(Arc::new(builder.finish()));
        }
        let batch = RecordBatch::try_new(schema, columns)
            .expect("the builders are those of the stored schema");
        (batch, self.indexes)
    }
}

/// What one row takes besides its texts.
pub(super) fn row_bytes(fields: usize) -> usize {
    16 + 8 * fields
}

impl FieldBuilder {
    /// Appends a cell behind `rows` others; how many bytes of text that were.
    #[inline]
    fn push(&mut self, cell: Cell, text: &str, rows: usize) -> usize {
        if let Self::Absent(column_type) = self {
            if cell == Cell::Null {
                return 0;
            }
            *self = Self::after_nulls(*column_type, rows);
        }
        match (self, cell) {
            (Self::Double(b), Cell::Double(value)) => b.append_value(value),
            (Self::Double(b), _) => b.append_null(),
            (Self::Bigint(b), Cell::Bigint(value)) => b.append_value(value),
            (Self::Bigint(b), _) => b.append_null(),
            (Self::Boolean(b), Cell::Boolean(value)) => b.append_value(value),
            (Self::Boolean(b), _) => b.append_null(),
            (Self::Timestamp(b), Cell::Timestamp(value)) => b.append_value(value.0),
            (Self::Timestamp(b), _) => b.append_null(),
            (Self::Text(b), Cell::Text(value)) => {
                let value = value.of(text);
                b.append_value(&value);
                return value.len();
            }
            (Self::Text(b), _) => b.append_null(),
            (Self::Absent(_), _) => unreachable!("a builder was made above"),
        }
        0
    }

    /// As [`Self::push`].
    #[inline]
    fn push_bits(&mut self, bits: &Bits, text: &str, rows: usize) -> usize {
        match (&mut *self, bits.present) {
            (Self::Absent(_), false) => {}
            (Self::Absent(column_type), true) => {
                *self = Self::after_nulls(*column_type, rows);
                return self.push_bits(bits, text, rows);
            }
            (Self::Double(b), true) => b.append_value(f64::from_bits(bits.value)),
            (Self::Double(b), false) => b.append_null(),
            (Self::Bigint(b), true) => b.append_value(bits.value.cast_signed()),
            (Self::Bigint(b), false) => b.append_null(),
            (Self::Boolean(b), true) => b.append_value(bits.value != 0),
            (Self::Boolean(b), false) => b.append_null(),
            (Self::Text(b), true) => {
                let value = &text[bits.span()];
                b.append_value(value);
                return value.len();
            }
            (Self::Text(b), false) => b.append_null(),
            (Self::Timestamp(b), false) => b.append_null(),
            (Self::Timestamp(_), true) => unreachable!("no moment is read straight"),
        }
        0
    }

    #[cold]
    fn after_nulls(column_type: ColumnType, rows: usize) -> Self {
        macro_rules! builder {
            ($variant:ident, $builder:expr) => {{
                let mut builder = $builder;
                builder.append_nulls(rows);
                Self::$variant(builder)
            }};
        }
        // The builders' own beginning is 1,024 rows: far too much for the many requests of one row.
        let room = (rows + 1).max(FIRST_ROWS);
        match column_type {
            ColumnType::Double => builder!(Double, Values::with_capacity(room)),
            ColumnType::Bigint => builder!(Bigint, Values::with_capacity(room)),
            ColumnType::Boolean => builder!(Boolean, BooleanBuilder::with_capacity(room)),
            ColumnType::Text => {
                builder!(Text, StringBuilder::with_capacity(room, room * TEXT_BYTES))
            }
            ColumnType::Timestamp => builder!(Timestamp, Values::with_capacity(room)),
        }
    }

    fn finish(self, rows: usize, utc: &DataType) -> ArrayRef {
        match self {
            Self::Absent(column_type) => new_null_array(&column_type.data_type(), rows),
            Self::Double(b) => Arc::new(b.finish()),
            Self::Bigint(b) => Arc::new(b.finish()),
            Self::Boolean(mut b) => Arc::new(b.finish()),
            Self::Text(mut b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish().with_data_type(utc.clone())),
        }
    }
}
