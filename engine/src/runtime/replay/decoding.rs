//! Lines become columns, ahead of the rules that take them, on as many threads as there are cores.
//!
//! Promise: pieces come back in the order of the input. What a row is does not depend on the piece it
//! stands in or on the thread that decoded it: topics come numbered, and get their series when the
//! pieces stand in order again.

use super::chunks::Chunks;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;
use weir_ingest::decode::{Decoded, Decoder};
use weir_ingest::log::Streams;
use weir_ingest::model::AppendTime;

/// Pieces that wait for a thread, or for the rules, per thread.
const AHEAD: usize = 2;
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
    /// What was decoded; its memory is used again.
    text: Vec<u8>,
}

/// Where decoded pieces come from.
pub(super) enum Decoding<'d, R> {
    /// From threads, in turn.
    Ahead { chunks: Chunks<R>, threads: Vec<Thread>, next: usize, under_way: usize },
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

pub(super) struct Thread {
    texts: SyncSender<Vec<u8>>,
    decoded: Receiver<DecodedChunk>,
}

impl<'d, R: Read> Decoding<'d, R> {
    /// Decodes the pieces of `input` on threads of `scope`.
    pub(super) fn ahead<'s>(scope: &'s Scope<'s, 'd>, streams: &'d Streams, input: R) -> Self
    where
        'd: 's,
    {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..cores.min(THREADS_MAX)).map(|number| {
            let (texts, to_decode) = sync_channel::<Vec<u8>>(AHEAD);
            let (finished, decoded) = sync_channel(AHEAD);
            scope.spawn(move || {
                let mut decoder = Decoder::in_arrival_order(streams);
                while let Ok(text) = to_decode.recv() {
                    let lines = decoder.push_lines(&text, |_, _| AppendTime(0));
                    let decoded = decoder.finish();
                    let chunk =
                        DecodedChunk { decoded, decoder: number, arrivals: None, lines, text };
                    if finished.send(chunk).is_err() {
                        return;
                    }
                }
            });
            Thread { texts, decoded }
        });
        let threads = threads.collect();
        Self::Ahead { chunks: Chunks::new(input), threads, next: 0, under_way: 0 }
    }

    /// Decodes on the thread of the rules.
    pub(super) fn one_by_one(streams: &'d Streams, input: R, clock: Clock) -> Self {
        let decoder = Box::new(Decoder::in_arrival_order(streams));
        Self::OneByOne { chunks: Chunks::new(input), decoder, clock, lines: Lines::default() }
    }

    /// The next piece; `clock` is what the rows so far have brought it to.
    pub(super) fn next(&mut self, clock: i64) -> io::Result<Option<DecodedChunk>> {
        match self {
            Self::Ahead { chunks, threads, next, under_way } => {
                while *under_way < threads.len() * AHEAD {
                    let Some(text) = chunks.next()? else { break };
                    let thread = &threads[(*next + *under_way) % threads.len()];
                    thread.texts.send(text).map_err(|_| stopped())?;
                    *under_way += 1;
                }
                if *under_way == 0 {
                    return Ok(None);
                }
                let mut chunk = threads[*next].decoded.recv().map_err(|_| stopped())?;
                chunks.reuse(std::mem::take(&mut chunk.text));
                *next = (*next + 1) % threads.len();
                *under_way -= 1;
                Ok(Some(chunk))
            }
            Self::OneByOne { chunks, decoder, clock: of, lines } => {
                if lines.from >= lines.text.len() {
                    chunks.reuse(std::mem::take(&mut lines.text));
                    let Some(text) = chunks.next()? else { return Ok(None) };
                    *lines = Lines { text, from: 0 };
                }
                Ok(Some(decode(decoder, lines, of, clock)))
            }
        }
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
            let count = decoder.push_lines(&rest[..end], |_, _| AppendTime(clock));
            (count, None, end)
        }
        Clock::Field(field) => {
            let mut arrivals = Vec::new();
            let mut clock = clock;
            let count = decoder.push_lines(rest, |index, line| {
                arrivals.resize(index as usize, clock);
                clock = clock.max(arrival_of(line, field).unwrap_or(clock));
                arrivals.push(clock);
                AppendTime(clock)
            });
            (count, Some(arrivals), rest.len())
        }
    };
    lines.from += taken;
    let (decoded, text) = (decoder.finish(), Vec::new());
    DecodedChunk { decoded, decoder: 0, arrivals, lines: count, text }
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
