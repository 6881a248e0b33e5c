//! What operators ask for, and what the process says of its partitions and its clock, as inputs that are written down before they act (internal/commands).

use super::transition::Key;
use serde::{Deserialize, Serialize};
use weir_ingest::model::PartitionId;

/// The occurrence a command is about, as its sender saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The occurrence.
    pub alarm_id: String,
    /// Identity of its rule.
    pub rule_uid: u64,
    /// Its key.
    pub key: Key,
    /// Ordinal of the newest transition the operator had seen; `None` means whatever is newest.
    pub seen_ordinal: Option<u64>,
}

/// What the sender may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// Everything. Until there are tokens, everybody.
    Admin,
    /// Everything but to shelve critical alarms.
    Operator,
}

impl Authority {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
        }
    }
}

/// One operator command. A statement names the occurrence by its `alarm_id` (`Command<String>`); what is
/// written down names it as its sender saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command<T = Target> {
    /// `ACKNOWLEDGE ALARM '<id>' BY '<name>' [COMMENT '...']`: I know.
    Acknowledge {
        /// What.
        target: T,
        /// Who.
        by: String,
        /// What they say.
        comment: Option<String>,
    },
    /// `SHELVE ALARM '<id>' FOR <interval> BY '<name>' REASON '...'`: do not tell me for a while.
    Shelve {
        /// What.
        target: T,
        /// How long from the command's append time on, in microseconds; capped by `shelve_max_us`.
        for_us: i64,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// What they may do.
        authority: Authority,
    },
    /// `UNSHELVE ALARM '<id>' BY '<name>'`: tell me again.
    Unshelve {
        /// What.
        target: T,
        /// Who.
        by: String,
    },
    /// `TAKE SERIES '<topic>' OUT OF SERVICE BY '<name>' REASON '...'`: everything at this topic path,
    /// or below it, is being worked on.
    TakeOutOfService {
        /// Where.
        topic: String,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// `RETURN SERIES '<topic>' TO SERVICE BY '<name>'`: the work is done.
    ReturnToService {
        /// As it was taken out.
        topic: String,
        /// Who.
        by: String,
    },
    /// The process: a partition takes no rows. Rules no longer wait for it, and its series are unknown.
    PartitionOut {
        /// Which.
        place: PartitionPlace,
        /// What is wrong with it.
        why: String,
    },
    /// The process: it takes rows again.
    PartitionIn {
        /// Which.
        place: PartitionPlace,
    },
    /// The process: the wall clock is not to be believed.
    ClockSuspect {
        /// What is wrong with it.
        why: String,
    },
    /// The process: the wall clock agrees again, or was accepted.
    ClockAgrees,
}

/// A partition of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionPlace {
    /// The stream.
    pub stream: String,
    /// Its number.
    pub partition: PartitionId,
}

/// Who says what nobody said.
const PROCESS: &str = "weir";

impl<T> Command<T> {
    /// The same command about what `aim` makes of its target.
    /// # Errors
    /// Those of `aim`.
    pub fn aimed<U, E>(self, aim: impl FnOnce(T) -> Result<U, E>) -> Result<Command<U>, E> {
        Ok(match self {
            Self::Acknowledge { target, by, comment } => {
                Command::Acknowledge { target: aim(target)?, by, comment }
            }
            Self::Shelve { target, for_us, by, reason, authority } => {
                Command::Shelve { target: aim(target)?, for_us, by, reason, authority }
            }
            Self::Unshelve { target, by } => Command::Unshelve { target: aim(target)?, by },
            Self::TakeOutOfService { topic, by, reason } => {
                Command::TakeOutOfService { topic, by, reason }
            }
            Self::ReturnToService { topic, by } => Command::ReturnToService { topic, by },
            Self::PartitionOut { place, why } => Command::PartitionOut { place, why },
            Self::PartitionIn { place } => Command::PartitionIn { place },
            Self::ClockSuspect { why } => Command::ClockSuspect { why },
            Self::ClockAgrees => Command::ClockAgrees,
        })
    }

    /// The occurrence it is about; none for those about a topic.
    pub fn target(&self) -> Option<&T> {
        match self {
            Self::Acknowledge { target, .. }
            | Self::Shelve { target, .. }
            | Self::Unshelve { target, .. } => Some(target),
            Self::TakeOutOfService { .. }
            | Self::ReturnToService { .. }
            | Self::PartitionOut { .. }
            | Self::PartitionIn { .. }
            | Self::ClockSuspect { .. }
            | Self::ClockAgrees => None,
        }
    }

    /// The word for it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Acknowledge { .. } => "acknowledge",
            Self::Shelve { .. } => "shelve",
            Self::Unshelve { .. } => "unshelve",
            Self::TakeOutOfService { .. } => "take_out_of_service",
            Self::ReturnToService { .. } => "return_to_service",
            Self::PartitionOut { .. } => "partition_out",
            Self::PartitionIn { .. } => "partition_in",
            Self::ClockSuspect { .. } => "clock_suspect",
            Self::ClockAgrees => "clock_agrees",
        }
    }

    /// Who sent it.
    pub fn by(&self) -> &str {
        match self {
            Self::Acknowledge { by, .. }
            | Self::Shelve { by, .. }
            | Self::Unshelve { by, .. }
            | Self::TakeOutOfService { by, .. }
            | Self::ReturnToService { by, .. } => by,
            Self::PartitionOut { .. }
            | Self::PartitionIn { .. }
            | Self::ClockSuspect { .. }
            | Self::ClockAgrees => PROCESS,
        }
    }
}
