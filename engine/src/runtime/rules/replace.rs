//! CREATE OR REPLACE of a rule that runs.
//!
//! Promise: the definition of the new version is one entry of the catalog, durable before the rule takes
//! another input, so a crash at any point leaves the old version or the new one. Elsewhere: what is
//! handed over is the runners'.

use super::super::definition::{Planned, StoredRule, planned, relations};
use super::super::holds::RuleHold;
use super::super::runner::Succession;
use super::listing::describe;
use super::{Rule, Rules, refused};
use crate::sql::plan::Shape;
use crate::sql::{RuleStatement, SqlError, StartFrom};
use std::sync::Arc;

impl Rules {
    /// Puts `statement` in the place of `rule`; one sentence about it.
    pub(super) fn replace(
        &self,
        rule: &Rule,
        statement: RuleStatement,
    ) -> Result<String, SqlError> {
        let name = statement.name.clone();
        let (Some(old), Ok(task)) = (rule.planned(), &rule.running) else {
            return Err(failed(&name, rule.running.as_ref().err().map_or("", String::as_str)));
        };
        if says_the_same(&old.statement, &statement) {
            return Ok(format!("rule '{name}' is as it was"));
        }
        check_start(&statement)?;
        let new = planned(statement, &relations(&self.log, &self.references))?;
        let held = task.hold(self.log.clock().as_ref()).map_err(|why| failed(&name, &why))?;
        // What the new version needs, until the rule's own hold has it.
        let meanwhile = RuleHold::of_all(&self.log, &new, u64::MAX);
        let stored = StoredRule::replacing(&rule.stored, &self.log, &new);
        let version = stored.open(&self.log, &new)?;
        rule.hold.follow(&stored).map_err(refused)?;
        drop(meanwhile);
        self.store(&name, &stored)?;
        held.replace_by(version);
        let said = sentence(old, &new, &stored);
        let mut versions = rule.versions.clone();
        versions.push(new);
        let hold = Arc::clone(&rule.hold);
        let rule = Rule { stored, versions, running: Ok(Arc::clone(task)), hold };
        self.running.lock().insert(name, Arc::new(rule));
        Ok(said)
    }
}

fn says_the_same(old: &RuleStatement, new: &RuleStatement) -> bool {
    let as_new = RuleStatement { existing: new.existing, text: new.text.clone(), ..old.clone() };
    as_new == *new
}

fn check_start(statement: &RuleStatement) -> Result<(), SqlError> {
    match statement.start {
        None | Some(StartFrom::Now) => Ok(()),
        Some(StartFrom::Earliest | StartFrom::Timestamp(_)) => {
            let name = &statement.name;
            Err(SqlError::new(format!(
                "START FROM: the rule '{name}' is running, and a version that replaces it goes on where \
                 it is"
            ))
            .with_hint(format!("leave START FROM out, or DROP RULE {name} first")))
        }
    }
}

fn failed(name: &str, why: &str) -> SqlError {
    SqlError::new(format!("the rule '{name}' cannot be replaced: {why}"))
        .with_hint(format!("DROP RULE {name}, then CREATE RULE {name}"))
}

fn sentence(old: &Planned, new: &Planned, stored: &StoredRule) -> String {
    let (name, version, how) = (&new.statement.name, stored.version, describe(new));
    let head = format!("rule '{name}' is replaced: version {version} is evaluated {how}");
    let before = version - 1;
    match (Succession::between(&old.plan, &new.plan), &new.plan.shape) {
        (Succession::Afresh(why), _) => format!(
            "{head}; open alarms of version {before} are closed (rule_dropped), because {}",
            why.as_str()
        ),
        (_, Shape::Windowed(_) | Shape::Sessions(_)) => format!(
            "{head}; version {before} still judges the windows that are open now, then its alarms are \
             carried over"
        ),
        (_, Shape::PerReading) => format!("{head}; open alarms are carried over"),
    }
}
