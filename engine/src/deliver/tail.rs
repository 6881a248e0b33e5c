//! One internal log as a subscription reads it: transition by transition, from where it left off.
//!
//! Promise: nothing below the cursor and nothing finished comes again; nothing else is left out.

use super::queue::{Progress, Source};
use crate::alarms::{Transition, transition_rows};
use std::collections::VecDeque;
use std::sync::Arc;
use weir_ingest::log::{EntryBody, InternalLog, Log, Partition, PartitionReader, ReadError};
use weir_ingest::model::Offset;

/// See the module.
#[derive(Debug)]
pub(super) struct Tail {
    source: Source,
    partition: Arc<Partition>,
    reader: PartitionReader,
    progress: Progress,
    /// What is left of the newest frame.
    rows: VecDeque<Found>,
}

/// One transition, and where it stood.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) offset: Offset,
    pub(super) logged_us: i64,
    /// Attempts an earlier process made.
    pub(super) attempts: u32,
    pub(super) transition: Transition,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Read {
    Found(Box<Found>),
    /// These rows are gone.
    Removed {
        from: Offset,
        to: Offset,
    },
}

impl Tail {
    pub(super) fn new(log: &Log, source: Source, which: InternalLog, progress: Progress) -> Self {
        let partition = Arc::clone(log.internal(which));
        let reader = partition.reader(progress.cursor());
        Self { source, partition, reader, progress, rows: VecDeque::new() }
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// The next transition not finished; `None` at the durable end, for now.
    pub(super) fn next(&mut self) -> Result<Option<Read>, ReadError> {
        loop {
            while let Some(found) = self.rows.pop_front() {
                if let Some(attempts) = self.progress.attempts(found.offset) {
                    return Ok(Some(Read::Found(Box::new(Found { attempts, ..found }))));
                }
            }
            if self.reader.position() >= self.partition.ends().durable_end {
                return Ok(None);
            }
            match self.reader.next()? {
                None => return Ok(None),
                Some(entry) => {
                    let (base, logged_us) = (entry.base_offset, entry.append_time.0);
                    match entry.body {
                        EntryBody::Rows(batch) => self.rows = transitions(&batch, base, logged_us),
                        EntryBody::Gap { from, to } => return Ok(Some(Read::Removed { from, to })),
                        EntryBody::Tick { .. } | EntryBody::Restart { .. } => {}
                    }
                }
            }
        }
    }

    /// Everything below has been returned, or is finished.
    pub(super) fn read_to(&self) -> Offset {
        self.rows.front().map_or(self.reader.position(), |found| found.offset)
    }
}

/// The transitions of a frame; rows that do not read as one are left out with a warning.
fn transitions(batch: &arrow::array::RecordBatch, base: Offset, logged_us: i64) -> VecDeque<Found> {
    let mut found = VecDeque::with_capacity(batch.num_rows());
    match transition_rows::decode(batch) {
        Ok(transitions) => {
            for (index, transition) in transitions.into_iter().enumerate() {
                let offset = base.plus(index as u64);
                found.push_back(Found { offset, logged_us, attempts: 0, transition });
            }
        }
        Err(error) => tracing::error!(offset = base.0, %error, "transitions cannot be read"),
    }
    found
}
