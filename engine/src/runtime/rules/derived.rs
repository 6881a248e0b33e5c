//! CREATE STREAM ... AS SELECT: a stream and the rule of its name that writes it.
//!
//! Promise: there are both or none: the stream is made before the rule and dropped after it, and a
//! stream that a crash left without its rule is removed at the next start.

use super::super::definition::{Planned, StoredRule, parse_rule};
use super::{Rule, Rules, refused};
use crate::sql::{Existing, Missing, RuleStatement, SqlError};
use std::sync::Arc;
use weir_ingest::log::{Log, Stream};
use weir_ingest::model::FedBy;

/// Removes streams that lost their rule.
pub(super) fn sweep(log: &Log, rules: &[(String, Vec<u8>)]) {
    for stream in log.streams().all() {
        let definition = stream.definition();
        let name = definition.name();
        if definition.fed_by() == FedBy::Rule && !rules.iter().any(|(rule, _)| rule == name) {
            match log.drop_stream(name) {
                Ok(()) => tracing::info!(stream = %name, "a stream without its rule is removed"),
                Err(error) => tracing::error!(stream = %name, %error, "a stream has no rule"),
            }
        }
    }
}

/// A rule that writes a stream is not replaced, nor is one replaced by it.
pub(super) fn check_replaced(there: &StoredRule, new: &RuleStatement) -> Result<(), SqlError> {
    let name = &new.name;
    let writes = parse_rule(&there.text).is_ok_and(|rule| rule.into.is_some());
    match (writes, new.into.is_some(), new.existing) {
        (true, true, Existing::Keep) | (false, false, _) => Ok(()),
        (true, true, _) => Err(SqlError::new(format!("there is a stream '{name}' already"))
            .with_hint(format!("DROP STREAM {name} first, or choose another name"))),
        (true, false, _) => {
            Err(SqlError::new(format!("'{name}' is the rule of the stream '{name}'"))
                .with_hint(format!("choose another name, or DROP STREAM {name} first")))
        }
        (false, true, _) => Err(SqlError::new(format!(
            "there is a rule '{name}', and the stream would have its own"
        ))
        .with_hint("choose another name")),
    }
}

/// What is said of DROP RULE.
pub(super) fn no_rule_alone(name: &str) -> SqlError {
    SqlError::new(format!("'{name}' is the rule of the stream '{name}'"))
        .with_hint(format!("DROP STREAM {name} drops both"))
}

/// The sentence about a rule that was created with its stream.
pub(super) fn said(rule: &Rule) -> Option<String> {
    let into = rule.planned()?.plan.into.as_ref()?;
    let definition = &into.stream;
    let columns = definition.columns().iter();
    let columns: Vec<String> =
        columns.map(|c| format!("{} {}", c.name, c.column_type.sql_name())).collect();
    Some(format!(
        "stream '{}' ({}) is there and written by its rule",
        definition.name(),
        columns.join(", ")
    ))
}

impl Rules {
    /// The stream that the rule of this name writes.
    pub(super) fn stream_of(&self, name: &str) -> Option<Arc<Stream>> {
        let stream = self.log.streams().get(name)?;
        (stream.definition().fed_by() == FedBy::Rule).then_some(stream)
    }

    /// Makes the stream that a rule writes; its name.
    pub(super) fn create_stream_of(&self, planned: &Planned) -> Result<Option<String>, SqlError> {
        let Some(into) = &planned.plan.into else { return Ok(None) };
        let name = into.stream.name();
        if self.references.get(name).is_some() {
            return Err(SqlError::new(format!("there is a table '{name}' already"))
                .with_hint("choose another name"));
        }
        self.log.create_stream((*into.stream).clone()).map_err(refused)?;
        Ok(Some(name.to_owned()))
    }

    /// DROP STREAM of one that a rule writes: both are gone. The caller has checked that nobody reads
    /// it.
    /// # Errors
    /// The catalog refused.
    pub fn drop_with_stream(&self, name: &str) -> Result<String, SqlError> {
        let _one = self.changing.lock();
        self.drop_named(name, Missing::Ignore)?;
        self.log.drop_stream(name).map_err(refused)?;
        Ok(format!("stream '{name}' is gone, and the rule that wrote it"))
    }
}
