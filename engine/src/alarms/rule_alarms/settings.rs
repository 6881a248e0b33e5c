//! What a rule says about its alarms, and how its keys are shown.

use super::super::Severity;
use super::super::lifecycle::State;
use super::super::members::{ForTimers, MemberRules};
use super::super::subject::Subjects;
use super::super::transition::{Key, KeyValue};
use super::super::verdict::{Condition, NoData, Verdict};
use super::Suppression;
use serde::{Deserialize, Serialize};

/// Which rule this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleIdentity {
    /// Its name.
    pub name: String,
    /// What survives a replacement; under replay of a file the statement's position.
    pub uid: u64,
    /// Grows with every replacement.
    pub version: u32,
    /// Declared severity.
    pub severity: Severity,
    /// Names of the key columns, in order.
    pub key_columns: Vec<String>,
}

/// In which order verdicts come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Judging {
    /// One per key and window, in (end, key) order.
    Windows,
    /// One per reading, as it arrives.
    OnArrival,
    /// One per reading, in event-time order behind the watermark (rules with FOR).
    InEventTime,
}

/// What a rule says about its alarms.
#[derive(Debug, Clone)]
pub struct RuleSettings {
    /// Which rule.
    pub identity: RuleIdentity,
    /// The FOR holds.
    pub condition: Condition,
    /// ON NO DATA; `None` when it is left out and nothing is shown stale.
    pub no_data: Option<NoData>,
    /// In which order verdicts come.
    pub judging: Judging,
    /// Where its keys stand in the topic tree.
    pub subjects: Subjects,
    /// Keys it may have at once.
    pub keys_max: usize,
    /// Longest shelving, in microseconds.
    pub shelve_max_us: i64,
}

impl RuleSettings {
    /// Default of `keys_max`.
    pub const KEYS_MAX: usize = 1_000_000;
    /// Default of `shelve_max_us`: 8 hours.
    pub const SHELVE_MAX_US: i64 = 8 * 3600 * 1_000_000;

    pub(super) fn member_rules(&self) -> MemberRules {
        MemberRules { condition: self.condition, no_data: self.no_data }
    }

    pub(super) fn for_timers(&self) -> ForTimers {
        match self.judging {
            Judging::Windows => ForTimers::WaitForVerdict,
            Judging::OnArrival | Judging::InEventTime => ForTimers::Fire,
        }
    }
}

/// The rule has more keys than it may; it must fail visibly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule '{rule}' has more than {limit} keys; group by fewer columns or raise max_keys")]
pub struct TooManyKeys {
    /// Which rule.
    pub rule: String,
    /// How many it may have.
    pub limit: usize,
}

/// One row of an emitted window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRow {
    /// Values of the key columns, in order.
    pub key: Vec<KeyValue>,
    /// What the rule says of it.
    pub verdict: Verdict,
    /// What SUPPRESS WHEN says of it.
    pub suppression: Suppression,
}

/// One key as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// The key.
    pub key: Key,
    /// The open occurrence, or the last one.
    pub alarm_id: Option<String>,
    /// Its state.
    pub state: State,
    /// Nothing has been known for longer than ON NO DATA allows.
    pub stale: bool,
}
