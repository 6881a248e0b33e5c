//! Lines become inputs: decoded, each row with its own append time, ticks before the rows they precede.

use super::definitions::Definitions;
use super::{ReplayOptions, Summary};
use crate::stream::input::{Flush, Input, Lane, Offsets, Rows};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use sonic_rs::JsonValueTrait;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;
use weir_ingest::decode::{Decoded, DecodedRows, Decoder};
use weir_ingest::log::{Admission, DedupeWindow, TickPolicy};
use weir_ingest::model::{AppendTime, EventTime, PartitionId, reading};

/// What comes next.
pub(super) enum Arrived {
    Input(Input),
    Refused { after: AppendTime, line: u64, reason: String },
}

/// Where the pieces of a decoded chunk stand in arrival order.
enum Piece {
    Row { rows: usize, row: usize, arrival: i64 },
    Refused { line: u64, reason: String },
}

struct StreamState {
    policy: Option<TickPolicy>,
    offsets: Vec<u64>,
    dedupe: Vec<Option<DedupeWindow>>,
    newest: Option<i64>,
}

pub(super) struct Arrivals<'d> {
    definitions: &'d Definitions,
    decoder: Decoder<'d>,
    arrival: Option<String>,
    /// Lines not decoded yet: text and number.
    lines: Vec<(Vec<u8>, u64)>,
    decoded: Decoded,
    pieces: VecDeque<Piece>,
    streams: Vec<StreamState>,
    /// Ticks that crossed no boundary: only the last of a lane matters, before the next row.
    held: BTreeMap<(usize, u32), Input>,
    ready: VecDeque<Arrived>,
    clock: i64,
    last_append: i64,
    numbers: u64,
    readings: usize,
    taken: u64,
    duplicates: u64,
    started: Instant,
}

impl<'d> Arrivals<'d> {
    #[expect(clippy::disallowed_methods, reason = "how long a replay took is shown to a person")]
    pub(super) fn new(definitions: &'d Definitions, options: &ReplayOptions) -> Self {
        let streams = definitions.streams.iter().map(|stream| {
            let definition = stream.definition();
            let options = definition.options();
            let bytes = options.dedupe_bytes / u64::from(options.partitions);
            let window =
                || (!options.dedupe.is_zero()).then(|| DedupeWindow::new(options.dedupe, bytes));
            StreamState {
                policy: None,
                offsets: vec![0; options.partitions as usize],
                dedupe: (0..options.partitions).map(|_| window()).collect(),
                newest: None,
            }
        });
        Self {
            decoder: Decoder::new(definitions.log.streams()),
            arrival: options.arrival.clone(),
            lines: Vec::new(),
            decoded: Decoded::default(),
            pieces: VecDeque::new(),
            streams: streams.collect(),
            definitions,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            clock: 0,
            last_append: i64::MIN / 4,
            numbers: 0,
            readings: 0,
            taken: 0,
            duplicates: 0,
            started: Instant::now(),
        }
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        self.numbers += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.iter().all(u8::is_ascii_whitespace) {
            self.readings += 1;
            self.lines.push((line.to_vec(), self.numbers));
        }
    }

    /// Readings seen so far, refused ones included.
    pub(super) fn readings(&self) -> usize {
        self.readings
    }

    /// Lines that wait to be decoded.
    pub(super) fn pending(&self) -> usize {
        self.lines.len()
    }

    /// Decodes the waiting lines.
    pub(super) fn decode(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let mut arrivals = Vec::with_capacity(lines.len());
        let mut clock = self.clock;
        for ((line, _), index) in lines.iter().zip(0..) {
            if let Some(field) = &self.arrival {
                clock = clock.max(arrival_of(line, field).unwrap_or(clock));
            }
            arrivals.push(clock);
            self.decoder.push_json(line, index, AppendTime(clock));
        }
        self.decoded = self.decoder.finish();
        let mut pieces: Vec<(u32, Piece)> = Vec::with_capacity(lines.len());
        for (number, rows) in self.decoded.rows.iter().enumerate() {
            pieces.extend(rows.indexes.iter().enumerate().map(|(row, index)| {
                (*index, Piece::Row { rows: number, row, arrival: arrivals[*index as usize] })
            }));
        }
        pieces.extend(self.decoded.refused.iter().map(|refusal| {
            let line = lines[refusal.index as usize].1;
            (refusal.index, Piece::Refused { line, reason: refusal.reason.to_string() })
        }));
        pieces.sort_by_key(|(index, _)| *index);
        self.pieces = pieces.into_iter().map(|(_, piece)| piece).collect();
    }

