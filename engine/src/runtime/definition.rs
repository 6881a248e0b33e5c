//! A rule as the catalog keeps it, and where it starts.
//!
//! Promise: the start is a place in the input order, durable with the rule; after a restart the rule is
//! rebuilt from exactly there.

use super::checkpoint::{self, Snapshot};
use super::feed::{Feed, FeedEnds, FeedStart};
use super::follower::Follower;
use super::holds::check_there;
use super::outages::out_before;
use super::runner::{Runner, TOPIC_COLUMN, key_columns};
use super::versions::{Version, Versions};
use crate::alarms::{PartitionPlace, RuleIdentity};
use crate::sql::plan::{Relations, RulePlan, Shape, plan_rule};
use crate::sql::{RuleStatement, SqlError, StartFrom, Statement, parse_statements};
use crate::tables::reference::ReferenceTables;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir_ingest::log::{CatalogError, InternalLog, Log, Partition};
use weir_ingest::model::{AppendTime, EventTime, Offset, StreamDefinition};

/// Space of the catalog that holds rules, by name.
pub const RULES: &str = "rules";

/// Space of the catalog that holds the texts of dropped rules, by uid and version: their alarms can
/// still be explained.
const DROPPED: &str = "dropped_rules";

/// A stored rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRule {
    /// Identity over versions.
    pub uid: u64,
    /// Grows with every replacement.
    pub version: u32,
    /// The statement.
    pub text: String,
    /// Outputs begin with inputs appended after this place.
    pub starts_after: AppendTime,
    /// First offset of each partition of each stream, by stream.
    pub offsets: BTreeMap<String, Vec<Offset>>,
    /// How many series a stream had at the start, by stream: they are expected from there on.
    #[serde(default)]
    pub series: BTreeMap<String, usize>,
    /// First offset of internal/commands.
    pub commands: Offset,
    /// Its outputs are written from there on, by the name of their log.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Offset>,
    /// Partitions that were out there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub out: BTreeSet<PartitionPlace>,
    /// DROP RULE was said at this place; the rule is finished there.
    pub dropped_at: Option<AppendTime>,
    /// The version that this one replaces at the place it starts after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Box<Self>>,
}

/// A stored rule, planned.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The statement.
    pub statement: RuleStatement,
    /// The plan.
    pub plan: Arc<RulePlan>,
}

/// What rules may read now.
pub fn relations(log: &Log, references: &ReferenceTables) -> Relations {
    let streams = log.streams().all().into_iter().map(|s| s.definition());
    let tables = references.list();
    Relations {
        streams: streams.map(|s| (s.name().to_owned(), s)).collect(),
        tables: tables
            .into_iter()
            .map(|t| (t.definition.name().to_owned(), Arc::clone(t.schema())))
            .collect(),
    }
}

/// Checks the table that a stream's `expected` names.
/// # Errors
/// It is not there, or has no topic paths.
pub fn check_expected(
    references: &ReferenceTables,
    definition: &StreamDefinition,
) -> Result<(), SqlError> {
    let Some(name) = &definition.options().expected else { return Ok(()) };
    let hint = format!(
        "CREATE TABLE {name} ({TOPIC_COLUMN} TEXT PRIMARY KEY), then INSERT one row for each sensor"
    );
    let Some(table) = references.get(name) else {
        let missing = format!("the option expected names the table '{name}', which is not there");
        return Err(SqlError::new(missing).with_hint(hint));
    };
    let topics =
        table.schema().field_with_name(TOPIC_COLUMN).map(|field| field.data_type().clone());
    match topics {
        Ok(DataType::Utf8) => Ok(()),
        _ => Err(SqlError::new(format!(
            "the option expected names the table '{name}', which has no column '{TOPIC_COLUMN}' of \
             type TEXT"
        ))
        .with_hint(hint)),
    }
}

/// Plans a statement.
/// # Errors
/// What is wrong with it.
pub fn planned(statement: RuleStatement, relations: &Relations) -> Result<Planned, SqlError> {
    let plan = Arc::new(plan_rule(&statement, relations)?);
    Ok(Planned { statement, plan })
}

/// Parses the text of a stored rule.
/// # Errors
/// The text is no CREATE RULE any more.
pub fn parse_rule(text: &str) -> Result<RuleStatement, SqlError> {
    match parse_statements(text)?.into_iter().next() {
        Some(Statement::CreateRule(rule)) => Ok(rule),
        _ => Err(SqlError::new("the stored text is not a CREATE RULE")),
    }
}

