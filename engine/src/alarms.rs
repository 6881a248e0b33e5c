//! Verdicts become alarms: clocks, members, the lifecycle, and the transitions that are written down.
//!
//! Promise: everything here is a function of its inputs. No clock is read, nothing is opened, nothing
//! is in hash order, so the same log gives the same transitions with the same ids (S2).
//! Elsewhere: verdicts come from `stream`; who is told is `deliver`'s.

mod severity;
mod verdict; // FOR and NO DATA
mod members; // one key, many sensors
mod lifecycle; // one total function over (state, input)
mod transition; // what is written down
mod columns; // reading batches by name
pub mod transition_rows; // internal/alarms and internal/rows
mod subject; // where an alarm stands in the topic tree
mod command; // what operators ask for
pub mod command_rows; // internal/commands
mod keys; // what one key remembers
mod rule_alarms; // all keys of one rule
mod rows; // a rule without RAISE WHEN
mod book; // the alarms as they are now

pub use book::{AlarmBook, CurrentAlarm, StaleAlarms};
pub use columns::RowsError;
pub use command::{Authority, Command, PartitionPlace, Target};
pub use keys::{Counts, Evidence};
pub use lifecycle::{
    Acknowledged, AlarmInput, Annunciation, ConditionState, Effect, Seen, State, Why, step,
};
pub use members::{
    Cause, ForTimers, KeyEvent, MayClear, MemberReading, MemberRules, Members, Service, Watch,
};
pub use rows::{ResultRow, RowSource, RuleRows, RuleRowsState};
pub use rule_alarms::{
    Judging, KeyView, RuleAlarms, RuleAlarmsState, RuleIdentity, RuleSettings, Suppression,
    TooManyKeys, Unknowns, WindowRow,
};
pub use severity::{Severity, UnknownSeverity};
pub use subject::{Subjects, is_at_or_below};
pub use transition::{
    HISTORICAL_AFTER_US, Identity, Key, KeyValue, PartitionReceipt, Place, Receipt, Transition,
    TransitionKind, UnknownKind, Window, is_historical, transition_id,
};
pub use verdict::{Condition, Decision, KeyClock, NoData, NoDataAction, NoDataClock, Verdict};
