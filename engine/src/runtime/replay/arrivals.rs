//! Decoded rows become inputs: each with its own append time, ticks before the rows they precede.

use super::decoding::DecodedChunk;
use super::definitions::Definitions;
use super::segments::{Segment, segments};
use super::topics::Topics;
use super::{ReplayOptions, Summary};
use crate::stream::input::{Flush, Input, Lane, Offsets, Rows};
use arrow::array::{Array, AsArray, RecordBatch};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use weir_ingest::log::{Admission, DedupeWindow, TickPolicy};
use weir_ingest::model::{
    AppendTime, EventTime, PartitionId, SeriesSnapshot, StreamDefinition, reading,
};

/// What comes next.
pub(super) enum Arrived {
    Input(Input),
    Refused { after: AppendTime, line: u64, reason: String },
}

/// Rows of one stream in arrival order, series and partitions in place.
pub(super) struct Taken {
    pub(super) stream: usize,
    /// `reading::stored_schema` without hidden columns.
    pub(super) batch: RecordBatch,
    pub(super) partitions: Lane<u32>,
    pub(super) definition: Arc<StreamDefinition>,
    pub(super) series: Arc<SeriesSnapshot>,
    /// Hashes of ids, where rows have any.
    pub(super) dedupe: Option<RecordBatch>,
    /// Line of each, in the chunk.
    pub(super) lines: Vec<u32>,
}

struct StreamState {
    policy: Option<TickPolicy>,
    offsets: Vec<u64>,
    dedupe: Vec<Option<DedupeWindow>>,
    newest: Option<i64>,
}