/// Takes a dropped rule out of the catalog; the texts of its versions stay.
/// # Errors
/// The catalog refused.
pub fn forget(log: &Log, name: &str, stored: &StoredRule) -> Result<(), CatalogError> {
    remember_texts(log, stored)?;
    log.catalog().remove(RULES, name)
}

/// Keeps the texts of all versions of a rule, to explain their alarms later.
/// # Errors
/// The catalog refused.
pub fn remember_texts(log: &Log, stored: &StoredRule) -> Result<(), CatalogError> {
    for version in stored.versions() {
        let key = format!("{}.{}", version.uid, version.version);
        log.catalog().put(DROPPED, &key, version.text.as_bytes())?;
    }
    Ok(())
}

/// The text of a version of a rule, which may be dropped; `None` where nothing is known of it.
/// # Errors
/// The catalog cannot be read.
pub fn text_of(log: &Log, uid: u64, version: u32) -> Result<Option<String>, SqlError> {
    let refused = |error: &dyn std::fmt::Display| SqlError::new(error.to_string());
    if let Some(found) = version_of(log, uid, version)? {
        return Ok(Some(found.text));
    }
    let dropped = log.catalog().get(DROPPED, &format!("{uid}.{version}"));
    let dropped = dropped.map_err(|e| refused(&e))?;
    Ok(dropped.map(|text| String::from_utf8_lossy(&text).into_owned()))
}

/// A version of a rule that is there, to read its input again; `None` where it was dropped.
/// # Errors
/// The catalog cannot be read.
pub fn version_of(log: &Log, uid: u64, version: u32) -> Result<Option<StoredRule>, SqlError> {
    let refused = |error: &dyn std::fmt::Display| SqlError::new(error.to_string());
    for (_, value) in log.catalog().list(RULES).map_err(|e| refused(&e))? {
        let stored: StoredRule = serde_json::from_slice(&value).map_err(|e| refused(&e))?;
        let mut versions = stored.versions().into_iter();
        if let Some(found) = versions.find(|v| (v.uid, v.version) == (uid, version)) {
            return Ok(Some(found.clone()));
        }
    }
    Ok(None)
}

impl StoredRule {
    /// A new rule whose start is now decided.
    pub fn starting(log: &Log, planned: &Planned, uid: u64, default: StartFrom) -> Self {
        let start = planned.statement.start.unwrap_or(default);
        let commands = log.internal(InternalLog::Commands).ends().durable_end;
        // The ends are read before the place is drawn: whatever lies between is before the place
        // and is left out by its append time.
        let ends: BTreeMap<String, Vec<Offset>> = planned
            .plan
            .streams
            .iter()
            .filter_map(|stream| log.streams().get(stream.name()))
            .map(|stream| {
                let lateness = i64::try_from(stream.definition().options().lateness.as_micros());
                let looked_up = planned.plan.latest.iter().any(|latest| {
                    planned.plan.streams[latest.stream].name() == stream.definition().name()
                });
                let from = |p: &Arc<Partition>| {
                    if looked_up {
                        // The newest value of a series may be as old as the log.
                        return p.ends().log_start;
                    }
                    first_offset(p, start, &planned.plan, lateness.unwrap_or(i64::MAX / 4))
                };
                let offsets = stream.partitions().iter().map(from).collect();
                (stream.definition().name().to_owned(), offsets)
            })
            .collect();
        let known = planned.plan.streams.iter().filter_map(|s| log.streams().get(s.name()));
        let known = known.filter(|_| start == StartFrom::Now).map(|stream| {
            let name = stream.definition().name().to_owned();
            (name, stream.series().snapshot().len())
        });
        let series = known.collect();
        let starts_after = match start {
            StartFrom::Now => log.append_clock().draw(),
            StartFrom::Earliest => AppendTime(i64::MIN),
            StartFrom::Timestamp(EventTime(at)) => AppendTime(at - 1),
        };
        let text = planned.statement.text.clone();
        let offsets = ends;
        Self {
            uid,
            version: 1,
            text,
            starts_after,
            offsets,
            series,
            // What cannot be read now stops the rule when it follows internal/commands.
            out: out_before(log, commands).unwrap_or_default(),
            commands,
            outputs: checkpoint::output_ends(log),
            dropped_at: None,
            replaces: None,
        }
    }

