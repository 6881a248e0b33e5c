//! What operators ask for, as inputs that are written down before they act (internal/commands).

use super::transition::Key;
use serde::{Deserialize, Serialize};

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

/// One operator command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// I know.
    Acknowledge {
        /// What.
        target: Target,
        /// Who.
        by: String,
        /// What they say.
        comment: Option<String>,
    },
    /// Do not tell me for a while.
    Shelve {
        /// What.
        target: Target,
        /// How long from the command's append time on, in microseconds; capped by `shelve_max_us`.
        for_us: i64,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// What they may do.
        authority: Authority,
    },
    /// Tell me again.
    Unshelve {
        /// What.
        target: Target,
        /// Who.
        by: String,
    },
    /// Everything at this topic path, or below it, is being worked on.
    TakeOutOfService {
        /// Where.
        topic: String,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// The work is done.
    ReturnToService {
        /// As it was taken out.
        topic: String,
        /// Who.
        by: String,
    },
}

impl Command {
    /// The occurrence it is about; none for those about a topic.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Self::Acknowledge { target, .. }
            | Self::Shelve { target, .. }
            | Self::Unshelve { target, .. } => Some(target),
            Self::TakeOutOfService { .. } | Self::ReturnToService { .. } => None,
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
        }
    }
}
