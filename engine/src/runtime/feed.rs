//! The input order: all partitions a rule reads, the commands and the table changes, merged by append
//! time.
//!
//! Promise: an entry is given out once every other input can hold nothing earlier, so the order is a
//! property of the log and not of this process (P6). It costs at most one group commit of waiting.

use crate::sabotage::{self, Fault};
use crate::stream::input::{Flush, Input, Lane, Offsets, Rows};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::log::{
    EntryBody, InternalLog, Log, LogEntry, Partition, PartitionReader, ReadError, Stream, TickKind,
};
use weir_ingest::model::{AppendTime, Offset, StreamDefinition};

/// What an input is to the rule.
#[derive(Debug, Clone)]
enum Source {
    Stream { index: usize, stream: Arc<Stream>, definition: Arc<StreamDefinition> },
    Commands,
    Tables,
}

#[derive(Debug)]
struct Lane1 {
    source: Source,
    partition: Arc<Partition>,
    reader: PartitionReader,
    head: Option<LogEntry>,
}

impl Lane1 {
    /// Where its next entry stands in the input order.
    fn place(&self) -> Option<AppendTime> {
        match &self.source {
            Source::Commands if sabotage::is(Fault::CommandsFirst) => None,
            Source::Stream { .. } if sabotage::is(Fault::PartitionByPartition) => None,
            _ => self.head.as_ref().map(|head| head.append_time),
        }
    }
}

impl Lane1 {
    /// Nothing was removed between `from`, where the reader stood, and what it read. Rows that a repair
    /// found lost are an input: their gap stands in the log.
    fn check_whole(&self, from: Offset) -> Result<(), ReadError> {
        let Some(head) = &self.head else { return Ok(()) };
        let jumped = matches!(head.body, EntryBody::Gap { .. }) || head.base_offset > from;
        if !jumped {
            return Ok(());
        }
        let (partition, to) = (self.partition.id(), self.partition.ends().log_start);
        if to > from { Err(ReadError::Removed { partition, from, to }) } else { Ok(()) }
    }
}

/// All inputs of one rule.
#[derive(Debug)]
pub struct Feed {
    lanes: Vec<Lane1>,
}

/// What is next.
#[derive(Debug)]
pub enum Next {
    /// This input.
    Input(Input),
    /// Nothing may be given out before something becomes durable.
    Wait,
}

/// Where the inputs of a rule go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedEnds {
    /// Next offset of each partition, by stream.
    pub streams: BTreeMap<String, Vec<Offset>>,
    /// Next offset of internal/commands. Table changes are always read from the start.
    pub commands: Offset,
}

/// Where a rule begins in one stream.
#[derive(Debug, Clone)]
pub struct FeedStart {
    /// The stream.
    pub stream: Arc<Stream>,
    /// As the rule was planned.
    pub definition: Arc<StreamDefinition>,
    /// First offset of each partition.
    pub offsets: Vec<Offset>,
}

impl Feed {
    /// Reads these streams, the commands from `commands` on, and all table changes.
    pub fn new(log: &Log, streams: Vec<FeedStart>, commands: Offset) -> Self {
        let mut lanes = Vec::new();
        for (index, start) in streams.into_iter().enumerate() {
            for (partition, offset) in start.stream.partitions().iter().zip(&start.offsets) {
                lanes.push(Lane1 {
                    source: Source::Stream {
                        index,
                        stream: Arc::clone(&start.stream),
                        definition: Arc::clone(&start.definition),
                    },
                    partition: Arc::clone(partition),
                    reader: partition.reader(*offset),
                    head: None,
                });
            }
        }
        let internal = |which, source, from: Option<Offset>| {
            let partition = Arc::clone(log.internal(which));
            let from = from.unwrap_or(partition.ends().log_start);
            Lane1 { source, reader: partition.reader(from), partition, head: None }
        };
        lanes.push(internal(InternalLog::Commands, Source::Commands, Some(commands)));
        lanes.push(internal(InternalLog::Tables, Source::Tables, None));
        Self { lanes }
    }

