//! A rule over windows of windows: the SELECT below is a runner of its own, and its rows are the readings
//! of the one above.
//!
//! Promise: what the SELECT above reads depends on the rule's inputs alone, as a stream that a rule writes
//! does: rows of the windows that closed, then how far event time has come. Elsewhere: how the text was
//! taken apart is the planner's, `sql::plan::nested`.

mod kept;

pub(super) use kept::NestState;

use super::super::derived::{Derived, DerivedRows, DerivedTick};
use super::super::outputs::{Outputs, texts};
use super::along::Along;
use super::{Runner, RunnerError};
use crate::alarms::{KeyValue, RuleIdentity};
use crate::sql::RuleStatement;
use crate::sql::plan::Nested;
use crate::stream::input::{Flush, Input, Lane, Offsets, Rows};
use crate::stream::window::{Closed, LaneEvidence};
use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array};
use kept::Kept;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weir_ingest::log::TickKind;
use weir_ingest::model::reading::{Hidden, stored_schema};
use weir_ingest::model::{AppendTime, Offset, PartitionId, SeriesSnapshot, StreamDefinition};

/// The SELECT below, and what the one above reads of it.
#[derive(Debug)]
pub(super) struct Nest {
    pub(super) runner: Runner,
    definition: Arc<StreamDefinition>,
    /// Fields that tell its rows apart beside their window: each such group is a series.
    key: Vec<usize>,
    groups: Groups,
    next_offset: u64,
    /// What lies behind the rows that open windows have, by their event time.
    behind: BTreeMap<i64, Behind>,
    kept: Kept,
}

/// About what an event time's evidence takes.
const BEHIND_BYTES: usize = 128;

/// What a row of the SELECT below rests on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Behind {
    evidence: Vec<LaneEvidence>,
    late: u64,
}

impl Behind {
    fn absorb(&mut self, evidence: &[LaneEvidence], late: u64) {
        self.late += late;
        for more in evidence {
            match self.evidence.iter_mut().find(|known| known.lane == more.lane) {
                Some(known) => known.absorb(more),
                None => self.evidence.push(*more),
            }
        }
    }
}

/// The groups there are so far, as series.
#[derive(Debug, Default)]
struct Groups {
    ids: HashMap<Vec<KeyValue>, u32>,
    names: Vec<Vec<KeyValue>>,
    snapshot: Option<Arc<SeriesSnapshot>>,
}

impl Groups {
    fn id(&mut self, key: Vec<KeyValue>) -> u32 {
        let next = u32::try_from(self.names.len()).expect("there are fewer groups than rows");
        *self.ids.entry(key).or_insert_with_key(|key| {
            self.names.push(key.clone());
            self.snapshot = None;
            next
        })
    }

    fn snapshot(&mut self) -> Arc<SeriesSnapshot> {
        let made = self.snapshot.get_or_insert_with(|| {
            let value = |value: &KeyValue| value.clone().unwrap_or_else(|| "NULL".to_owned());
            let name = |key: &Vec<KeyValue>| key.iter().map(value).collect::<Vec<_>>().join(", ");
            let names: Vec<String> = self.names.iter().map(name).collect();
            let topics = names.iter().map(|name| Some(format!("/{name}"))).collect::<StringArray>();
            let names: StringArray = names.iter().map(Some).collect();
            Arc::new(SeriesSnapshot { topics: Arc::new(topics), levels: vec![Arc::new(names)] })
        });
        Arc::clone(made)
    }
}

impl Nest {
    pub(super) fn new(
        statement: &RuleStatement,
        nested: &Nested,
        identity: &RuleIdentity,
    ) -> Option<Self> {
        let definition = Arc::clone(&nested.inner.into.as_ref()?.stream);
        let everything = AppendTime(i64::MIN);
        let plan = Arc::clone(&nested.inner);
        Some(Self {
            runner: Runner::new(statement, plan, identity.clone(), everything),
            definition,
            key: nested.key.clone(),
            groups: Groups::default(),
            next_offset: 0,
            behind: BTreeMap::new(),
            kept: Kept::default(),
        })
    }

    /// About what it keeps for the windows above, beside what the runner below does.
    pub(super) fn bytes(&self) -> usize {
        self.kept.bytes() + BEHIND_BYTES * self.behind.len()
    }

    /// What the SELECT above reads next.
    fn input(&mut self, derived: Derived) -> Input {
        match derived {
            Derived::Rows(rows) => Input::Rows(self.rows(&rows)),
            Derived::Tick(DerivedTick { event_time, kind, appended, .. }) => {
                let flush = match kind {
                    TickKind::Idle => Flush::No,
                    TickKind::Flush => Flush::Yes,
                };
                Input::Tick { stream: 0, partition: PartitionId(0), event_time, flush, appended }
            }
        }
    }

