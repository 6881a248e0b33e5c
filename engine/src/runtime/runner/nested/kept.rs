//! What the SELECT above has read of the one below, as far as its open windows need it again.
//!
//! Promise: after a restart the same rows and ticks fill the same windows in the same order: nobody else
//! has them, they are in no log.

use super::super::{Runner, RunnerError, RunnerState};
use super::{Behind, Nest};
use crate::alarms::KeyValue;
use crate::stream::input::{Flush, Input, Rows};
use crate::stream::ipc;
use crate::stream::window::LaneEvidence;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use weir_ingest::model::{AppendTime, EventTime, Offset, PartitionId, SeriesSnapshot};

/// In the order they were read.
#[derive(Debug, Default)]
pub(super) struct Kept {
    inputs: VecDeque<Input>,
    /// What these take, about.
    bytes: usize,
    /// Those that the open windows have still to be filled with, on the way back to a checkpoint.
    again: VecDeque<Input>,
}

/// What a checkpoint keeps of a nest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct NestState {
    below: Box<RunnerState>,
    groups: Vec<Vec<KeyValue>>,
    next_offset: u64,
    behind: Vec<(i64, Behind)>,
    kept: Vec<KeptInput>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum KeptInput {
    Rows { first: Offset, appended: AppendTime, batch: Vec<u8> },
    Tick { event_time: EventTime, is_flush: bool, appended: AppendTime },
}

impl Kept {
    pub(super) fn note(&mut self, read: Input) {
        self.bytes += bytes(&read);
        self.inputs.push_back(read);
    }

    /// About what it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets what lies before `first`, the first row that an open window has; all without one.
    pub(super) fn trim(&mut self, first: Option<Offset>) {
        let first = first.unwrap_or(Offset(u64::MAX));
        while let Some(oldest) = self.inputs.front() {
            let needed = match oldest {
                Input::Rows(rows) => rows.offset(rows.len() - 1) >= first,
                _ => false,
            };
            if needed {
                break;
            }
            self.bytes -= bytes(oldest);
            self.inputs.pop_front();
        }
    }

    fn encode(&self) -> Option<Vec<KeptInput>> {
        let encode = |input: &Input| match input {
            Input::Rows(rows) => Some(KeptInput::Rows {
                first: rows.offset(0),
                appended: rows.appended(0),
                batch: ipc::encode(&rows.batch).ok()?,
            }),
            Input::Tick { event_time, flush, appended, .. } => Some(KeptInput::Tick {
                event_time: *event_time,
                is_flush: *flush == Flush::Yes,
                appended: *appended,
            }),
            _ => None,
        };
        self.inputs.iter().map(encode).collect()
    }
}

impl NestState {
    /// The state of the SELECT below, which alone reads the log.
    pub(in super::super) fn below(&self) -> &RunnerState {
        &self.below
    }
}

impl Nest {
    /// For a checkpoint, if one can be made.
    pub(in super::super) fn state(&self) -> Option<NestState> {
        Some(NestState {
            below: Box::new(self.runner.state()?),
            groups: self.groups.names.clone(),
            next_offset: self.next_offset,
            behind: self.behind.iter().map(|(time, behind)| (*time, behind.clone())).collect(),
            kept: self.kept.encode()?,
        })
    }

    /// Goes on from a checkpoint; see [`Runner::resume`].
    pub(in super::super) fn resume(
        &mut self,
        state: NestState,
        until: AppendTime,
        series: &[Arc<SeriesSnapshot>],
    ) -> Result<Vec<LaneEvidence>, String> {
        let again = self.runner.resume(*state.below, until, series)?;
        for key in state.groups {
            self.groups.id(key);
        }
        self.next_offset = state.next_offset;
        self.behind = state.behind.into_iter().collect();
        for kept in state.kept {
            let input = match kept {
                KeptInput::Rows { first, appended, batch } => {
                    let batch = ipc::decode(&batch).map_err(|e| e.to_string())?;
                    Input::Rows(self.stored(batch, first, appended))
                }
                KeptInput::Tick { event_time, is_flush, appended } => {
                    let flush = if is_flush { Flush::Yes } else { Flush::No };
                    let partition = PartitionId(0);
                    Input::Tick { stream: 0, partition, event_time, flush, appended }
                }
            };
            self.kept.note(input);
        }
        Ok(again)
    }

    /// What the groups are as series.
    pub(in super::super) fn series(&mut self) -> Arc<SeriesSnapshot> {
        self.groups.snapshot()
    }
}

impl Runner {
    /// The open windows have to be filled again, from `first` on.
    pub(in super::super) fn refill_from(&mut self, first: Option<Offset>) {
        let (Some(nest), Some(first)) = (&mut self.nest, first) else { return };
        let inputs = nest.kept.inputs.iter().filter_map(|input| match input {
            Input::Rows(rows) => from(rows, first).map(Input::Rows),
            other => Some(other.clone()),
        });
        nest.kept.again = inputs.collect();
    }

    /// Fills the open windows with what came before `appended`, where the tables change.
    pub(in super::super) fn refill(&mut self, appended: AppendTime) -> Result<(), RunnerError> {
        while let Some(input) = self.next_kept(appended) {
            match input {
                Input::Rows(rows) => self.fill_windows(&rows)?,
                Input::Tick { event_time, flush, .. } => {
                    let until = self.windows_until(event_time);
                    self.progress.tick(0, event_time, flush, until);
                    self.go_along_again();
                }
                _ => {}
            }
        }
        self.tables_end(appended)
    }

    fn next_kept(&mut self, appended: AppendTime) -> Option<Input> {
        let again = &mut self.nest.as_mut()?.kept.again;
        again.front().filter(|next| next.appended() < appended)?;
        again.pop_front()
    }
}

/// About what an input takes that is kept.
fn bytes(input: &Input) -> usize {
    let rows = match input {
        Input::Rows(rows) => rows.batch.get_array_memory_size(),
        _ => 0,
    };
    size_of::<Input>() + rows
}

fn from(rows: &Rows, first: Offset) -> Option<Rows> {
    let before = usize::try_from(first.0.saturating_sub(rows.offset(0).0)).ok()?;
    (before < rows.len()).then(|| rows.slice(before, rows.len() - before))
}
