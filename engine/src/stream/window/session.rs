//! The open windows of SESSION: `[first reading, last reading + gap)`, key by key.
//!
//! Promise: what a session is depends only on which readings it has: one that comes between two
//! sessions makes them one, and aggregates see the rows in (event time, append time, position) order
//! when it closes, however they came. Sessions close in (end, key) order.
//! Elsewhere: which readings are late, and how far time has come, is the runner's.

use super::groups::Groups;
use super::inputs::{Inputs, Prepared};
use super::kept::Kept;
use super::keys::Keys;
use super::series::SeriesGroups;
use super::{Closed, Grouping, LaneEvidence};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir_ingest::model::Offset;

/// GROUP BY and aggregates of a SELECT over SESSION.
#[derive(Debug, Clone)]
pub struct SessionAggregation {
    /// A reading this much or more after the one before it begins a new session, microseconds.
    pub gap_us: i64,
    /// What tells sessions apart, over the rows that SESSION reads; empty: one session for all.
    pub key: Vec<Arc<dyn PhysicalExpr>>,
    /// The rows that SESSION reads.
    pub source: SchemaRef,
    /// The rows that are aggregated.
    pub input: SchemaRef,
    /// GROUP BY and aggregates.
    pub grouping: Grouping,
}

/// The key of a session as bytes; they compare as keys do.
pub type SessionKey = Arc<[u8]>;

/// A reading that SESSION reads.
#[derive(Debug, Clone, Copy)]
pub struct SessionReading {
    /// Its event time.
    pub time: i64,
    /// Its lane.
    pub lane: usize,
    /// Its offset.
    pub offset: Offset,
    /// Watermark of its lane before it.
    pub watermark_before: i64,
}

/// A row to be aggregated when its session closes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionRow {
    /// Event time, append time, offset, and which of the reading's rows: their order.
    pub place: (i64, i64, Offset, (usize, usize)),
    /// Its series, unique over the rule's streams.
    pub series: u64,
    /// Its group, arguments and filters, from [`Sessions::prepare`].
    pub values: Box<[u8]>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    last: i64,
    rows: Vec<SessionRow>,
    evidence: BTreeMap<usize, LaneEvidence>,
    late: u64,
}

/// What a checkpoint keeps of the sessions: by key and start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionsState(Vec<(Box<[u8]>, i64, Session)>);

/// The open sessions of a rule.
#[derive(Debug)]
pub struct Sessions {
    aggregation: Arc<SessionAggregation>,
    inputs: Arc<Inputs>,
    keys: Kept,
    rows: Kept,
    /// By key, then by start; those of one key lie a gap or more apart.
    open: BTreeMap<SessionKey, BTreeMap<i64, Session>>,
    /// (end, key, start) of each.
    ends: BTreeSet<(i64, SessionKey, i64)>,
    /// How many begin at each time.
    starts: BTreeMap<i64, usize>,
    /// What the kept rows take.
    bytes: usize,
}

impl SessionRow {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.values.len()
    }
}

impl Sessions {
    /// Bytes the rows of all open sessions of a rule may take.
    pub const BYTES_MAX: usize = 256 * 1024 * 1024;

    /// No session open.
    /// # Errors
    /// A column of a type that cannot be kept.
    pub fn new(aggregation: Arc<SessionAggregation>) -> Result<Self> {
        let keys = aggregation.key.iter().map(|key| key.data_type(&aggregation.source));
        let keys = Kept::new(keys.collect::<Result<_>>()?)?;
        let inputs = Arc::new(Inputs::new(&aggregation.grouping));
        let rows = Prepared::types(&aggregation.grouping, &inputs, &aggregation.input)?;
        let rows = Kept::new(rows)?;
        let (open, ends, starts) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Ok(Self { aggregation, inputs, keys, rows, open, ends, starts, bytes: 0 })
    }

    /// For a checkpoint.
    pub fn state(&self) -> SessionsState {
        let all = self.open.iter().flat_map(|(key, of_key)| {
            of_key.iter().map(|(start, session)| (Box::from(&**key), *start, session.clone()))
        });
        SessionsState(all.collect())
    }

    /// Goes on from a checkpoint.
    pub fn restore(&mut self, state: SessionsState) {
        for (key, start, session) in state.0 {
            let key: SessionKey = key.into();
            let end = session.last.saturating_add(self.aggregation.gap_us);
            self.bytes += session.rows.iter().map(SessionRow::bytes).sum::<usize>();
            self.begins((end, Arc::clone(&key), start));
            self.open.entry(key).or_default().insert(start, session);
        }
    }

    fn begins(&mut self, place: (i64, SessionKey, i64)) {
        *self.starts.entry(place.2).or_default() += 1;
        self.ends.insert(place);
    }

    fn is_gone(&mut self, start: i64) {
        if let Some(begun) = self.starts.get_mut(&start) {
            *begun -= 1;
            if *begun == 0 {
                self.starts.remove(&start);
            }
        }
    }

    /// Where the first open session begins.
    pub fn first_start(&self) -> Option<i64> {
        self.starts.keys().next().copied()
    }

    /// About what the rows of all open sessions take; the rule stops beyond [`Self::BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How long after its last reading a session ends.
    pub fn gap_us(&self) -> i64 {
        self.aggregation.gap_us
    }