pub(super) struct Arrivals<'d> {
    definitions: &'d Definitions,
    topics: Topics<'d>,
    /// Rows of the chunk, and where they stand in arrival order.
    taken: Vec<Taken>,
    segments: VecDeque<Segment>,
    arrivals: Option<Vec<i64>>,
    streams: Vec<StreamState>,
    /// Ticks that crossed no boundary: only the last of a lane matters, before the next row.
    held: BTreeMap<(usize, u32), Input>,
    ready: VecDeque<Arrived>,
    /// No tick is due before.
    quiet_until: i64,
    clock: i64,
    last_append: i64,
    /// Lines before the chunk.
    lines: u64,
    chunk_lines: u64,
    readings: usize,
    rows: u64,
    duplicates: u64,
    batch: usize,
    restart_every: Option<usize>,
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
            topics: Topics::new(definitions),
            taken: Vec::new(),
            segments: VecDeque::new(),
            arrivals: None,
            streams: streams.collect(),
            definitions,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            quiet_until: i64::MIN,
            clock: 0,
            last_append: i64::MIN / 4,
            lines: 0,
            chunk_lines: 0,
            readings: 0,
            rows: 0,
            duplicates: 0,
            batch: options.batch.max(1),
            restart_every: options.restart_every,
            started: Instant::now(),
        }
    }

    /// Readings given out so far, refused ones included.
    pub(super) fn readings(&self) -> usize {
        self.readings
    }

    /// What the rows so far have brought the clock to.
    pub(super) fn clock(&self) -> i64 {
        self.clock
    }

    /// Takes a decoded piece; the one before is used up.
    pub(super) fn take(&mut self, chunk: DecodedChunk) {
        self.lines += self.chunk_lines;
        self.chunk_lines = u64::from(chunk.lines);
        self.arrivals = chunk.arrivals;
        let (taken, refused) = self.topics.place(chunk.decoder, chunk.decoded);
        self.segments = segments(&taken, refused);
        self.taken = taken;
    }

    /// What comes next of the piece. A tick that does not bring its lane to `boundary`, the next event
    /// time at which a rule does something, may be left out if another follows.
    pub(super) fn next(&mut self, boundary: Option<i64>) -> Option<Arrived> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        loop {
            match self.segments.front_mut()? {
                Segment::Refused { line, reason } => {
                    let (line, reason) =
                        (self.lines + u64::from(*line) + 1, std::mem::take(reason));
                    self.segments.pop_front();
                    self.readings += 1;
                    let after = AppendTime(self.last_append);
                    return Some(Arrived::Refused { after, line, reason });
                }
                Segment::Rows { rows, .. } if rows.start == rows.end => {
                    self.segments.pop_front();
                }
                Segment::Rows { taken, rows } => {
                    let (taken, row) = (*taken, rows.start);
                    let append = self.append_of(taken, row);
                    if append >= self.quiet_until
                        && let Some(tick) = self.tick_before(append, boundary)
                    {
                        return Some(tick);
                    }
                    if let Some(rows) = self.run(taken) {
                        return Some(Arrived::Input(Input::Rows(rows)));
                    }
                }
            }
        }
    }

    /// The clock at a row, and its append time.
    fn append_of(&self, taken: usize, row: usize) -> i64 {
        let of = &self.taken[taken];
        let clock = match &self.arrivals {
            Some(arrivals) => arrivals[of.lines[row] as usize],
            None => reading::time_column(&of.batch)[row],
        };
        clock.max(self.clock).max(self.last_append.saturating_add(1))
    }

    /// The first rows of the front segment that nothing comes between; `None` if the first was seen
    /// before.
    fn run(&mut self, taken: usize) -> Option<Rows> {
        let Some(Segment::Rows { rows, .. }) = self.segments.front_mut() else { return None };
        let mut rows = rows.clone();
        let first = rows.start;
        let of = &self.taken[taken];
        let state = &mut self.streams[of.stream];
        let most = self
            .restart_every
            .map_or(self.batch, |every| self.batch.min(every - self.readings % every));
        rows.end = rows.end.min(first + most);
        let times = reading::time_column(&of.batch);
        let mut run = Run::new(rows.len());
        for row in rows.clone() {
            let (time, partition) = (times[row], of.partitions.get(row));
            let clock = match &self.arrivals {
                Some(arrivals) => arrivals[of.lines[row] as usize],
                None => time,
            };
            let clock = clock.max(self.clock);
            let append = clock.max(self.last_append.saturating_add(1));
            if row > first && append >= self.quiet_until {
                break;
            }
            if let Some(hashes) = &of.dedupe
                && let Some(window) = &mut state.dedupe[partition as usize]
                && let Some(hash) = dedupe_hash(hashes, row)
                && window.admit(hash, AppendTime(append)) == Admission::Duplicate
            {
                if row > first {
                    break;
                }
                self.clock = clock;
                self.duplicates += 1;
                self.readings += 1;
                skip(&mut self.segments, 1);
                return None;
            }
            self.clock = clock;
            self.last_append = append;
            // Silence counts from the first reading: no door was open before it.
            let policy = state.policy.get_or_insert_with(|| {
                self.quiet_until = i64::MIN;
                TickPolicy::of(&of.definition, AppendTime(append))
            });
            policy.on_rows(PartitionId(partition), EventTime(time), AppendTime(append));
            state.newest = state.newest.max(Some(time));
            let offset = &mut state.offsets[partition as usize];
            run.offsets.push(*offset);
            run.appends.push(append);
            *offset += 1;
        }
        let rows = run.appends.len();
        self.readings += rows;
        self.rows += rows as u64;
        skip(&mut self.segments, rows);
        Some(Rows {
            stream: of.stream,
            batch: of.batch.slice(first, rows),
            definition: Arc::clone(&of.definition),
            series: Arc::clone(&of.series),
            partitions: of.partitions.slice(first, rows),
            offsets: Offsets::Each(run.offsets.into()),
            append_times: Lane::Each(run.appends.into()),
        })
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
        let quiet = self.streams.iter().filter_map(|s| s.policy.as_ref()?.quiet_until());
        self.quiet_until = quiet.min().map_or(i64::MIN, |quiet| quiet.0);
        let mut held: Vec<Input> = std::mem::take(&mut self.held).into_values().collect();
        held.sort_by_key(Input::appended);
        self.ready.extend(held.into_iter().map(Arrived::Input));
        self.ready.pop_front()
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
            readings: self.rows,
            duplicates: self.duplicates,
            seconds: self.started.elapsed().as_secs_f64(),
            ..counts
        }
    }
}

/// What is told of each row of a run.
struct Run {
    offsets: Vec<u64>,
    appends: Vec<i64>,
}

impl Run {
    fn new(rows: usize) -> Self {
        Self { offsets: Vec::with_capacity(rows), appends: Vec::with_capacity(rows) }
    }
}

/// The first rows of the front segment are given out.
fn skip(segments: &mut VecDeque<Segment>, rows: usize) {
    if let Some(Segment::Rows { rows: left, .. }) = segments.front_mut() {
        left.start += rows;
    }
}

fn dedupe_hash(hashes: &RecordBatch, row: usize) -> Option<[u8; 16]> {
    let hashes = hashes.column(0).as_fixed_size_binary();
    hashes.is_valid(row).then(|| hashes.value(row).try_into().expect("16 bytes"))
}
