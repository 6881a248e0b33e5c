//! Lines become columns, ahead of the rules that take them, on as many threads as there are cores.
//!
//! Promise: pieces come back in the order of the input. What a row is does not depend on the piece it
//! stands in or on the thread that decoded it: topics come numbered, and get their series when the
//! pieces stand in order again.

use super::chunks::Chunks;
use parking_lot::Mutex;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;
use weir_ingest::decode::{Decoded, Decoder};
use weir_ingest::log::Streams;
use weir_ingest::model::AppendTime;

/// Decoded pieces that wait for the rules, per thread: decoding goes on while a window with many keys closes.
const AHEAD: usize = 16;
/// More threads have nothing to do: the rules run on one.
const THREADS_MAX: usize = 8;

/// A decoded piece of the input.
pub(super) struct DecodedChunk {
    pub(super) decoded: Decoded,
    /// Which decoder numbered its topics.
    pub(super) decoder: usize,
    /// Arrival time of each line, if there is a field for it.
    pub(super) arrivals: Option<Vec<i64>>,
    /// Lines, blank ones included.
    pub(super) lines: u32,
}

/// Where decoded pieces come from.
pub(super) enum Decoding<'d, R> {
    /// From threads.
    Ahead {
        /// The thread that has the next piece, for each piece of the input.
        turns: Receiver<io::Result<usize>>,
        threads: Vec<Receiver<DecodedChunk>>,
    },
    /// Decoded when they are asked for, because a row's clock depends on the rows before it.
    OneByOne { chunks: Chunks<R>, decoder: Box<Decoder<'d>>, clock: Clock, lines: Lines },
}

/// What tells the clock of a row.
pub(super) enum Clock {
    /// This field of the line.
    Field(String),
    /// The rows before it.
    Rows,
}

/// The lines of a piece that are not decoded yet.
#[derive(Default)]
pub(super) struct Lines {
    text: Vec<u8>,
    from: usize,
}

impl<'d, R: Read + Send> Decoding<'d, R> {
    /// Decodes the pieces of `input` on threads of `scope`.
    pub(super) fn ahead<'s>(scope: &'s Scope<'s, 'd>, streams: &'d Streams, input: R) -> Self
    where
        'd: 's,
        R: 's,
    {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let (turn, turns) = sync_channel(cores * (AHEAD + 2));
        let chunks = Arc::new(Mutex::new(Chunks::new(input)));
        let threads = (0..cores).map(|number| {
            let (finished, decoded) = sync_channel(AHEAD);
            let thread =
                Thread { number, chunks: Arc::clone(&chunks), turn: turn.clone(), finished };
            scope.spawn(move || thread.run(streams));
            decoded
        });
        Self::Ahead { threads: threads.collect(), turns }
    }

    /// Decodes on the thread of the rules.
    pub(super) fn one_by_one(streams: &'d Streams, input: R, clock: Clock) -> Self {
        let decoder = Box::new(Decoder::in_arrival_order(streams));
        Self::OneByOne { chunks: Chunks::new(input), decoder, clock, lines: Lines::default() }
    }

    /// The next piece; `clock` is what the rows so far have brought it to.
    pub(super) fn next(&mut self, clock: i64) -> io::Result<Option<DecodedChunk>> {
        match self {
            Self::Ahead { turns, threads } => match turns.recv() {
                Ok(thread) => threads[thread?].recv().map(Some).map_err(|_| stopped()),
                // All of them have come to the end.
                Err(_) => Ok(None),
            },
            Self::OneByOne { chunks, decoder, clock: of, lines } => {
                if lines.from >= lines.text.len() {
                    lines.from = 0;
                    if !chunks.next(&mut lines.text)? {
                        return Ok(None);
                    }
                }
                Ok(Some(decode(decoder, lines, of, clock)))
            }
        }
    }
}

/// One that decodes ahead. It reads what it decodes: the text is then in its own core's cache.
struct Thread<R> {
    number: usize,
    chunks: Arc<Mutex<Chunks<R>>>,
    turn: SyncSender<io::Result<usize>>,
    finished: SyncSender<DecodedChunk>,
}

impl<R: Read> Thread<R> {
    /// Until the end of the input, or until nobody takes what it decodes.
    fn run(self, streams: &Streams) {
        let mut decoder = Decoder::in_arrival_order(streams);
        let mut text = Vec::new();
        while self.read(&mut text) {
            let lines = decoder.push_lines(&text, AppendTime(0));
            let decoded = decoder.finish();
            let chunk = DecodedChunk { decoded, decoder: self.number, arrivals: None, lines };
            if self.finished.send(chunk).is_err() {
                return;
            }
        }
    }

    /// Takes the next piece; who reads says so before another does, so turns are in the input's order.
    fn read(&self, text: &mut Vec<u8>) -> bool {
        let mut chunks = self.chunks.lock();
        let (said, more) = match chunks.next(text) {
            Ok(true) => (self.turn.send(Ok(self.number)), true),
            Ok(false) => return false,
            Err(error) => (self.turn.send(Err(error)), false),
        };
        said.is_ok() && more
    }
}

fn stopped() -> io::Error {
    io::Error::other("a thread that decodes has stopped")
}

fn decode(decoder: &mut Decoder<'_>, lines: &mut Lines, of: &Clock, clock: i64) -> DecodedChunk {
    let rest = &lines.text[lines.from..];
    let (count, arrivals, taken) = match of {
        Clock::Rows => {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let count = decoder.push_lines(&rest[..end], AppendTime(clock));
            (count, None, end)
        }
        Clock::Field(field) => {
            let mut arrivals = Vec::new();
            let mut clock = clock;
            let count = decoder.push_timed_lines(rest, |index, line| {
                arrivals.resize(index as usize, clock);
                clock = clock.max(arrival_of(line, field).unwrap_or(clock));
                arrivals.push(clock);
                AppendTime(clock)
            });
            (count, Some(arrivals), rest.len())
        }
    };
    lines.from += taken;
    DecodedChunk { decoded: decoder.finish(), decoder: 0, arrivals, lines: count }
}

/// The arrival time of a line, microseconds; only that field is looked at.
fn arrival_of(line: &[u8], field: &str) -> Option<i64> {
    use sonic_rs::JsonValueTrait;
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