    /// The next version of `old`, whose place of replacement is now decided: nothing beyond it may have
    /// been taken.
    pub fn replacing(old: &Self, log: &Log, planned: &Planned) -> Self {
        Self {
            version: old.version + 1,
            replaces: Some(Box::new(old.clone())),
            ..Self::starting(log, planned, old.uid, StartFrom::Now)
        }
    }

    /// The next version of `old`, which begins now and knows nothing of what came before.
    pub fn anew(old: &Self, log: &Log, planned: &Planned) -> Self {
        let statement = RuleStatement { start: None, ..planned.statement.clone() };
        let planned = Planned { statement, plan: Arc::clone(&planned.plan) };
        let version = old.version + 1;
        Self { version, ..Self::starting(log, &planned, old.uid, StartFrom::Now) }
    }

    /// Every version, the oldest first.
    pub fn versions(&self) -> Vec<&Self> {
        let mut versions: Vec<&Self> =
            std::iter::successors(Some(self), |version| version.replaces.as_deref()).collect();
        versions.reverse();
        versions
    }

    /// Plans every version, the oldest first.
    /// # Errors
    /// A version does not suit the streams and tables there are.
    pub fn planned(&self, relations: &Relations) -> Result<Vec<Planned>, SqlError> {
        let plan = |version: &&Self| planned(parse_rule(&version.text)?, relations);
        self.versions().iter().map(plan).collect()
    }

    /// The rule without state, with all that replaces its first version; `planned` as
    /// [`Self::planned`] gives it.
    /// # Errors
    /// A stream is gone.
    pub fn open_all(&self, log: &Log, planned: &[Planned]) -> Result<Versions, SqlError> {
        let opened = self.versions().into_iter().zip(planned).map(|(v, p)| v.open(log, p));
        let mut opened = opened.collect::<Result<Vec<_>, _>>()?.into_iter();
        let first = opened.next().ok_or_else(|| SqlError::new("the rule was not planned"))?;
        let mut versions = Versions::new(first);
        opened.for_each(|version| versions.replace_by(version));
        Ok(versions)
    }

    /// The rule as a checkpoint left it, with all that replaces that version; `planned` as
    /// [`Self::planned`] gives it.
    /// # Errors
    /// A stream is gone, or the checkpoint is of another plan.
    pub fn open_from(
        &self,
        log: &Log,
        planned: &[Planned],
        snapshot: &Snapshot,
    ) -> Result<Versions, SqlError> {
        let versions = self.versions().into_iter().zip(planned);
        let mut versions = versions.skip_while(|(v, _)| v.version < snapshot.version);
        let Some((first, plan)) = versions.next() else {
            return Err(SqlError::new("the version of the checkpoint is gone"));
        };
        let mut opened = Versions::new(first.resume(log, plan, snapshot)?);
        for (version, planned) in versions {
            opened.replace_by(version.open(log, planned)?);
        }
        Ok(opened)
    }

    /// The rule over its log: from its newest checkpoint, or from its start.
    /// # Errors
    /// A stream is gone, or the checkpoint is of another plan.
    pub fn follow(&self, log: &Log, planned: &[Planned]) -> Result<Follower, SqlError> {
        let found = checkpoint::load(log, self, planned);
        match found.map_err(|error| SqlError::new(error.to_string()))? {
            Some(snapshot) => {
                let versions = self.open_from(log, planned, &snapshot)?;
                Ok(Follower::resuming(versions, snapshot))
            }
            None => Ok(self.from_start(self.open_all(log, planned)?)),
        }
    }

    /// The rule over its log from its start.
    pub fn from_start(&self, versions: Versions) -> Follower {
        let outputs = self.versions().first().map(|first| first.outputs.clone());
        Follower::new(versions).written_from(outputs.unwrap_or_default())
    }

    /// Its identity.
    pub fn identity(&self, planned: &Planned) -> RuleIdentity {
        RuleIdentity {
            name: planned.statement.name.clone(),
            uid: self.uid,
            version: self.version,
            severity: planned.statement.severity,
            key_columns: key_columns(&planned.plan),
        }
    }