    /// The key of each row that SESSION reads.
    /// # Errors
    /// What an expression cannot evaluate.
    pub fn keys(&self, batch: &RecordBatch) -> Result<Vec<SessionKey>> {
        let rows = batch.num_rows();
        let columns = self.aggregation.key.iter().map(|key| key.evaluate(batch)?.into_array(rows));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        Ok(self.keys.encode(&columns, rows)?.into_iter().map(Arc::from).collect())
    }

    /// What is kept of each row to be aggregated.
    /// # Errors
    /// What an expression cannot evaluate.
    pub fn prepare(&self, batch: &RecordBatch) -> Result<Vec<Box<[u8]>>> {
        let prepared = Prepared::new(&self.aggregation.grouping, &self.inputs, batch)?;
        self.rows.encode(&prepared.columns(), batch.num_rows())
    }

    /// Takes a reading with the rows that came of it: into the sessions it touches, or a new one.
    pub fn take(&mut self, key: &SessionKey, reading: SessionReading, rows: Vec<SessionRow>) {
        self.bytes += rows.iter().map(SessionRow::bytes).sum::<usize>();
        let mut session = Session::new(reading, rows);
        let mut start = reading.time;
        for begun in self.touching(key, reading.time) {
            let of_key = self.open.get_mut(key);
            let Some(mut other) = of_key.and_then(|sessions| sessions.remove(&begun)) else {
                continue;
            };
            let end = other.last.saturating_add(self.aggregation.gap_us);
            self.ends.remove(&(end, Arc::clone(key), begun));
            self.is_gone(begun);
            other.absorb(session);
            session = other;
            start = start.min(begun);
        }
        let end = session.last.saturating_add(self.aggregation.gap_us);
        self.begins((end, Arc::clone(key), start));
        self.open.entry(Arc::clone(key)).or_default().insert(start, session);
    }

    /// Counts a reading that came too late for the sessions it would touch.
    pub fn note_late(&mut self, key: &SessionKey, time: i64) {
        let touching = self.touching(key, time);
        let Some(of_key) = self.open.get_mut(key) else { return };
        for start in touching {
            of_key.entry(start).and_modify(|session| session.late += 1);
        }
    }

    /// Starts of the sessions, at most two, that a reading of `time` would be part of.
    fn touching(&self, key: &SessionKey, time: i64) -> Vec<i64> {
        let gap = self.aggregation.gap_us;
        let Some(of_key) = self.open.get(key) else { return Vec::new() };
        of_key
            .range(..time.saturating_add(gap))
            .rev()
            .take_while(|(_, session)| session.last.saturating_add(gap) > time)
            .map(|(start, _)| *start)
            .collect()
    }

    /// End of the first open session, as far as it is known.
    pub fn next_end(&self) -> Option<i64> {
        self.ends.first().map(|(end, ..)| *end)
    }

    /// The latest end of the open sessions, as far as it is known.
    pub fn last_end(&self) -> Option<i64> {
        self.ends.last().map(|(end, ..)| *end)
    }

    /// Closes the first open session if it ends by `until`; one without a row to aggregate leaves
    /// nothing.
    /// # Errors
    /// What an aggregate cannot evaluate; the session is closed then, too.
    pub fn close_next(&mut self, until: i64) -> Option<Result<Closed>> {
        while self.next_end()? <= until {
            let (end, key, start) = self.ends.pop_first()?;
            self.is_gone(start);
            let of_key = self.open.get_mut(&key)?;
            let session = of_key.remove(&start)?;
            if of_key.is_empty() {
                self.open.remove(&key);
            }
            self.bytes -= session.rows.iter().map(SessionRow::bytes).sum::<usize>();
            if !session.rows.is_empty() {
                return Some(self.finish(start, end, session));
            }
        }
        None
    }

    fn finish(&self, start: i64, end: i64, mut session: Session) -> Result<Closed> {
        let grouping = &self.aggregation.grouping;
        session.rows.sort_unstable_by_key(|row| row.place);
        let columns = self.rows.decode(session.rows.iter().map(|row| &*row.values))?;
        let prepared = Prepared::of(grouping, columns);
        let series: Vec<u64> = session.rows.iter().map(|row| row.series).collect();
        let mut groups = Groups::new(grouping, &self.inputs, Keys::of_rows(grouping)?)?;
        groups.update(&prepared, &series)?;
        let (keyed, sensors) = groups.finish(&SeriesGroups::default())?;
        let rows = keyed.rows(grouping, start, end)?;
        let evidence = session.evidence.into_values().collect();
        Ok(Closed { start, end, rows, sensors, expects: None, evidence, late: session.late })
    }
}

impl Session {
    fn new(reading: SessionReading, rows: Vec<SessionRow>) -> Self {
        let SessionReading { time, lane, offset, watermark_before } = reading;
        let evidence = LaneEvidence { lane, first: offset, last: offset, watermark_before };
        Self { last: time, rows, evidence: BTreeMap::from([(lane, evidence)]), late: 0 }
    }

    fn absorb(&mut self, mut other: Self) {
        self.last = self.last.max(other.last);
        self.late += other.late;
        if self.rows.len() < other.rows.len() {
            std::mem::swap(&mut self.rows, &mut other.rows);
        }
        self.rows.append(&mut other.rows);
        for (lane, theirs) in other.evidence {
            self.evidence.entry(lane).or_insert(theirs).absorb(&theirs);
        }
    }
}