    fn rows(&mut self, derived: &DerivedRows) -> Rows {
        let keys: Vec<Vec<KeyValue>> =
            self.key.iter().map(|column| texts(derived.fields.column(*column))).collect();
        let key = |row: usize| keys.iter().map(|column| column[row].clone()).collect();
        let ids: Vec<u32> = (0..derived.times.len()).map(|row| self.groups.id(key(row))).collect();
        let times = TimestampMicrosecondArray::from(derived.times.clone()).with_timezone("UTC");
        let mut columns: Vec<ArrayRef> = vec![Arc::new(times), Arc::new(UInt32Array::from(ids))];
        columns.extend(derived.fields.columns().iter().map(Arc::clone));
        let schema = stored_schema(&self.definition, Hidden::default());
        let batch = RecordBatch::try_new(schema, columns).expect("columns follow the schema");
        let mut times = derived.times.clone();
        times.dedup();
        for time in times {
            let behind = self.behind.entry(time).or_default();
            behind.absorb(&derived.evidence, derived.late);
        }
        let first = self.next_offset;
        self.next_offset += derived.times.len() as u64;
        self.stored(batch, Offset(first), derived.appended)
    }

    fn stored(&mut self, batch: RecordBatch, first: Offset, appended: AppendTime) -> Rows {
        Rows {
            stream: 0,
            batch,
            definition: Arc::clone(&self.definition),
            series: self.groups.snapshot(),
            partitions: Lane::Same(0),
            offsets: Offsets::From(first),
            append_times: Lane::Same(appended.0),
        }
    }
}

impl Runner {
    /// The runner that reads the rule's streams.
    pub(super) fn reader(&self) -> &Self {
        self.nest.as_ref().map_or(self, |nest| nest.runner.reader())
    }

    /// As [`Self::reader`].
    pub(super) fn reader_mut(&mut self) -> &mut Self {
        match self.nest {
            Some(ref mut nest) => nest.runner.reader_mut(),
            None => self,
        }
    }

    /// Takes an input of a rule over windows of windows.
    pub(super) fn step_nested(&mut self, input: &Input) -> Result<Outputs, RunnerError> {
        let mut out = Outputs::default();
        let Some(nest) = &mut self.nest else { return Ok(out) };
        let below = nest.runner.step(input)?;
        self.tell_on(&below, &mut out);
        for derived in below.derived {
            let Some(nest) = &mut self.nest else { break };
            let read = nest.input(derived);
            nest.kept.note(read.clone());
            self.take(&read, &mut out)?;
        }
        match input {
            Input::Tables { .. } | Input::Restart { .. } => self.take(input, &mut out)?,
            Input::Commands { batch, appended } => self.commands(batch, *appended, &mut out)?,
            Input::Rows(_) | Input::Tick { .. } | Input::Gap { .. } => {}
        }
        self.trim();
        Ok(out)
    }

    /// What was late or failed below is told as the rule's own.
    fn tell_on(&mut self, below: &Outputs, out: &mut Outputs) {
        for late in below.late.iter().filter(|late| late.appended > self.starts_after) {
            let mut late = late.clone();
            late.ordinal = self.late_ordinal;
            self.late_ordinal += 1;
            out.late.push(late);
        }
        for error in below.errors.iter().filter(|error| error.appended > self.starts_after) {
            let mut error = error.clone();
            error.ordinal = self.error_ordinal;
            self.error_ordinal += 1;
            out.errors.push(error);
        }
    }

    /// Forgets what lies behind windows that are over.
    fn trim(&mut self) {
        let from = self.first_kept();
        let Some(nest) = &mut self.nest else { return };
        match from {
            None => nest.behind.clear(),
            Some(from) => nest.behind = nest.behind.split_off(&from),
        }
        let Some(windows) = &self.windows else { return nest.kept.trim(None) };
        let along = self.along.as_ref().and_then(Along::first_row);
        nest.kept.trim(windows.first_row().into_iter().chain(along).min());
    }

    /// Where the first open window or session begins.
    fn first_kept(&self) -> Option<i64> {
        let windows = self.windows.as_ref().and_then(|windows| windows.first_kept());
        windows.or_else(|| self.sessions.as_ref()?.first_start())
    }

    /// Which rows of the rule's streams went into a window, and how many were late for it.
    pub(super) fn evidence_of(&self, closed: &Closed) -> (Vec<LaneEvidence>, u64) {
        let Some(nest) = &self.nest else { return (closed.evidence.clone(), closed.late) };
        let mut all = Behind { evidence: Vec::new(), late: closed.late };
        for behind in nest.behind.range(closed.start..closed.end).map(|(_, behind)| behind) {
            all.absorb(&behind.evidence, behind.late);
        }
        all.evidence.sort_by_key(|evidence| evidence.lane);
        (all.evidence, all.late)
    }

    /// The rows of the windows that are still open below go into those above; for the end of a replay.
    pub(super) fn drain_below(&mut self) {
        let Some(nest) = &mut self.nest else { return };
        for derived in nest.runner.drain_derived() {
            let Some(nest) = &mut self.nest else { return };
            if let Input::Rows(rows) = nest.input(derived) {
                let mut ignored = Outputs::default();
                match self.sessions {
                    // Too many readings in them: what there is so far is told.
                    Some(_) => drop(self.take_session_part(&rows, &mut ignored)),
                    None => self.take_part(&rows, &mut ignored),
                }
            }
        }
    }

    fn drain_derived(&mut self) -> Vec<Derived> {
        self.drain_below();
        let (mut out, last) = (Outputs::default(), AppendTime(i64::MAX));
        while let Some(closed) = self.close_next(i64::MAX) {
            let Ok(closed) = closed else { continue };
            for batch in self.result_rows(&closed, last, &mut Outputs::default()) {
                self.derive_window(&batch, &closed, last, &mut out);
            }
        }
        out.derived
    }
}
