//! A runner's state, for a checkpoint.
//!
//! Promise: a runner that goes on from its state does what it would have done without the break, bit for
//! bit (S3). Where the state of an aggregate cannot be put back so, the rows of its open windows are
//! read again: until the place of the checkpoint they only fill panes, and nothing comes of them.

use super::super::derived::DerivingState;
use super::super::feed::FeedEnds;
use super::along::AlongSaved;
use super::nested::NestState;
use super::readings::Buffered;
use super::returns::Returns;
use super::succession::Term;
use super::{Judge, Runner, RunnerError};
use crate::alarms::{RuleAlarms, RuleAlarmsState, RuleRowsState};
use crate::sabotage::{self, Fault};
use crate::sql::plan::Shape;
use crate::stream::grid::PaneIndex;
use crate::stream::input::{Input, Rows};
use crate::stream::latest::index::LatestIndex;
use crate::stream::watermark::Progress;
use crate::stream::window::session::SessionsState;
use crate::stream::window::{LaneEvidence, WindowsState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_ingest::model::{AppendTime, Offset, SeriesSnapshot};

/// All that a runner knows, but for what its plan says and the tables.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunnerState {
    starts_after: AppendTime,
    term: Term,
    progress: Progress,
    judge: JudgeState,
    windows: Option<WindowsState>,
    sessions: Option<SessionsState>,
    applied: Vec<Vec<i64>>,
    waiting: Vec<((i64, u64), Buffered)>,
    taken: u64,
    counted: Counted,
    nest: Option<NestState>,
    latest: Vec<LatestIndex>,
    /// Of readings that look at these and go into windows.
    looked: Vec<LaneEvidence>,
    along: Option<AlongSaved>,
    returns: Returns,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum JudgeState {
    Alarms(RuleAlarmsState),
    Rows(RuleRowsState),
    Readings(DerivingState),
}

impl RunnerState {
    /// The rows before the place of the checkpoint that a runner reads again which goes on from it, or
    /// earlier ones: of each lane the first.
    pub fn rows_again(&self) -> Vec<LaneEvidence> {
        if let Some(nest) = &self.nest {
            return nest.below().rows_again();
        }
        let windows = self.windows.iter().flat_map(WindowsState::rows_again);
        let along = self.along.iter().flat_map(AlongSaved::rows_again);
        windows.chain(along).chain(&self.looked).copied().collect()
    }
}

/// What rows that are read again must not change.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Counted {
    late_ordinal: u64,
    error_ordinal: u64,
    shut: Option<(i64, i64)>,
}

/// A runner on its way back to the place of its checkpoint.
#[derive(Debug)]
pub(super) struct Resuming {
    /// Inputs up to here were taken before the checkpoint was made.
    until: AppendTime,
    progress: Progress,
    /// Those that rows read again have still to come to.
    returns: Returns,
    late: BTreeMap<PaneIndex, u64>,
    counted: Counted,
}

impl Runner {
    /// For a checkpoint; `None` on the way back to one.
    pub fn state(&self) -> Option<RunnerState> {
        if self.resuming.is_some() {
            return None;
        }
        let is_over = self.is_over();
        let grid = match &self.plan.shape {
            Shape::Windowed(aggregation) => Some(aggregation.grid),
            Shape::Sessions(_) | Shape::PerReading => None,
        };
        let along = match &self.along {
            Some(along) => Some(along.saved(&self.plan.streams, grid, &is_over).ok()?),
            None => None,
        };
        let (latest, looked) = self.looked_at(&is_over);
        let mut returns = self.returns.clone();
        returns.forget(&is_over);
        let nest = match &self.nest {
            Some(nest) => Some(nest.state()?),
            None => None,
        };
        Some(RunnerState {
            starts_after: self.starts_after,
            term: self.term,
            progress: self.progress.clone(),
            judge: match &self.judge {
                Judge::Alarms(alarms) => JudgeState::Alarms(alarms.state()),
                Judge::Rows(rows) => JudgeState::Rows(rows.state()),
                Judge::Readings(deriving) => JudgeState::Readings(deriving.state()),
            },
            windows: self.windows.as_ref().map(|windows| windows.state()),
            sessions: self.sessions.as_ref().map(|sessions| sessions.state()),
            applied: self.applied.clone(),
            waiting: self.waiting.iter().map(|(at, waiting)| (*at, waiting.clone())).collect(),
            taken: self.taken,
            nest,
            along,
            latest,
            looked,
            returns,
            counted: Counted {
                late_ordinal: self.late_ordinal,
                error_ordinal: self.error_ordinal,
                shut: self.shut,
            },
        })
    }

    /// First offset of each partition, by stream, that a runner reads which goes on from `state`, where its
    /// inputs go on at `ends`.
    pub fn rereads(&self, state: &RunnerState, ends: &FeedEnds) -> BTreeMap<String, Vec<Offset>> {
        let mut rereads = ends.streams.clone();
        for again in state.rows_again() {
            let (stream, partition) = self.progress().partition_of(again.lane);
            let lanes = rereads.get_mut(self.plan.streams[stream].name());
            if let Some(first) = lanes.and_then(|lanes| lanes.get_mut(partition.0 as usize)) {
                *first = again.first.min(*first);
            }
        }
        rereads
    }

    /// A runner without state goes on from a checkpoint of the same plan, made when everything up to
    /// `until` was taken; `series` are those of the plan's streams. Gives the first row of each lane
    /// that is to be read again; see [`Self::is_resuming`].
    /// # Errors
    /// The state is of another plan.
    pub fn resume(
        &mut self,
        mut state: RunnerState,
        until: AppendTime,
        series: &[Arc<SeriesSnapshot>],
    ) -> Result<Vec<LaneEvidence>, String> {
        let (Some(nest), Some(below)) = (&mut self.nest, state.nest.take()) else {
            return self.resume_itself(state, until, series);
        };
        let again = nest.resume(below, until, series)?;
        let groups = nest.series();
        let filled = self.resume_itself(state, until, &[groups])?;
        self.refill_from(filled.first().map(|evidence| evidence.first));
        Ok(again)
    }