    /// The next input, if nothing earlier can come.
    /// # Errors
    /// A partition cannot be read.
    pub fn next_input(&mut self) -> Result<Next, ReadError> {
        let mut safe = AppendTime(i64::MAX);
        for lane in &mut self.lanes {
            if lane.head.is_none() {
                // The bound is read first: whatever it covers is visible to the read that follows.
                let bound = lane.partition.ends().safe_time;
                let from = lane.reader.position();
                lane.head = lane.reader.next()?;
                lane.check_whole(from)?;
                if lane.head.is_none() {
                    safe = safe.min(bound);
                }
            }
        }
        let first = self
            .lanes
            .iter_mut()
            .filter(|lane| lane.head.as_ref().is_some_and(|head| head.append_time <= safe))
            .min_by_key(|lane| lane.place());
        let Some(lane) = first else { return Ok(Next::Wait) };
        let Some(entry) = lane.head.take() else { return Ok(Next::Wait) };
        Ok(match input(&lane.source, entry) {
            Some(input) => Next::Input(input),
            None => return self.next_input(),
        })
    }

    /// Nothing at or before this append time will be given out any more. Call it after
    /// [`Next::Wait`].
    pub fn safe_time(&self) -> AppendTime {
        self.lanes
            .iter()
            .map(|lane| match &lane.head {
                Some(head) => AppendTime(head.append_time.0 - 1),
                None => lane.partition.ends().safe_time,
            })
            .min()
            .unwrap_or(AppendTime(i64::MAX))
    }

    /// Where each input goes on.
    pub fn ends(&self) -> FeedEnds {
        let mut ends = FeedEnds::default();
        for lane in &self.lanes {
            let head = lane.head.as_ref().filter(|_| !sabotage::is(Fault::OffsetsAhead));
            let next = head.map_or(lane.reader.position(), |head| head.base_offset);
            match &lane.source {
                Source::Stream { stream, .. } => {
                    let name = stream.definition().name().to_owned();
                    ends.streams.entry(name).or_default().push(next);
                }
                Source::Commands => ends.commands = next,
                Source::Tables => {}
            }
        }
        ends
    }

    /// Rows of the streams that are durable and not yet taken.
    pub fn lag_rows(&self) -> u64 {
        self.lanes
            .iter()
            .filter(|lane| matches!(lane.source, Source::Stream { .. }))
            .map(|lane| {
                let taken = lane.head.as_ref().map_or(lane.reader.position(), |h| h.base_offset);
                lane.partition.ends().durable_end.0.saturating_sub(taken.0)
            })
            .sum()
    }
}

fn input(source: &Source, entry: LogEntry) -> Option<Input> {
    let appended = entry.append_time;
    let partition = entry.partition;
    match (source, entry.body) {
        (Source::Stream { index, stream, definition }, EntryBody::Rows(batch)) => {
            Some(Input::Rows(Rows {
                stream: *index,
                batch,
                definition: Arc::clone(definition),
                series: stream.series().snapshot(),
                partitions: Lane::Same(partition.0),
                offsets: Offsets::From(entry.base_offset),
                append_times: Lane::Same(appended.0),
            }))
        }
        (Source::Stream { .. }, EntryBody::Tick { .. }) if sabotage::is(Fault::LostTick) => None,
        (Source::Stream { index, .. }, EntryBody::Tick { event_time, kind }) => {
            let flush = match kind {
                TickKind::Idle => Flush::No,
                TickKind::Flush => Flush::Yes,
            };
            Some(Input::Tick { stream: *index, partition, event_time, flush, appended })
        }
        (Source::Stream { index, .. }, EntryBody::Restart { down_from }) => {
            Some(Input::Restart { stream: *index, partition, down_from, appended })
        }
        (Source::Commands, EntryBody::Rows(batch)) => Some(Input::Commands { batch, appended }),
        (Source::Tables, EntryBody::Rows(batch)) => Some(Input::Tables { batch, appended }),
        (Source::Stream { index, .. }, EntryBody::Gap { .. }) => {
            Some(Input::Gap { stream: *index, partition, appended })
        }
        (
            Source::Commands | Source::Tables,
            EntryBody::Tick { .. } | EntryBody::Restart { .. } | EntryBody::Gap { .. },
        ) => None,
    }
}