    /// This version without state, and its inputs from the start.
    /// # Errors
    /// A stream is gone.
    pub fn open(&self, log: &Log, planned: &Planned) -> Result<Version, SqlError> {
        let ends = FeedEnds { streams: self.offsets.clone(), commands: self.commands };
        let feed = feed(log, planned, &ends)?;
        let mut runner = self.runner(planned);
        runner.leave_out(&self.out);
        Ok(Version { runner, feed })
    }

    fn runner(&self, planned: &Planned) -> Runner {
        let (identity, plan) = (self.identity(planned), Arc::clone(&planned.plan));
        let names: Vec<String> = plan.streams.iter().map(|s| s.name().to_owned()).collect();
        let mut runner = Runner::new(&planned.statement, plan, identity, self.starts_after);
        for (stream, name) in names.iter().enumerate() {
            runner.knows_series(stream, self.series.get(name).copied().unwrap_or(0));
        }
        runner
    }

    fn resume(&self, log: &Log, planned: &Planned, from: &Snapshot) -> Result<Version, SqlError> {
        let streams = planned.plan.streams.iter().filter_map(|s| log.streams().get(s.name()));
        let series: Vec<_> = streams.map(|stream| stream.series().snapshot()).collect();
        let mut runner = self.runner(planned);
        let again = runner.resume(from.state.clone(), from.taken, &series);
        let again = again.map_err(|why| {
            SqlError::new(format!("the checkpoint of the rule does not fit it: {why}"))
        })?;
        let mut ends = from.ends.clone();
        for first in again {
            let (stream, partition) = runner.progress().partition_of(first.lane);
            let name = planned.plan.streams[stream].name();
            let lanes = ends.streams.get_mut(name);
            if let Some(next) = lanes.and_then(|lanes| lanes.get_mut(partition.0 as usize)) {
                *next = first.first.min(*next);
            }
        }
        Ok(Version { runner, feed: feed(log, planned, &ends)? })
    }
}

/// The inputs of a rule from there on.
fn feed(log: &Log, planned: &Planned, from: &FeedEnds) -> Result<Feed, SqlError> {
    let mut streams = Vec::new();
    for definition in &planned.plan.streams {
        let name = definition.name();
        let (Some(stream), Some(offsets)) = (log.streams().get(name), from.streams.get(name))
        else {
            return Err(SqlError::new(format!("the stream '{name}' is gone")));
        };
        check_there(&stream, offsets, &planned.statement.name)?;
        let (definition, offsets) = (Arc::clone(definition), offsets.clone());
        streams.push(FeedStart { stream, definition, offsets });
    }
    Ok(Feed::new(log, streams, from.commands))
}

/// Where a partition must be read from so that nothing of an open window is missed.
fn first_offset(
    partition: &Arc<Partition>,
    start: StartFrom,
    plan: &RulePlan,
    lateness_us: i64,
) -> Offset {
    let ends = partition.ends();
    match (start, &plan.shape) {
        (StartFrom::Now, Shape::PerReading) => ends.durable_end,
        (StartFrom::Now, Shape::Windowed(_) | Shape::Sessions(_)) => {
            let Some(newest) = partition.newest_event_time() else { return ends.log_start };
            let closed = newest.0.saturating_sub(lateness_us);
            let Some(open_from) = open_from(plan, closed) else { return ends.log_start };
            let segments = partition.segments();
            let first = segments.iter().find(|segment| segment.max_time.0 >= open_from);
            first.map_or(ends.durable_end, |segment| segment.base_offset)
        }
        (StartFrom::Earliest | StartFrom::Timestamp(_), _) => ends.log_start,
    }
}

/// Where the oldest window begins that is open when the watermark stands at `closed`; `None` where nobody
/// knows before the readings are read.
fn open_from(plan: &RulePlan, closed: i64) -> Option<i64> {
    let first_of = |plan: &RulePlan, time: i64| match &plan.shape {
        Shape::Windowed(aggregation) => {
            let grid = aggregation.grid;
            Some(grid.edge(grid.first_window(grid.pane(time))))
        }
        Shape::Sessions(_) | Shape::PerReading => None,
    };
    let from = first_of(plan, closed)?;
    match &plan.nested {
        None => Some(from),
        Some(nested) if nested.inner.into.as_ref().is_some_and(|into| into.time.is_some()) => None,
        Some(nested) => open_from(&nested.inner, from),
    }
}
