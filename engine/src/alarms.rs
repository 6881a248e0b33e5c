//! Verdicts become alarms: clocks, members, the lifecycle, and the transitions that are written down.
//!
//! Promise: everything here is a function of its inputs. No clock is read, nothing is opened, nothing
//! is in hash order, so the same log gives the same transitions with the same ids (S2).
//! Elsewhere: verdicts come from `stream`; who is told is `deliver`'s.

mod lifecycle; // one total function over (state, input)
mod severity;
mod transition; // what is written down
mod verdict; // FOR and NO DATA

pub use lifecycle::{
    Acknowledged, AlarmInput, Annunciation, ConditionState, Effect, Seen, State, Why, step,
};
pub use severity::{Severity, UnknownSeverity};
pub use transition::{
    HISTORICAL_AFTER_US, Identity, Key, PartitionReceipt, Place, Receipt, Transition,
    TransitionKind, UnknownKind, Window, is_historical, transition_id,
};
pub use verdict::{Condition, Decision, KeyClock, NoData, NoDataAction, NoDataClock, Verdict};