    /// What comes next of the decoded chunk. A tick that does not bring its lane to `boundary`, the
    /// next event time at which a rule does something, may be left out if another follows.
    pub(super) fn next(&mut self, boundary: Option<i64>) -> Option<Arrived> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        let mut run = Run::default();
        while let Some(piece) = self.pieces.front() {
            let Piece::Row { rows, row, arrival } = *piece else {
                if run.is_empty() {
                    return self.refused();
                }
                break;
            };
            let of = &self.decoded.rows[rows];
            let stream = self.stream_of(of);
            let time = reading::time_column(&of.batch)[row];
            let clock = if self.arrival.is_some() { arrival } else { self.clock.max(time) };
            let append = clock.max(self.last_append.saturating_add(1));
            if run.is_empty() {
                if let Some(tick) = self.tick_before(append, boundary) {
                    return Some(tick);
                }
            } else if run.stream != stream || self.is_tick_due(append) {
                break;
            }
            self.pieces.pop_front();
            self.clock = self.clock.max(clock);
            self.take_row(stream, rows, row, AppendTime(append), &mut run);
        }
        if !run.is_empty() {
            return Some(Arrived::Input(Input::Rows(self.rows_of(run))));
        }
        self.ready.pop_front()
    }

    fn refused(&mut self) -> Option<Arrived> {
        match self.pieces.pop_front() {
            Some(Piece::Refused { line, reason }) => {
                Some(Arrived::Refused { after: AppendTime(self.last_append), line, reason })
            }
            _ => None,
        }
    }

    fn stream_of(&self, rows: &DecodedRows) -> usize {
        let uid = rows.stream.uid();
        self.definitions.streams.iter().position(|s| s.uid() == uid).expect("a stream of the file")
    }

    fn is_tick_due(&self, append: i64) -> bool {
        self.streams.iter().filter_map(|s| s.policy.as_ref()?.next_due()).any(|due| due.0 <= append)
    }

    /// A tick that comes before a row of `append`.
    fn tick_before(&mut self, append: i64, boundary: Option<i64>) -> Option<Arrived> {
        loop {
            let due =
                self.streams.iter().enumerate().filter_map(|(number, stream)| {
                    Some((stream.policy.as_ref()?.next_due()?, number))
                });
            let Some((due, stream)) = due.min().filter(|(due, _)| due.0 <= append) else { break };
            let policy = self.streams[stream].policy.as_mut().expect("it is due");
            let lateness = self.definitions.streams[stream].definition().options().lateness;
            let lateness = i64::try_from(lateness.as_micros()).unwrap_or(i64::MAX / 4);
            let mut crossing = Vec::new();
            for tick in policy.due(due) {
                self.last_append = due.0.max(self.last_append.saturating_add(1));
                let input = Input::Tick {
                    stream,
                    partition: tick.partition,
                    event_time: tick.event_time,
                    flush: Flush::No,
                    appended: AppendTime(self.last_append),
                };
                let lane = (stream, tick.partition.0);
                if boundary.is_some_and(|b| tick.event_time.0.saturating_sub(lateness) >= b) {
                    self.held.remove(&lane);
                    crossing.push(Arrived::Input(input));
                } else {
                    self.held.insert(lane, input);
                }
            }
            if !crossing.is_empty() {
                self.ready.extend(crossing);
                return self.ready.pop_front();
            }
        }
        let mut held: Vec<Input> = std::mem::take(&mut self.held).into_values().collect();
        held.sort_by_key(Input::appended);
        self.ready.extend(held.into_iter().map(Arrived::Input));
        self.ready.pop_front()
    }

    fn take_row(
        &mut self,
        stream: usize,
        rows: usize,
        row: usize,
        append: AppendTime,
        run: &mut Run,
    ) {
        let of = &self.decoded.rows[rows];
        let partition = of.partition;
        let time = EventTime(reading::time_column(&of.batch)[row]);
        let state = &mut self.streams[stream];
        if let (Some(window), Some(hash)) =
            (&mut state.dedupe[partition.0 as usize], dedupe_hash(&of.batch, row))
            && window.admit(hash, append) == Admission::Duplicate
        {
            self.duplicates += 1;
            return;
        }
        self.last_append = append.0;
        self.taken += 1;
        let definition = self.definitions.streams[stream].definition();
        // Silence counts from the first reading: no door was open before it.
        let policy = state.policy.get_or_insert_with(|| TickPolicy::of(&definition, append));
        policy.on_rows(partition, time, append);
        state.newest = state.newest.max(Some(time.0));
        let offset = &mut state.offsets[partition.0 as usize];
        run.stream = stream;
        run.rows.push((rows, row));
        run.partitions.push(partition.0);
        run.offsets.push(*offset);
        run.appends.push(append.0);
        *offset += 1;
    }

    fn rows_of(&self, run: Run) -> Rows {
        let stream = &self.definitions.streams[run.stream];
        let definition = stream.definition();
        let base = reading::stored_schema(&definition, reading::Hidden::default());
        let mut used: Vec<usize> = run.rows.iter().map(|(rows, _)| *rows).collect();
        used.sort_unstable();
        used.dedup();
        let batches: Vec<RecordBatch> = used
            .iter()
            .map(|rows| reading::conform(&self.decoded.rows[*rows].batch, &base))
            .collect();
        let indices: Vec<(usize, usize)> = run
            .rows
            .iter()
            .map(|(rows, row)| (used.binary_search(rows).expect("it is used"), *row))
            .collect();
        let batch = match (batches.as_slice(), contiguous(&indices)) {
            ([batch], Some((from, len))) => batch.slice(from, len),
            _ => interleave_record_batch(&batches.iter().collect::<Vec<_>>(), &indices)
                .expect("batches of one schema"),
        };
        Rows {
            stream: run.stream,
            batch,
            definition,
            series: stream.series().snapshot(),
            partitions: Lane::Each(run.partitions.into()),
            offsets: Offsets::Each(run.offsets.into()),
            append_times: Lane::Each(run.appends.into()),
        }
    }

    /// FLUSH STREAM at the end: a tick into every partition of every stream.
    pub(super) fn flush(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (number, stream) in self.streams.iter().enumerate() {
            let Some(newest) = stream.newest else { continue };
            for partition in 0..stream.offsets.len() {
                self.last_append += 1;
                inputs.push(Input::Tick {
                    stream: number,
                    partition: PartitionId(u32::try_from(partition).expect("at most 1024")),
                    event_time: EventTime(newest),
                    flush: Flush::Yes,
                    appended: AppendTime(self.last_append),
                });
            }
        }
        inputs
    }

    pub(super) fn summary(&self, counts: Summary) -> Summary {
        Summary {
            readings: self.taken,
            duplicates: self.duplicates,
            seconds: self.started.elapsed().as_secs_f64(),
            ..counts
        }
    }
}

