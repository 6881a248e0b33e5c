//! A log on a simulated disk with one stream, for the tests of its parts.

use super::{AppendResult, EntryBody, Log, LogConfig, Partition, Stream, TickKind};
use crate::io::{Clock, Disk, File, Open, SimulatedClock, SimulatedDisk};
use crate::model::reading::{Hidden, stored_schema};
use crate::model::{
    Column, ColumnType, EventTime, Offset, Retention, SeriesId, StreamDefinition, StreamOptions,
    TopicTemplate,
};
use arrow::array::{Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use std::path::PathBuf;
use std::sync::Arc;

/// The log, pumped by hand.
pub(super) struct TestRoom {
    pub(super) disk: SimulatedDisk,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) log: Arc<Log>,
    pub(super) stream: Arc<Stream>,
    pub(super) series: SeriesId,
    options: StreamOptions,
    config: LogConfig,
}

pub(super) fn definition(options: StreamOptions) -> StreamDefinition {
    let column = Column { name: "value".to_owned(), column_type: ColumnType::Double, unit: None };
    let template = TopicTemplate::parse("/room/{room}").unwrap();
    StreamDefinition::new("climate", vec![column], template, options).unwrap()
}

impl TestRoom {
    /// One partition.
    pub(super) fn new(segment_bytes_max: u64) -> Self {
        let options = StreamOptions { partitions: 1, ..StreamOptions::default() };
        Self::with(options, LogConfig { segment_bytes_max, ..LogConfig::new("data") })
    }

    pub(super) fn with(options: StreamOptions, config: LogConfig) -> Self {
        let disk = SimulatedDisk::new(1);
        let clock = Arc::new(SimulatedClock::at(1_000_000));
        Self::on(disk, clock, options, config)
    }

    fn on(
        disk: SimulatedDisk,
        clock: Arc<SimulatedClock>,
        options: StreamOptions,
        config: LogConfig,
    ) -> Self {
        let at: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let log = Log::open_manual(Arc::new(disk.clone()), at, config.clone()).unwrap();
        let stream = log
            .streams()
            .get("climate")
            .unwrap_or_else(|| log.create_stream(definition(options.clone())).unwrap());
        let series = log.streams().route("/room/1").unwrap().series;
        Self { disk, clock, log, stream, series, options, config }
    }

    /// One partition whose rows are kept for `retention`.
    pub(super) fn keeping(segment_bytes_max: u64, retention: Retention) -> Self {
        let options = StreamOptions { partitions: 1, retention, ..StreamOptions::default() };
        Self::with(options, LogConfig { segment_bytes_max, ..LogConfig::new("data") })
    }

    /// The process ends without a word and starts again; the disk loses nothing.
    pub(super) fn killed(self) -> Self {
        let Self { disk, clock, options, config, log, stream, .. } = self;
        drop((log, stream));
        Self::on(disk, clock, options, config)
    }

    /// The process ends, something happens to its directory, and it starts again.
    pub(super) fn between<T>(
        self,
        act: impl FnOnce(&Arc<dyn Disk>, &Arc<dyn Clock>, &LogConfig) -> T,
    ) -> (Self, T) {
        let Self { disk, clock, options, config, log, stream, .. } = self;
        drop((log, stream));
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let at: Arc<dyn Clock> = Arc::<SimulatedClock>::clone(&clock);
        let done = act(&shared, &at, &config);
        (Self::on(disk, clock, options, config), done)
    }

    /// A clean stop and a start.
    pub(super) fn restarted(self) -> Self {
        self.log.stop();
        self.killed()
    }

    /// The power goes off: what was not synced is lost or not.
    pub(super) fn power_cut(self) -> Self {
        self.disk.restart();
        self.killed()
    }

    pub(super) fn partition(&self) -> &Arc<Partition> {
        &self.stream.partitions()[0]
    }

    pub(super) fn put(&self, rows: usize) -> AppendResult {
        self.put_in(0, rows)
    }

    pub(super) fn put_in(&self, partition: usize, rows: usize) -> AppendResult {
        let receipt = self.stream.partitions()[partition].append(self.rows(rows));
        self.log.step_committers();
        receipt.wait()
    }

    /// Rows of one series, a microsecond apart from 0.
    pub(super) fn rows(&self, n: usize) -> RecordBatch {
        let schema = stored_schema(&definition(self.options.clone()), Hidden::default());
        let times = TimestampMicrosecondArray::from_iter_values(0..n as i64).with_timezone("UTC");
        let values = Float64Array::from_iter_values((0..n).map(|v| v as f64));
        let series = UInt32Array::from(vec![self.series.0; n]);
        RecordBatch::try_new(schema, vec![Arc::new(times), Arc::new(series), Arc::new(values)])
            .unwrap()
    }

    pub(super) fn tick(&self, at: i64) {
        let receipt = self.partition().append_tick(EventTime(at), TickKind::Idle);
        self.log.step_committers();
        receipt.wait().unwrap();
    }

    /// Base offset and rows of every frame of rows from `from` on, and the gaps.
    pub(super) fn read(&self, from: u64) -> Vec<(u64, u64)> {
        let mut reader = self.partition().reader(Offset(from));
        let mut read = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            match entry.body {
                EntryBody::Rows(rows) => read.push((entry.base_offset.0, rows.num_rows() as u64)),
                EntryBody::Gap { from, to } => panic!("a gap from {from} to {to}"),
                EntryBody::Tick { .. } | EntryBody::Restart { .. } => {}
            }
        }
        read
    }

    /// The files of a partition, oldest first.
    pub(super) fn files(&self, partition: usize) -> Vec<PathBuf> {
        let directory = format!("data/streams/climate-1/{partition}");
        let files = self.disk.list(std::path::Path::new(&directory)).unwrap();
        files.into_iter().filter(|f| f.extension().is_some_and(|e| e == "seg")).collect()
    }

    pub(super) fn file(&self, n: usize) -> Arc<dyn File> {
        self.disk.open(&self.files(0)[n], Open::Write).unwrap()
    }
}
