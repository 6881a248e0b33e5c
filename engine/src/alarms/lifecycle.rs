//! The life of one alarm, after ISA-18.2 / IEC 62682: one total function over (state, input).
//!
//! Promise (A1): every pair is written out; there is no `_` arm, so a new state or input does not
//! compile until somebody has said what it means. Elsewhere: ids, members and texts are
//! `rule_alarms`'.

use serde::{Deserialize, Serialize};
use weir_ingest::model::AppendTime;

/// Whether the process is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionState {
    /// The condition does not hold.
    Normal,
    /// The condition holds.
    Active,
}

impl ConditionState {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Active => "active",
        }
    }
}

/// Whether a person has said that they know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledged {
    /// Somebody knows, or there is nothing to know.
    Yes,
    /// Nobody has said so yet.
    No,
}

/// Whether people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Annunciation {
    /// They are.
    InService,
    /// A person asked not to be told for a while.
    Shelved {
        /// In append time.
        until: AppendTime,
    },
    /// A predicate says that nobody need be told.
    Suppressed,
    /// A person took it out of service.
    OutOfService,
}

impl Annunciation {
    /// The word without its time.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InService => "in_service",
            Self::Shelved { .. } => "shelved",
            Self::Suppressed => "suppressed",
            Self::OutOfService => "out_of_service",
        }
    }

    /// Until when it is shelved.
    pub fn until(self) -> Option<AppendTime> {
        match self {
            Self::Shelved { until } => Some(until),
            Self::InService | Self::Suppressed | Self::OutOfService => None,
        }
    }
}

/// The state of one alarm key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct State {
    /// What the process does.
    pub condition: ConditionState,
    /// What people know.
    pub acknowledged: Acknowledged,
    /// Whether they are told.
    pub annunciation: Annunciation,
}

impl Default for State {
    fn default() -> Self {
        Self {
            condition: ConditionState::Normal,
            acknowledged: Acknowledged::Yes,
            annunciation: Annunciation::InService,
        }
    }
}

impl State {
    /// The name that ISA-18.2 gives it. The process's state shows again when a shelving ends.
    pub fn isa_name(self) -> &'static str {
        match (self.annunciation, self.condition, self.acknowledged) {
            (Annunciation::Shelved { .. }, _, _) => "Shelved",
            (Annunciation::Suppressed, _, _) => "Suppressed by Design",
            (Annunciation::OutOfService, _, _) => "Out of Service",
            (Annunciation::InService, ConditionState::Normal, Acknowledged::Yes) => "Normal",
            (Annunciation::InService, ConditionState::Normal, Acknowledged::No) => {
                "Returned to Normal Unacknowledged"
            }
            (Annunciation::InService, ConditionState::Active, Acknowledged::No) => {
                "Unacknowledged Active"
            }
            (Annunciation::InService, ConditionState::Active, Acknowledged::Yes) => {
                "Acknowledged Active"
            }
        }
    }

    /// Whether an occurrence is open: active, or cleared and nobody has acknowledged it.
    pub fn is_open(self) -> bool {
        match (self.condition, self.acknowledged) {
            (ConditionState::Normal, Acknowledged::Yes) => false,
            (ConditionState::Normal, Acknowledged::No)
            | (ConditionState::Active, Acknowledged::Yes | Acknowledged::No) => true,
        }
    }

    /// Whether there is anything to show: an open occurrence, or people are not told.
    pub fn is_listed(self) -> bool {
        self.is_open() || self.annunciation != Annunciation::InService
    }

    fn with(self, condition: ConditionState, acknowledged: Acknowledged) -> Self {
        Self { condition, acknowledged, ..self }
    }

    fn told(self, annunciation: Annunciation) -> Self {
        Self { annunciation, ..self }
    }
}

/// Whether an operator had seen the newest raise or member when they acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Seen {
    /// They had.
    Newest,
    /// Something joined since.
    Outdated,
}

