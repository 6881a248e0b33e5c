//! What a rule is fed: rows, ticks, restarts, commands and table changes, in the input order.
//!
//! Promise: everything an operator may know stands in here, append times included; operators read no
//! clock and do no I/O (S2). Rows of one `Rows` stand in arrival order; they may come from several
//! partitions, so each row carries its own partition, offset and append time in a lane.

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::buffer::ScalarBuffer;
use std::sync::Arc;
use weir_ingest::model::{
    AppendTime, EventTime, Offset, PartitionId, SeriesSnapshot, StreamDefinition, reading,
};

/// One input of a rule.
#[derive(Debug, Clone)]
pub enum Input {
    /// Readings of one stream.
    Rows(Rows),
    /// Event time goes on in a silent partition.
    Tick {
        /// Which of the rule's streams.
        stream: usize,
        /// Which partition.
        partition: PartitionId,
        /// How far.
        event_time: EventTime,
        /// Whether open windows are to be sealed (FLUSH STREAM).
        flush: Flush,
        /// When it was written.
        appended: AppendTime,
    },
    /// The doors were closed from `down_from` until `appended`.
    Restart {
        /// Which of the rule's streams.
        stream: usize,
        /// Which partition.
        partition: PartitionId,
        /// When they closed.
        down_from: AppendTime,
        /// When they opened again.
        appended: AppendTime,
    },
    /// Rows of a partition are gone at this place of its log.
    Gap {
        /// Which of the rule's streams.
        stream: usize,
        /// Which partition.
        partition: PartitionId,
        /// When that was written down.
        appended: AppendTime,
    },
    /// A batch of internal/commands.
    Commands {
        /// As stored.
        batch: RecordBatch,
        /// When it was written.
        appended: AppendTime,
    },
    /// A batch of internal/tables.
    Tables {
        /// As stored.
        batch: RecordBatch,
        /// When it was written.
        appended: AppendTime,
    },
}

impl Input {
    /// When it was written; for rows, the first of them.
    pub fn appended(&self) -> AppendTime {
        match self {
            Self::Rows(rows) => rows.appended(0),
            Self::Tick { appended, .. }
            | Self::Restart { appended, .. }
            | Self::Gap { appended, .. }
            | Self::Commands { appended, .. }
            | Self::Tables { appended, .. } => *appended,
        }
    }
}

impl Input {
    /// About how long it is: for rows, eight bytes a value.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Rows(Rows { batch, .. })
            | Self::Commands { batch, .. }
            | Self::Tables { batch, .. } => 8 * (batch.num_rows() * batch.num_columns()) as u64,
            Self::Tick { .. } | Self::Restart { .. } | Self::Gap { .. } => 0,
        }
    }
}

/// Whether a tick seals what is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// An ordinary tick.
    No,
    /// FLUSH STREAM.
    Yes,
}

/// One value for all rows, or one for each.
#[derive(Debug, Clone)]
pub enum Lane<T: arrow::datatypes::ArrowNativeType> {
    /// The same for all.
    Same(T),
    /// Row by row.
    Each(ScalarBuffer<T>),
}

impl<T: arrow::datatypes::ArrowNativeType> Lane<T> {
    /// The value of a row.
    pub fn get(&self, row: usize) -> T {
        match self {
            Self::Same(value) => *value,
            Self::Each(values) => values[row],
        }
    }

    /// The values of the rows `from .. from + rows`; zero-copy.
    #[must_use]
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        match self {
            Self::Same(value) => Self::Same(*value),
            Self::Each(values) => Self::Each(values.slice(from, rows)),
        }
    }
}

/// Offsets of rows: consecutive from one, or row by row.
#[derive(Debug, Clone)]
pub enum Offsets {
    /// `base`, `base + 1`, ...
    From(Offset),
    /// Row by row.
    Each(ScalarBuffer<u64>),
}

/// Readings of one stream in arrival order.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Which of the rule's streams.
    pub stream: usize,
    /// Stored form (`reading::stored_schema`).
    pub batch: RecordBatch,
    /// The stream as declared when the rule was planned.
    pub definition: Arc<StreamDefinition>,
    /// Covers every series in the batch.
    pub series: Arc<SeriesSnapshot>,
    /// Partition of each row.
    pub partitions: Lane<u32>,
    /// Offset of each row.
    pub offsets: Offsets,
    /// Append time of each row; grows.
    pub append_times: Lane<i64>,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Event times, microseconds.
    pub fn times(&self) -> &ScalarBuffer<i64> {
        reading::time_column(&self.batch)
    }

    /// Series ids.
    pub fn series_ids(&self) -> &[u32] {
        reading::series_column(&self.batch).values()
    }

    /// Partition of a row.
    pub fn partition(&self, row: usize) -> PartitionId {
        PartitionId(self.partitions.get(row))
    }

    /// Offset of a row.
    pub fn offset(&self, row: usize) -> Offset {
        match &self.offsets {
            Offsets::From(base) => base.plus(row as u64),
            Offsets::Each(values) => Offset(values[row]),
        }
    }

    /// Append time of a row.
    pub fn appended(&self, row: usize) -> AppendTime {
        AppendTime(self.append_times.get(row))
    }

    /// The rows `from .. from + rows`; zero-copy.
    #[must_use]
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        Self {
            stream: self.stream,
            batch: self.batch.slice(from, rows),
            definition: Arc::clone(&self.definition),
            series: Arc::clone(&self.series),
            partitions: self.partitions.slice(from, rows),
            offsets: match &self.offsets {
                Offsets::From(base) => Offsets::From(base.plus(from as u64)),
                Offsets::Each(values) => Offsets::Each(values.slice(from, rows)),
            },
            append_times: self.append_times.slice(from, rows),
        }
    }

    /// The SQL form (`reading::table_schema`), zero-copy for fields, time and levels.
    pub fn table(&self) -> RecordBatch {
        self.columns(None)
    }

    /// Those columns of it, by their places in `reading::table_schema`; all when `None`.
    pub fn columns(&self, projection: Option<&[usize]>) -> RecordBatch {
        let at = reading::Position {
            partition: self.partition(0),
            base_offset: self.offset(0),
            append_time: self.appended(0),
        };
        let batch =
            reading::table_batch(&self.definition, &self.batch, at, &self.series, projection);
        self.with_lanes(batch)
    }

    fn with_lanes(&self, batch: RecordBatch) -> RecordBatch {
        let mut columns = batch.columns().to_vec();
        let mut replace = |name: &str, column: ArrayRef| {
            if let Some((index, _)) = batch.schema_ref().column_with_name(name) {
                columns[index] = column;
            }
        };
        if let Lane::Each(times) = &self.append_times {
            let times = TimestampMicrosecondArray::new(times.clone(), None).with_timezone("UTC");
            replace("received_at", Arc::new(times));
        }
        if let Offsets::Each(offsets) = &self.offsets {
            replace("offset", Arc::new(arrow::array::UInt64Array::new(offsets.clone(), None)));
        }
        if let Lane::Each(partitions) = &self.partitions {
            let signed: arrow::array::Int32Array =
                partitions.iter().map(|p| Some(p.cast_signed())).collect();
            replace("partition", Arc::new(signed));
        }
        RecordBatch::try_new(batch.schema(), columns).expect("lanes have the batch's length")
    }
}
