//! The workload: 10 buildings x 10 floors x 10 units x 10 rooms, one climate series each, a reading
//! every 10 s in the order of their nominal times, event times up to 2 s behind; seeded.

use arrow::array::{Float64Array, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use weir_engine::sql::{Statement, parse_statements};
use weir_engine::stream::input::{Lane, Offsets, Rows};
use weir_ingest::model::{
    Offset, SeriesDirectory, SeriesId, SeriesSnapshot, StreamDefinition, reading,
};

pub(crate) const ROOMS: usize = 10_000;
pub(crate) const FLOORS: usize = 100;
const BATCH: usize = 8192;
const ROUND_US: i64 = 10_000_000;
const START_US: i64 = 1_767_225_600_000_000;

/// The stream, its series and its readings in arrival order.
pub(crate) struct Workload {
    pub(crate) definition: Arc<StreamDefinition>,
    pub(crate) series: Arc<SeriesSnapshot>,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rows: usize,
}

impl Workload {
    pub(crate) fn new(rows: usize) -> Self {
        let stream = "CREATE STREAM climate (temperature DOUBLE) \
             TOPIC '/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/climate' \
             WITH (partitions = 1, lateness = '5 seconds')";
        let statements = parse_statements(stream).expect("it is SQL");
        let Some(Statement::CreateStream { definition, .. }) = statements.into_iter().next() else {
            panic!("a stream")
        };
        let directory = SeriesDirectory::new(definition.template().clone());
        for room in 0..ROOMS {
            let (b, f, u, r) = (room / 1000, room / 100 % 10, room / 10 % 10, room % 10);
            let topic = format!(
                "/org/contoso/site/berlin/building/{b}/floor/{f}/unit/{u}/room/{r}/sensors/climate"
            );
            directory.push(SeriesId(room as u32), topic.as_str().into());
        }
        let definition = Arc::new(definition);
        let batches = batches(&definition, rows);
        Self { series: directory.snapshot(), definition, batches, rows }
    }

    /// The batches as a rule is fed with them.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = Rows> {
        self.batches.iter().enumerate().map(|(at, batch)| Rows {
            stream: 0,
            batch: batch.clone(),
            definition: Arc::clone(&self.definition),
            series: Arc::clone(&self.series),
            partitions: Lane::Same(0),
            offsets: Offsets::From(Offset((at * BATCH) as u64)),
            append_times: Lane::Same(START_US + at as i64),
        })
    }
}

/// The floor of a room, from 0 to 99.
pub(crate) fn floor_of(room: usize) -> usize {
    room / 100
}

fn batches(definition: &StreamDefinition, rows: usize) -> Vec<RecordBatch> {
    let mut random = StdRng::seed_from_u64(42);
    let mut phase: Vec<u32> = (0..ROOMS as u32).collect();
    phase.shuffle(&mut random);
    let mut drift = vec![0.0; FLOORS];
    let mut floors: Vec<usize> = (0..FLOORS).collect();
    floors.shuffle(&mut random);
    for floor in &floors[..10] {
        let sign = if random.random_bool(0.5) { 1.0 } else { -1.0 };
        drift[*floor] = sign * random.random_range(2.5..4.0);
    }
    let schema = reading::stored_schema(definition, reading::Hidden::default());
    let starts = (0..rows).step_by(BATCH);
    let batch = |start: usize| {
        let (mut times, mut series, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for row in start..rows.min(start + BATCH) {
            let (round, position) = (row / ROOMS, row % ROOMS);
            let nominal = START_US
                + 2_000_000
                + round as i64 * ROUND_US
                + (position * 10_000 / ROOMS) as i64 * 1000;
            let time = nominal - random.random_range(0..=2000_i64) * 1000;
            let room = phase[position];
            // The sum of a few draws is near enough to a bell.
            let noise: f64 = (0..6).map(|_| random.random_range(-1.0..1.0)).sum::<f64>() * 0.57;
            let wave = 0.5 * ((time - START_US) as f64 / 3.6e9).sin();
            times.push(time);
            series.push(room);
            values.push(
                ((20.0 + drift[floor_of(room as usize)] + wave + noise) * 100.0).round() / 100.0,
            );
        }
        RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
                Arc::new(UInt32Array::from(series)),
                Arc::new(Float64Array::from(values)),
            ],
        )
        .expect("columns of the stream")
    };
    starts.map(batch).collect()
}