/// What happens to an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlarmInput {
    /// The condition began.
    Raise,
    /// The condition ended.
    Clear,
    /// A further member is in condition.
    MemberAdded,
    /// A person knows.
    Acknowledge {
        /// Of what.
        seen: Seen,
    },
    /// A person does not want to be told before `until`.
    Shelve {
        /// In append time, already capped.
        until: AppendTime,
    },
    /// A person wants to be told again.
    Unshelve,
    /// The time of a shelving is over.
    ShelveExpired,
    /// A predicate began to hold.
    Suppress,
    /// It ended.
    Unsuppress,
    /// A person took it out of service.
    TakeOutOfService,
    /// A person put it back.
    ReturnToService,
    /// Its rule is gone.
    RuleDropped,
}

/// Why an operator's command changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Why {
    /// Nothing is open.
    #[error("no occurrence is open")]
    NotOpen,
    /// Somebody was first.
    #[error("it is already acknowledged")]
    AlreadyAcknowledged,
    /// More happened than the operator had seen.
    #[error("a member joined after what the operator had seen")]
    Outdated,
    /// There is no shelving to end.
    #[error("it is not shelved")]
    NotShelved,
    /// It is already out of service.
    #[error("it is out of service")]
    OutOfService,
    /// There is nothing to return.
    #[error("it is not out of service")]
    InService,
    /// Another occurrence, or none, is at this key now.
    #[error("that occurrence is over")]
    OtherOccurrence,
    /// Shelving says why.
    #[error("shelving needs a reason")]
    NoReason,
    /// Shelving looks ahead.
    #[error("the shelving would already be over")]
    AlreadyOver,
    /// A critical alarm is not for everybody to shelve.
    #[error("only an administrator may shelve a critical alarm")]
    NotAllowed,
}

/// What a step means to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing to write down.
    None,
    /// An occurrence opened.
    Raised,
    /// An occurrence opened, and the one before it closed unacknowledged.
    RaisedAnew,
    /// The condition ended; the occurrence stays open until acknowledged.
    Cleared,
    /// A member joined the occurrence.
    MemberAdded,
    /// The occurrence was acknowledged.
    Acknowledged,
    /// Shelved, or shelved for another time.
    Shelved,
    /// No longer shelved.
    Unshelved,
    /// Suppressed by design.
    Suppressed,
    /// No longer suppressed.
    Unsuppressed,
    /// Out of service.
    OutOfService,
    /// Back in service.
    Returned,
    /// The open occurrence closed with its rule.
    RuleDropped,
    /// An operator's command that no longer applies.
    Ineffective(Why),
}