    fn resume_itself(
        &mut self,
        state: RunnerState,
        until: AppendTime,
        series: &[Arc<SeriesSnapshot>],
    ) -> Result<Vec<LaneEvidence>, String> {
        if !self.progress.is_of_the_same(&state.progress) {
            return Err("it was made over other partitions or another lateness".to_owned());
        }
        match (&mut self.judge, state.judge) {
            (Judge::Alarms(alarms), JudgeState::Alarms(state)) => {
                *alarms = RuleAlarms::restore(alarms.settings().clone(), state);
            }
            (Judge::Rows(rows), JudgeState::Rows(state)) => rows.restore(state),
            (Judge::Readings(deriving), JudgeState::Readings(state)) => deriving.restore(state),
            _ => return Err("only one of them has RAISE WHEN".to_owned()),
        }
        let mut again = Vec::new();
        if let (Some(windows), Some(state)) = (&mut self.windows, state.windows) {
            again = windows.restore(state, series)?;
        }
        if let (Some(sessions), Some(state)) = (&mut self.sessions, state.sessions) {
            sessions.restore(state);
        }
        if let (Some(along), Some(saved)) = (&mut self.along, state.along) {
            let restored = along.restore(saved, &self.plan.streams, series);
            let first = restored.map_err(|error| error.strip_backtrace())?;
            if self.windows.is_some() {
                again = first;
            }
        }
        if self.looks.is_some() {
            again = state.looked;
        }
        // The rows are late or not by the watermarks they met.
        let forgotten = sabotage::is(Fault::WatermarksForgotten);
        let progress = if forgotten { self.progress.clone() } else { state.progress };
        self.progress = progress.clone();
        for first in &again {
            self.progress.put_back(first.lane, first.watermark_before);
        }
        for (latest, index) in self.tables.latest.iter_mut().zip(state.latest) {
            let known = series.get(latest.stream()).ok_or("it was made over other streams")?;
            latest.restore(index, known);
        }
        self.starts_after = state.starts_after;
        self.term = state.term;
        self.applied = state.applied;
        self.waiting = state.waiting.into_iter().collect();
        self.taken = state.taken;
        self.returns = state.returns.clone();
        let forgotten = sabotage::is(Fault::ReturnsForgotten);
        let returns = if forgotten { Returns::default() } else { state.returns };
        self.resuming = Some(Resuming {
            until,
            progress,
            returns,
            late: self.windows.as_ref().map(|w| w.late().clone()).unwrap_or_default(),
            counted: state.counted,
        });
        Ok(again)
    }

    /// Whether an input of this append time was taken before the checkpoint was made: it goes to
    /// [`Self::take_again`].
    pub fn is_resuming(&self, appended: AppendTime) -> bool {
        let resuming = &self.reader().resuming;
        resuming.as_ref().is_some_and(|resuming| appended <= resuming.until)
    }

    /// Takes an input into panes and tables once more; what came of it otherwise was said already.
    /// # Errors
    /// A table cannot be read.
    pub fn take_again(&mut self, input: &Input) -> Result<(), RunnerError> {
        if let Some(nest) = &mut self.nest {
            nest.runner.take_again(input)?;
            if let Input::Tables { batch, appended } = input {
                self.refill(*appended)?;
                self.take_tables(batch)?;
            }
            return Ok(());
        }
        if let Some(resuming) = &mut self.resuming {
            resuming.returns.precede(input.appended(), &mut self.progress);
        }
        match input {
            Input::Rows(rows) if !rows.is_empty() && self.windows.is_some() => {
                self.fill_windows(rows)?;
            }
            Input::Tick { stream, .. } if self.only_looks_up(*stream) => {}
            Input::Tick { stream, partition, event_time, flush, .. } => {
                let until = self.windows_until(*event_time);
                let lane = self.progress.lane(*stream, *partition);
                self.progress.tick(lane, *event_time, *flush, until);
                self.go_along_again();
            }
            Input::Tables { batch, appended } => {
                self.tables_end(*appended)?;
                self.take_tables(batch)?;
            }
            Input::Rows(_) | Input::Restart { .. } | Input::Gap { .. } | Input::Commands { .. } => {
            }
        }
        Ok(())
    }

    /// Takes rows into the panes of open windows, again.
    pub(super) fn fill_windows(&mut self, rows: &Rows) -> Result<(), RunnerError> {
        if self.along.is_none() {
            return self.take_rows_again(rows);
        }
        self.read_tables()?;
        self.hold_again(rows);
        Ok(())
    }

    /// Everything that was taken before the checkpoint was taken again.
    /// # Errors
    /// A table cannot be read.
    pub fn resumed(&mut self) -> Result<(), RunnerError> {
        if self.resuming.is_none() {
            return Ok(());
        }
        if let Some(nest) = &mut self.nest {
            nest.runner.resumed()?;
            self.refill(AppendTime(i64::MAX))?;
        }
        self.tables_end(AppendTime(i64::MAX))?;
        self.went_along();
        let Some(resuming) = self.resuming.take() else { return Ok(()) };
        if let Some(windows) = &mut self.windows {
            windows.refilled(resuming.late);
        }
        self.progress = resuming.progress;
        self.forget_traces();
        self.late_ordinal = resuming.counted.late_ordinal;
        self.error_ordinal = resuming.counted.error_ordinal;
        self.shut = resuming.counted.shut;
        Ok(())
    }
}
