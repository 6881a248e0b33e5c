//! Where a partition is gone on with: at its first row, or at its newest checkpoint.
//!
//! Promise: series get the ids they had, so that the state means what it meant.

use super::lane_error::LaneError;
use super::lane_rule::{LaneRule, RuleSnapshot, Taking};
use super::shared::Shared;
use crate::runtime::replay::definitions::{Definitions, ReplayedRule};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weir_ingest::log::{Stream, TickPolicy};
use weir_ingest::model::{AppendTime, EventTime, Offset, PartitionId};

/// The state of all rules over a partition after everything before a place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LaneSnapshot {
    /// Of the definitions.
    pub(super) fingerprint: String,
    /// Rows before were taken.
    pub(super) position: Offset,
    /// So many ticks that stand there were taken, too.
    pub(super) ticks: u32,
    /// Append time of the newest entry taken.
    pub(super) taken: AppendTime,
    /// Topic paths by series id: ids are the partition's own.
    pub(super) topics: Vec<String>,
    /// Where to look for what was written after this.
    pub(super) alarms: Offset,
    /// The newest event time and when it came.
    pub(super) newest: Option<(EventTime, AppendTime)>,
    pub(super) rules: Vec<RuleSnapshot>,
}

/// Where a lane begins.
#[derive(Debug)]
pub(super) struct Begin {
    /// What is to be taken of the tables' contents.
    pub(super) tables: Taking,
    pub(super) position: Offset,
    pub(super) ticks: u32,
    pub(super) taken: AppendTime,
    pub(super) alarms: Offset,
    pub(super) newest: Option<(EventTime, AppendTime)>,
}

impl Default for Begin {
    fn default() -> Self {
        Self {
            tables: Taking::New,
            position: Offset(0),
            ticks: 0,
            taken: AppendTime(i64::MIN),
            alarms: Offset(0),
            newest: None,
        }
    }
}

/// The rules over a stream, without state.
pub(super) fn rules_over(definitions: &Definitions, stream: &str) -> Vec<LaneRule> {
    let reads = |rule: &&_| reads(rule, stream);
    definitions.rules.iter().filter(reads).map(LaneRule::new).collect()
}

fn reads(rule: &ReplayedRule, stream: &str) -> bool {
    rule.plan().streams.iter().any(|s| s.name() == stream)
}

/// Puts rules and ticks back to where a checkpoint left them.
pub(super) fn resume(
    snapshot: LaneSnapshot,
    shared: &Shared,
    definitions: &Definitions,
    stream: &Arc<Stream>,
    rules: &mut [LaneRule],
    policy: &mut TickPolicy,
) -> Result<Begin, LaneError> {
    if snapshot.fingerprint != shared.fingerprint {
        return Err(LaneError::Refused(format!(
            "the checkpoints of the group '{}' were made with other definitions; start with another group, which begins anew, or with the definitions as they were",
            shared.group
        )));
    }
    for topic in &snapshot.topics {
        let route = definitions.log.streams().route(topic);
        route.map_err(|error| LaneError::Refused(error.to_string()))?;
    }
    let place = (snapshot.position, snapshot.taken);
    for kept in snapshot.rules {
        let Some(rule) = rules.iter_mut().find(|rule| rule.uid() == kept.uid) else { continue };
        let series = stream.series().snapshot();
        rule.resume(kept, place, series).map_err(LaneError::Refused)?;
    }
    if let Some((event_time, appended)) = snapshot.newest {
        policy.resume(PartitionId(0), event_time, appended);
    }
    Ok(Begin {
        tables: Taking::Again,
        position: snapshot.position,
        ticks: snapshot.ticks,
        taken: snapshot.taken,
        alarms: snapshot.alarms,
        newest: snapshot.newest,
    })
}

pub(super) fn unknown(stream: &str) -> LaneError {
    LaneError::Refused(format!("the definitions have no stream '{stream}'"))
}