/// The life of an alarm. Total: no pair of state and input is left out (A1).
pub fn step(state: State, input: AlarmInput) -> (State, Effect) {
    match input {
        AlarmInput::Raise => raise(state),
        AlarmInput::Clear => clear(state),
        AlarmInput::MemberAdded => match state.condition {
            ConditionState::Active => (state, Effect::MemberAdded),
            ConditionState::Normal => (state, Effect::None),
        },
        AlarmInput::Acknowledge { seen } => acknowledge(state, seen),
        AlarmInput::Shelve { until } => shelve(state, until),
        AlarmInput::Unshelve => match state.annunciation {
            Annunciation::Shelved { .. } => {
                (state.told(Annunciation::InService), Effect::Unshelved)
            }
            Annunciation::InService | Annunciation::Suppressed | Annunciation::OutOfService => {
                (state, Effect::Ineffective(Why::NotShelved))
            }
        },
        AlarmInput::ShelveExpired => match state.annunciation {
            Annunciation::Shelved { .. } => {
                (state.told(Annunciation::InService), Effect::Unshelved)
            }
            Annunciation::InService | Annunciation::Suppressed | Annunciation::OutOfService => {
                (state, Effect::None)
            }
        },
        AlarmInput::Suppress => match state.annunciation {
            Annunciation::InService => (state.told(Annunciation::Suppressed), Effect::Suppressed),
            Annunciation::Shelved { .. }
            | Annunciation::Suppressed
            | Annunciation::OutOfService => (state, Effect::None),
        },
        AlarmInput::Unsuppress => match state.annunciation {
            Annunciation::Suppressed => (state.told(Annunciation::InService), Effect::Unsuppressed),
            Annunciation::InService | Annunciation::Shelved { .. } | Annunciation::OutOfService => {
                (state, Effect::None)
            }
        },
        AlarmInput::TakeOutOfService => match state.annunciation {
            Annunciation::InService | Annunciation::Shelved { .. } | Annunciation::Suppressed => {
                (state.told(Annunciation::OutOfService), Effect::OutOfService)
            }
            Annunciation::OutOfService => (state, Effect::Ineffective(Why::OutOfService)),
        },
        AlarmInput::ReturnToService => match state.annunciation {
            Annunciation::OutOfService => (state.told(Annunciation::InService), Effect::Returned),
            Annunciation::InService | Annunciation::Shelved { .. } | Annunciation::Suppressed => {
                (state, Effect::Ineffective(Why::InService))
            }
        },
        AlarmInput::RuleDropped => match (state.condition, state.acknowledged) {
            (ConditionState::Active, Acknowledged::Yes | Acknowledged::No)
            | (ConditionState::Normal, Acknowledged::No) => (State::default(), Effect::RuleDropped),
            (ConditionState::Normal, Acknowledged::Yes) => (State::default(), Effect::None),
        },
    }
}

fn raise(state: State) -> (State, Effect) {
    let raised = state.with(ConditionState::Active, Acknowledged::No);
    match (state.condition, state.acknowledged) {
        (ConditionState::Normal, Acknowledged::Yes) => (raised, Effect::Raised),
        (ConditionState::Normal, Acknowledged::No) => (raised, Effect::RaisedAnew),
        (ConditionState::Active, Acknowledged::Yes | Acknowledged::No) => (state, Effect::None),
    }
}

fn clear(state: State) -> (State, Effect) {
    match (state.condition, state.acknowledged) {
        (ConditionState::Active, Acknowledged::Yes | Acknowledged::No) => {
            (state.with(ConditionState::Normal, state.acknowledged), Effect::Cleared)
        }
        (ConditionState::Normal, Acknowledged::Yes | Acknowledged::No) => (state, Effect::None),
    }
}

fn acknowledge(state: State, seen: Seen) -> (State, Effect) {
    match (state.condition, state.acknowledged, seen) {
        (ConditionState::Active | ConditionState::Normal, Acknowledged::No, Seen::Newest) => {
            (state.with(state.condition, Acknowledged::Yes), Effect::Acknowledged)
        }
        (ConditionState::Active | ConditionState::Normal, Acknowledged::No, Seen::Outdated) => {
            (state, Effect::Ineffective(Why::Outdated))
        }
        (ConditionState::Active, Acknowledged::Yes, Seen::Newest | Seen::Outdated) => {
            (state, Effect::Ineffective(Why::AlreadyAcknowledged))
        }
        (ConditionState::Normal, Acknowledged::Yes, Seen::Newest | Seen::Outdated) => {
            (state, Effect::Ineffective(Why::NotOpen))
        }
    }
}

fn shelve(state: State, until: AppendTime) -> (State, Effect) {
    let shelved = (state.told(Annunciation::Shelved { until }), Effect::Shelved);
    match (state.annunciation, state.is_open()) {
        (Annunciation::OutOfService, true | false) => {
            (state, Effect::Ineffective(Why::OutOfService))
        }
        (Annunciation::Shelved { .. }, true | false) => shelved,
        (Annunciation::InService | Annunciation::Suppressed, true) => shelved,
        (Annunciation::InService | Annunciation::Suppressed, false) => {
            (state, Effect::Ineffective(Why::NotOpen))
        }
    }
}

#[cfg(test)]
mod tests;