/// Rows of one stream in arrival order.
#[derive(Default)]
struct Run {
    stream: usize,
    rows: Vec<(usize, usize)>,
    partitions: Vec<u32>,
    offsets: Vec<u64>,
    appends: Vec<i64>,
}

impl Run {
    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

fn contiguous(indices: &[(usize, usize)]) -> Option<(usize, usize)> {
    let (_, first) = indices.first()?;
    let dense = indices.iter().enumerate().all(|(i, (_, row))| *row == first + i);
    dense.then_some((*first, indices.len()))
}

fn dedupe_hash(batch: &RecordBatch, row: usize) -> Option<[u8; 16]> {
    let hashes = batch.column_by_name(reading::DEDUPE)?.as_fixed_size_binary();
    hashes.is_valid(row).then(|| hashes.value(row).try_into().expect("16 bytes"))
}

/// The arrival time of a line, microseconds; only that field is looked at.
fn arrival_of(line: &[u8], field: &str) -> Option<i64> {
    let value = sonic_rs::get(line, [field]).ok()?;
    match (value.as_str(), value.as_i64()) {
        (Some(text), _) => {
            let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
            Some(time.timestamp_micros())
        }
        (None, Some(epoch)) => weir_ingest::decode::epoch_us(epoch),
        (None, None) => None,
    }
}
