//! What becomes of a rule's result rows, as its statement says.

use super::{Judge, micros};
use crate::alarms::{
    self, Condition, Judging, NoData, RuleAlarms, RuleIdentity, RuleRows, RuleSettings, Subjects,
};
use crate::runtime::derived::Deriving;
use crate::sql::plan::{RulePlan, Shape};
use crate::sql::{NoDataAction, RuleStatement};
use std::sync::Arc;

/// `whole` is the plan of the rule, `plan` that of its outer step.
pub(super) fn judge(
    statement: &RuleStatement,
    plan: &RulePlan,
    whole: &RulePlan,
    identity: &RuleIdentity,
) -> Judge {
    if let Some(into) = &plan.into {
        return Judge::Readings(Deriving::new(Arc::clone(into)));
    }
    let is_read = |stream: usize| whole.branches.iter().any(|branch| branch.stream == stream);
    let read = whole.streams.iter().enumerate().filter(|(stream, _)| is_read(*stream));
    let templates = read.map(|(_, stream)| stream.template().clone()).collect();
    let subjects = Subjects::new(&identity.name, templates);
    let Some(raise) = &statement.raise else {
        return Judge::Rows(RuleRows::new(identity.clone(), subjects, RuleSettings::KEYS_MAX));
    };
    let condition = Condition {
        raise_hold_us: micros(raise.hold),
        clear_hold_us: statement.clear.as_ref().map_or(0, |clear| micros(clear.hold)),
    };
    let judging = match &plan.shape {
        Shape::Windowed(_) | Shape::Sessions(_) => Judging::Windows,
        Shape::PerReading if plan.branches.iter().any(|branch| branch.along.is_some()) => {
            Judging::InEventTime
        }
        Shape::PerReading if condition.raise_hold_us > 0 || condition.clear_hold_us > 0 => {
            Judging::InEventTime
        }
        Shape::PerReading => Judging::OnArrival,
    };
    let no_data = statement.no_data.as_ref().map(|no_data| NoData {
        after_us: micros(no_data.after),
        action: match no_data.action {
            NoDataAction::Hold => alarms::NoDataAction::Hold,
            NoDataAction::Raise => alarms::NoDataAction::Raise,
        },
    });
    Judge::Alarms(RuleAlarms::new(RuleSettings {
        identity: identity.clone(),
        condition,
        no_data,
        judging,
        subjects,
        keys_max: RuleSettings::KEYS_MAX,
        shelve_max_us: RuleSettings::SHELVE_MAX_US,
    }))
}
